"""A scan of a data set as it streams by: is it whole, and what does it say of itself (PS3.5 7, A).

The scan walks the structure from the first element to the last and never looks into what it passes over. An element
of defined length is one block, a sequence too; only undefined lengths are followed down, item by item, to their
delimiters. What stays in memory is the values wanted, the start of an element that a chunk ended in, and one entry for
each open sequence.
"""

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.inflater import Buffer, Inflater
from minipacs.dicom.tables.attributes import BY_KEYWORD, SPECIFIC_CHARACTER_SET, Attribute
from minipacs.dicom.tables.keys import FIRST_BLOCK, LAST_BLOCK, STANDARD_KEYS, KeyTable
from minipacs.dicom.tables.tags import (
    ANY_PIXEL_DATA,
    ITEM,
    ITEM_DELIMITER,
    PIXEL_DATA,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    tag_text,
)
from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.dicom.tables.value_representations import NUMBER_FORMATS, SHORT_VR_CODES, SHORT_VRS, read_numbers
from minipacs.dicom.text import charset
from minipacs.errors import DataSetError, Kind

MAX_VALUE_BYTES = 40960
"""What is kept of one value: the longest LT, 10240 characters of at most four bytes. The rest of it is cut off."""

MAX_KEPT_BYTES = 1 << 20
"""What is kept of all values together; those that come after are not."""

MAX_SEQUENCE_DEPTH = 64
"""Sequences of undefined length within one another."""

_DELIMITERS = frozenset({ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER})
_STRUCTURAL = _DELIMITERS | ANY_PIXEL_DATA

_READABLE_VRS = {vr.encode(): vr for vr in ({"UC", "UR", "UT"} | NUMBER_FORMATS.keys() | SHORT_VRS) - {"AT"}}


class _Encoding(NamedTuple):
    """How the elements of one level are read.

    A key is the four bytes of a tag taken as one number in the byte order at hand; in little endian its halves are
    swapped. `read_head` gives (key, length), or (key, VR, short length) if explicit; `notable` gives the tags, by
    their keys, that the scan must not just pass over.
    """

    read_head: Callable[[Buffer, int], Any]
    read_item: Callable[[Buffer, int], Any]
    read_length: Callable[[Buffer, int], Any]
    notable: dict[int, int]
    implicit: bool
    big_endian: bool


def _swap(tag: int) -> int:
    return (tag & 0xFFFF) << 16 | tag >> 16


@lru_cache(maxsize=16)
def _by_key(tags: frozenset[int], *, big_endian: bool) -> dict[int, int]:
    return {tag if big_endian else _swap(tag): tag for tag in tags}


@lru_cache(maxsize=16)
def _notable(wanted: frozenset[int], *, big_endian: bool) -> dict[int, int]:
    """Give what is notable at the top: remembered by the set itself, whose hash is counted but once.

    Each private key stands for hundreds of tags, one for every block.
    """
    return _by_key(wanted | _STRUCTURAL, big_endian=big_endian)


def _encoding(*, implicit: bool, big_endian: bool) -> _Encoding:
    order = ">" if big_endian else "<"
    item = struct.Struct(order + "II").unpack_from
    head = item if implicit else struct.Struct(order + "I2sH").unpack_from
    length = struct.Struct(order + "I").unpack_from
    notable = _by_key(_STRUCTURAL, big_endian=big_endian)
    return _Encoding(head, item, length, notable, implicit=implicit, big_endian=big_endian)


_IMPLICIT = _encoding(implicit=True, big_endian=False)
_EXPLICIT = _encoding(implicit=False, big_endian=False)
_BIG_ENDIAN = _encoding(implicit=False, big_endian=True)


class _Level(NamedTuple):
    """An open sequence of undefined length: its tag, the encoding around it, whether its items are fragments."""

    tag: int
    outer: _Encoding
    fragments: bool


