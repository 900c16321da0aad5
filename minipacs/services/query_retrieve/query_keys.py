"""What an identifier asks for: its elements against the keys of this archive (PS3.4 C.2.2.1, C.4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.decode import DataSet
from minipacs.dicom.matching.zones import ZONE
from minipacs.dicom.tables.attributes import (
    INSTANCE_AVAILABILITY,
    LEVELS,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    SPECIFIC_CHARACTER_SET,
    TIMEZONE_OFFSET_FROM_UTC,
    UNIQUE_KEY,
    Attribute,
    Level,
)
from minipacs.dicom.tables.keys import STANDARD_KEYS, KeyTable, is_creator
from minipacs.dicom.tables.sop_classes import LEVELS_OF, Model
from minipacs.errors import Failure, Kind
from minipacs.index import AVAILABILITY

_NEVER_MATCHED = frozenset(
    {SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY, TIMEZONE_OFFSET_FROM_UTC}
)
"""Elements of a request that say something else than what to match (PS3.4 C.2.2.2, C.4.1.1.3)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an identifier asks for: keys to match, and attributes to return by their tags in the answer.

    `unsupported` counts the keys that are not supported. `creators` are those that private attributes need, by tag.
    `offset` is the Timezone Offset From UTC, "" if none is named.
    """

    level: Level
    keys: tuple[tuple[Attribute, str], ...]
    returned: Mapping[int, Attribute]
    unsupported: int
    creators: Mapping[int, str]
    offset: str


def read_keys(identifier: DataSet, model: Model, table: KeyTable = STANDARD_KEYS) -> Asked:
    """Sort the elements of an identifier; the unique keys down to its level are returned in any case (PS3.4 C.4.1.3.1).

    Keys that are unknown or of a lower level are not supported: not matched, not returned, counted. Raises Failure
    INVALID for the level, and for a sequence key of more than one item.
    """
    level = read_level(identifier, model)
    within = LEVELS[: LEVELS.index(level) + 1]
    keys: list[tuple[Attribute, str]] = []
    returned: dict[int, Attribute] = {}
    creators: dict[int, str] = {}
    unsupported = 0
    for tag in identifier.elements:
        if tag in _NEVER_MATCHED or is_creator(tag):
            continue
        creator_tag = tag & 0xFFFF0000 | tag >> 8 & 0xFF
        attribute = table.private(tag, identifier.text(creator_tag, "LO")) if tag & 0x10000 else table.by_tag.get(tag)
        if attribute is None or attribute.level not in within:
            unsupported += 1
            continue
        keys.append((attribute, _text(identifier, tag, attribute)))
        returned[tag] = attribute
        if attribute.creator:
            creators[creator_tag] = attribute.creator
    for attribute in (AVAILABILITY, ZONE):
        if attribute.tag in identifier.elements and attribute.level in within:
            returned[attribute.tag] = attribute
    for at in (*LEVELS_OF[model], "PATIENT"):
        if at in within:
            returned[UNIQUE_KEY[at].tag] = UNIQUE_KEY[at]
    return Asked(level, tuple(keys), returned, unsupported, creators, identifier.text(ZONE.tag, ZONE.vr))


def read_level(identifier: DataSet, model: Model) -> Level:
    """Return the Query/Retrieve Level. Raises Failure INVALID if it is missing or not of the model."""
    text = identifier.text(QUERY_RETRIEVE_LEVEL)
    for level in LEVELS_OF[model]:
        if text == level:
            return level
    allowed = ", ".join(LEVELS_OF[model])
    comment = f"Query/Retrieve Level must be one of {allowed}"
    raise Failure(Kind.INVALID, comment, (QUERY_RETRIEVE_LEVEL,))


def check_hierarchy(asked: Asked, model: Model) -> None:
    """Refuse a query whose unique keys above its level are not single values (PS3.4 C.4.1.3.1.1)."""
    texts = dict(asked.keys)
    for at in LEVELS_OF[model]:
        if at == asked.level:
            return
        key = UNIQUE_KEY[at]
        text = texts.get(key, "")
        if not text or any(c in text for c in "\\*?"):
            comment = f"{key.keyword} needs one value: no relational query was negotiated"
            raise Failure(Kind.INVALID, comment, (key.tag,))


def _text(identifier: DataSet, tag: int, attribute: Attribute) -> str:
    if attribute.vr == "SQ":
        key = identifier.items(tag)
        if len(key) > 1:
            raise Failure(Kind.INVALID, f"{attribute.keyword} has more than one item", (tag,))
        return items.to_text(tag, key)
    return identifier.text(tag, attribute.vr)
