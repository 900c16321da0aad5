"""Elements of a data set, read one after another, their values as the bytes they are (PS3.5 7, A)."""

import io
import struct
import zlib
from array import array
from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from minipacs.dicom.data_set.header import MAX_SEQUENCE_DEPTH
from minipacs.dicom.data_set.inflater import MAX_INFLATED_BYTES
from minipacs.dicom.tables.tags import ITEM, ITEM_DELIMITER, PIXEL_DATA, SEQUENCE_DELIMITER, UNDEFINED_LENGTH, tag_text
from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.dicom.tables.value_representations import SHORT_VR_CODES
from minipacs.errors import Failure, Kind

MAX_WHOLE_VALUE_BYTES = 4096
"""Longer values pass in pieces."""

PIECE_BYTES = 1 << 18

SAMPLES_PER_PIXEL = 0x00280002
PHOTOMETRIC_INTERPRETATION = 0x00280004
PLANAR_CONFIGURATION = 0x00280006
NUMBER_OF_FRAMES = 0x00280008
ROWS = 0x00280010
COLUMNS = 0x00280011
BITS_ALLOCATED = 0x00280100
BITS_STORED = 0x00280101
HIGH_BIT = 0x00280102
PIXEL_REPRESENTATION = 0x00280103
LOSSY_IMAGE_COMPRESSION = 0x00282110
_OVERLAY_GROUPS = tuple(group << 16 for group in range(0x6000, 0x6020, 2))
OVERLAY_BITS_ALLOCATED = tuple(group | 0x0100 for group in _OVERLAY_GROUPS)
OVERLAY_BIT_POSITIONS = tuple(group | 0x0102 for group in _OVERLAY_GROUPS)

_IMAGE_NUMBERS = frozenset(
    {
        SAMPLES_PER_PIXEL,
        PLANAR_CONFIGURATION,
        ROWS,
        COLUMNS,
        BITS_ALLOCATED,
        BITS_STORED,
        HIGH_BIT,
        PIXEL_REPRESENTATION,
        *OVERLAY_BITS_ALLOCATED,
        *OVERLAY_BIT_POSITIONS,
    }
)
_IMAGE_TEXTS = frozenset({PHOTOMETRIC_INTERPRETATION, NUMBER_OF_FRAMES, LOSSY_IMAGE_COMPRESSION})

