"""Data sets of requests, taken apart: bytes to elements (PS3.5 7).

A request is taken apart into raw elements and no value is judged here, so that a malformed key can be ignored by the
service while a malformed structure is refused as a whole.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.dictionary import first_vr
from minipacs.dicom.tables.tags import ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, UNDEFINED_LENGTH
from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.dicom.tables.value_representations import NUMBER_FORMATS, SHORT_VRS, read_numbers
from minipacs.dicom.text import charset
from minipacs.errors import DataSetError, Failure, Kind

MAX_IDENTIFIER_BYTES = 1 << 20
"""Of a request, also when inflated: some 16 000 UIDs in one key."""

MAX_ELEMENTS = 4096
"""Of a request, those within items and the items included: in memory an empty one is thirty times its eight bytes."""

MAX_NESTING = 16
"""Depth of sequences within sequences."""

_DELIMITER_GROUP = 0xFFFE


@dataclass(frozen=True, slots=True)
class Element:
    """One data element as sent: its bytes, or the items of a sequence.

    Where the encoding does not tell the VR it is the dictionary's, UN if that knows none.
    """

    vr: str
    raw: bytes = b""
    items: tuple[Mapping[int, "Element"], ...] = ()
    big_endian: bool = False


@dataclass(frozen=True, slots=True)
class DataSet:
    """Elements by tag, without group lengths, and the character sets that their text is in.

    Of elements sent twice the last counts. `charsets` are what the request named, else the caller's default.
    """

    elements: Mapping[int, Element]
    charsets: tuple[str, ...] = ()

    def text(self, tag: int, vr: str = "UN") -> str:
        """Give a value as Unicode text: padding stripped, several values joined by backslashes, numbers in decimal.

        `vr` is that of an element that does not tell it and that the dictionary does not know. "" if the element is
        absent, empty, a sequence, or numbers of an impossible length.
        """
        element = self.elements.get(tag)
        if element is None or not element.raw:
            return ""
        if element.vr != "UN":
            vr = element.vr
        if vr in NUMBER_FORMATS:
            return read_numbers(element.raw, vr, big_endian=element.big_endian)
        return charset.decode(element.raw, self.charsets, vr)

    def items(self, tag: int) -> tuple["DataSet", ...]:
        """Give the items of a sequence, none if it is absent or empty; an item inherits the character sets."""
        element = self.elements.get(tag)
        return tuple(DataSet(item, _charsets(item) or self.charsets) for item in element.items) if element else ()


def decode_data_set(
    data: bytes | memoryview,
    transfer_syntax: TransferSyntax,
    default_charsets: Sequence[str] = (),
    limit_bytes: int = MAX_IDENTIFIER_BYTES,
    max_elements: int = MAX_ELEMENTS,
) -> DataSet:
    """Take a data set of a request apart; `default_charsets` hold for one that names none.

    Raises DataSetError if the bytes are no data set, too many or too deeply nested, Failure UNKNOWN_CHARSET with
    (0008,0005). Source: PS3.5 7.
    """
    raw = _inflate(data, limit_bytes) if transfer_syntax.deflated else bytes(data)
    if len(raw) > limit_bytes:
        raise DataSetError(f"data set exceeds {limit_bytes} bytes")
    encoding = _BIG_ENDIAN if transfer_syntax.big_endian else _IMPLICIT if transfer_syntax.implicit else _EXPLICIT
    elements = _Reader(raw, max_elements).elements(len(raw), encoding, 0)
    return DataSet(elements, _charsets(elements) or tuple(default_charsets))


def decode_items(raw: bytes, *, implicit: bool, big_endian: bool, charsets: Sequence[str]) -> tuple[DataSet, ...]:
    """Take apart the value of a stored object's sequence, without its delimiter; `charsets` are the object's.

    Character sets that nobody defined are let be. Raises DataSetError if the bytes are no items.
    """
    encoding = _BIG_ENDIAN if big_endian else _IMPLICIT if implicit else _EXPLICIT
    items = _Reader(raw, len(raw), check_charsets=False).items(len(raw), encoding, 0)
    return tuple(DataSet(item, _charsets(item) or tuple(charsets)) for item in items)


def _inflate(data: bytes | memoryview, limit_bytes: int) -> bytes:
    """Inflate one byte past the limit at most, so that the caller sees it exceeded."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        raw = stream.decompress(data, limit_bytes + 1)
    except zlib.error:
        raise DataSetError("data set cannot be inflated") from None
    if not stream.eof and len(raw) <= limit_bytes:
        raise DataSetError("data set ends within its deflated stream")
    return raw


def _charsets(elements: Mapping[int, Element]) -> tuple[str, ...]:
    element = elements.get(SPECIFIC_CHARACTER_SET)
    return charset.terms(charset.decode(element.raw, (), "CS")) if element else ()


