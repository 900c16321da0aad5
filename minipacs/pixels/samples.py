"""Decoded samples made those of an image: its size, its sign, its range (PS3.5 8.1.1, 8.2).

Codes other than JPEG 2000 know no sign: a negative sample is coded as the word that two's complement makes of it, of
as many bits as the code has. Nothing wraps here: what lies beyond the range of an image, by no more than its code may
have erred, becomes the end of the range; where it cannot be told what was meant, the frame is refused.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.image import ImageLayout

if TYPE_CHECKING:
    import numpy

    Samples = numpy.ndarray[Any, Any]


class Coding(NamedTuple):
    """How a frame was coded: bits of a sample, whether they have a sign, and by how much any may have changed."""

    precision: int
    max_error: int = 0
    signed: bool = False


def native(samples: "Samples", coding: Coding, layout: ImageLayout) -> bytes:
    """Give the native bytes of decoded samples. Raises `TranscodeError` if their values are uncertain."""
    if layout.high_bit >= coding.precision and layout.high_bit != layout.bits_stored - 1:
        raise TranscodeError("High Bit is outside of what was encoded")
    if coding.max_error and layout.overlay_bits & (1 << coding.precision) - 1:
        raise TranscodeError("overlays in the bits of pixels that were encoded with loss")
    is_sign_lost = bool(layout.representation) and not coding.signed
    if coding.max_error and is_sign_lost:
        _check_turn(samples, coding)
    unused = layout.bits_allocated - coding.precision
    words = samples.astype(f"<{'ui'[layout.representation]}{layout.bits_allocated // 8}", copy=False)
    if unused and coding.signed != bool(layout.representation):
        words = words << unused >> unused
    if coding.max_error and coding.precision > layout.high_bit + 1:
        words = _within_range(words, coding, layout)
    if layout.overlay_bits >> coding.precision:
        words = words & (1 << coding.precision) - 1  # a sign there would be seen as an overlay
    return words.tobytes()


def _check_turn(samples: "Samples", coding: Coding) -> None:
    """Refuse samples that an error may have taken from the greatest value to the least, or back."""
    turn = 1 << coding.precision - 1
    if ((samples >= turn - coding.max_error) & (samples < turn + coding.max_error)).any():
        raise TranscodeError("signed pixels may have changed their sign when they were encoded with loss")


def _within_range(words: "Samples", coding: Coding, layout: ImageLayout) -> "Samples":
    """Take back what errors have put outside of the range; refuse what no error explains."""
    bits = layout.high_bit + 1 - layout.representation
    low, high = (-1 << bits if layout.representation else 0), (1 << bits) - 1
    if words.min() < low - coding.max_error or words.max() > high + coding.max_error:
        raise TranscodeError("pixels encoded with loss have more bits than Bits Stored")
    return words.clip(low, high)
