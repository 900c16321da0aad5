"""Small data sets as values: what worklist items, performed procedure steps and commitments are made of.

A value is Unicode text, several joined by backslashes, numbers in decimal; the value of a sequence is its items. The VR
of an element is the dictionary's, so what the dictionary does not know, or has no text form, is not kept.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

from minipacs.dicom.data_set.decode import DataSet
from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.dictionary import first_vr
from minipacs.dicom.tables.tags import ITEM
from minipacs.dicom.tables.value_representations import MAX_SHORT_LENGTH, NUMBER_FORMATS, SHORT_VRS, pack_numbers
from minipacs.dicom.text import charset

Values: TypeAlias = Mapping[int, "str | tuple[Values, ...]"]
"""Elements by tag: text, or the items of a sequence."""

MutableValues: TypeAlias = dict[int, "str | tuple[Values, ...]"]

_NO_VRS: Mapping[int, str] = MappingProxyType({})
_NOT_TEXT = frozenset({"AT", "OB", "OD", "OF", "OL", "OV", "OW", "UN"})


@lru_cache(maxsize=4096)
def vr_of(tag: int) -> str:
    """Give the VR of an element whose value can be kept, "" for others: private, unknown, group length, binary."""
    vr = first_vr(tag, "")
    return "" if vr in _NOT_TEXT or tag >> 16 & 1 or not tag & 0xFFFF else vr


def read(data_set: DataSet) -> tuple[MutableValues, tuple[int, ...]]:
    """Give the values of a decoded data set, and the tags at its top that cannot be kept.

    Specific Character Set is left out: the values are Unicode.
    """
    found: MutableValues = {}
    strange: list[int] = []
    for tag in data_set.elements:
        vr = vr_of(tag)
        if tag == SPECIFIC_CHARACTER_SET:
            continue
        if not vr:
            strange.append(tag)
        elif vr == "SQ":
            found[tag] = tuple(read(item)[0] for item in data_set.items(tag))
        else:
            found[tag] = data_set.text(tag)
    return found, tuple(strange)


def text(values: Values, tag: int) -> str:
    """Give a value, "" if it is absent or a sequence."""
    value = values.get(tag, "")
    return value if isinstance(value, str) else ""


def items(values: Values, tag: int) -> tuple[Values, ...]:
    """Give the items of a sequence, none if it is absent or no sequence."""
    value = values.get(tag, ())
    return () if isinstance(value, str) else value


def encode(values: Values, charsets: Sequence[str], *, implicit: bool, vrs: Mapping[int, str] = _NO_VRS) -> bytes:
    """Write a data set in Explicit VR Little Endian, or implicit, its elements in the order of tags.

    In `charsets` if every value fits, else in ISO_IR 192; Specific Character Set is added where it is needed
    (`charset.choose`). `vrs` are those of elements at the top that the dictionary does not know.
    """
    texts = list(_texts(values, vrs))
    if not charsets and all(value.isascii() for _, value in texts):
        return _encode(values, (), implicit=implicit, vrs=vrs)
    chosen = charset.choose(texts, charsets)
    named = {SPECIFIC_CHARACTER_SET: "\\".join(chosen)} if chosen else {}
    return _encode({**named, **values}, chosen, implicit=implicit, vrs=vrs)


def _texts(values: Values, vrs: Mapping[int, str] = _NO_VRS) -> Iterator[tuple[str, str]]:
    for tag, value in values.items():
        if isinstance(value, str):
            yield vrs.get(tag) or vr_of(tag), value
        else:
            for item in value:
                yield from _texts(item)


def _encode(values: Values, charsets: Sequence[str], *, implicit: bool, vrs: Mapping[int, str] = _NO_VRS) -> bytes:
    out: list[bytes] = []
    for tag in sorted(values):
        value, vr = values[tag], vrs.get(tag) or vr_of(tag)
        if isinstance(value, str):
            raw = _raw(value, vr, charsets)
        else:
            encoded = [_encode(item, charsets, implicit=implicit) for item in value]
            raw = b"".join(_head(ITEM) + struct.pack("<I", len(item)) + item for item in encoded)
        out.append(_head(tag))
        if implicit:
            out.append(struct.pack("<I", len(raw)))
        elif vr in SHORT_VRS and len(raw) <= MAX_SHORT_LENGTH:
            out.append(struct.pack("<2sH", vr.encode("ascii"), len(raw)))
        else:
            out.append(struct.pack("<2sHI", b"UN" if vr in SHORT_VRS else vr.encode("ascii"), 0, len(raw)))
        out.append(raw)
    return b"".join(out)


def _head(tag: int) -> bytes:
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def _raw(value: str, vr: str, charsets: Sequence[str]) -> bytes:
    if vr in NUMBER_FORMATS:
        return pack_numbers(value, vr) if value else b""
    raw = charset.encode(value, charsets, vr) or b""
    return raw + (b"\0" if vr == "UI" else b" ") if len(raw) & 1 else raw
