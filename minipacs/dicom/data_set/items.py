"""Items of one sequence as text: what the index keeps of them, and what keys ask for (PS3.4 C.2.2.2.6).

The text is the JSON of `json_values` for a data set that holds the sequence alone, "" if no item holds anything.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from minipacs.dicom.data_set.decode import DataSet, decode_items
from minipacs.dicom.data_set.json_values import dumps, loads
from minipacs.dicom.data_set.values import Values, read
from minipacs.errors import DataSetError

MAX_PARSED = 256
"""Texts whose items are remembered."""

Items: TypeAlias = tuple[Values, ...]


def to_text(tag: int, sequence: Sequence[DataSet]) -> str:
    """Write the items of a sequence."""
    items = tuple(read(item)[0] for item in sequence)
    return dumps({tag: items}) if any(items) else ""


@lru_cache(MAX_PARSED)
def from_text(text: str) -> Items:
    """Read what `to_text` wrote; the result is shared, so that it must not be changed."""
    if not text:
        return ()
    (found,) = loads(text).values()
    return found if isinstance(found, tuple) else ()


def stored(tag: int, raw: bytes, *, implicit: bool, big_endian: bool, charsets: Sequence[str]) -> str:
    """Write the items of a stored sequence, given as it is encoded; "" if it cannot be read."""
    try:
        return to_text(tag, decode_items(raw, implicit=implicit, big_endian=big_endian, charsets=charsets))
    except DataSetError:
        return ""


def pick(found: Items, asked: Items) -> Items:
    """Pick from stored items what the item of a key asks for, "" where there is nothing; all if it names nothing."""
    if not asked or not asked[0]:
        return found
    return tuple({tag: _picked(item, tag, key) for tag, key in asked[0].items()} for item in found)


def _picked(item: Values, tag: int, key: str | Items) -> str | Items:
    value = item.get(tag)
    if isinstance(key, str):
        return value if isinstance(value, str) else ""
    return pick(value, key) if isinstance(value, tuple) else ()
