"""Encapsulated images made here, whole and damaged, decoded to native Pixel Data."""

import base64
import logging
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset

from minipacs.dicom.tables.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from minipacs.pixels import fragments as fragments_module
from minipacs.pixels.elements import TranscodeError
from tests.support.elements import as_file, convert, converted, element, fragments, sequence, values

JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"

HTJ2K_FRAME = base64.b64decode(
    "/0//UQAvQAAAAAAKAAAACAAAAAAAAAAAAAAACgAAAAgAAAAAAAAAAAADBwEBBwEBBwEB/1AACAACAAAAA/9SAAwAAgABAQUEBEAB"
    "/1wAEyBQWFhYWFhYWFhYWFhYUFBQ/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAOMAAf+TwBIA/SdzAMASgOQAh3QA"
    "wBKAyQCHdAAAAADACUDeAId0AMAJgAX+Agd0AMAJQIgBB3QAwAlgBICKAQd0AIgSMwDACWAEgA8Bh3QAezIzAMAJYARgGQGHdAAK"
    "MwDACaAEoKr6AIJ0APJDd1QAwAmgBMDP5wECdADd/gN3VADACaAEgNnsAQJ0AEN3VADAFbAEoP9vmP83mrqcA9CCdwDg4LqUAMAV"
    "0AVAfv999vvv97qcI9ECdwCt+uAUdey2AMAV0ASAfv85/P7T6bqcA9ECdwDgupQA/9k="
)
"""8 rows of 10 pixels in RGB: column * 20 + row, twice that, 255 less that; with the colour transformation."""

LOSSY = 0x00282110
PLANAR_CONFIGURATION = 0x00280006
EXTENDED_OFFSET_TABLE = b"".join(element(0x7FE00001 + at, "OV", bytes(8)) for at in (0, 1))

Pixels = "np.ndarray[Any, Any]"


def gradient(dtype: str, shape: tuple[int, ...], depth: int) -> Pixels:
    """Give pixels that use all `depth` bits, negative values too where the type has them."""
    count = int(np.prod(shape))
    first = -(1 << depth - 1) if np.dtype(dtype).kind == "i" else 0
    return (np.arange(count) * 37 % (1 << depth) + first).astype(dtype).reshape(shape)


def encode_rle(pixels: Pixels) -> bytes:
    """Encode a frame by literal runs only (PS3.5 G)."""
    planes = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1).T
    segments = []
    for plane in planes:
        for byte in reversed(range(pixels.dtype.itemsize)):
            data = plane.astype(pixels.dtype).tobytes()[byte :: pixels.dtype.itemsize]
            runs = (data[at : at + 128] for at in range(0, len(data), 128))
            segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
            segments.append(segment + bytes(len(segment) % 2))
    offsets = np.cumsum([64, *map(len, segments[:-1])]).tolist()
    return struct.pack(f"<{1 + len(offsets)}I", len(offsets), *offsets).ljust(64, b"\0") + b"".join(segments)


def encode_j2k(pixels: Pixels, depth: int, **options: Any) -> bytes:
    colour = 1 if pixels.ndim == 3 else 2
    return bytes(encode_array(pixels, bits_stored=depth, photometric_interpretation=colour, **options))


