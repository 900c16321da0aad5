"""Single frames as they are stored, without any codec."""

import io

import numpy as np
import pytest
from pydicom.dataset import Dataset

from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.frame_reader import FrameReader
from tests.support.objects import ct, encode
from tests.support.wire import EXPLICIT

BIG_ENDIAN = "1.2.840.10008.1.2.2"


def reader(ds: Dataset, syntax: str) -> FrameReader:
    return FrameReader(io.BytesIO(encode(ds, syntax)), TRANSFER_SYNTAXES[syntax])


@pytest.mark.parametrize(("bits", "columns"), [(1, 3), (1, 7), (1, 8), (1, 24), (8, 3), (8, 4), (16, 3)])
def test_frames_of_words_that_they_share_are_the_same_in_both_byte_orders(bits: int, columns: int) -> None:
    frames = 5
    size = (3 * columns * frames * bits + 7) // 8
    pixels = np.random.default_rng(columns).integers(0, 256, size + size % 2, np.uint8).tobytes()
    ds = ct(
        Rows=3, Columns=columns, NumberOfFrames=frames, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1,
        PixelData=pixels,
    )  # fmt: skip
    little = reader(ds, EXPLICIT)
    ds.PixelData = np.frombuffer(pixels, "<u2").astype(">u2").tobytes()
    ds["PixelData"].VR = "OW"
    big = reader(ds, BIG_ENDIAN)
    for index in reversed(range(frames)):
        assert big.stored(index) == little.stored(index)


def test_pixels_of_two_words_in_big_endian_are_refused() -> None:
    ds = ct(16, BitsAllocated=32, BitsStored=32, HighBit=31, PixelData=bytes(16 * 16 * 4))
    assert reader(ds, EXPLICIT).stored(0) == ds.PixelData
    with pytest.raises(TranscodeError, match="byte order"):
        reader(ds, BIG_ENDIAN).stored(0)
