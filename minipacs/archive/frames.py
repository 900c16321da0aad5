"""Frames of encapsulated Pixel Data, decoded one at a time (PS3.5 8.2, A.4)."""

import logging
import struct
from array import array
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from minipacs.archive.elements import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    HIGH_BIT,
    LOSSY_IMAGE_COMPRESSION,
    NUMBER_OF_FRAMES,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_REPRESENTATION,
    PLANAR_CONFIGURATION,
    ROWS,
    SAMPLES_PER_PIXEL,
    ElementReader,
    Level,
    TranscodeError,
)
from minipacs.dicom.transfer_syntaxes import TransferSyntax

if TYPE_CHECKING:
    import numpy

MAX_FRAME_BYTES = 1 << 28
"""Of one frame, encoded or decoded: several times the largest mammogram."""

MAX_FRAGMENTS = 1 << 22

MAX_NATIVE_BYTES = 0xFFFFFFFE
"""Native Pixel Data has a defined length, in 32 bits (PS3.5 A.1)."""

_RLE_LOSSLESS = "1.2.840.10008.1.2.5"
_EXTENDED_OFFSET_TABLE = (0x7FE00001, 0x7FE00002, 0x7FE00003)  # with its lengths, and the total length
_FRAGMENT = struct.Struct("<HHI")

_PLUGINS = ("pylibjpeg", "pydicom", "pyjpegls", "gdcm", "pillow")
_INTERPRETATIONS = {
    "MONOCHROME1": "MONOCHROME1",
    "MONOCHROME2": "MONOCHROME2",
    "PALETTE COLOR": "PALETTE COLOR",
    "RGB": "RGB",
    "YBR_FULL": "YBR_FULL",
    "YBR_FULL_422": "YBR_FULL",
}
"""What is native for what a decoder names its result: decoders give all samples, also where code has half of them."""

_CODESTREAM = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  "
_FRAME_STARTS = (b"\xff\xd8\xff", _CODESTREAM, _JP2)
_END_OF_CODE = b"\xff\xd9"
_MAX_PADDING_BYTES = 16
_SIZE, _CODING_STYLE, _TILE_PART = 0xFF51, 0xFF52, 0xFF90


@cache
def _decoder(transfer_syntax_uid: str) -> tuple[Any, str] | None:
    """Find pydicom's decoder and the plugin to use with it.

    Only one: another plugin that gets through where the first failed may well have decoded half a frame.
    """
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(transfer_syntax_uid)
    except NotImplementedError:
        return None
    # A failure reaches the caller as an exception; the library would log it besides, with its traceback.
    logging.getLogger("pydicom.pixels.decoders.base").setLevel(logging.CRITICAL + 1)
    return next(((decoder, plugin) for plugin in _PLUGINS if plugin in decoder.available_plugins), None)


def can_decode(transfer_syntax_uid: str) -> bool:
    """Tell whether a decoder for this encapsulated transfer syntax is installed."""
    return _decoder(transfer_syntax_uid) is not None


class _Codestream(NamedTuple):
    """What the main header of a JPEG 2000 codestream says (ISO/IEC 15444-1 A.5, A.6)."""

    columns: int
    rows: int
    components: int
    precision: int
    signed: bool
    transformed: bool
    reversible: bool


def _strip_jp2(frame: bytes) -> bytes:
    """Leave out the boxes around a codestream, which DICOM forbids: decoders would heed their colour space."""
    if not frame.startswith(_JP2):
        return frame
    start = frame.find(b"jp2c" + _CODESTREAM)
    if start < 0:
        raise TranscodeError("no codestream in the JP2 file of the frame")
    return frame[start + 4 :]


def _read_codestream(frame: bytes) -> _Codestream:
    """Read the main header of a codestream."""
    pos, size, style = 2, 0, 0
    try:
        while not (size and style):
            marker, length = struct.unpack_from(">HH", frame, pos)
            if marker == _SIZE:
                size = pos
            elif marker == _CODING_STYLE:
                style = pos
            elif marker == _TILE_PART or marker < 0xFF00:
                raise TranscodeError("main header of the codestream is malformed")
            pos += 2 + length
        _, x, y, left, top, _, _, _, _, components = struct.unpack_from(">HIIIIIIIIH", frame, size + 4)
        depths = {struct.unpack_from("BBB", frame, size + 40 + 3 * index) for index in range(components)}
        transformed, transformation = frame[style + 8], frame[style + 13]
    except (struct.error, IndexError):
        raise TranscodeError("main header of the codestream is malformed") from None
    depth, *subsampling = depths.pop() if len(depths) == 1 else (0, 0, 0)
    if subsampling != [1, 1]:
        # openjpeg takes subsampled components for YCbCr and turns them to RGB, whatever they are.
        raise TranscodeError("components of the codestream differ")
    return _Codestream(
        x - left, y - top, components, (depth & 0x7F) + 1, depth >= 0x80, transformed == 1, transformation == 1
    )


