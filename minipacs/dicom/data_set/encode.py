"""Answers of C-FIND and failures of C-MOVE and C-GET: values to bytes (PS3.4 C.4, PS3.5 7)."""

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.value_representations import MAX_SHORT_LENGTH, NUMBER_FORMATS, SHORT_VRS, pack_numbers
from minipacs.dicom.text import charset

MAX_WRITTEN_VALUES = 256
"""Values of one element that an encoder remembers as bytes."""


class _Field(NamedTuple):
    """How one element of every answer is written: what precedes its length and value, and what pads it.

    `long_head` goes before a length of 32 bits; `head`, b"" if there is none, before one of 16.
    """

    vr: str
    head: bytes
    long_head: bytes
    pad: bytes
    is_number: bool


def _field(tag: int, vr: str, *, implicit: bool) -> _Field:
    """Lay out an element; text too long for a length of 16 bits goes out as UN (PS3.5 6.2.2)."""
    name = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    pad = b"\0" if vr == "UI" else b" "
    is_number = vr in NUMBER_FORMATS
    if implicit:
        return _Field(vr, b"", name, pad, is_number)
    if vr in SHORT_VRS:
        return _Field(vr, name + vr.encode("ascii"), name + b"UN\0\0", pad, is_number)
    return _Field(vr, b"", name + vr.encode("ascii") + b"\0\0", pad, is_number)


_pack_short = struct.Struct("<H").pack
_pack_long = struct.Struct("<I").pack


class ResponseEncoder:
    """Writes the answers of one request: the same elements each time, other values.

    `elements` are pairs of tag and VR in ascending order, all beyond Specific Character Set, which is added where
    needed; `charsets` are the request's. Explicit VR Little Endian, or implicit. `left_out_if_empty` are tags of
    elements that no answer has without a value.
    """

    __slots__ = ("_charset_field", "_charsets", "_fields", "_head", "_holds_ascii", "_written")

    def __init__(
        self,
        elements: Sequence[tuple[int, str]],
        charsets: Sequence[str],
        *,
        implicit: bool,
        left_out_if_empty: frozenset[int] = frozenset(),
    ) -> None:
        tags = [SPECIFIC_CHARACTER_SET, *(tag for tag, _ in elements)]
        if any(tag >= following for tag, following in pairwise(tags)):
            raise ValueError("tags of an answer have to ascend, beyond (0008,0005)")
        self._fields = tuple(_field(tag, vr, implicit=implicit) for tag, vr in elements)
        self._charset_field = _field(SPECIFIC_CHARACTER_SET, "CS", implicit=implicit)
        self._charsets = tuple(charsets)
        self._holds_ascii = charset.encode("~", charsets, "LO") == b"~"
        self._head = self._named(self._charsets)
        self._written: tuple[dict[str, bytes], ...] = tuple(
            {"": b""} if tag in left_out_if_empty else {} for tag, _ in elements
        )

    def encode(self, values: Sequence[str]) -> bytes:
        """Write one answer; `values` are in the order of the elements, "" gives zero length.

        In the request's character set if every value fits, else in ISO_IR 192 (`charset.choose`). Numbers are decimal
        text here, packed there; one that its VR cannot hold has zero length.
        """
        if self._holds_ascii and "".join(values).isascii():
            return self._encode_ascii(values)
        texts = [(field.vr, value) for field, value in zip(self._fields, values, strict=True)]
        chosen = charset.choose(texts, self._charsets)
        raws = [charset.encode(value, chosen, vr) or b"" for vr, value in texts]
        out = [self._named(chosen)]
        for field, written, value, raw in zip(self._fields, self._written, values, raws, strict=True):
            element = written.get(value)
            out.append(_element(field, raw) if element is None else element)
        return b"".join(out)

    def _encode_ascii(self, values: Sequence[str]) -> bytes:
        """Write an answer that looks the same in every character set; many values come again and again."""
        out = [self._head]
        for field, written, value in zip(self._fields, self._written, values, strict=True):
            element = written.get(value)
            if element is None:
                element = _element(field, value.encode("ascii"))
                if len(written) < MAX_WRITTEN_VALUES:
                    written[value] = element
            out.append(element)
        return b"".join(out)

    def _named(self, charsets: Sequence[str]) -> bytes:
        """Write Specific Character Set, nothing if there is none to name."""
        return _element(self._charset_field, "\\".join(charsets).encode("ascii", "replace")) if charsets else b""


def _element(field: _Field, raw: bytes) -> bytes:
    vr, head, long_head, pad, is_number = field
    if is_number and raw:
        raw = pack_numbers(raw.decode("ascii"), vr)
    length = len(raw)
    if length & 1:
        raw += pad
        length += 1
    if head and length <= MAX_SHORT_LENGTH:
        return head + _pack_short(length) + raw
    return long_head + _pack_long(length) + raw
