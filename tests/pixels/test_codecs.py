"""Codecs held against independent ones, dcmtk's and openjpeg's tools, and lossless ones against themselves."""

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from minipacs.dicom.data_set.part10 import file_meta, parse_file_meta
from minipacs.dicom.tables.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from minipacs.errors import DataSetError
from minipacs.pixels.codecs import ENCODERS, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS, can_transcode
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.transcode import transcode
from tests.support.dcmtk import run, tool
from tests.support.objects import ct, encode
from tests.support.pixel_matrix import Kind

DATA = Path(pydicom.__file__).parent / "data"
DCMDJPEG = [f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 57, 70)]
DCMDJPLS = [f"1.2.840.10008.1.2.4.{last}" for last in (80, 81)]
OPENJPEG = [f"1.2.840.10008.1.2.4.{last}" for last in (90, 91)]
NO_PIXELS_OR_DAMAGED = {"UN_sequence.dcm", "SC_rgb_jpeg.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}


def shipped(*uids: str, without: set[str]) -> list[Path]:
    found = []
    for path in sorted(DATA.rglob("*.dcm")):
        try:
            uid = parse_file_meta(path.read_bytes()).transfer_syntax_uid
        except DataSetError:
            continue
        if uid in uids and path.name not in NO_PIXELS_OR_DAMAGED | without:
            found.append(path)
    return found


def recoded(file: bytes, uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    """Transcode a file; gives a file."""
    out = io.BytesIO()
    transcode(io.BytesIO(file), out, uid)
    return file_meta("1.2", "1.2.3", uid) + out.getvalue()


def read(file: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(file))


def name(value: object) -> str | None:
    return value.name if isinstance(value, Path) else None


@pytest.mark.parametrize("path", shipped(*DCMDJPEG, *DCMDJPLS, without=set()), ids=name)
def test_jpeg_and_jpeg_ls_decode_as_in_dcmtk(path: Path, tmp_path: Path) -> None:
    stored = parse_file_meta(path.read_bytes()).transfer_syntax_uid
    words = ["dcmdjpls"] if stored in DCMDJPLS else ["dcmdjpeg", "+cn"]
    run(*words, path, tmp_path / "decoded")
    theirs, ours = pydicom.dcmread(tmp_path / "decoded"), read(recoded(path.read_bytes()))
    assert np.array_equal(ours.pixel_array, theirs.pixel_array)
    assert ours.PhotometricInterpretation == theirs.PhotometricInterpretation
    lossless = stored in (DCMDJPEG[2:] + DCMDJPLS[:1])
    assert lossless or ours.LossyImageCompression == "01"


@pytest.mark.parametrize("path", shipped(*OPENJPEG, without={"J2K_pixelrep_mismatch.dcm"}), ids=name)
def test_jpeg_2000_decodes_as_in_openjpeg(path: Path, tmp_path: Path) -> None:
    stored, ours = pydicom.dcmread(path), read(recoded(path.read_bytes()))
    frames = generate_frames(stored.PixelData, number_of_frames=int(stored.get("NumberOfFrames", 1)))
    shape = (ours.SamplesPerPixel, ours.Rows, ours.Columns)
    kind = f"<{'ui'[ours.PixelRepresentation]}"
    for index, frame in enumerate(frames):
        frame = frame[frame.index(b"\xff\x4f\xff\x51") :]
        (tmp_path / "frame.j2k").write_bytes(frame)
        subprocess.run(
            [tool("opj_decompress"), "-i", tmp_path / "frame.j2k", "-o", tmp_path / "out.rawl"],
            check=True,
            capture_output=True,
        )
        raw = (tmp_path / "out.rawl").read_bytes()
        planes = np.frombuffer(raw, f"{kind}{len(raw) // int(np.prod(shape))}").reshape(shape)
        size = ours.Rows * ours.Columns * ours.SamplesPerPixel * ours.BitsAllocated // 8
        pixels = np.frombuffer(ours.PixelData[index * size : (index + 1) * size], f"{kind}{ours.BitsAllocated // 8}")
        assert np.array_equal(pixels.reshape(*shape[1:], shape[0]), planes.transpose(1, 2, 0))


def images() -> Iterator[Any]:
    """Make images of every kind that an encoder has to carry to the bit."""
    rng = np.random.default_rng(1)
    for bits, allocated in ((8, 8), (12, 16), (16, 16), (8, 16), (10, 16)):
        for signed in (0, 1):
            low, high = (-1 << bits - 1, 1 << bits - 1) if signed else (0, 1 << bits)
            pixels = rng.integers(low, high, (2, 41, 43), dtype=np.int32).astype(f"<{'ui'[signed]}{allocated // 8}")
            values = {
                "BitsAllocated": allocated,
                "BitsStored": bits,
                "HighBit": bits - 1,
                "PixelRepresentation": signed,
                "NumberOfFrames": 2,
            }
            yield pytest.param(pixels, values, id=f"{bits}-in-{allocated}-{'signed' if signed else 'unsigned'}")
    for interpretation in ("RGB", "YBR_FULL"):
        for planar in (0, 1):
            pixels = rng.integers(0, 256, (2, 41, 43, 3), dtype=np.uint8)
            values = {
                "BitsAllocated": 8,
                "BitsStored": 8,
                "HighBit": 7,
                "SamplesPerPixel": 3,
                "PhotometricInterpretation": interpretation,
                "PlanarConfiguration": planar,
                "NumberOfFrames": 2,
            }
            yield pytest.param(pixels, values, id=f"{interpretation}-{'planes' if planar else 'pixels'}")


def image(pixels: "np.ndarray[Any, Any]", values: dict[str, Any]) -> Dataset:
    planar = values.get("PlanarConfiguration")
    raw = (pixels.transpose(0, 3, 1, 2) if planar else pixels).tobytes()
    ds = ct(Rows=pixels.shape[1], Columns=pixels.shape[2], **values)
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if values["BitsAllocated"] == 8 else "OW"
    return ds


def as_file(ds: Dataset, uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    return file_meta(ds.SOPClassUID, ds.SOPInstanceUID, uid) + encode(ds, uid)


@pytest.mark.parametrize("target", ENCODERS)
@pytest.mark.parametrize(("pixels", "values"), list(images()))
def test_lossless_round_trips_are_equal_to_the_bit(
    target: str, pixels: "np.ndarray[Any, Any]", values: dict[str, Any]
) -> None:
    ds = image(pixels, values)
    for stored in (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN):
        encoded = recoded(as_file(ds, stored), target)
        code = read(encoded)
        assert code.PixelData.startswith(b"\xfe\xff\0\xe0\0\0\0\0"), "an empty offset table"
        assert "LossyImageCompression" not in code
        assert [code.SOPInstanceUID, code.PatientName] == [ds.SOPInstanceUID, ds.PatientName]
        native = read(recoded(encoded))
        assert native.PhotometricInterpretation == ds.PhotometricInterpretation
        assert native.get("PlanarConfiguration", 0) == 0
        size = pixels.nbytes
        assert native.PixelData[:size] == pixels.tobytes()
        assert native.BitsStored == ds.BitsStored


@pytest.mark.parametrize("target", ENCODERS)
def test_what_is_encoded_decodes_elsewhere(target: str, tmp_path: Path) -> None:
    pixels = (np.arange(2 * 40 * 50, dtype="<u2") % 4096).reshape(2, 40, 50)
    ds = image(pixels, {"NumberOfFrames": 2, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11})
    (tmp_path / "encoded").write_bytes(recoded(as_file(ds), target))
    decoders = {RLE_LOSSLESS: "dcmdrle", JPEG_LS_LOSSLESS: "dcmdjpls"}
    if target in decoders:
        run(decoders[target], tmp_path / "encoded", tmp_path / "decoded")
        assert pydicom.dcmread(tmp_path / "decoded").PixelData == pixels.tobytes()
        return
    code = pydicom.dcmread(tmp_path / "encoded")
    for frame, expected in zip(generate_frames(code.PixelData, number_of_frames=2), pixels, strict=True):
        (tmp_path / "frame.j2k").write_bytes(frame)
        words = [tool("opj_decompress"), "-i", tmp_path / "frame.j2k", "-o", tmp_path / "out.rawl"]
        subprocess.run(words, check=True, capture_output=True)
        assert (tmp_path / "out.rawl").read_bytes() == expected.tobytes()


def test_colour_is_transformed_reversibly_for_jpeg_2000() -> None:
    pixels = np.arange(41 * 43 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 41, 43, 3)
    values = {
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
    }
    code = read(recoded(as_file(image(pixels, values)), JPEG_2000_LOSSLESS))
    assert code.PhotometricInterpretation == "YBR_RCT"
    assert np.array_equal(code.pixel_array, pixels[0])


@pytest.mark.parametrize("target", [JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS])
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"PixelData": None}, "no pixels to encode"),
        ({"PixelData": bytes(100)}, "100 bytes, not 512"),
        ({"Rows": 0}, "Rows"),
    ],
)
def test_what_a_code_cannot_carry_is_refused(target: str, values: dict[str, Any], reason: str) -> None:
    refused(target, values, reason)


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"BitsStored": 10, "HighBit": 9}, "more bits than Bits Stored"), ({"HighBit": 15}, "High Bit")],
)
def test_jpeg_2000_refuses_what_it_would_lose(values: dict[str, Any], reason: str) -> None:
    refused(JPEG_2000_LOSSLESS, {**values, "PixelData": b"\xff\x0f" * 256}, reason)


