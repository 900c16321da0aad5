"""A decoder of JPEG frames for pydicom: baseline, extended and lossless, 2 to 16 bits a sample (ISO/IEC 10918-1).

Samples come as they were coded: what colours they are is told by Photometric Interpretation, not by the frame's own
markers, which many writers get wrong. PS3.5 8.2.1
"""

from importlib.util import find_spec
from typing import Any

LABEL = "imagecodecs"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"

DECODER_DEPENDENCIES = dict.fromkeys((JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1), ("imagecodecs",))


def is_available(transfer_syntax_uid: str) -> bool:
    """Tell whether frames of a transfer syntax can be decoded here."""
    return transfer_syntax_uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def decode_frame(frame: bytes, runner: Any) -> bytes:
    """Decode a frame, colour by pixel; what `runner` is told of it then is what pydicom goes on with."""
    import imagecodecs

    colours = None
    if runner.samples_per_pixel == 3:
        colours = "RGB" if runner.photometric_interpretation == "RGB" else "YCBCR"
    samples = imagecodecs.jpeg8_decode(frame, colorspace=colours, outcolorspace=colours)
    runner.set_option("bits_allocated", 8 * samples.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytes(samples.tobytes())
