"""Frames of native Pixel Data, encoded one at a time without loss (PS3.5 8.2, A.4)."""

from functools import cache
from typing import Any

from minipacs.pixels import jpeg
from minipacs.pixels.codecs import JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS, encoder
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.image import MAX_FRAME_BYTES, ImageLayout

_COLOUR_TRANSFORM = {(JPEG_2000_LOSSLESS, "RGB"): "YBR_RCT"}
"""What the code makes of an interpretation: reversible, and a third smaller (PS3.5 8.2.4)."""


_BY_ALLOCATED_BITS = frozenset({RLE_LOSSLESS, JPEG_LS_LOSSLESS})
"""Codes that are given all the bits there are, not only those stored (PS3.5 G.2)."""


@cache
def _pydicom_encoder(transfer_syntax_uid: str) -> Any:
    import logging

    from pydicom.pixels import get_encoder

    # A failure reaches the caller as an exception; the library would log it besides, with its traceback.
    logging.getLogger("pydicom.pixels.encoders.base").setLevel(logging.CRITICAL + 1)
    return get_encoder(transfer_syntax_uid)


class FrameEncoder:
    """Encodes frames of one image. `interpretation` is what Photometric Interpretation becomes.

    Raises `TranscodeError` for what the code cannot carry to the bit.
    """

    def __init__(self, layout: ImageLayout, interpretation: str, transfer_syntax_uid: str) -> None:
        self._layout = layout
        self._uid = transfer_syntax_uid
        self.interpretation = _COLOUR_TRANSFORM.get((transfer_syntax_uid, interpretation), interpretation)
        self._plugin = encoder(transfer_syntax_uid)
        if self._plugin is None:
            raise TranscodeError("no encoder")
        self._is_by_allocated_bits = transfer_syntax_uid in _BY_ALLOCATED_BITS
        if not self._is_by_allocated_bits and layout.high_bit != layout.bits_stored - 1:
            raise TranscodeError("High Bit is not that of Bits Stored")

    def encode(self, frame: bytes) -> bytes:
        """Encode one frame, little endian and colour by pixel, to a fragment of even size."""
        layout = self._layout
        if len(frame) != layout.frame_bytes:
            raise TranscodeError(f"frame of {len(frame)} bytes, not {layout.frame_bytes}")
        if not self._is_by_allocated_bits:
            self._check_range(frame)
        try:
            encoded = self._encoded(frame)
        except Exception as error:  # of any kind, from any plugin
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise TranscodeError(f"frame cannot be encoded: {reason}") from error
        if not 0 < len(encoded) <= MAX_FRAME_BYTES:
            raise TranscodeError(f"frame encodes to {len(encoded)} bytes")
        return encoded + b"\0" * (len(encoded) % 2)

    def _encoded(self, frame: bytes) -> bytes:
        layout = self._layout
        if self._uid == JPEG_LS_LOSSLESS:
            if layout.bits_allocated > jpeg.MAX_JPEG_LS_BITS:
                raise ValueError(f"JPEG-LS has no samples of {layout.bits_allocated} bits")
            return jpeg.encode_jpeg_ls(frame, layout)
        options = {**layout.options(), "photometric_interpretation": self.interpretation}
        if self._is_by_allocated_bits:
            options["bits_stored"] = layout.bits_allocated
        return bytes(_pydicom_encoder(self._uid).encode(frame, encoding_plugin=self._plugin, **options))

    def _check_range(self, frame: bytes) -> None:
        import numpy

        layout = self._layout
        if layout.bits_stored == layout.bits_allocated:
            return
        samples = numpy.frombuffer(frame, f"<{'ui'[layout.representation]}{layout.bits_allocated // 8}")
        magnitude_bits = layout.bits_stored - layout.representation
        low = -1 << magnitude_bits if layout.representation else 0
        if not low <= samples.min() <= samples.max() < 1 << magnitude_bits:
            raise TranscodeError("pixels have more bits than Bits Stored")