def refused(target: str, values: dict[str, Any], reason: str) -> None:
    ds = ct(**values)
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW"
    with pytest.raises(TranscodeError, match=reason):
        recoded(as_file(ds), target)


@pytest.mark.parametrize(
    "kind",
    [
        Kind(signed=0, stored=6, allocated=8, high_bit=5, overlay_bit=None, frames=1),
        Kind(signed=1, stored=7, allocated=8, high_bit=6, overlay_bit=7, frames=1),
        Kind(signed=1, stored=8, allocated=16, high_bit=7, overlay_bit=None, frames=2),
        Kind(signed=1, stored=12, allocated=16, high_bit=11, overlay_bit=None, frames=2),
        Kind(signed=1, stored=16, allocated=16, high_bit=15, overlay_bit=None, frames=1),
        Kind(signed=1, stored=12, allocated=16, high_bit=11, overlay_bit=14, frames=1),
        Kind(signed=0, stored=12, allocated=16, high_bit=15, overlay_bit=0, frames=1),
    ],
    ids=str,
)
def test_jpeg_ls_of_ours_is_the_same_everywhere(kind: Kind, tmp_path: Path) -> None:
    native = kind.dataset()
    (tmp_path / "encoded").write_bytes(recoded(as_file(native), JPEG_LS_LOSSLESS))
    run("dcmdjpls", tmp_path / "encoded", tmp_path / "dcmtk")
    decoded = [recoded((tmp_path / "encoded").read_bytes()), (tmp_path / "dcmtk").read_bytes()]
    if not kind.is_moved and (kind.overlay_bit or 8) >= 8:  # gdcm takes none of these, also where they are native
        run("gdcmconv", "--raw", tmp_path / "encoded", tmp_path / "gdcm")
        decoded.append((tmp_path / "gdcm").read_bytes())
    for found in map(read, decoded):
        assert [found.BitsStored, found.HighBit, found.PixelRepresentation] == [kind.stored, kind.high_bit, kind.signed]
        assert found.PixelData == native.PixelData
    array = pydicom.dcmread(tmp_path / "encoded").pixel_array
    assert np.array_equal(array.view(kind.words().dtype).reshape(kind.words().shape), kind.words())


