"""A stored data set with other values, as pieces of it and new bytes between them (PS3.5 7, PS3.3 C.12.1.1.9).

Only what is amended is written anew, and Original Attributes Sequence, which keeps what was said before; group lengths
of groups that change are left out. Nothing else is touched, wherever it stands.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from time import gmtime, strftime
from typing import NamedTuple

from minipacs.dicom.data_set.amendments import AMENDABLE, Amendment
from minipacs.dicom.data_set.header import MAX_SEQUENCE_DEPTH
from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.tags import (
    ITEM,
    ITEM_DELIMITER,
    LENGTH_TO_END,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    tag_text,
)
from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.dicom.tables.value_representations import SHORT_VR_CODES
from minipacs.dicom.text import charset
from minipacs.errors import DataSetError

WINDOW_BYTES = 1 << 16
"""Read at once while elements are looked for."""

MAX_PREVIOUS_BYTES = 1 << 16
"""Of a value that is amended; a longer one is refused."""

MODIFYING_SYSTEM = "MINIPACS"

_ORIGINAL_ATTRIBUTES, _MODIFIED_ATTRIBUTES = 0x04000561, 0x04000550
_MODIFIED_AT, _MODIFIED_BY, _SOURCE_OF_PREVIOUS, _REASON = 0x04000562, 0x04000563, 0x04000564, 0x04000565
_DELIMITERS = (ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER)

ReadAt = Callable[[int, int], bytes]
"""Reads so many bytes, fewer only at the end, from an offset."""


class CharsetMisfit(DataSetError):
    """A new value that has no code in the character set of the object."""


class Span(NamedTuple):
    """A piece of the stored data set."""

    offset: int
    length: int


Segment = bytes | Span


class _Element(NamedTuple):
    """Where a top-level element lies; a delimiter that strayed has the tag 0."""

    tag: int
    vr: bytes
    start: int
    value_at: int
    length: int
    end: int


class _Value(NamedTuple):
    vr: bytes
    raw: bytes


def amend(read_at: ReadAt, size_bytes: int, syntax: TransferSyntax, amendments: Sequence[Amendment]) -> list[Segment]:
    """Plan a data set of `size_bytes`, not a deflated one, with amendments applied one after the other.

    Raises CharsetMisfit if a value does not fit the object's character set, and DataSetError.
    """
    elements = list(_Walk(read_at, size_bytes, syntax).elements())
    last = {element.tag: element for element in elements}
    charsets = (
        charset.terms(_raw(read_at, last[SPECIFIC_CHARACTER_SET]).decode("ascii", "replace"))
        if (SPECIFIC_CHARACTER_SET in last)
        else ()
    )
    coder = _Coder(implicit=syntax.implicit, big_endian=syntax.big_endian)
    sequence = last.get(_ORIGINAL_ATTRIBUTES)
    is_unknown = sequence is not None and sequence.vr == b"UN"
    item_coder = _Coder(implicit=True, big_endian=False) if is_unknown else coder
    values: dict[int, _Value] = {}
    items = []
    for amendment in amendments:
        new = _encoded(amendment.values or {}, charsets)
        previous = {
            tag: values[tag] if tag in values else _previous(read_at, last.get(tag), value.vr)
            for tag, value in new.items()
        }
        items.append(_item(item_coder, amendment, previous, charsets))
        values |= new
    written: dict[int, list[Segment]] = {tag: [coder.element(tag, *value)] for tag, value in values.items()}
    written[_ORIGINAL_ATTRIBUTES] = _sequence(coder, sequence, b"".join(items), is_unknown=is_unknown)
    return _padded(_merged(elements, written, size_bytes))


def _encoded(values: Mapping[str, str], charsets: Sequence[str]) -> dict[int, _Value]:
    found = {}
    for attribute, text in sorted(((AMENDABLE[k], text) for k, text in values.items()), key=lambda pair: pair[0].tag):
        raw = charset.encode(text, charsets, attribute.vr)
        if raw is None:
            raise CharsetMisfit(f"a new value does not fit the character set {'/'.join(charsets)}", attribute.tag)
        found[attribute.tag] = _Value(attribute.vr.encode(), raw + b" " * (len(raw) & 1))
    return found


def _previous(read_at: ReadAt, element: _Element | None, vr: bytes) -> _Value:
    """Read what is said now; what is absent is kept as empty."""
    return _Value(vr, b"") if element is None else _Value(element.vr or vr, _raw(read_at, element))


def _raw(read_at: ReadAt, element: _Element) -> bytes:
    if not element.length <= MAX_PREVIOUS_BYTES:
        raise DataSetError(f"the value of {tag_text(element.tag)} is too long to be amended", element.tag)
    return bytes(read_at(element.value_at, element.length))


def _item(coder: "_Coder", amendment: Amendment, previous: Mapping[int, _Value], charsets: Sequence[str]) -> bytes:
    """Write an item of Original Attributes Sequence."""
    modified = b"".join(coder.element(tag, *value) for tag, value in sorted(previous.items()))
    moment = strftime("%Y%m%d%H%M%S", gmtime(amendment.at)) + f".{int(amendment.at % 1 * 1_000_000):06d}+0000"
    source = charset.encode(amendment.source, charsets, "LO") or b""
    texts = (
        (_MODIFIED_AT, b"DT", moment.encode()),
        (_MODIFIED_BY, b"LO", MODIFYING_SYSTEM.encode()),
        (_SOURCE_OF_PREVIOUS, b"LO", source),
        (_REASON, b"CS", amendment.reason.encode()),
    )
    content = coder.element(_MODIFIED_ATTRIBUTES, b"SQ", coder.item(modified))
    return coder.item(content + b"".join(coder.element(t, vr, raw + b" " * (len(raw) & 1)) for t, vr, raw in texts))


def _sequence(coder: "_Coder", element: _Element | None, items: bytes, *, is_unknown: bool) -> list[Segment]:
    """Write Original Attributes Sequence: the items that it has, then ours; what is in UN has to stay so."""
    kept: list[Segment] = []
    kept_bytes = 0
    if element is not None:
        kept_bytes = element.length if element.length != UNDEFINED_LENGTH else element.end - element.value_at - 8
        kept = [Span(element.value_at, kept_bytes)]
    if is_unknown:  # of undefined length, by which readers know it for a sequence (PS3.5 6.2.2)
        head = coder.head(_ORIGINAL_ATTRIBUTES, b"UN", UNDEFINED_LENGTH)
        return [head, *kept, items + coder.delimiter()]
    return [coder.head(_ORIGINAL_ATTRIBUTES, b"SQ", kept_bytes + len(items)), *kept, items]


def _merged(elements: Sequence[_Element], written: Mapping[int, list[Segment]], size_bytes: int) -> Iterator[Segment]:
    """Put what is written before the first element with a higher tag, and leave out what it stands for."""
    groups = {tag >> 16 << 16 for tag in written} | {LENGTH_TO_END}
    waiting = sorted(written, reverse=True)
    for element in elements:
        while waiting and element.tag > waiting[-1]:
            yield from written[waiting.pop()]
        if element.tag not in written and element.tag not in groups:
            yield Span(element.start, element.end - element.start)
    while waiting:
        yield from written[waiting.pop()]
    end = elements[-1].end if elements else 0
    yield Span(end, size_bytes - end)


def _padded(segments: Iterator[Segment]) -> list[Segment]:
    """Join what belongs together, to an even size."""
    found: list[Segment] = []
    for is_bytes, run in groupby(segments, lambda segment: isinstance(segment, bytes)):
        if is_bytes:
            found.append(b"".join(run))  # type: ignore[arg-type]  # all are
            continue
        for span in run:
            before = found[-1] if found else None
            if isinstance(before, Span) and isinstance(span, Span) and before.offset + before.length == span.offset:
                found[-1] = Span(before.offset, before.length + span.length)
            elif isinstance(span, Span) and span.length:
                found.append(span)
    if length_of(found) % 2:
        found.append(b"\0")
    return found


def length_of(segments: Sequence[Segment]) -> int:
    """Count the bytes of segments."""
    return sum(segment.length if isinstance(segment, Span) else len(segment) for segment in segments)


class _Coder:
    """Writes elements in one encoding."""

    def __init__(self, *, implicit: bool, big_endian: bool) -> None:
        self._implicit = implicit
        self._order = ">" if big_endian else "<"

    def head(self, tag: int, vr: bytes, length: int) -> bytes:
        group, element = tag >> 16, tag & 0xFFFF
        if self._implicit:
            return struct.pack("<HHI", group, element, length)
        if vr in SHORT_VR_CODES:
            return struct.pack(self._order + "HH2sH", group, element, vr, length)
        return struct.pack(self._order + "HH2sHI", group, element, vr, 0, length)

    def element(self, tag: int, vr: bytes, raw: bytes) -> bytes:
        if vr in SHORT_VR_CODES and len(raw) > 0xFFFF:
            vr = b"UN"
        return self.head(tag, vr, len(raw)) + raw

    def item(self, content: bytes) -> bytes:
        return struct.pack(self._order + "HHI", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content

    def delimiter(self) -> bytes:
        return struct.pack(self._order + "HHI", SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0)


class _Walk:
    """Finds the top-level elements of a data set that was found to be whole when it was stored."""

    def __init__(self, read_at: ReadAt, size_bytes: int, syntax: TransferSyntax) -> None:
        self._read_at, self._size_bytes = read_at, size_bytes
        self._data, self._start = b"", 0
        self._implicit, self._big_endian = syntax.implicit, syntax.big_endian

    def elements(self) -> Iterator[_Element]:
        position = 0
        while self._size_bytes - position >= 8:
            element = self._element(position, implicit=self._implicit, order=">" if self._big_endian else "<")
            yield element
            position = element.end

    def _at(self, position: int, length: int) -> int:
        """Have bytes in the window; give where in it they lie."""
        if position < self._start or position + length > self._start + len(self._data):
            self._data, self._start = self._read_at(position, max(WINDOW_BYTES, length)), position
            if len(self._data) < length:
                raise DataSetError("data set is truncated")
        return position - self._start

    def _element(self, position: int, *, implicit: bool, order: str, depth: int = 0) -> _Element:
        at = self._at(position, 8)
        group, number = struct.unpack_from(order + "HH", self._data, at)
        tag, vr, value_at = group << 16 | number, b"", position + 8
        if tag in _DELIMITERS:
            return _Element(0, b"", position, value_at, 0, value_at)
        if implicit:
            (length,) = struct.unpack_from(order + "I", self._data, at + 4)
        else:
            vr = bytes(self._data[at + 4 : at + 6])
            if vr in SHORT_VR_CODES or not (vr.isalpha() and vr.isupper()):
                (length,) = struct.unpack_from(order + "H", self._data, at + 6)
            else:
                at, value_at = self._at(position, 12), position + 12
                (length,) = struct.unpack_from(order + "I", self._data, at + 8)
        end = value_at + length
        if length == UNDEFINED_LENGTH:
            if depth > MAX_SEQUENCE_DEPTH:
                raise DataSetError(f"sequences nested deeper than {MAX_SEQUENCE_DEPTH}", tag)
            if vr == b"UN":
                implicit, order = True, "<"
            end = self._end_of_items(value_at, implicit=implicit, order=order, depth=depth + 1)
        if end > self._size_bytes:
            raise DataSetError(f"data set ends inside {tag_text(tag)}", tag)
        return _Element(tag, vr, position, value_at, length, end)

    def _end_of_items(self, position: int, *, implicit: bool, order: str, depth: int) -> int:
        """Find the end of a sequence, or of fragments, of undefined length."""
        while True:
            at = self._at(position, 8)
            group, number, length = struct.unpack_from(order + "HHI", self._data, at)
            tag, position = group << 16 | number, position + 8
            if tag == SEQUENCE_DELIMITER:
                return position
            if tag != ITEM:
                raise DataSetError("no item where one must be")
            if length != UNDEFINED_LENGTH:
                position += length
                continue
            while not self._is_item_end(position, order):
                position = self._element(position, implicit=implicit, order=order, depth=depth).end
            position += 8

    def _is_item_end(self, position: int, order: str) -> bool:
        at = self._at(position, 8)
        group, number = struct.unpack_from(order + "HH", self._data, at)
        return bool(group << 16 | number == ITEM_DELIMITER)