class HeaderScanner:
    """Walks a data set given in chunks of any size and keeps the values of the top-level elements in `wanted`.

    Of an element that occurs twice the last one counts. After `feed` or `finish` has raised, the scanner is of no
    further use. PS3.5 7.1, 7.5, A.4
    """

    def __init__(self, transfer_syntax: TransferSyntax, wanted: frozenset[int] = STANDARD_KEYS.tags) -> None:
        self._encapsulated = transfer_syntax.encapsulated
        self._encoding = (
            _IMPLICIT if transfer_syntax.implicit else _BIG_ENDIAN if transfer_syntax.big_endian else _EXPLICIT
        )
        self._outermost = self._encoding
        self._notable = _notable(wanted, big_endian=transfer_syntax.big_endian)
        self._inflater = Inflater() if transfer_syntax.deflated else None
        self._values: dict[int, tuple[bytes, bytes]] = {}
        self._kept_bytes = 0
        self._sequence: bytearray | None = None  # the value so far of a wanted sequence of undefined length
        self._sequence_vr = b""
        self._has_pixel_data = False
        self._fragments: int | None = None
        self._levels: list[_Level] = []
        self._in_items = False  # items come next, not elements
        self._item_count = 0  # of the fragment sequence open or last closed; these do not nest
        self._skip = 0  # bytes still to pass over
        self._tag = 0  # whose bytes they are
        self._tail = bytearray()  # start of an element or item that the last chunk ended in
        self._need = 0  # length of the tail at which the walk can go on
        self._size_bytes = 0
        self._walked_bytes = 0

    def feed(self, data: Buffer) -> None:
        """Scan the next chunk; nothing of `data` is referred to afterwards.

        Raises `DataSetError`, of kind WRONG_ENCODING for Pixel Data that the transfer syntax does not allow.
        """
        if self._inflater is None:
            self._scan(data)
        else:
            for piece in self._inflater.pieces(data):
                self._scan(piece)
                self._inflater.check_walk(self._walked_bytes)

    @property
    def has_pixel_data(self) -> bool:
        """Tell whether the scan has come to Pixel Data: what stands before it is known."""
        return self._has_pixel_data

    def finish(self) -> "Header":
        """Give what was found; raises `DataSetError` if the data set ends in the middle of something."""
        if self._inflater is not None:
            self._inflater.finish()
        # Peers pad a data set of odd size, since every fragment is even (PS3.8 E.2).
        padded = self._tail == b"\0" and self._size_bytes % 2 == 0
        if self._levels or self._skip or (self._tail and not padded):
            tag = self._last_tag()
            raise DataSetError(f"data set ends inside {'an element' if tag is None else tag_text(tag)}", tag)
        return self.header()

    def header(self) -> "Header":
        """Give what was found so far."""
        return Header(self._values, self._outermost, has_pixel_data=self._has_pixel_data, fragments=self._fragments)

    def _last_tag(self) -> int | None:
        if self._skip:
            return self._tag
        if len(self._tail) >= 4 and not self._in_items:
            (key,) = self._encoding.read_length(self._tail, 0)
            return self._tag_of(key)
        return self._levels[-1].tag if self._levels else None

    def _scan(self, data: Buffer) -> None:
        pos, end = 0, len(data)
        self._size_bytes += end
        while pos < end:
            if self._skip:
                step = min(self._skip, end - pos)
                self._skip -= step
                if self._sequence is not None:
                    self._keep_items(self._sequence, data[pos : pos + step])
                pos += step
            elif self._tail:
                step = min(self._need - len(self._tail), end - pos)
                self._tail += data[pos : pos + step]
                pos += step
                if len(self._tail) == self._need:
                    del self._tail[: self._walk(self._tail, 0)]
            else:
                begin, pos = pos, self._walk(data, pos)
                self._walked_bytes += pos - begin
                self._tail += data[pos:]
                pos = end

    def _walk(self, data: Buffer, pos: int) -> int:
        """Go on from `pos` as far as `data` reaches; return where the element or item that it ends in starts."""
        self._need = 0
        while not self._need:
            begin, sequence = pos, self._sequence
            pos = self._items(data, pos) if self._in_items else self._elements(data, pos)
            if sequence is not None:
                self._keep_items(sequence, data[begin:pos])
        return pos

    def _elements(self, data: Buffer, pos: int) -> int:
        read_head, _, read_length, notable, implicit, _ = self._encoding
        if not self._levels:
            notable = self._notable
        vr, end = b"", len(data)
        while end - pos >= 8:
            start = pos + 8
            if implicit:
                key, length = read_head(data, pos)
            else:
                key, vr, length = read_head(data, pos)
                # VRs yet to be defined have the long form, other bytes in place of a VR are met with the short one.
                if vr not in SHORT_VR_CODES and vr.isalpha() and vr.isupper():
                    start = pos + 12
                    if start > end:
                        self._need = 12
                        return pos
                    (length,) = read_length(data, pos + 8)
            tag = notable.get(key)
            if tag is not None:
                if tag in _DELIMITERS:
                    self._delimit(tag)
                    return pos + 8
                if tag in ANY_PIXEL_DATA:
                    self._check_pixel_data(tag, length)
                elif length != UNDEFINED_LENGTH:
                    kept = start + min(length, MAX_VALUE_BYTES)
                    if kept > end:
                        self._need = kept - pos
                        return pos
                    self._keep(tag, vr, data[start:kept])
            if length == UNDEFINED_LENGTH:
                self._open(self._tag_of(key), vr)
                if tag is not None and not self._levels[-1].fragments:
                    self._sequence, self._sequence_vr = bytearray(), vr
                return start
            pos = start + length
            if pos > end:
                self._skip, self._tag = pos - end, self._tag_of(key)
                self._need = 8
                return end
        self._need = 8
        return pos

    def _keep(self, tag: int, vr: bytes, value: Buffer) -> None:
        self._kept_bytes += len(value)
        if self._kept_bytes <= MAX_KEPT_BYTES:
            self._values[tag] = (vr, bytes(value))

    def _keep_items(self, sequence: bytearray, data: Buffer) -> None:
        """Keep what was passed over of a wanted sequence; half a sequence is of no use, so a long one is let go."""
        sequence += data
        if len(sequence) > MAX_VALUE_BYTES:
            self._sequence = None
        elif self._sequence is None:  # it has been closed: its delimiter came last
            self._keep(self._tag, self._sequence_vr, sequence[:-8])

    def _items(self, data: Buffer, pos: int) -> int:
        level, read_item, notable = self._levels[-1], self._encoding.read_item, self._encoding.notable
        end = len(data)
        while end - pos >= 8:
            key, length = read_item(data, pos)
            tag = notable.get(key)
            pos += 8
            if tag == SEQUENCE_DELIMITER:
                self._close()
                return pos
            if tag != ITEM or (level.fragments and length == UNDEFINED_LENGTH):
                raise DataSetError(f"no item where one must be in {tag_text(level.tag)}", level.tag)
            if length == UNDEFINED_LENGTH:
                self._in_items = False
                return pos
            self._item_count += level.fragments
            pos += length
            if pos > end:
                self._skip, self._tag = pos - end, level.tag
                self._need = 8
                return end
        self._need = 8
        return pos

    def _tag_of(self, key: int) -> int:
        return key if self._encoding.big_endian else _swap(key)

    def _open(self, tag: int, vr: bytes) -> None:
        if len(self._levels) == MAX_SEQUENCE_DEPTH:
            raise DataSetError(f"sequences nested deeper than {MAX_SEQUENCE_DEPTH}", tag)
        fragments = tag in ANY_PIXEL_DATA or vr[:1] == b"O"
        if fragments and not self._encapsulated:
            kind = Kind.WRONG_ENCODING if tag in ANY_PIXEL_DATA else Kind.UNREADABLE
            raise DataSetError(f"fragments in {tag_text(tag)}, in a native transfer syntax", tag, kind)
        if not fragments and vr not in (b"", b"SQ", b"UN"):
            raise DataSetError(f"undefined length, but no sequence, in {tag_text(tag)}", tag)
        self._levels.append(_Level(tag, self._encoding, fragments=fragments))
        self._in_items = True
        if fragments:
            self._item_count = 0
        elif vr == b"UN":
            self._encoding = _IMPLICIT  # PS3.5 6.2.2 note 4, in every transfer syntax

    def _close(self) -> None:
        level = self._levels.pop()
        self._encoding = level.outer
        self._in_items = False
        if not self._levels and self._sequence is not None:
            self._sequence, self._tag = None, level.tag
        if level.tag in ANY_PIXEL_DATA and not self._levels:
            self._fragments = self._item_count - 1  # the first item is the Basic Offset Table
            if self._fragments < 1:
                raise DataSetError(f"no fragments in {tag_text(level.tag)}", level.tag, Kind.WRONG_ENCODING)

    def _delimit(self, tag: int) -> None:
        if self._levels and tag == ITEM_DELIMITER:
            self._in_items = True
        elif self._levels or tag == ITEM:  # a stray delimiter between top-level elements harms nobody
            raise DataSetError(f"{tag_text(tag)} where an element must be", tag)

    def _check_pixel_data(self, tag: int, length: int) -> None:
        """Look at Pixel Data of the object itself; icons in sequences may be native in an encapsulated syntax."""
        if self._levels or not length:
            return
        if self._encapsulated and tag == PIXEL_DATA and length != UNDEFINED_LENGTH:
            raise DataSetError("native Pixel Data in an encapsulated syntax", tag, Kind.WRONG_ENCODING)
        self._has_pixel_data = True


