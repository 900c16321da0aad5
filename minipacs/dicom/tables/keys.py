"""The keys of one archive: the key table, and the extended keys of its configuration (PS3.4 C.2.2.1.3)."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from minipacs.dicom.tables.attributes import (
    ATTRIBUTES,
    INSTANCE_AVAILABILITY,
    LEVELS,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    SEQUENCES,
    SPECIFIC_CHARACTER_SET,
    Attribute,
    Level,
)
from minipacs.dicom.tables.dictionary import ELEMENTS, tag_told
from minipacs.dicom.tables.value_representations import NUMBER_FORMATS, SHORT_VRS

FIRST_BLOCK, LAST_BLOCK = 0x10, 0xFF
"""Blocks that private creators reserve (PS3.5 7.8.1)."""

_MATCHABLE_VRS = (SHORT_VRS | NUMBER_FORMATS.keys() | {"SQ", "UC", "UR", "UT"}) - {"AT"}
_LEVEL_OF_GROUP: Mapping[int, Level] = {0x0010: "PATIENT", 0x0032: "STUDY", 0x0038: "STUDY"}
_FIRST_GROUP, _LAST_GROUP = 0x0008, 0x7FDF
_NO_KEYS = frozenset({SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY})
_STANDARD = {a.tag: a for a in (*ATTRIBUTES, *SEQUENCES)}
_PLACE = re.compile(r"(?:(?P<level>[A-Z]+):)?(?P<key>.+)")
_PRIVATE = re.compile(r'(?P<group>[0-9A-Fa-f]{4}),"(?P<creator>[^"\\]{1,64})",(?P<element>[0-9A-Fa-f]{2})')


def is_creator(tag: int) -> bool:
    """Tell whether an element reserves a block of private ones for its creator (PS3.5 7.8.1)."""
    return bool(tag & 0x10000) and FIRST_BLOCK <= tag & 0xFFFF <= LAST_BLOCK


def extended_key(text: str) -> Attribute:
    """Read an extended key: a keyword, `ggggeeee`, or `gggg,"CREATOR",ee` for a private attribute.

    A level and a colon may go before it: `SERIES:ScanOptions`. Without, group 0010 belongs to patients, groups 0032 and
    0038 to studies, all else to instances. Raises ValueError, with the reason, for what is no such key, is a key anyway
    or has no values that could be matched.
    """
    place = _PLACE.fullmatch(text)
    if place is None or (place["level"] and place["level"] not in LEVELS):
        raise ValueError("its level is none of " + ", ".join(LEVELS))
    private = _PRIVATE.fullmatch(place["key"])
    if private is not None:
        attribute = _private(int(private["group"], 16), private["creator"].strip(), int(private["element"], 16))
    else:
        attribute = _public(place["key"])
    keyword, tag, vr, multi, creator = attribute
    if vr not in _MATCHABLE_VRS:
        raise ValueError(f"values of VR {vr} cannot be matched")
    level = next((known for known in LEVELS if known == place["level"]), _LEVEL_OF_GROUP.get(tag >> 16, "IMAGE"))
    return Attribute(keyword, tag, vr, level, multi=multi, creator=creator)


def _public(text: str) -> tuple[str, int, str, bool, str]:
    from pydicom.datadict import keyword_for_tag  # slow to load, seldom needed; knows groups that repeat

    tag = tag_told(text)
    if tag is None:
        raise ValueError("no such keyword")
    if tag in _STANDARD or tag in _NO_KEYS:
        raise ValueError("it is a key already")
    if not _FIRST_GROUP <= tag >> 16 <= _LAST_GROUP or not tag & 0xFFFF or tag >> 16 & 1:
        raise ValueError("no attribute of an object")
    vr, multiplicity, *_ = ELEMENTS.get(tag, ("LO", "1"))
    return keyword_for_tag(tag) or f"{tag:08X}", tag, vr[:2], multiplicity != "1", ""


def _private(group: int, creator: str, element: int) -> tuple[str, int, str, bool, str]:
    from pydicom.datadict import private_dictionaries

    if not group & 1 or not _FIRST_GROUP <= group <= _LAST_GROUP or not creator:
        raise ValueError("no private attribute: its group must be odd")
    known = private_dictionaries.get(creator, {}).get(f"{group:04X}xx{element:02X}", ("LO", "1"))
    vr = known[0][:2] if known[0] != "UN" else "LO"
    return f'{group:04X},"{creator}",{element:02X}', group << 16 | element, vr, known[1] != "1", creator


class KeyTable:
    """Attributes by keyword and tag; `rare` are the stored ones that have no column.

    `above` are the keywords of what is stored above instances.
    """

    def __init__(self, extended: Sequence[Attribute] = ()) -> None:
        self.attributes = (*ATTRIBUTES, *SEQUENCES, *extended)
        self.extended = tuple(extended)
        self.stored = tuple(a for a in self.attributes if not a.computed)
        self.by_keyword = MappingProxyType({a.keyword: a for a in self.attributes})
        self.by_tag = MappingProxyType({a.tag: a for a in self.attributes if not a.creator})
        self.rare = tuple(a for a in self.stored if not a.column)
        self.above = tuple(a.keyword for a in self.stored if a.level != "IMAGE")
        self._private = {(a.tag, a.creator): a for a in self.attributes if a.creator}
        self.tags = frozenset({SPECIFIC_CHARACTER_SET, *(tag for a in self.stored for tag in _tags(a))})

    def private(self, tag: int, creator: str) -> Attribute | None:
        """Look up a private attribute as it stands in a data set, with the creator that reserved its block."""
        return self._private.get((tag & 0xFFFF00FF, creator))


def _tags(attribute: Attribute) -> list[int]:
    """List where an attribute may stand in a data set, the creators of private ones included (PS3.5 7.8.1)."""
    if not attribute.creator:
        return [attribute.tag]
    blocks, group = range(FIRST_BLOCK, LAST_BLOCK + 1), attribute.tag & 0xFFFF0000
    return [group | block for block in blocks] + [attribute.tag | block << 8 for block in blocks]


STANDARD_KEYS = KeyTable()
"""Without extended keys."""
