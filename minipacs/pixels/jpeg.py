"""JPEG and JPEG-LS frames: a decoder for pydicom, and an encoder of JPEG-LS (ISO/IEC 10918-1, 14495-1).

Samples come as they were coded: what colours they are is told by Photometric Interpretation, not by the frame's own
markers, which many writers get wrong. PS3.5 8.2.1
"""

from importlib.util import find_spec
from typing import Any

from minipacs.pixels.image import ImageLayout

LABEL = "imagecodecs"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_LS = "1.2.840.10008.1.2.4.81"

MAX_JPEG_LS_BITS = 16

COLOURS_AS_TOLD = frozenset({JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, JPEG_LS})
"""A JFIF marker means YCbCr where an encoder transforms colours, which those of lossless processes do not do."""

DECODER_DEPENDENCIES = dict.fromkeys(
    (JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, JPEG_LS), ("imagecodecs",)
)


def is_available(transfer_syntax_uid: str) -> bool:
    """Tell whether frames of a transfer syntax can be decoded here."""
    return transfer_syntax_uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def decode_frame(frame: bytes, runner: Any) -> bytes:
    """Decode a frame, colour by pixel; what `runner` is told of it then is what pydicom goes on with."""
    import imagecodecs

    if runner.transfer_syntax in (JPEG_LS_LOSSLESS, JPEG_LS):
        samples = imagecodecs.jpegls_decode(frame)
    else:
        colours = None
        if runner.samples_per_pixel == 3:
            colours = "RGB" if runner.photometric_interpretation == "RGB" else "YCBCR"
        samples = imagecodecs.jpeg8_decode(frame, colorspace=colours, outcolorspace=colours)
    runner.set_option("bits_allocated", 8 * samples.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytes(samples.tobytes())


def encode_jpeg_ls(frame: bytes, layout: ImageLayout) -> bytes:
    """Encode all bits of a frame that are allocated: then no decoder has to guess at signs or at what lies above."""
    import imagecodecs
    import numpy

    shape = (layout.rows, layout.columns, layout.samples)[: 3 if layout.samples > 1 else 2]
    samples = numpy.frombuffer(frame, f"<u{layout.bits_allocated // 8}").reshape(shape)
    return bytes(imagecodecs.jpegls_encode(samples))
