"""Single frames of a stored object: as they are encoded, without any codec, or as native samples (PS3.18 8.7.3.3)."""

from typing import BinaryIO, NamedTuple

from minipacs.dicom.tables.tags import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA
from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.errors import Kind
from minipacs.pixels.elements import (
    BITS_ALLOCATED,
    COLUMNS,
    NUMBER_OF_FRAMES,
    ROWS,
    SAMPLES_PER_PIXEL,
    ElementReader,
    ImageAttributes,
    Step,
    StepKind,
    TranscodeError,
    check_pixel_order,
    swap_words,
)
from minipacs.pixels.fragments import Fragments
from minipacs.pixels.image import MAX_FRAME_BYTES

FRAMES_HELD = 4
_SAMPLE_BITS = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}


class Shape(NamedTuple):
    """How large the frames of an object are. `bits` are those of one sample; 1 stands for packed bits."""

    rows: int
    columns: int
    samples: int
    bits: int
    frames: int
    is_float: bool

    @property
    def frame_bits(self) -> int:
        """Return the size of a native frame."""
        return self.rows * self.columns * self.samples * self.bits


class FrameReader:
    """Finds the pixels of the object whose data set starts where `file` stands; nothing is decoded.

    `attributes` are those of its image; `step` tells of its Pixel Data, of whatever kind. Raises TranscodeError, also
    if it has no pixels.
    """

    def __init__(self, file: BinaryIO, transfer_syntax: TransferSyntax) -> None:
        self.reader = ElementReader(file, transfer_syntax)
        self.transfer_syntax = transfer_syntax
        self.step, self.attributes = _pixels(self.reader)
        self.position = self.reader.position
        self.shape = _shape(self.step, self.attributes)
        self.fragments: Fragments | None = None
        if self.step.kind is StepKind.FRAGMENTS:
            segments = self.shape.samples * self.shape.bits // 8
            self.fragments = Fragments(self.reader, transfer_syntax.uid, self.shape.frames, segments)
        elif self.step.length < (self.shape.frame_bits * self.shape.frames + 7) // 8:
            raise TranscodeError("Pixel Data is shorter than its frames")

    @property
    def working_bytes(self) -> int:
        """Return what it takes to hold a few native frames."""
        return self.shape.frame_bits // 8 * FRAMES_HELD

    def stored(self, index: int) -> bytes:
        """Give a frame, counted from 0: its code, or its samples in little endian, packed bits from a byte on."""
        if self.fragments is not None:
            return self.fragments.read(self.reader, index)
        bits = self.shape.frame_bits
        if bits // 8 > MAX_FRAME_BYTES:
            raise TranscodeError(f"frames are larger than {MAX_FRAME_BYTES} bytes")
        first, last = index * bits // 8, ((index + 1) * bits + 7) // 8
        found = self._native(first, last)
        return found if bits % 8 == 0 else _shifted(found, index * bits % 8, bits)

    def _native(self, first: int, last: int) -> bytes:
        if not self.step.big_endian:
            return self._read(first, last)
        check_pixel_order(self.step, self.shape.bits)
        begin = first - first % 2  # words are turned round, where a frame may begin or end within one
        words = self._read(begin, min(last + last % 2, self.step.length))
        return swap_words(words, self.step.vr, self.step.tag)[first - begin : last - begin]

    def _read(self, first: int, last: int) -> bytes:
        if self.step.value is not None:
            return self.step.value[first:last]
        self.reader.seek(self.position + first)
        return self.reader.read(last - first)


def _pixels(reader: ElementReader) -> tuple[Step, ImageAttributes]:
    for step in reader.walk():
        is_pixels = step.tag in (PIXEL_DATA, *_SAMPLE_BITS) and len(reader.nesting) == 1
        if is_pixels and step.kind in (StepKind.FRAGMENTS, StepKind.ELEMENT):
            if step.kind is StepKind.ELEMENT and not step.length:
                break
            return step, reader.nesting[-1]
        if step.kind is StepKind.FRAGMENTS:
            for _ in reader.fragments():
                pass
    raise TranscodeError("the object has no pixels", Kind.NOT_FOUND)


def _shape(step: Step, attributes: ImageAttributes) -> Shape:
    frames = attributes.text(NUMBER_OF_FRAMES) or "1"
    found = Shape(
        attributes.number(ROWS),
        attributes.number(COLUMNS),
        attributes.number(SAMPLES_PER_PIXEL, 1),
        _SAMPLE_BITS.get(step.tag) or attributes.number(BITS_ALLOCATED),
        int(frames) if frames.isascii() and frames.isdigit() else 0,
        step.tag in _SAMPLE_BITS,
    )
    if not all(found[:5]) or found.bits not in (1, 8, 16, 32, 64):
        raise TranscodeError("size or depth of the image make no sense")
    return found


def _shifted(packed: bytes, offset: int, bits: int) -> bytes:
    """Move bits that begin within a byte, the lowest first, to where a byte begins (PS3.5 8.1.1)."""
    number = int.from_bytes(packed, "little") >> offset & ((1 << bits) - 1)
    return number.to_bytes((bits + 7) // 8, "little")
