"""Sequence matching: one item of keys against the items of a stored sequence (PS3.4 C.2.2.2.6).

Items are compared as a whole: all keys have to match within one stored item. Values follow the rules of `matching`.
"""

from collections.abc import Callable
from functools import lru_cache

from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.items import Items
from minipacs.dicom.data_set.values import Values, vr_of
from minipacs.dicom.matching import temporal
from minipacs.dicom.matching.wildcards import regex
from minipacs.dicom.tables.attributes import Attribute
from minipacs.dicom.tables.value_representations import SINGLE_VALUED_VRS
from minipacs.dicom.text.person_name import fold, groups
from minipacs.errors import Failure, Kind
from minipacs.index.objects.conditions import MAX_LIST_VALUES, MAX_PATTERN_LENGTH, WILDCARD_VRS

MAX_MATCHERS = 256
"""Keys whose matchers are remembered."""

Matcher = Callable[[str], bool]


def check_items(attribute: Attribute, key: Items) -> bool:
    """Check the items of a sequence key; True if there is something to match, False if it is universal.

    Raises Failure INVALID with the tag for more than one item and for what `matching.match` refuses.
    """
    if len(key) > 1:
        raise Failure(Kind.INVALID, f"{attribute.keyword} has more than one item", (attribute.tag,))
    asked = [
        check_items(attribute, value) if isinstance(value, tuple) else not _is_universal(attribute, vr_of(tag), value)
        for tag, value in (key[0].items() if key else ())
    ]
    return any(asked)


def items_match(stored: str, key: str) -> bool:
    """Tell whether one of the stored items matches the key's, both as `items.to_text` writes them.

    The SQL function of that name.
    """
    return _any_item(items.from_text(stored), items.from_text(key))


def _is_universal(attribute: Attribute, vr: str, text: str) -> bool:
    values = _values(vr, text)
    too_long = len(values) > MAX_LIST_VALUES or any(len(value) > MAX_PATTERN_LENGTH for value in values)
    if too_long or (vr in temporal.VRS and any(temporal.span(value, vr) is None for value in values)):
        what = "is too long" if too_long else "is not a value or range of its kind"
        raise Failure(Kind.INVALID, f"value within {attribute.keyword} {what}", (attribute.tag,))
    return _matcher(vr, text) is None


def _values(vr: str, text: str) -> list[str]:
    values = [text] if vr in SINGLE_VALUED_VRS else text.split("\\")
    return [value for value in (value.strip(" \0") for value in values) if value]


def _any_item(stored: Items, key: Items) -> bool:
    return not key or any(_item(item, key[0]) for item in stored)


def _item(item: Values, key: Values) -> bool:
    return all(_attribute(item.get(tag, ""), vr_of(tag), asked) for tag, asked in key.items())


def _attribute(value: str | Items, vr: str, asked: str | Items) -> bool:
    if isinstance(asked, tuple):
        return not _asks(asked) or (isinstance(value, tuple) and _any_item(value, asked))
    matches = _matcher(vr, asked)
    return matches is None or (isinstance(value, str) and any(map(matches, _values(vr, value))))


def _asks(key: Items) -> bool:
    """Tell whether a nested key is more than universal."""
    return any(
        _asks(value) if isinstance(value, tuple) else _matcher(vr_of(tag), value) is not None
        for item in key
        for tag, value in item.items()
    )


@lru_cache(MAX_MATCHERS)
def _matcher(vr: str, text: str) -> Matcher | None:
    """Give what tells whether one stored value matches; None if the key is universal."""
    keys = _values(vr, text)
    if not keys or (vr in WILDCARD_VRS and any(not key.strip("*") for key in keys)):
        return None
    if vr in temporal.VRS:
        spans = [span for key in keys if (span := temporal.span(key, vr)) is not None]
        return lambda value: any(low <= temporal.normal(value, vr) <= high for low, high in spans)
    if vr == "PN":
        names = [_name_matcher(fold(key)) for key in keys]
        return lambda value: any(matches(value) for matches in names)
    if vr in WILDCARD_VRS:
        patterns = [regex(key).fullmatch for key in keys]
        return lambda value: any(matches(value) for matches in patterns)
    return frozenset(keys).__contains__


def _name_matcher(key: str) -> Matcher:
    """Match any group if the key has but one, else group by group, those left empty matching anything (PS3.5 6.2.1)."""
    if "=" not in key:
        return lambda value: any(regex(key).fullmatch(group) for group in groups(fold(value)) if group)
    asked = [regex(group).fullmatch if group.strip("*") else None for group in groups(key)]
    return lambda value: all(
        matches is None or matches(group) for matches, group in zip(asked, groups(fold(value)), strict=True)
    )
