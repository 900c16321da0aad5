"""Which fragments make up which frame of encapsulated Pixel Data, found without decoding any (PS3.5 A.4)."""

from array import array

from minipacs.pixels.codecs import RLE_LOSSLESS
from minipacs.pixels.codestream import FRAME_STARTS, is_rle_header
from minipacs.pixels.elements import ElementReader, TranscodeError
from minipacs.pixels.image import MAX_FRAME_BYTES

MAX_FRAGMENTS = 1 << 22


class Fragments:
    """The fragments that `reader` stands before, of an image of `frames` frames; the reader is left behind them.

    By what they hold, not by offset tables: these are optional, and wrong in many files. Takes 16 bytes for each
    fragment. Raises TranscodeError.
    """

    def __init__(self, reader: ElementReader, transfer_syntax_uid: str, frames: int, rle_segments: int) -> None:
        self._is_rle = transfer_syntax_uid == RLE_LOSSLESS
        self._frames = frames
        self._rle_segments = rle_segments
        self._positions, self._lengths, self._starts = array("Q"), array("I"), array("I")
        items = reader.fragments()
        next(items, None)  # the Basic Offset Table
        for position, length in items:
            if len(self._positions) == MAX_FRAGMENTS:
                raise TranscodeError(f"more than {MAX_FRAGMENTS} fragments")
            if self._begins_frame(reader.read(min(8, length))):
                self._starts.append(len(self._positions))
            self._positions.append(position)
            self._lengths.append(length)
        if len(self._starts) != frames or self._starts[0] != 0:
            raise TranscodeError(f"{len(self._starts)} frames in the fragments, not {frames}")
        self._starts.append(len(self._positions))
        self.end = reader.position

    def read(self, reader: ElementReader, index: int) -> bytes:
        """Read the code of a frame, its fragments joined; the reader is left behind the last of them."""
        fragments = range(self._starts[index], self._starts[index + 1])
        if sum(self._lengths[fragment] for fragment in fragments) > MAX_FRAME_BYTES:
            raise TranscodeError(f"frame {index + 1} is longer than {MAX_FRAME_BYTES} bytes")
        parts = []
        for fragment in fragments:
            reader.seek(self._positions[fragment])
            parts.append(reader.read(self._lengths[fragment]))
        return b"".join(parts)

    def _begins_frame(self, fragment: bytes) -> bool:
        """Tell whether a fragment begins a frame, from its first bytes."""
        if not self._is_rle:
            return fragment.startswith(FRAME_STARTS)
        # A frame in RLE is one fragment (PS3.5 A.4.2). Where there is but one frame, nothing need be guessed.
        return self._frames > 1 or not self._starts or is_rle_header(fragment, self._rle_segments)