class _Layout:
    """How the samples of an image lie in native Pixel Data, from its own attributes (PS3.3 C.7.6.3)."""

    def __init__(self, level: Level) -> None:
        self.rows = level.number(ROWS)
        self.columns = level.number(COLUMNS)
        self.samples = level.number(SAMPLES_PER_PIXEL)
        self.bits_allocated = level.number(BITS_ALLOCATED)
        self.bits_stored = level.number(BITS_STORED)
        self.high_bit = level.number(HIGH_BIT, self.bits_stored - 1)
        self.representation = level.number(PIXEL_REPRESENTATION, -1)
        self.interpretation = level.text(PHOTOMETRIC_INTERPRETATION)
        frames = level.text(NUMBER_OF_FRAMES) or "1"
        self.frames = int(frames) if frames.isascii() and frames.isdigit() else 0
        self.frame_bytes = self.rows * self.columns * self.samples * self.bits_allocated // 8
        self._check()

    def _check(self) -> None:
        wrong = {
            "Rows": not self.rows,
            "Columns": not self.columns,
            "Samples per Pixel": self.samples not in (1, 3),
            "Bits Allocated": self.bits_allocated not in (8, 16, 32),
            "Bits Stored": not 0 < self.bits_stored <= self.bits_allocated,
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

    def decoder_options(self) -> dict[str, Any]:
        """Give what pydicom's decoders want to know of one frame."""
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


class EncapsulatedImage:
    """One image with the fragments that `reader` stands before, of which `level` has told the attributes.

    Holds the first frame decoded, since only a decoder tells what it gives; of the others, one at a time. `end` is
    the position behind the fragments, where the reader is left. `changes` are the elements that read otherwise beside
    native Pixel Data, in the order of tags, with None for those that go. Raises `TranscodeError`.
    """

    def __init__(self, reader: ElementReader, level: Level, transfer_syntax: TransferSyntax) -> None:
        self._layout = _Layout(level)
        self._transfer_syntax_uid = transfer_syntax.uid
        self._positions, self._lengths, self._starts = array("Q"), array("I"), array("I")
        self._index_fragments(reader)
        self.end = reader.position
        self._reversible = False
        self._first, self.interpretation = self._frame(reader, 0)
        reader.seek(self.end)
        self.vr = b"OB" if self._layout.bits_allocated == 8 else b"OW"
        self.size_bytes = self._layout.frame_bytes * self._layout.frames
        self.changes = list(self._changes(level, may_be_lossy=transfer_syntax.lossy))

    def frames(self, reader: ElementReader) -> Iterator[bytes]:
        """Decode frame after frame: little endian, colour by pixel; the reader ends up behind the fragments."""
        yield self._first
        for index in range(1, self._layout.frames):
            frame, interpretation = self._frame(reader, index)
            if interpretation != self.interpretation:
                raise TranscodeError(f"frame {index + 1} decodes to {interpretation}, others to {self.interpretation}")
            yield frame
        reader.seek(self.end)

    def _changes(self, level: Level, *, may_be_lossy: bool) -> Iterator[tuple[int, bytes, bytes | None]]:
        if self.interpretation != self._layout.interpretation:
            text = self.interpretation.encode()
            yield PHOTOMETRIC_INTERPRETATION, b"CS", text + b" " * (len(text) % 2)
        if self._layout.samples > 1:
            yield PLANAR_CONFIGURATION, b"US", b"\0\0"
        if may_be_lossy and not self._reversible and not level.text(LOSSY_IMAGE_COMPRESSION):
            yield LOSSY_IMAGE_COMPRESSION, b"CS", b"01"  # PS3.3 C.7.6.1.1.5
        for tag in _EXTENDED_OFFSET_TABLE:
            yield tag, b"", None

    def _index_fragments(self, reader: ElementReader) -> None:
        """Find the fragments and which of them begin a frame.

        By what they hold, not by offset tables: these are optional, and wrong in many files. PS3.5 A.4
        """
        items = reader.fragments()
        next(items, None)  # the Basic Offset Table
        for position, length in items:
            if len(self._positions) == MAX_FRAGMENTS:
                raise TranscodeError(f"more than {MAX_FRAGMENTS} fragments")
            # A frame in RLE is one fragment (PS3.5 A.4.2).
            if self._transfer_syntax_uid == _RLE_LOSSLESS or reader.read(min(8, length)).startswith(_FRAME_STARTS):
                self._starts.append(len(self._positions))
            self._positions.append(position)
            self._lengths.append(length)
        if len(self._starts) != self._layout.frames or self._starts[0] != 0:
            raise TranscodeError(f"{len(self._starts)} frames in the fragments, not {self._layout.frames}")
        self._starts.append(len(self._positions))

    def _encoded(self, reader: ElementReader, index: int) -> bytes:
        fragments = range(self._starts[index], self._starts[index + 1])
        if sum(self._lengths[fragment] for fragment in fragments) > MAX_FRAME_BYTES:
            raise TranscodeError(f"frame {index + 1} is longer than {MAX_FRAME_BYTES} bytes")
        parts = []
        for fragment in fragments:
            reader.seek(self._positions[fragment])
            parts.append(reader.read(self._lengths[fragment]))
        return b"".join(parts)

    def _frame(self, reader: ElementReader, index: int) -> tuple[bytes, str]:
        """Decode a frame to native samples and the Photometric Interpretation that they have."""
        encoded = self._encoded(reader, index)
        try:
            return self._decode(encoded)
        except TranscodeError as error:
            raise TranscodeError(f"frame {index + 1}: {error}") from None
        except Exception as error:  # of any kind, from any plugin
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise TranscodeError(f"frame {index + 1}: {reason}") from error

    def _decode(self, encoded: bytes) -> tuple[bytes, str]:
        import numpy

        layout, codestream = self._layout, None
        found = _decoder(self._transfer_syntax_uid)
        if found is None:
            raise TranscodeError("no decoder")
        decoder, plugin = found
        if self._transfer_syntax_uid != _RLE_LOSSLESS:
            # JPEG and JPEG 2000 end alike; decoders do not mind if what is missing was replaced by zeros.
            if _END_OF_CODE not in encoded[-_MAX_PADDING_BYTES:]:
                raise TranscodeError("encoded frame has no end")
            encoded = _strip_jp2(encoded)
            if encoded.startswith(_CODESTREAM):
                codestream = _read_codestream(encoded)
                self._check_codestream(codestream)
        source = _FRAGMENT.pack(0xFFFE, 0xE000, 0) + _FRAGMENT.pack(0xFFFE, 0xE000, len(encoded)) + encoded
        options = layout.decoder_options()
        data, told = decoder.as_buffer(source, index=0, validate=False, decoding_plugin=plugin, **options)
        if len(data) * 8 != layout.rows * layout.columns * layout.samples * told["bits_allocated"]:
            raise TranscodeError(f"decodes to {len(data)} bytes")
        interpretation = _INTERPRETATIONS.get(str(told["photometric_interpretation"]))
        if interpretation is None:
            raise TranscodeError(f"{told['photometric_interpretation']} cannot be native")
        precision, signed = self._meaning(codestream)
        samples = numpy.frombuffer(data, f"<{'ui'[signed]}{told['bits_allocated'] // 8}")
        if told.get("planar_configuration"):
            samples = samples.reshape(layout.samples, -1).T
        return self._native(samples, precision, signed), interpretation

    def _check_codestream(self, codestream: _Codestream) -> None:
        layout = self._layout
        self._reversible = codestream.reversible
        size = (codestream.columns, codestream.rows, codestream.components)
        if size != (layout.columns, layout.rows, layout.samples) or codestream.precision > layout.bits_allocated:
            raise TranscodeError("size or depth of the codestream is not that of the image")
        if layout.interpretation in ("YBR_RCT", "YBR_ICT") and not codestream.transformed:
            raise TranscodeError(f"codestream without the colour transformation of {layout.interpretation}")

    def _meaning(self, codestream: _Codestream | None) -> tuple[int, bool]:
        """Give how many bits of a decoded sample are filled, and whether the decoder took it as signed."""
        layout = self._layout
        if self._transfer_syntax_uid == _RLE_LOSSLESS:
            return layout.bits_allocated, layout.representation == 1
        precision, signed = (layout.bits_stored, False)
        if codestream is not None:
            precision, signed = codestream.precision, codestream.signed
        if layout.high_bit != layout.bits_stored - 1 and layout.high_bit >= precision:
            raise TranscodeError("High Bit is outside of what was encoded")
        return precision, signed

    def _native(self, samples: "numpy.ndarray[Any, Any]", precision: int, signed: bool) -> bytes:
        """Give samples the size and sign of the image; a sign that the code knew nothing of is extended."""
        layout = self._layout
        samples = samples.astype(f"<{'ui'[layout.representation]}{layout.bits_allocated // 8}", copy=False)
        unused = layout.bits_allocated - precision
        if signed != bool(layout.representation) and unused:
            samples = samples << unused >> unused
        return samples.tobytes()