def attributes(pixels: Pixels, depth: int, interpretation: str = "", **changed: int | str | None) -> bytes:
    """Encode the image attributes of a frame; `changed` overrides by keyword, None leaves out."""
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    ds = {
        "SamplesPerPixel": (0x00280002, samples),
        "PhotometricInterpretation": (0x00280004, interpretation or ("RGB" if samples == 3 else "MONOCHROME2")),
        "NumberOfFrames": (0x00280008, None),
        "Rows": (0x00280010, pixels.shape[0]),
        "Columns": (0x00280011, pixels.shape[1]),
        "BitsAllocated": (0x00280100, pixels.dtype.itemsize * 8),
        "BitsStored": (0x00280101, depth),
        "HighBit": (0x00280102, depth - 1),
        "PixelRepresentation": (0x00280103, int(pixels.dtype.kind == "i")),
        "LossyImageCompression": (LOSSY, None),
    }
    data_set = b""
    for keyword, (tag, value) in ds.items():
        value = changed.get(keyword, value)
        if isinstance(value, int):
            data_set += element(tag, "US", struct.pack("<H", value))
        elif value is not None:
            data_set += element(
                tag, "IS" if keyword == "NumberOfFrames" else "CS", value.ljust(-len(value) // 2 * -2).encode()
            )
    return data_set


def even(frame: bytes) -> bytes:
    return frame + bytes(len(frame) % 2)


MONO = gradient("<u2", (33, 35), 12)
MONO_ATTRIBUTES = attributes(MONO, 12)
MONO_J2K = even(encode_j2k(MONO, 12))
RGB = gradient("u1", (32, 40, 3), 8)


def decode(data_set: bytes, uid: str, target: str = EXPLICIT_VR_LITTLE_ENDIAN) -> Dataset:
    return converted(as_file(data_set, uid), target)


def refused(data_set: bytes, uid: str, reason: str) -> None:
    with pytest.raises(TranscodeError, match=reason):
        decode(data_set, uid)


@pytest.mark.parametrize("target", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
@pytest.mark.parametrize("coding", [RLE, JPEG_2000_LOSSLESS])
@pytest.mark.parametrize(
    ("dtype", "shape", "depth"),
    [
        ("u1", (40, 40), 8),
        ("u1", (35, 37), 8),
        ("u1", (35, 37), 5),
        ("i1", (35, 37), 8),
        ("<u2", (35, 37), 12),
        ("<u2", (40, 40), 16),
        ("<u2", (35, 37), 7),
        ("<i2", (35, 37), 12),
        ("<i2", (40, 40), 16),
        ("<u4", (35, 37), 20),
        ("u1", (35, 37, 3), 8),
        ("<u2", (35, 37, 3), 16),
    ],
)
def test_lossless_frames(coding: str, target: str, dtype: str, shape: tuple[int, ...], depth: int) -> None:
    pixels = gradient(dtype, shape, depth)
    frame = encode_rle(pixels) if coding == RLE else encode_j2k(pixels, depth)
    native = decode(attributes(pixels, depth) + fragments(even(frame)), coding, target)
    expected = pixels.tobytes()
    if target == EXPLICIT_VR_BIG_ENDIAN and pixels.dtype.itemsize > 1:
        expected = np.frombuffer(expected, "<u2").astype(">u2").tobytes()
    assert native.PixelData == even(expected)
    assert ("OW" if pixels.dtype.itemsize > 1 or target == IMPLICIT_VR_LITTLE_ENDIAN else "OB") == native[
        "PixelData"
    ].VR
    assert native.get("PlanarConfiguration") == (0 if len(shape) == 3 else None)
    assert native.BitsStored == depth


@pytest.mark.parametrize("uid", [HTJ2K_LOSSLESS, "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"])
def test_high_throughput_jpeg_2000(uid: str) -> None:
    step = np.add.outer(np.arange(8), np.arange(10) * 20)
    pixels = np.stack([step, step * 2 % 256, 255 - step], -1).astype("u1")
    native = decode(attributes(pixels, 8, "YBR_RCT") + fragments(HTJ2K_FRAME), uid)
    assert native.PixelData == pixels.tobytes()
    assert (native.PhotometricInterpretation, native.PlanarConfiguration) == ("RGB", 0)
    assert "LossyImageCompression" not in native


@pytest.mark.parametrize(
    ("stored", "transformed", "native"),
    [("YBR_RCT", True, "RGB"), ("RGB", True, "RGB"), ("RGB", False, "RGB"), ("YBR_FULL", False, "YBR_FULL")],
)
def test_photometric_interpretation_is_that_of_the_decoded_pixels(stored: str, transformed: bool, native: str) -> None:
    frame = encode_j2k(RGB, 8, use_mct=transformed)
    decoded = decode(attributes(RGB, 8, stored) + fragments(even(frame)), JPEG_2000_LOSSLESS)
    assert decoded.PhotometricInterpretation == native
    assert decoded.PixelData == RGB.tobytes()


@pytest.mark.parametrize(("stored", "native"), [("YBR_FULL", "YBR_FULL"), ("YBR_FULL_422", "YBR_FULL"), ("RGB", "RGB")])
def test_rle_planes_become_colour_by_pixel(stored: str, native: str) -> None:
    planar = element(PLANAR_CONFIGURATION, "US", b"\1\0")
    described = attributes(RGB, 8, stored)
    at = described.index(struct.pack("<HH", 0x28, 0x10))
    decoded = decode(described[:at] + planar + described[at:] + fragments(even(encode_rle(RGB))), RLE)
    assert (decoded.PhotometricInterpretation, decoded.PlanarConfiguration) == (native, 0)
    assert decoded.PixelData == RGB.tobytes()


def test_palette_and_other_elements_stay_as_they_are() -> None:
    described = attributes(RGB[..., 0], 8, "PALETTE COLOR")
    palette = element(0x00281101, "US", struct.pack("<3H", 256, 0, 16)) + element(
        0x00281201, "OW", bytes(range(256)) * 2
    )
    padding = element(0xFFFCFFFC, "OB", bytes(6))
    frame = even(encode_rle(np.ascontiguousarray(RGB[..., 0])))
    file = as_file(described + palette + EXTENDED_OFFSET_TABLE + fragments(frame) + padding, RLE)
    pixels = element(0x7FE00010, "OB", RGB[..., 0].tobytes())
    assert convert(file, EXPLICIT_VR_LITTLE_ENDIAN) == described + palette + pixels + padding


@pytest.mark.parametrize(("missing_sign", "stored"), [("<u2", "<i2"), ("<i2", "<u2")])
def test_a_sign_that_the_codestream_does_not_share_goes_by_the_image(missing_sign: str, stored: str) -> None:
    pixels = gradient(stored, (35, 37), 12)
    coded = (pixels.astype("<i4") << 20 >> 20 if missing_sign == "<i2" else pixels & 0xFFF).astype(missing_sign)
    decoded = decode(attributes(pixels, 12) + fragments(even(encode_j2k(coded, 12))), JPEG_2000_LOSSLESS)
    assert decoded.PixelData == even(pixels.tobytes())


def split(frame: bytes) -> list[bytes]:
    cut = len(frame) // 4 * 2
    return [frame[:cut], frame[cut:]]


@pytest.mark.parametrize("table", ["none", "basic", "extended", "wrong"])
@pytest.mark.parametrize("parts", [lambda frame: [frame], split], ids=["whole", "split"])
def test_frames_are_found_with_any_offset_table(table: str, parts: Callable[[bytes], list[bytes]]) -> None:
    pixels = [np.roll(MONO, at) for at in range(3)]
    coded = [part for frame in pixels for part in parts(even(encode_j2k(frame, 12)))]
    offsets = b"".join(struct.pack("<I", 8 * at) for at in range(3)) if table in ("basic", "wrong") else b""
    extended = EXTENDED_OFFSET_TABLE if table == "extended" else b""
    described = attributes(MONO, 12, NumberOfFrames="3")
    decoded = decode(described + extended + fragments(*coded, offsets=offsets), JPEG_2000_LOSSLESS)
    assert decoded.PixelData == even(b"".join(frame.tobytes() for frame in pixels))
    assert "ExtendedOffsetTable" not in decoded
    assert "ExtendedOffsetTableLengths" not in decoded


def test_frames_of_odd_size_are_padded_once() -> None:
    pixels = gradient("u1", (3, 3), 8)
    described = attributes(pixels, 8, NumberOfFrames="3")
    for target in (EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN):
        decoded = decode(described + fragments(*[even(encode_rle(pixels))] * 3), RLE, target)
        assert decoded.PixelData == pixels.tobytes() * 3 + b"\0"


@pytest.mark.parametrize(
    ("uid", "ratio", "stored", "told"),
    [
        (JPEG_2000, [20], None, "01"),
        (JPEG_2000, [20], "", "01"),
        (JPEG_2000, [20], "00", "00"),
        (JPEG_2000, [20], "01", "01"),
        (JPEG_2000, None, None, None),
        (JPEG_2000_LOSSLESS, None, None, None),
    ],
)
def test_loss_is_told_unless_the_object_speaks_of_it(
    uid: str, ratio: list[float] | None, stored: str | None, told: str | None
) -> None:
    pixels = gradient("u1", (64, 64), 8)
    frame = even(encode_j2k(pixels, 8, compression_ratios=ratio))
    described = attributes(pixels, 8, LossyImageCompression=stored)
    decoded = decode(described + element(0x00283003, "LO", b"later ") + fragments(frame), uid)
    assert decoded.get("LossyImageCompression") == told
    assert list(decoded.keys()) == sorted(decoded.keys())


def test_icons_are_decoded_if_encapsulated_and_kept_if_native() -> None:
    icon = gradient("u1", (4, 4), 8)
    native_icon = attributes(icon, 8) + element(0x7FE00010, "OB", icon.tobytes())
    coded_icon = attributes(RGB, 8, "YBR_RCT") + fragments(even(encode_j2k(RGB, 8)))
    own = MONO_ATTRIBUTES
    data_set = own + sequence(0x00880200, native_icon, coded_icon) + fragments(MONO_J2K)
    found = values(convert(as_file(data_set, JPEG_2000_LOSSLESS), EXPLICIT_VR_LITTLE_ENDIAN))
    assert found[0x7FE00010,] == even(MONO.tobytes())
    assert found[0x00880200, 0, 0x7FE00010] == icon.tobytes()
    assert found[0x00880200, 1, 0x7FE00010] == RGB.tobytes()
    assert found[0x00880200, 1, 0x00280004] == b"RGB "
    assert found[0x00280004,] == b"MONOCHROME2 "
    assert (0x00880200, 0, PLANAR_CONFIGURATION) not in found
    assert found[0x00880200, 1, PLANAR_CONFIGURATION] == b"\0\0"


def zeroed(frame: bytes, count: int) -> bytes:
    return frame[:-count] + bytes(count)


def jp2(codestream: bytes, colour_space: int) -> bytes:
    """Put a codestream into a JP2 file that names a colour space."""

    def box(kind: bytes, *content: bytes) -> bytes:
        data = b"".join(content)
        return struct.pack(">I", 8 + len(data)) + kind + data

    header = box(b"ihdr", struct.pack(">IIHBBBB", 32, 40, 3, 7, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, colour_space))
    signature, kind = box(b"jP  ", b"\r\n\x87\n"), box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return signature + kind + box(b"jp2h", header) + box(b"jp2c", codestream)


def test_a_jp2_file_in_a_frame_is_read_for_its_codestream_alone() -> None:
    frame = even(jp2(encode_j2k(RGB, 8, use_mct=False), 18))  # sYCC: the decoder would turn it to RGB
    decoded = decode(attributes(RGB, 8, "YBR_FULL") + fragments(frame), JPEG_2000_LOSSLESS)
    assert (decoded.PhotometricInterpretation, decoded.PixelData) == ("YBR_FULL", RGB.tobytes())


def subsampled(frame: bytes) -> bytes:
    """Change the codestream's last component to half its columns."""
    return frame[: 42 + 6 + 1] + b"\2" + frame[42 + 6 + 2 :]


RGB_J2K = even(encode_j2k(RGB, 8, use_mct=False))


@pytest.mark.parametrize(
    ("described", "parts", "reason"),
    [
        (MONO_ATTRIBUTES, [MONO_J2K[:-20]], "no end"),
        (MONO_ATTRIBUTES, [zeroed(MONO_J2K, 40)], "no end"),
        (MONO_ATTRIBUTES, [MONO_J2K[:-30] + b"\xff\xd9"], "frame 1: .*decod"),
        (MONO_ATTRIBUTES, [MONO_J2K[:30] + b"\xff\xd9"], "malformed"),
        (MONO_ATTRIBUTES, [b"\xff\xd8\xff" + MONO_J2K[3:]], "frame 1: "),
        (MONO_ATTRIBUTES, [b"no code "], "0 frames in the fragments, not 1"),
        (MONO_ATTRIBUTES, [], "0 frames in the fragments, not 1"),
        (MONO_ATTRIBUTES, [b"no code ", MONO_J2K], "frames in the fragments"),
        (MONO_ATTRIBUTES, [MONO_J2K, MONO_J2K], "2 frames in the fragments, not 1"),
        (attributes(MONO, 12, NumberOfFrames="2"), [MONO_J2K], "1 frames in the fragments, not 2"),
        (attributes(MONO, 12, NumberOfFrames="2"), [MONO_J2K, MONO_J2K[:-20]], "frame 2: "),
        (attributes(MONO, 12, NumberOfFrames="1A"), [MONO_J2K], "Number of Frames"),
        (attributes(MONO, 12, NumberOfFrames="0"), [MONO_J2K], "Number of Frames"),
        (attributes(MONO, 12, Rows=32), [MONO_J2K], "size or depth"),
        (attributes(MONO, 12, Columns=70), [MONO_J2K], "size or depth"),
        (attributes(MONO, 8, BitsAllocated=8), [MONO_J2K], "size or depth"),
        (attributes(MONO, 12, SamplesPerPixel=3), [MONO_J2K], "size or depth"),
        (attributes(MONO, 12, HighBit=15), [MONO_J2K], "High Bit is outside"),
        (attributes(MONO, 12, HighBit=16), [MONO_J2K], "with its High Bit"),
        (attributes(MONO, 12, HighBit=10), [MONO_J2K], "with its High Bit"),
        (attributes(MONO, 12, BitsAllocated=12), [MONO_J2K], "Bits Allocated"),
        (attributes(MONO, 12, BitsAllocated=1), [MONO_J2K], "Bits Allocated"),
        (attributes(MONO, 12, Rows=None, PixelRepresentation=2), [MONO_J2K], "Rows, Pixel Representation"),
        (attributes(MONO, 12, Rows=65535, Columns=65535), [MONO_J2K], "decode to more"),
        (attributes(MONO, 12, NumberOfFrames="99999999"), [MONO_J2K], "too many"),
        (attributes(RGB, 8, "YBR_RCT"), [RGB_J2K], "without the colour transformation"),
        (attributes(RGB, 8, "YBR_PARTIAL_420"), [RGB_J2K], "cannot be native"),
        (attributes(RGB, 8, "YBR_FULL_422"), [subsampled(RGB_J2K)], "components of the codestream differ"),
        (attributes(RGB, 8), [b"\0\0\0\x0cjP  \r\n\x87\n no codestream\xff\xd9"], "no codestream"),
    ],
)
def test_damaged_jpeg_2000_is_refused(described: bytes, parts: list[bytes], reason: str) -> None:
    refused(described + fragments(*map(even, parts)), JPEG_2000_LOSSLESS, reason)


MONO_RLE = even(encode_rle(MONO))


@pytest.mark.parametrize(
    ("described", "parts", "reason"),
    [
        (MONO_ATTRIBUTES, [MONO_RLE[:-10]], "frame 1: "),
        (MONO_ATTRIBUTES, [MONO_RLE[:40]], "RLE header"),
        (MONO_ATTRIBUTES, [b"\x03" + MONO_RLE[1:]], "segments"),
        (MONO_ATTRIBUTES, [b"\xff" + MONO_RLE[1:]], "segments"),
        (MONO_ATTRIBUTES, [MONO_RLE[:4] + b"\x41" + MONO_RLE[5:]], "out of order"),
        (MONO_ATTRIBUTES, [MONO_RLE[:8] + bytes(4) + MONO_RLE[12:]], "out of order"),
        (MONO_ATTRIBUTES, [MONO_RLE, MONO_RLE], "2 frames in the fragments, not 1"),
        (attributes(MONO, 12, NumberOfFrames="2"), [*split(MONO_RLE), MONO_RLE], "3 frames in the fragments, not 2"),
        (attributes(MONO, 12, NumberOfFrames="2"), [MONO_RLE], "1 frames in the fragments, not 2"),
        (attributes(MONO, 12, NumberOfFrames="2"), [MONO_RLE, MONO_RLE[:-10]], "frame 2: "),
        (attributes(MONO, 12, Rows=34), [MONO_RLE], "frame 1: "),
        (attributes(MONO, 12, SamplesPerPixel=3), [MONO_RLE], "segments"),
    ],
)
def test_damaged_rle_is_refused(described: bytes, parts: list[bytes], reason: str) -> None:
    refused(described + fragments(*map(even, parts)), RLE, reason)


def test_one_rle_frame_in_several_fragments_decodes() -> None:
    whole = decode(MONO_ATTRIBUTES + fragments(MONO_RLE), RLE)
    for parts in (split(MONO_RLE), [MONO_RLE[:64], MONO_RLE[64:70], MONO_RLE[70:]]):
        assert decode(MONO_ATTRIBUTES + fragments(*parts), RLE).PixelData == whole.PixelData


def test_native_pixel_data_in_an_encapsulated_syntax_is_refused() -> None:
    refused(MONO_ATTRIBUTES + element(0x7FE00010, "OW", even(MONO.tobytes())), RLE, "native Pixel Data")
    assert decode(MONO_ATTRIBUTES + element(0x7FE00010, "OW", b""), RLE).PixelData in (b"", None)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments_module, "MAX_FRAGMENTS", 1)
    refused(MONO_ATTRIBUTES + fragments(*split(MONO_J2K)), JPEG_2000_LOSSLESS, "more than 1 fragments")
    monkeypatch.setattr(fragments_module, "MAX_FRAGMENTS", 2)
    monkeypatch.setattr(fragments_module, "MAX_FRAME_BYTES", len(MONO.tobytes()))
    junk = MONO_J2K[:4] + bytes(4000)
    refused(MONO_ATTRIBUTES + fragments(junk), JPEG_2000_LOSSLESS, "frame 1 is longer")


def test_a_failing_decoder_logs_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        refused(MONO_ATTRIBUTES + fragments(MONO_RLE[:-10]), RLE, "frame 1: ")
    assert not [record for record in caplog.records if record.exc_info]