_WORD_BYTES = {
    **dict.fromkeys((b"AT", b"OW", b"SS", b"US"), 2),
    **dict.fromkeys((b"FL", b"OF", b"OL", b"SL", b"UL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
_WORD_CODES = {2: "H", 4: "I", 8: "Q"}


class TranscodeError(Failure):
    """An object that cannot be had in the transfer syntax asked for; the message is one line that says why.

    Temporary if nothing but a shortage of processes, memory or space stands in the way.
    """

    def __init__(self, words: str, kind: Kind = Kind.UNSUPPORTED) -> None:
        super().__init__(kind, words)


class StepKind(Enum):
    """What the reader came upon."""

    ELEMENT = auto()
    FRAGMENTS = auto()
    SEQUENCE = auto()
    ITEM = auto()
    ITEM_END = auto()
    SEQUENCE_END = auto()


class Step(NamedTuple):
    """One step of `ElementReader.walk`.

    An ELEMENT has `length` bytes in the byte order told, in `value` if they are few, else to be read from the reader;
    what is not read is passed over. An empty sequence is an element too. After FRAGMENTS, the reader stands before the
    Basic Offset Table and must be moved behind the delimiter, by `ElementReader.fragments` or `seek`.
    """

    kind: StepKind
    tag: int = 0
    vr: bytes = b""
    length: int = 0
    big_endian: bool = False
    value: bytes | None = None


class ImageAttributes(dict[int, int | str]):
    """What one data set, the outermost or an item, has said so far of its image: numbers, and texts without padding.

    `position` is where its first element starts in the file.
    """

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position

    def number(self, tag: int, default: int = 0) -> int:
        """Give a number, `default` if it is absent or empty."""
        value = self.get(tag, default)
        return value if isinstance(value, int) else default

    def text(self, tag: int) -> str:
        """Give a text, "" if it is absent or empty."""
        return str(self.get(tag, ""))


def is_short(vr: bytes) -> bool:
    """Tell whether explicit encoding gives this VR a length of 16 bits (PS3.5 7.1.2)."""
    # VRs yet to be defined have the long form; other bytes in place of a VR are met with the short one.
    return vr in SHORT_VR_CODES or not (vr.isalpha() and vr.isupper())


def swap_words(value: bytes, vr: bytes, tag: int) -> bytes:
    """Turn round the byte order of each number in a value of the given VR."""
    word_bytes = _WORD_BYTES.get(vr)
    if word_bytes is None or not value:
        return value
    if len(value) % word_bytes:
        raise TranscodeError(f"{tag_text(tag)}: {len(value)} bytes are no whole number of {vr.decode()} values")
    words = array(_WORD_CODES[word_bytes], value)
    words.byteswap()
    return words.tobytes()


def check_pixel_order(step: Step, bits_allocated: int) -> None:
    """Raise TranscodeError for native Pixel Data in big endian whose pixels are more than one word.

    OW has words of 16 bits, the lower one of a pixel first, and only the bytes within a word change places (PS3.5 6.2,
    8.1.1, D, of 2016): so dcmtk and gdcm read and write. pydicom turns round all bytes of a pixel, and what was written
    so has the same VR. Nothing tells which it is.
    """
    if step.tag == PIXEL_DATA and step.big_endian and step.length and bits_allocated > 16:
        raise TranscodeError(f"byte order of Pixel Data is uncertain: {bits_allocated} bit, big endian")


@lru_cache(maxsize=8192)
def _dictionary_vr(tag: int) -> str:
    from pydicom.datadict import dictionary_VR

    group, element = tag >> 16, tag & 0xFFFF
    if group & 1:
        return "LO" if 0x10 <= element <= 0xFF else "UN"
    try:
        vr = str(dictionary_VR(tag))
    except KeyError:
        return "UN"
    # OB or OW, US or OW, US or SS or OW: in implicit VR they are OW or have its byte order (PS3.5 A.1).
    return "OW" if " or " in vr and vr != "US or SS" else vr


class ElementReader:
    """Reads the data set that starts where `file` stands, to the end of the file.

    `file` is buffered and, unless the transfer syntax is a deflated one, can seek; it stays the caller's. `nesting` is
    what the data sets say around the element at hand, the outermost first; `position` is an offset in the file, or in
    the inflated data set. Every method raises `TranscodeError` for a malformed data set.
    """

    def __init__(self, file: BinaryIO, transfer_syntax: TransferSyntax) -> None:
        self._file: BinaryIO = file
        self._size_bytes: int | None = None
        self.position = 0
        if transfer_syntax.deflated:
            self._file = io.BufferedReader(Inflated(file), PIECE_BYTES)
        else:
            self.position = file.tell()
            self._size_bytes = file.seek(0, io.SEEK_END)
            file.seek(self.position)
        self._implicit = transfer_syntax.implicit
        self._big_endian = transfer_syntax.big_endian
        self.nesting: list[ImageAttributes] = []

    def read(self, length: int) -> bytes:
        """Read exactly `length` bytes."""
        data = self._file.read(length)
        self.position += len(data)
        if len(data) < length:
            raise TranscodeError("data set is truncated")
        return data

    def pieces(self, length: int) -> Iterator[bytes]:
        """Read `length` bytes in pieces, each but the last of `PIECE_BYTES`."""
        while length:
            piece = self.read(min(length, PIECE_BYTES))
            length -= len(piece)
            yield piece

    def seek(self, position: int) -> None:
        """Go to a position, which for a deflated data set must lie ahead."""
        if self._size_bytes is None:
            for _ in self.pieces(position - self.position):
                pass
        elif position > self._size_bytes:
            raise TranscodeError("data set is truncated")
        else:
            self.position = self._file.seek(position)

    def walk(self) -> Iterator[Step]:
        """Give the elements in the order of the file, sequences item by item.

        A value of VR UN and undefined length is a sequence in Implicit VR Little Endian (PS3.5 6.2.2).
        """
        yield from self._elements(None)

    def fragments(self) -> Iterator[tuple[int, int]]:
        """Give position and length of the items of encapsulated Pixel Data, the Basic Offset Table first."""
        while True:
            tag, length = self._item_header()
            if tag == SEQUENCE_DELIMITER:
                return
            if tag != ITEM or length == UNDEFINED_LENGTH:
                raise TranscodeError("fragments of Pixel Data are malformed")
            start = self.position
            yield start, length
            self.seek(start + length)

    def _elements(self, end: int | None) -> Iterator[Step]:
        self.nesting.append(ImageAttributes(self.position))
        while end is None or self.position < end:
            header = self._header(at_top=len(self.nesting) == 1)
            if header is None:
                break
            tag, vr, length = header
            if vr in (b"SQ", b"UN") and (length == UNDEFINED_LENGTH or (length and vr == b"SQ")):
                yield from self._sequence(tag, vr, length)
            elif length != UNDEFINED_LENGTH:
                yield from self._element(tag, vr, length)
            elif tag == PIXEL_DATA and not self._implicit:
                yield Step(StepKind.FRAGMENTS, tag, vr, length)
            else:
                raise TranscodeError(f"undefined length, but no sequence, in {tag_text(tag)}")
        if end is not None and self.position != end:
            raise TranscodeError("an element is longer than the item that holds it")
        self.nesting.pop()

    def _element(self, tag: int, vr: bytes, length: int) -> Iterator[Step]:
        value = self.read(length) if length <= MAX_WHOLE_VALUE_BYTES else None
        if value and tag in _IMAGE_NUMBERS:
            self.nesting[-1][tag] = int.from_bytes(value[:2], "big" if self._big_endian else "little")
        elif value and tag in _IMAGE_TEXTS:
            self.nesting[-1][tag] = str(value, "latin-1").strip("\0 ")
        end = self.position if value is not None else self.position + length
        yield Step(StepKind.ELEMENT, tag, vr, length, self._big_endian, value)
        if self.position != end:
            self.seek(end)

    def _sequence(self, tag: int, vr: bytes, length: int) -> Iterator[Step]:
        if len(self.nesting) > MAX_SEQUENCE_DEPTH:
            raise TranscodeError(f"sequences nested deeper than {MAX_SEQUENCE_DEPTH}")
        yield Step(StepKind.SEQUENCE, tag, b"SQ")
        outer = self._implicit, self._big_endian
        if vr == b"UN":
            self._implicit, self._big_endian = True, False
        end = None if length == UNDEFINED_LENGTH else self.position + length
        while end is None or self.position < end:
            item, item_length = self._item_header()
            if item == SEQUENCE_DELIMITER and end is None:
                break
            if item != ITEM:
                raise TranscodeError(f"no item where one must be in {tag_text(tag)}")
            yield Step(StepKind.ITEM)
            yield from self._elements(None if item_length == UNDEFINED_LENGTH else self.position + item_length)
            yield Step(StepKind.ITEM_END)
        if end is not None and self.position != end:
            raise TranscodeError(f"an item is longer than {tag_text(tag)}, which holds it")
        self._implicit, self._big_endian = outer
        yield Step(StepKind.SEQUENCE_END)

    def _item_header(self) -> tuple[int, int]:
        group, element, length = struct.unpack(">HHI" if self._big_endian else "<HHI", self.read(8))
        return group << 16 | element, length

    def _header(self, *, at_top: bool) -> tuple[int, bytes, int] | None:
        """Read the header of an element; None at the end of an item of undefined length and of the data set."""
        while True:
            head = self._file.read(8)
            self.position += len(head)
            if len(head) < 8:
                # A single NUL is what peers pad a data set of odd size with.
                if at_top and head in (b"", b"\0"):
                    return None
                raise TranscodeError("data set is truncated")
            order = ">" if self._big_endian else "<"
            group, element = struct.unpack(order + "HH", head[:4])
            tag = group << 16 | element
            if tag not in (ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER):
                break
            if at_top and tag != ITEM:
                continue  # a stray delimiter between top-level elements harms nobody
            if tag == ITEM_DELIMITER:
                return None
            raise TranscodeError(f"{tag_text(tag)} where an element must be")
        if self._implicit:
            (length,) = struct.unpack(order + "I", head[4:])
            return tag, self._implicit_vr(tag, length), length
        vr = head[4:6]
        (length,) = struct.unpack(order + "H", head[6:]) if is_short(vr) else struct.unpack(order + "I", self.read(4))
        return tag, vr, length

    def _implicit_vr(self, tag: int, length: int) -> bytes:
        vr = _dictionary_vr(tag)
        if vr == "US or SS":
            own = next((each for each in reversed(self.nesting) if PIXEL_REPRESENTATION in each), None)
            vr = "SS" if own is not None and own.number(PIXEL_REPRESENTATION) == 1 else "US"
        name = vr.encode()
        # A value that does not fit its VR, in its length field or in whole numbers, is UN (PS3.5 6.2.2).
        if length != UNDEFINED_LENGTH and (
            (name in SHORT_VR_CODES and length > 0xFFFF) or length % _WORD_BYTES.get(name, 1)
        ):
            return b"UN"
        return name


class Inflated(io.RawIOBase):
    """What a file holds from where it stands, inflated (PS3.5 A.5)."""

    def __init__(self, file: BinaryIO) -> None:
        self._deflated_file = file
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._size_bytes = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Inflate what comes next. Raises TranscodeError."""
        while not self._stream.eof:
            data = self._stream.unconsumed_tail or self._deflated_file.read(PIECE_BYTES)
            try:
                piece = self._stream.decompress(data, len(buffer))
            except zlib.error:
                raise TranscodeError("deflated data set cannot be inflated") from None
            self._size_bytes += len(piece)
            if self._size_bytes > MAX_INFLATED_BYTES:
                raise TranscodeError(f"data set inflates to more than {MAX_INFLATED_BYTES} bytes")
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)
            if not data and not self._stream.eof:
                raise TranscodeError("deflated data set ends inside its stream")
        return 0
