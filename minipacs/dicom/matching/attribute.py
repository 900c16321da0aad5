"""What a key asks of one attribute: single value, list of UIDs, wild cards, range, name, item (PS3.4 C.2.2.2).

A stored value is text as the readers of data sets give it: without padding, several values joined by backslashes, the
items of a sequence as `items.to_text` writes them, "" if there is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.items import Items
from minipacs.dicom.data_set.values import vr_of
from minipacs.dicom.matching import temporal
from minipacs.dicom.matching.names import Name, Sound, name_key, sound_key
from minipacs.dicom.matching.temporal import Span
from minipacs.dicom.matching.wildcards import Patterns
from minipacs.dicom.tables.value_representations import SINGLE_VALUED_VRS
from minipacs.dicom.text.storable import storable

WILDCARD_VRS = frozenset(["AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
"""In all other VRs `*` and `?` are plain characters (PS3.4 C.2.2.2.4)."""

MAX_LIST_VALUES = 500
"""Values of one key, save of a list of UIDs for an attribute that has one."""

MAX_PATTERN_LENGTH = 1024
"""Characters of one value with wild cards, or of one name that is looked for by sound."""

MAX_PATTERN_CHARACTERS = 4096
"""Of all these values of one key together."""

EMPTY_VALUE = '""'
"""The key that asks for attributes without a value, where that is understood (PS3.4 C.2.2.2.7)."""


class Malformed(ValueError):
    """A key that cannot be understood; the words go on from its name."""


class Matching(Protocol):
    """What is asked of one attribute; a value that is shared between threads and never changes."""

    def matches(self, stored: str) -> bool:
        """Tell whether a stored value is what was asked for."""


class Empty:
    """Finds attributes without a value."""

    def matches(self, stored: str) -> bool:
        """Tell whether there is no value."""
        return not stored


class Text:
    """Finds one of `values` exactly, or what one of `patterns` fits; in a `multi` attribute any value may."""

    __slots__ = ("_patterns", "_values", "multi", "patterns", "values")

    def __init__(self, values: Sequence[str], patterns: Sequence[str] = (), *, multi: bool = False) -> None:
        self.values = tuple(values)
        self.patterns = tuple(patterns)
        self.multi = multi
        self._values = frozenset(values)
        self._patterns = Patterns(patterns)

    def matches(self, stored: str) -> bool:
        """Tell whether a stored value, or one of several, is asked for."""
        return bool(stored) and any(
            value in self._values or self._patterns.match(value)
            for value in (stored.split("\\") if self.multi else (stored,))
        )


@dataclass(frozen=True, slots=True)
class Range:
    """Finds dates or times in one of `spans`: a single moment is a span as well. `offset` is that of the key's zone."""

    vr: str
    spans: tuple[Span, ...]
    multi: bool = False

    def matches(self, stored: str) -> bool:
        """Tell whether a stored date or time lies within one of the spans."""
        values = stored.split("\\") if self.multi else (stored,)
        return any(self._fits(temporal.compared(value, self.vr)) for value in values)

    def _fits(self, value: str) -> bool:
        return bool(value) and any(low <= value <= high for low, high in self.spans)


@dataclass(frozen=True, slots=True)
class Item:
    """Finds sequences with an item that has all of `keys`, which are by tag (PS3.4 C.2.2.2.6)."""

    keys: Mapping[int, Matching]

    def matches(self, stored: str) -> bool:
        """Tell whether one of the stored items has all that is asked for."""
        return self.matches_items(items.from_text(stored))

    def matches_items(self, found: Items) -> bool:
        """Tell the same of items."""
        return any(all(_matches(matching, item.get(tag, "")) for tag, matching in self.keys.items()) for item in found)


def _matches(matching: Matching, stored: str | Items) -> bool:
    if isinstance(matching, Item):
        return matching.matches_items(() if isinstance(stored, str) else stored)
    return isinstance(stored, str) and matching.matches(stored)


def parse(
    vr: str, text: str, *, multi: bool, fuzzy: bool = False, number: bool = False, empty_value: bool = False
) -> Matching | None:
    """Read a key; None if it is universal. Several values match as a list: any of them.

    `fuzzy` finds names by what they sound like, `number` compares whole numbers by their value, `empty_value` takes
    two double quotes to ask for nothing. Raises Malformed.
    """
    if empty_value and text.strip() == EMPTY_VALUE:
        return Empty()
    if vr == "SQ":
        return parse_item(items.from_text(text))
    values = split(vr, text)
    if not values or (vr in WILDCARD_VRS and any(not value.strip("*") for value in values)):
        return None
    if len(values) > MAX_LIST_VALUES and (vr != "UI" or multi):
        raise Malformed(f"has more than {MAX_LIST_VALUES} values")
    if vr in temporal.VRS:
        return Range(vr, spans(vr, values), multi)
    if number:
        return Text([str(int(v)) for v in values if v.isascii() and v.isdecimal() and len(v) < 10])
    patterns = [v for v in values if vr in WILDCARD_VRS and ("*" in v or "?" in v)]
    lengths = [len(value) for value in (values if fuzzy and vr == "PN" else patterns)]
    if max(lengths, default=0) > MAX_PATTERN_LENGTH:
        raise Malformed(f"has a pattern of more than {MAX_PATTERN_LENGTH} characters")
    if sum(lengths) > MAX_PATTERN_CHARACTERS:
        raise Malformed(f"has patterns of more than {MAX_PATTERN_CHARACTERS} characters")
    if vr == "PN":
        return _parse_names(values, multi=multi, fuzzy=fuzzy)
    return Text([v for v in values if v not in patterns], patterns, multi=multi)


def _parse_names(values: Sequence[str], *, multi: bool, fuzzy: bool) -> Matching | None:
    if fuzzy:
        sounds = [sound_key(value) for value in values]
        return Sound(tuple(sounds), multi) if all(sounds) else None
    names = [name_key(value) for value in values]
    asked = [name for name in names if name is not None]
    return Name(asked, multi=multi) if len(asked) == len(names) else None


def parse_item(key: Items) -> Item | None:
    """Read the item of a sequence key; None if it asks for nothing. Raises Malformed."""
    if len(key) > 1:
        raise Malformed("has more than one item")
    keys: dict[int, Matching] = {}
    for tag, value in key[0].items() if key else ():
        try:
            matching = parse_item(value) if isinstance(value, tuple) else parse(vr_of(tag), value, multi=True)
        except Malformed as error:
            raise Malformed(f"has a value that {error}") from None
        if matching is not None:
            keys[tag] = matching
    return Item(keys) if keys else None


def split(vr: str, text: str) -> list[str]:
    """Split a key into its values, without padding and empty ones; in text VRs a backslash is a plain character."""
    values = [text] if vr in SINGLE_VALUED_VRS else text.split("\\")
    return [value for value in (storable(value.strip(" \0")) for value in values) if value]


def spans(vr: str, values: Sequence[str], offset: str = "") -> tuple[Span, ...]:
    """Read dates or times and ranges of them; `offset` is that of date-times that name none. Raises Malformed."""
    found = [span for value in values if (span := temporal.span(value, vr, offset)) is not None]
    if len(found) < len(values):
        raise Malformed("is not a value or range of its kind")
    return tuple(found)