class _Encoding(NamedTuple):
    tag: struct.Struct
    length: struct.Struct
    short_length: struct.Struct
    implicit: bool
    big_endian: bool


def _encoding(order: str, *, implicit: bool) -> _Encoding:
    tag, length, short_length = (struct.Struct(order + format_) for format_ in ("HH", "I", "H"))
    return _Encoding(tag, length, short_length, implicit=implicit, big_endian=order == ">")


_IMPLICIT = _encoding("<", implicit=True)
_EXPLICIT = _encoding("<", implicit=False)
_BIG_ENDIAN = _encoding(">", implicit=False)


class _Reader:
    """Walks over a whole data set in memory; each method leaves `position` behind what it read."""

    __slots__ = ("check_charsets", "data", "left", "position")

    def __init__(self, data: bytes, max_elements: int, *, check_charsets: bool = True) -> None:
        self.data = data
        self.left = max_elements
        self.position = 0
        self.check_charsets = check_charsets

    def elements(self, end: int, encoding: _Encoding, depth: int, *, delimited: bool = False) -> dict[int, Element]:
        """Read up to `end`, or up to an item delimiter before it."""
        elements: dict[int, Element] = {}
        while self.position < end:
            tag = self._tag(end, encoding)
            if tag == ITEM_DELIMITER and delimited:
                self._number(end, encoding.length)
                return elements
            if tag >> 16 == _DELIMITER_GROUP:
                raise DataSetError("data set has an item or delimiter out of place")
            element = self._element(tag, end, encoding, depth)
            if tag & 0xFFFF:
                elements[tag] = element
            if tag == SPECIFIC_CHARACTER_SET and self.check_charsets:
                charset.check(_charsets(elements))
        if delimited:
            raise DataSetError("data set ends within an item")
        return elements

    def _element(self, tag: int, end: int, encoding: _Encoding, depth: int) -> Element:
        sent_vr = "" if encoding.implicit else self._vr(end)
        length_of = encoding.short_length if sent_vr in SHORT_VRS else encoding.length
        if sent_vr and length_of is encoding.length:
            self._take(2, end)
        length = self._number(end, length_of)
        vr = sent_vr if sent_vr not in ("", "UN") else first_vr(tag, "UN")
        inner = _IMPLICIT if sent_vr == "UN" else encoding
        if length == UNDEFINED_LENGTH and length_of is encoding.length:
            if sent_vr not in ("", "UN", "SQ"):
                raise DataSetError(f"data set has a {sent_vr} of undefined length")
            return Element("SQ", items=self.items(end, inner, depth, delimited=True))
        if length > end - self.position:
            raise DataSetError("data set ends within a value")
        if vr == "SQ":
            return Element("SQ", items=self.items(self.position + length, inner, depth))
        return Element(vr, self._take(length, end), (), inner.big_endian)

    def items(
        self, end: int, encoding: _Encoding, depth: int, *, delimited: bool = False
    ) -> tuple[dict[int, Element], ...]:
        """Read the items of a sequence up to `end`, or up to a sequence delimiter before it."""
        if depth == MAX_NESTING:
            raise DataSetError(f"data set nests sequences deeper than {MAX_NESTING}")
        items: list[dict[int, Element]] = []
        while self.position < end:
            tag, length = self._tag(end, encoding), self._number(end, encoding.length)
            if tag == SEQUENCE_DELIMITER and delimited:
                return tuple(items)
            if tag != ITEM:
                raise DataSetError("data set has a sequence with something else than items")
            if length == UNDEFINED_LENGTH:
                items.append(self.elements(end, encoding, depth + 1, delimited=True))
            elif length <= end - self.position:
                items.append(self.elements(self.position + length, encoding, depth + 1))
            else:
                raise DataSetError("data set has an item longer than its sequence")
        if delimited:
            raise DataSetError("data set ends within a sequence")
        return tuple(items)

    def _take(self, length: int, end: int) -> bytes:
        start = self.position
        if length > end - start:
            raise DataSetError("data set ends within an element")
        self.position = start + length
        return self.data[start : self.position]

    def _number(self, end: int, form: struct.Struct) -> int:
        number: int = form.unpack(self._take(form.size, end))[0]
        return number

    def _tag(self, end: int, encoding: _Encoding) -> int:
        self.left -= 1
        if self.left < 0:
            raise Failure(Kind.TOO_MANY, "data set has too many elements")
        group, number = encoding.tag.unpack(self._take(4, end))
        return int(group << 16 | number)

    def _vr(self, end: int) -> str:
        vr = self._take(2, end)
        if not (vr.isalpha() and vr.isupper()):
            raise DataSetError("data set has an element without a value representation")
        return vr.decode("ascii")
