"""How images lie in Pixel Data: the attributes that say so, and native frames (PS3.3 C.7.6.3, PS3.5 8)."""

from collections.abc import Iterator
from typing import Any

from minipacs.dicom.tables.tags import PIXEL_DATA
from minipacs.pixels.elements import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    HIGH_BIT,
    LOSSY_IMAGE_COMPRESSION,
    NUMBER_OF_FRAMES,
    OVERLAY_BIT_POSITIONS,
    OVERLAY_BITS_ALLOCATED,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_REPRESENTATION,
    PLANAR_CONFIGURATION,
    ROWS,
    SAMPLES_PER_PIXEL,
    ElementReader,
    ImageAttributes,
    Step,
    TranscodeError,
    check_pixel_order,
    swap_words,
)

MAX_FRAME_BYTES = 1 << 28
"""Of one frame, encoded or decoded: several times the largest mammogram."""

MAX_NATIVE_BYTES = 0xFFFFFFFE
"""Native Pixel Data has a defined length, in 32 bits (PS3.5 A.1)."""

_EXTENDED_OFFSET_TABLE = (0x7FE00001, 0x7FE00002, 0x7FE00003)  # with its lengths, and the total length

ElementChange = tuple[int, bytes, bytes | None]
"""An element that reads otherwise: tag, VR, value, or None for one that goes."""


class ImageLayout:
    """How the samples of an image lie in native Pixel Data, from its own attributes (PS3.3 C.7.6.3)."""

    def __init__(self, attributes: ImageAttributes) -> None:
        self.rows = attributes.number(ROWS)
        self.columns = attributes.number(COLUMNS)
        self.samples = attributes.number(SAMPLES_PER_PIXEL)
        self.bits_allocated = attributes.number(BITS_ALLOCATED)
        self.bits_stored = attributes.number(BITS_STORED)
        self.high_bit = attributes.number(HIGH_BIT, self.bits_stored - 1)
        self.representation = attributes.number(PIXEL_REPRESENTATION, -1)
        self.interpretation = attributes.text(PHOTOMETRIC_INTERPRETATION)
        self.overlay_bits = self._overlay_bits(attributes)
        frames = attributes.text(NUMBER_OF_FRAMES) or "1"
        self.frames = int(frames) if frames.isascii() and frames.isdigit() else 0
        self.frame_bytes = self.rows * self.columns * self.samples * self.bits_allocated // 8
        self.is_planar = self.samples > 1 and attributes.number(PLANAR_CONFIGURATION) == 1
        self.rle_segments = self.samples * self.bits_allocated // 8
        self._check()

    def _overlay_bits(self, attributes: ImageAttributes) -> int:
        """Give a mask of the bits of a pixel, outside of those stored, that overlays lie in (PS3.5 8.1.2, retired).

        An overlay of one bit allocated at position 0 has Overlay Data of its own.
        """
        stored = range(self.high_bit - self.bits_stored + 1, self.high_bit + 1)
        positions = set()
        for allocated_tag, position_tag in zip(OVERLAY_BITS_ALLOCATED, OVERLAY_BIT_POSITIONS, strict=True):
            position = attributes.number(position_tag)
            if position or attributes.number(allocated_tag) > 1:
                positions.add(position)
        return sum(1 << bit for bit in positions if bit < self.bits_allocated and bit not in stored)

    def _check(self) -> None:
        wrong = {
            "Rows": not self.rows,
            "Columns": not self.columns,
            "Samples per Pixel": self.samples not in (1, 3),
            "Bits Allocated": self.bits_allocated not in (8, 16, 32),
            "Bits Stored": not 0 < self.bits_stored <= self.bits_allocated,
            "High Bit": not self.bits_stored - 1 <= self.high_bit < self.bits_allocated,
            "Pixel Representation": self.representation not in (0, 1),
            "Photometric Interpretation": not self.interpretation,
            "Number of Frames": not self.frames,
        }
        faults = [name for name, is_wrong in wrong.items() if is_wrong]
        if faults:
            raise TranscodeError(f"image cannot be decoded with its {', '.join(faults)}")
        if self.frame_bytes > MAX_FRAME_BYTES:
            raise TranscodeError(f"frames decode to more than {MAX_FRAME_BYTES} bytes")
        if self.frame_bytes * self.frames > MAX_NATIVE_BYTES:
            raise TranscodeError("frames are too many for native Pixel Data")

    @property
    def working_bytes(self) -> int:
        """Give the memory that codecs need for a frame: two numbers of 32 bits for each sample, and a few copies."""
        return 8 * self.rows * self.columns * self.samples + 4 * self.frame_bytes

    def options(self) -> dict[str, Any]:
        """Give what pydicom's codecs want to know of one frame."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "number_of_frames": 1,
            "samples_per_pixel": self.samples,
            "bits_allocated": self.bits_allocated,
            "bits_stored": self.bits_stored,
            "pixel_representation": self.representation,
            "photometric_interpretation": self.interpretation,
            "planar_configuration": 0,
        }

    def changes(self, attributes: ImageAttributes, interpretation: str, *, lossy: bool) -> list[ElementChange]:
        """List the elements that read otherwise beside recoded Pixel Data, in the order of tags.

        `interpretation` is that of the new pixels, which are colour by pixel; `lossy` tells that the old code lost
        something, which is said unless the object speaks of it.
        """
        found: list[ElementChange] = []
        if interpretation != self.interpretation:
            text = interpretation.encode()
            found.append((PHOTOMETRIC_INTERPRETATION, b"CS", text + b" " * (len(text) % 2)))
        if self.samples > 1:
            found.append((PLANAR_CONFIGURATION, b"US", b"\0\0"))
        if lossy and not attributes.text(LOSSY_IMAGE_COMPRESSION):
            found.append((LOSSY_IMAGE_COMPRESSION, b"CS", b"01"))  # PS3.3 C.7.6.1.1.5
        return [*found, *((tag, b"", None) for tag in _EXTENDED_OFFSET_TABLE)]


class NativeImage:
    """The native Pixel Data that `step` tells of, which lie as `layout` says. Raises `TranscodeError`."""

    def __init__(self, step: Step, layout: ImageLayout) -> None:
        self.layout = layout
        self.interpretation, self.lossy = layout.interpretation, False
        size_bytes = self.layout.frame_bytes * self.layout.frames
        if step.length != size_bytes + size_bytes % 2:
            raise TranscodeError(f"Pixel Data has {step.length} bytes, not {size_bytes}")
        check_pixel_order(step, layout.bits_allocated)
        if step.big_endian and self.layout.frame_bytes % 2:
            raise TranscodeError("byte order of Pixel Data is uncertain")

    def frames(self, reader: ElementReader, step: Step) -> Iterator[bytes]:
        """Give frame after frame of the step at hand: little endian, colour by pixel."""
        size = self.layout.frame_bytes
        for index in range(self.layout.frames):
            whole = step.value
            frame = reader.read(size) if whole is None else whole[index * size : (index + 1) * size]
            if step.big_endian:
                frame = swap_words(frame, step.vr, PIXEL_DATA)
            yield self._by_pixel(frame) if self.layout.is_planar else frame

    def _by_pixel(self, frame: bytes) -> bytes:
        import numpy

        planes: numpy.ndarray[Any, Any] = numpy.frombuffer(frame, f"<u{self.layout.bits_allocated // 8}")
        return planes.reshape(self.layout.samples, -1).T.tobytes()
