"""Elements of a data set, written in any transfer syntax (PS3.5 7, A).

Values are never decoded: what changes is headers, lengths and, towards or from big endian, the byte order inside
numbers. Sequences get undefined lengths, so that nothing has to be known about what comes.
"""

import struct
import zlib
from collections.abc import Iterable
from itertools import chain
from typing import BinaryIO, Protocol

from minipacs.dicom.tables.tags import ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, UNDEFINED_LENGTH
from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.pixels.elements import (
    Step,
    StepKind,
    is_short,
    swap_words,
)

_STRUCTURE = {
    StepKind.ITEM: (ITEM & 0xFFFF, UNDEFINED_LENGTH),
    StepKind.ITEM_END: (ITEM_DELIMITER & 0xFFFF, 0),
    StepKind.SEQUENCE_END: (SEQUENCE_DELIMITER & 0xFFFF, 0),
}


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class ElementWriter:
    """Writes a data set where `file` stands; the file stays the caller's.

    Values come in the byte order told and leave in that of the transfer syntax. What was written is complete after
    `close`.
    """

    def __init__(self, file: BinaryIO, transfer_syntax: TransferSyntax) -> None:
        self._deflated = Deflated(file) if transfer_syntax.deflated else None
        self._file: _Sink = self._deflated or file
        self._implicit = transfer_syntax.implicit
        self._big_endian = transfer_syntax.big_endian
        self._order = ">" if self._big_endian else "<"

    def element(self, tag: int, vr: bytes, value: bytes, *, big_endian: bool = False) -> None:
        """Write an element whole."""
        self.header(tag, vr, len(value))
        self.value(tag, vr, value, big_endian=big_endian)

    def header(self, tag: int, vr: bytes, length: int) -> None:
        """Write what stands before a value of `length` bytes."""
        group, element = tag >> 16, tag & 0xFFFF
        if self._implicit:
            head = struct.pack("<HHI", group, element, length)
        elif is_short(vr):
            head = struct.pack(self._order + "HH2sH", group, element, vr, length)
        else:
            head = struct.pack(self._order + "HH2sHI", group, element, vr, 0, length)
        self._file.write(head)

    def value(self, tag: int, vr: bytes, piece: bytes, *, big_endian: bool = False) -> None:
        """Write a value, or a piece of it that ends where a number ends."""
        self._file.write(piece if big_endian == self._big_endian else swap_words(piece, vr, tag))

    def fragments(self, tag: int, frames: Iterable[bytes]) -> None:
        """Write encapsulated Pixel Data: each frame, of even size, as one fragment; the offset table is empty."""
        self.header(tag, b"OB", UNDEFINED_LENGTH)
        for fragment in chain((b"",), frames):
            self._file.write(struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, len(fragment)))
            self._file.write(fragment)
        self._file.write(struct.pack("<HHI", SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0))

    def structure(self, step: Step) -> None:
        """Write where a sequence or an item begins or ends."""
        if step.kind is StepKind.SEQUENCE:
            self.header(step.tag, b"SQ", UNDEFINED_LENGTH)
        else:
            self._file.write(struct.pack(self._order + "HHI", 0xFFFE, *_STRUCTURE[step.kind]))

    def close(self) -> None:
        """Write what is still held back."""
        if self._deflated is not None:
            self._deflated.close()


class Deflated:
    """Deflates into a file, to an even number of bytes (PS3.5 A.5)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._size_bytes = 0

    def write(self, data: bytes, /) -> None:
        """Deflate a piece."""
        self._put(self._stream.compress(data))

    def close(self) -> None:
        """Write what is still held back."""
        self._put(self._stream.flush())
        if self._size_bytes % 2:
            self._put(b"\0")

    def _put(self, data: bytes) -> None:
        self._size_bytes += len(data)
        self._file.write(data)