def jpeg_file(frame: bytes, uid: str, **attributes: Any) -> bytes:
    ds = ct(Rows=16, Columns=16, BitsAllocated=8, BitsStored=8, HighBit=7, **attributes)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return as_file(ds, uid)


JFIF = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
COLOURS = np.arange(16 * 16 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 16, 3)


@pytest.mark.filterwarnings("ignore:The .0028,0004. 'Photometric Interpretation'")
@pytest.mark.parametrize("last", [57, 70, 80])
def test_a_jfif_marker_does_not_change_the_colours_of_lossless_code(last: int) -> None:
    if last == 80:
        frame = bytes(imagecodecs.jpegls_encode(COLOURS))
    else:
        frame = bytes(imagecodecs.jpeg8_encode(COLOURS, lossless=True, colorspace="RGB", outcolorspace="RGB"))
    frame = JFIF + frame[2:]
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    native = read(recoded(jpeg_file(frame, f"1.2.840.10008.1.2.4.{last}", **colour)))
    assert (native.PhotometricInterpretation, native.PixelData) == ("RGB", COLOURS.tobytes())


@pytest.mark.filterwarnings("ignore:The .0028,0004. 'Photometric Interpretation'")
def test_a_jfif_marker_tells_the_colours_of_jpeg_baseline() -> None:
    frame = bytes(imagecodecs.jpeg8_encode(COLOURS, level=100, colorspace="RGB", outcolorspace="YCBCR"))
    assert frame.startswith(JFIF[:4])
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    assert read(recoded(jpeg_file(frame, DCMDJPEG[0], **colour))).PhotometricInterpretation == "YBR_FULL"


