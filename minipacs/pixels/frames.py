"""Frames of encapsulated Pixel Data, decoded one at a time (PS3.5 8.2, A.4)."""

import logging
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.pixels import jpeg
from minipacs.pixels.codecs import RLE_LOSSLESS, decoder
from minipacs.pixels.codestream import (
    CODESTREAM,
    Codestream,
    JpegFrame,
    check_rle,
    lossy_error,
    read_codestream,
    read_jpeg,
    strip_jp2,
)
from minipacs.pixels.elements import ElementReader, Step, TranscodeError
from minipacs.pixels.fragments import Fragments
from minipacs.pixels.image import ImageLayout
from minipacs.pixels.samples import Coding, native

_FRAGMENT = struct.Struct("<HHI")
_END_OF_CODE = b"\xff\xd9"
_MAX_PADDING_BYTES = 16
_INTERPRETATIONS = {
    "MONOCHROME1": "MONOCHROME1",
    "MONOCHROME2": "MONOCHROME2",
    "PALETTE COLOR": "PALETTE COLOR",
    "RGB": "RGB",
    "YBR_FULL": "YBR_FULL",
    "YBR_FULL_422": "YBR_FULL",
}
"""What is native for what a decoder names its result: decoders give all samples, also where code has half of them."""


@cache
def _pydicom_decoder(transfer_syntax_uid: str) -> Any:
    from pydicom.pixels import get_decoder

    # A failure reaches the caller as an exception; the library would log it besides, with its traceback.
    logging.getLogger("pydicom.pixels.decoders.base").setLevel(logging.CRITICAL + 1)
    found = get_decoder(transfer_syntax_uid)
    if transfer_syntax_uid in jpeg.DECODER_DEPENDENCIES:
        found.add_plugin(jpeg.LABEL, (jpeg.__name__, jpeg.decode_frame.__name__))
    return found


class EncapsulatedImage:
    """One image, which lies as `layout` says, with the fragments that `reader` stands before.

    Holds the first frame decoded, since only a decoder tells what it gives; of the others, one at a time. `end` is
    the position behind the fragments, where the reader is left; `interpretation` that of what is decoded; `lossy`
    tells whether the code lost something. Raises `TranscodeError`.
    """

    def __init__(self, reader: ElementReader, layout: ImageLayout, transfer_syntax: TransferSyntax) -> None:
        self.layout = layout
        self._transfer_syntax_uid = transfer_syntax.uid
        self._fragments = Fragments(reader, transfer_syntax.uid, layout.frames, layout.rle_segments)
        self.end = self._fragments.end
        self._may_lose, self._has_lost = transfer_syntax.lossy, False
        self._first, self.interpretation = self.frame(reader, 0)
        reader.seek(self.end)
        self.lossy = transfer_syntax.lossy and self._has_lost

    def frames(self, reader: ElementReader, _step: Step) -> Iterator[bytes]:
        """Decode frame after frame: little endian, colour by pixel; the reader ends up behind the fragments."""
        yield self._first
        for index in range(1, self.layout.frames):
            frame, interpretation = self.frame(reader, index)
            if interpretation != self.interpretation:
                raise TranscodeError(f"frame {index + 1} decodes to {interpretation}, others to {self.interpretation}")
            yield frame
        reader.seek(self.end)

    def frame(self, reader: ElementReader, index: int) -> tuple[bytes, str]:
        """Decode a frame to native samples and the Photometric Interpretation that they have."""
        encoded = self._fragments.read(reader, index)
        try:
            return self._decode(encoded)
        except TranscodeError as error:
            raise TranscodeError(f"frame {index + 1}: {error}") from None
        except Exception as error:  # of any kind, from any plugin
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise TranscodeError(f"frame {index + 1}: {reason}") from error

    def _decode(self, encoded: bytes) -> tuple[bytes, str]:
        import numpy

        layout, uid = self.layout, self._transfer_syntax_uid
        plugin = decoder(uid)
        if plugin is None:
            raise TranscodeError("no decoder")
        encoded, coding = self._coding(encoded)
        source = _FRAGMENT.pack(0xFFFE, 0xE000, 0) + _FRAGMENT.pack(0xFFFE, 0xE000, len(encoded)) + encoded
        library = _pydicom_decoder(uid)
        data, told = library.as_buffer(source, index=0, validate=False, decoding_plugin=plugin, **layout.options())
        if len(data) * 8 != layout.rows * layout.columns * layout.samples * told["bits_allocated"]:
            raise TranscodeError(f"decodes to {len(data)} bytes")
        colours = layout.interpretation if uid in jpeg.COLOURS_AS_TOLD else str(told["photometric_interpretation"])
        interpretation = _INTERPRETATIONS.get(colours)
        if interpretation is None:
            raise TranscodeError(f"{colours} cannot be native")
        samples = numpy.frombuffer(data, f"<{'ui'[coding.signed]}{told['bits_allocated'] // 8}")
        if told.get("planar_configuration"):
            samples = samples.reshape(layout.samples, -1).T
        return native(samples, coding, layout), interpretation

    def _coding(self, encoded: bytes) -> tuple[bytes, Coding]:
        """Check the headers of a frame; give the code to decode, and what they say of its samples."""
        layout, uid = self.layout, self._transfer_syntax_uid
        if uid == RLE_LOSSLESS:
            check_rle(encoded, layout.rle_segments)
            return encoded, Coding(layout.bits_allocated, signed=layout.representation == 1)
        # JPEG and JPEG 2000 end alike; decoders do not mind if what is missing was replaced by zeros.
        if _END_OF_CODE not in encoded[-_MAX_PADDING_BYTES:]:
            raise TranscodeError("encoded frame has no end")
        encoded = strip_jp2(encoded)
        if not encoded.startswith(CODESTREAM):
            frame = read_jpeg(encoded)
            self._check_size(frame)
            self._has_lost = frame.max_error > 0
            return encoded, Coding(frame.precision, frame.max_error)
        codestream = read_codestream(encoded)
        self._check_size(codestream)
        if layout.interpretation in ("YBR_RCT", "YBR_ICT") and not codestream.transformed:
            raise TranscodeError(f"codestream without the colour transformation of {layout.interpretation}")
        self._has_lost = not codestream.reversible
        # A reversible codestream may have been cut where it may lose something.
        max_error = lossy_error(codestream.precision) if self._may_lose or self._has_lost else 0
        return encoded, Coding(codestream.precision, max_error, signed=codestream.signed)

    def _check_size(self, told: Codestream | JpegFrame) -> None:
        layout, size = self.layout, (told.columns, told.rows, told.components)
        if size != (layout.columns, layout.rows, layout.samples) or told.precision > layout.bits_allocated:
            raise TranscodeError("size or depth of the codestream is not that of the image")
