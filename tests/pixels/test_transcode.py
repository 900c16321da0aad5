"""Whole objects from one transfer syntax to another, held against pydicom and dcmtk."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipacs.dicom.data_set.part10 import parse_file_meta
from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from minipacs.errors import DataSetError
from minipacs.pixels.codecs import JPEG_2000_LOSSLESS, can_transcode
from minipacs.pixels.transcode import TranscodeError, transcode
from tests.support.dcmtk import run, tool
from tests.support.elements import as_file, convert, converted, values

NATIVE = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
LOSSY_JPEG_2000 = "1.2.840.10008.1.2.4.91"
RLE = "1.2.840.10008.1.2.5"
DATA = Path(pydicom.__file__).parent / "data"
IMAGES = DATA / "test_files"
CUT_OR_DAMAGED = {
    "DICOMDIR-nooffset",
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "MR_truncated.dcm",
    "SC_rgb_jpeg.dcm",
    "rtplan_truncated.dcm",
}
DCMTK_REPAIRS = {"winter.dcm", "nested_priv_SQ.dcm"}  # an element that stands twice, a value of odd length
THIRTY_TWO_BIT_BIG_ENDIAN = {"rtdose_expb.dcm", "rtdose_expb_1frame.dcm"}
PIXEL_TAGS = {0x00280004, 0x00280006, 0x00282110, 0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00010}


def shipped() -> Iterator[tuple[Path, str]]:
    for path in sorted(DATA.rglob("*")):
        if path.is_file() and "TINY_ALPHA" not in path.parts:
            try:
                yield path, parse_file_meta(path.read_bytes()).transfer_syntax_uid
            except DataSetError:
                continue


SHIPPED = list(shipped())
WHOLE = [
    (path, uid)
    for path, uid in SHIPPED
    if path.name not in CUT_OR_DAMAGED | THIRTY_TWO_BIT_BIG_ENDIAN and can_transcode(uid, IMPLICIT_VR_LITTLE_ENDIAN)
]
UNCOMPRESSED = [path for path, uid in WHOLE if not TRANSFER_SYNTAXES[uid].encapsulated]
COMPRESSED = [path for path, uid in WHOLE if TRANSFER_SYNTAXES[uid].encapsulated]


def name(value: object) -> str | None:
    if isinstance(value, Path):
        return f"{value.parent.name}-{value.name}"
    return TRANSFER_SYNTAXES[value].name.replace(" ", "") if value in TRANSFER_SYNTAXES else None


def trips() -> Iterator[tuple[Path, str]]:
    for path, _ in WHOLE:
        for uid in NATIVE:
            if uid != EXPLICIT_VR_BIG_ENDIAN or not has_32_bit_pixels(path):
                yield path, uid


def has_32_bit_pixels(path: Path) -> bool:
    return pydicom.dcmread(path).get("BitsAllocated") == 32


@pytest.mark.parametrize(("path", "through"), list(trips()), ids=name)
def test_every_value_survives_a_trip_through_another_syntax(path: Path, through: str) -> None:
    stored = path.read_bytes()
    meta = parse_file_meta(stored)
    there = as_file(convert(stored, through), through)
    back = values(convert(there, EXPLICIT_VR_LITTLE_ENDIAN))
    if meta.transfer_syntax_uid in (EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN):
        original = values(convert(stored, EXPLICIT_VR_LITTLE_ENDIAN))
    else:
        is_implicit = TRANSFER_SYNTAXES[meta.transfer_syntax_uid].implicit
        original = values(stored[meta.data_set_offset :], is_implicit=is_implicit)
    if TRANSFER_SYNTAXES[meta.transfer_syntax_uid].encapsulated:
        back, original = ({p: v for p, v in side.items() if p[-1] not in PIXEL_TAGS} for side in (back, original))
    assert back == original
    assert back


@pytest.mark.parametrize(
    ("uid", "option"),
    [(EXPLICIT_VR_LITTLE_ENDIAN, "+te"), (IMPLICIT_VR_LITTLE_ENDIAN, "+ti"), (EXPLICIT_VR_BIG_ENDIAN, "+tb")],
)
@pytest.mark.parametrize("path", [path for path in UNCOMPRESSED if path.name not in DCMTK_REPAIRS], ids=name)
def test_data_set_is_what_dcmconv_writes(path: Path, uid: str, option: str, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    # dcmtk's public dictionary alone; data set only, undefined lengths, no group lengths.
    environment = {**os.environ, "DCMDICTPATH": str(next(Path("/usr/share").glob("libdcmtk*/dicom.dic")))}
    subprocess.run([tool("dcmconv"), "-q", "-F", "-e", "-g", option, path, out], env=environment, check=True)
    ours = convert(path.read_bytes(), uid)
    assert plain_empty_sequences(ours, uid) == plain_empty_sequences(out.read_bytes(), uid)


def plain_empty_sequences(data: bytes, uid: str) -> bytes:
    """Give sequences without items the length zero: dcmtk always writes a delimiter, we leave them as they were."""
    order = ">" if uid == EXPLICIT_VR_BIG_ENDIAN else "<"
    delimited = struct.pack(order + "IHHI", 0xFFFFFFFF, 0xFFFE, 0xE0DD, 0)
    return data.replace(delimited, bytes(4))


@pytest.mark.parametrize("uid", NATIVE, ids=name)
@pytest.mark.parametrize("path", COMPRESSED, ids=name)
def test_pixels_are_what_pydicom_decodes(path: Path, uid: str) -> None:
    stored = pydicom.dcmread(path)
    if "PixelData" not in stored:
        assert "PixelData" not in converted(path.read_bytes(), uid)
        return
    native = converted(path.read_bytes(), uid)
    expected = pydicom.pixels.pixel_array(stored, raw=True)
    if uid == EXPLICIT_VR_BIG_ENDIAN and native.BitsAllocated == 32:
        assert native.PixelData == as_words(expected)
        return
    found = pydicom.pixels.pixel_array(native, raw=True)
    assert (found.dtype.newbyteorder("<"), found.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(found, expected)


def as_words(pixels: "np.ndarray[Any, Any]") -> bytes:
    """Encode 32 bit pixels in big endian OW: the less significant word first, its bytes turned round (PS3.5 6.2)."""
    return np.frombuffer(pixels.astype("<u4").tobytes(), "<u2").astype(">u2").tobytes()


@pytest.mark.parametrize("path", [path for path in COMPRESSED if "rle" in path.name.lower()], ids=name)
def test_pixels_are_what_dcmdrle_decodes(path: Path, tmp_path: Path) -> None:
    run("dcmdrle", "+te", path, tmp_path / "decoded")
    theirs = pydicom.dcmread(tmp_path / "decoded")
    ours = converted(path.read_bytes(), EXPLICIT_VR_LITTLE_ENDIAN)
    assert np.array_equal(ours.pixel_array, theirs.pixel_array)
    if ours.SamplesPerPixel == 1:
        assert ours.PixelData == theirs.PixelData


@pytest.mark.parametrize(
    ("compressed", "original"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("rtdose_rle.dcm", "rtdose.dcm"),
        ("rtdose_rle_1frame.dcm", "rtdose_1frame.dcm"),
    ],
)
def test_lossless_code_gives_the_original_pixel_data(compressed: str, original: str) -> None:
    native = converted((IMAGES / compressed).read_bytes(), EXPLICIT_VR_LITTLE_ENDIAN)
    assert native.PixelData == pydicom.dcmread(IMAGES / original).PixelData
    assert native["PixelData"].VR == "OW"


@pytest.mark.parametrize("stored", ["MR_small_expb.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
def test_every_encoding_of_one_object_converts_to_the_same_pixels(stored: str) -> None:
    original = pydicom.dcmread(IMAGES / "MR_small.dcm").PixelData
    for uid in NATIVE:
        native = convert((IMAGES / stored).read_bytes(), uid)
        back = convert(as_file(native, uid), EXPLICIT_VR_LITTLE_ENDIAN)
        assert values(back)[0x7FE00010,] == original


@pytest.mark.parametrize("file", sorted(THIRTY_TWO_BIT_BIG_ENDIAN))
def test_32_bit_pixels_in_big_endian_are_refused(file: str) -> None:
    with pytest.raises(TranscodeError, match="byte order"):
        convert((IMAGES / file).read_bytes(), EXPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize("file", sorted(CUT_OR_DAMAGED))
def test_damaged_files_are_refused(file: str) -> None:
    path = next(path for path, _ in SHIPPED if path.name == file)
    for uid in NATIVE:
        with pytest.raises(TranscodeError):
            convert(path.read_bytes(), uid)


def test_what_can_be_transcoded() -> None:
    encapsulated = {uid for uid, syntax in TRANSFER_SYNTAXES.items() if syntax.encapsulated}
    decodable = {uid for uid in encapsulated if can_transcode(uid, IMPLICIT_VR_LITTLE_ENDIAN)}
    jpeg_2000 = {f"1.2.840.10008.1.2.4.{last}" for last in (90, 91, 201, 202, 203)}
    assert decodable >= {RLE, *jpeg_2000}
    assert not any(uid.startswith("1.2.840.10008.1.2.4.10") for uid in decodable)  # video
    for stored in (*NATIVE, *decodable):
        targets = {uid for uid in TRANSFER_SYNTAXES if can_transcode(stored, uid)}
        assert {*NATIVE, RLE, JPEG_2000_LOSSLESS} <= targets
        assert not any(TRANSFER_SYNTAXES[uid].lossy for uid in targets), "nothing is lost"
    assert not can_transcode("1.2.3", IMPLICIT_VR_LITTLE_ENDIAN)
    assert not can_transcode(IMPLICIT_VR_LITTLE_ENDIAN, "1.2.3")


def test_decoders_are_not_imported_before_they_are_used() -> None:
    program = (
        "import sys, minipacs.pixels.transcode, minipacs.pixels.codecs as c;"
        f"c.can_transcode('{JPEG_2000_LOSSLESS}', '{RLE}');"
        "sys.exit(len({'numpy', 'pydicom'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_codecs_of_the_extra_are_imported_in_codec_processes_only() -> None:
    program = (
        "import sys, minipacs.cli, minipacs.daemon.processes.jobs, minipacs.daemon.processes.worker;"
        "sys.exit('imagecodecs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_raw_files_are_read_and_written_and_left_open(tmp_path: Path) -> None:
    path = IMAGES / "MR_small_RLE.dcm"
    with (
        open(path, "rb", buffering=0) as source,
        open(tmp_path / "out", "w+b", buffering=0) as target,
    ):
        target.write(b"before")
        transcode(source, target, EXPLICIT_VR_BIG_ENDIAN)
        size = target.tell()
        assert not source.closed
        target.seek(0)
        assert target.read() == b"before" + convert(path.read_bytes(), EXPLICIT_VR_BIG_ENDIAN)
        assert target.tell() == size


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_of_any_kind_gives_a_data_set_or_a_transcode_error(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([IMAGES / n for n in ("MR_small_RLE.dcm", "test-SR.dcm", "rtplan.dcm")]))
    file = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(128, min(len(file), 3000) - 1), max_size=4)):
        file[position] = data.draw(st.integers(0, 255))
    uid = data.draw(st.sampled_from(NATIVE))
    cut = bytes(file[: data.draw(st.integers(132, len(file)))])
    try:
        convert(cut, uid)
        reason = "none"
    except TranscodeError as error:
        reason = str(error)
    assert reason.isprintable()