@pytest.mark.parametrize("padding", [b"\0", b"\xff"])
def test_jpeg_ls_with_padding_before_its_end_decodes(padding: bytes) -> None:
    pixels = COLOURS[..., 0]
    frame = bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(pixels)))
    frame = frame[:-2] + padding + frame[-2:]  # as NEMA's MR1_JLSL has it
    assert read(recoded(jpeg_file(frame, DCMDJPLS[0]))).PixelData == pixels.tobytes()


def near_lossless(values: "np.ndarray[Any, Any]", **attributes: Any) -> bytes:
    """Encode words as they are, with a code that may err by 3."""
    ds = ct(Rows=values.shape[0], Columns=values.shape[1], **attributes)
    ds.PixelData = encapsulate([bytes(imagecodecs.jpegls_encode(values.view(f"u{values.itemsize}"), level=3))])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return as_file(ds, DCMDJPLS[1])


@pytest.mark.parametrize(
    ("representation", "low", "high"), [(1, -2048, 2047), (0, 0, 4095)], ids=["signed", "unsigned"]
)
def test_white_stays_white_in_near_lossless_code(representation: int, low: int, high: int) -> None:
    noise = np.random.default_rng(1).integers(0, 40, (32, 32))
    values = np.where(np.indices((32, 32)).sum(0) % 2 == 0, high - noise // 8, low + noise // 8).astype("<i2")
    native = read(recoded(near_lossless(values, PixelRepresentation=representation)))
    shown = np.frombuffer(native.PixelData, "<i2").reshape(values.shape)
    assert abs(shown.astype(int) - values).max() <= 3
    assert low <= shown.min() < shown.max() <= high


@pytest.mark.parametrize(
    ("values", "attributes", "reason"),
    [
        ([[32766, -32767], [5, 6]], {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}, "changed their sign"),
        ([[0, 4095], [9000, 6]], {}, "more bits than Bits Stored"),
    ],
)
def test_uncertain_values_are_refused(values: list[list[int]], attributes: dict[str, Any], reason: str) -> None:
    with pytest.raises(TranscodeError, match=reason):
        recoded(near_lossless(np.array(values, "<i2"), **attributes))


def test_big_endian_is_turned_round_before_it_is_encoded() -> None:
    source = DATA / "test_files" / "MR_small_bigendian.dcm"
    expected = pydicom.dcmread(DATA / "test_files" / "MR_small.dcm").pixel_array
    assert parse_file_meta(source.read_bytes()).transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    for target in (JPEG_2000_LOSSLESS, RLE_LOSSLESS):
        assert np.array_equal(read(recoded(source.read_bytes(), target)).pixel_array, expected)


def test_one_code_becomes_another() -> None:
    source = DATA / "test_files" / "MR_small_RLE.dcm"
    code = read(recoded(source.read_bytes(), JPEG_2000_LOSSLESS))
    assert np.array_equal(code.pixel_array, pydicom.dcmread(source).pixel_array)


def test_lossy_stays_flagged_when_it_is_encoded_again() -> None:
    source = DATA / "test_files" / "SC_rgb_jpeg_dcmtk.dcm"
    assert can_transcode("1.2.840.10008.1.2.4.50", JPEG_2000_LOSSLESS)
    assert read(recoded(source.read_bytes(), JPEG_2000_LOSSLESS)).LossyImageCompression == "01"