class Header:
    """What a data set says of itself.

    `charsets` are the terms of its Specific Character Set, `fragments` the number of fragments of its Pixel Data if
    they are encapsulated.
    """

    __slots__ = ("_encoding", "_values", "charsets", "fragments", "has_pixel_data")

    def __init__(
        self,
        values: dict[int, tuple[bytes, bytes]],
        encoding: _Encoding,
        *,
        has_pixel_data: bool,
        fragments: int | None,
    ) -> None:
        self._values = values
        self._encoding = encoding
        self.has_pixel_data = has_pixel_data
        self.fragments = fragments
        _, named = values.get(SPECIFIC_CHARACTER_SET, (b"", b""))
        self.charsets = charset.terms(str(named, "latin-1"))

    def get(self, keyword: str) -> str:
        """Read an attribute of the key table as text, "" if it is absent, empty or was not wanted.

        Several values are joined by backslashes, without their padding; numbers are decimal. The VR is the data set's
        own, if it names one that holds text or numbers. Never raises for what the data set holds.
        """
        return self._text(BY_KEYWORD[keyword], BY_KEYWORD[keyword].tag)

    def values(self, keys: KeyTable = STANDARD_KEYS) -> dict[str, str]:
        """Read all `keys` that have a value, as `get` does, by keyword; sequences as `items.to_text` does."""
        by_tag = keys.by_tag
        present = [(by_tag[tag], tag) for tag in self._values if tag in by_tag]
        if keys.extended:
            present += self._private(keys)
        return {attribute.keyword: text for attribute, tag in present if (text := self._text(attribute, tag))}

    def _private(self, keys: KeyTable) -> Iterator[tuple[Attribute, int]]:
        """Find private attributes in the blocks that their creators reserve here (PS3.5 7.8.1)."""
        for tag in self._values:
            if tag & 0x10000 and FIRST_BLOCK <= tag >> 8 & 0xFF <= LAST_BLOCK:
                _, creator = self._values.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF, (b"", b""))
                attribute = keys.private(tag, charset.decode(creator, self.charsets, "LO"))
                if attribute is not None:
                    yield attribute, tag

    def _text(self, attribute: Attribute, tag: int) -> str:
        stored = self._values.get(tag)
        if stored is None:
            return ""
        if attribute.vr == "SQ":
            return self._items(tag, *stored)
        vr = _READABLE_VRS.get(stored[0], attribute.vr)
        if vr in NUMBER_FORMATS:
            return read_numbers(stored[1], vr, big_endian=self._encoding.big_endian)
        return charset.decode(stored[1], self.charsets, vr)

    def _items(self, tag: int, vr: bytes, raw: bytes) -> str:
        encoding = _IMPLICIT if vr == b"UN" else self._encoding
        return items.stored(
            tag, raw, implicit=encoding.implicit, big_endian=encoding.big_endian, charsets=self.charsets
        )
