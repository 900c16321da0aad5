"""The DICOM JSON Model against pydicom's for everything it ships, and corner by corner."""

import io
import json
import math
import struct
from base64 import b64decode
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from minipacs.dicom.data_set.part10 import parse_file_meta
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.web.representations.json_model import MAX_EXACT_INTEGER, MAX_INLINE_BYTES, Model, read_model

EXPLICIT = TRANSFER_SYNTAXES[ExplicitVRLittleEndian]


def model_of(path: Path) -> Model:
    data = path.read_bytes()
    meta = parse_file_meta(data)
    with path.open("rb") as file:
        file.seek(meta.data_set_offset)
        return read_model(file, TRANSFER_SYNTAXES[meta.transfer_syntax_uid], lambda p: f"bulk/{p}")


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Model:
    out = io.BytesIO()
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(out, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    return read_model(io.BytesIO(out.getvalue()), TRANSFER_SYNTAXES[syntax], lambda path: f"bulk/{path}")


def raw(data: bytes) -> Model:
    return read_model(io.BytesIO(data), EXPLICIT, lambda path: f"bulk/{path}")


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    long = vr in (b"OB", b"OW", b"UN", b"UT", b"UV", b"SV", b"SQ")
    return head + (struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))) + value


FOLDER = Path(pydicom.data.__file__).parent / "test_files"
SHIPPED = sorted(
    path.name
    for path in FOLDER.glob("*.dcm")
    if path.read_bytes()[128:132] == b"DICM"
    and path.stat().st_size < 500_000
    and path.name
    not in ("meta_missing_tsyntax.dcm", "MR_truncated.dcm", "rtplan_truncated.dcm", "badVR.dcm", "SC_rgb_jpeg.dcm")
)


def theirs(path: Path) -> Model:
    found = pydicom.dcmread(path)
    return json.loads(
        found.to_json(bulk_data_threshold=10**9, bulk_data_element_handler=lambda e: "", suppress_invalid_tags=True)
    )


def alike(ours: Any, other: Any, tag: str = "") -> bool:
    if isinstance(ours, dict) and "vr" in ours:
        if "BulkDataURI" in ours or tag == "00080005":
            return True
        if ours["vr"] != other["vr"]:
            return other["vr"] in ("OW", "OB", "UN", "US", "SS") or ours["vr"] == "UN"
        if "InlineBinary" in ours:
            return b64decode(ours["InlineBinary"]).rstrip(b"\0") == b64decode(other["InlineBinary"]).rstrip(b"\0")
        mine, yours = ours.get("Value", []), other.get("Value", [])
        return len(mine) == len(yours) and all(alike(a, b) for a, b in zip(mine, yours, strict=True))
    if (
        isinstance(ours, dict)
        and isinstance(other, dict)
        and not {"Alphabetic", "Ideographic", "Phonetic"} & ours.keys()
    ):
        tags = {t for t in other if not t.endswith("0000")}
        return set(ours) == tags and all(alike(ours[t], other[t], t) for t in ours)
    if isinstance(ours, int | float) and isinstance(other, int | float):
        return math.isclose(ours, other, rel_tol=1e-9)
    return (ours or "") == (other or "") or str(ours) == str(other).strip()


@pytest.mark.parametrize("name", SHIPPED)
def test_it_says_what_pydicom_says(name: str):
    ours, other = model_of(FOLDER / name), theirs(FOLDER / name)
    assert ours
    other |= {t: ours[t] for t in ours.keys() - other.keys() if t == "300C0002"}  # pydicom refuses a UID within
    other = {t: value for t, value in other.items() if not t.endswith("0000")}
    different = {
        t for t in ours.keys() | other.keys() if t not in ours or t not in other or not alike(ours[t], other[t], t)
    }
    assert {t: (ours.get(t), other.get(t)) for t in different} == {}
    json.dumps(ours, allow_nan=False)
    assert list(ours) == sorted(ours)


def test_pixel_data_is_bulk_data_in_every_encoding():
    for name in ("CT_small.dcm", "JPEG2000.dcm"):
        ours = model_of(FOLDER / name)
        assert ours["7FE00010"]["BulkDataURI"] == "bulk/7FE00010"


def test_names_texts_and_character_sets():
    ds = Dataset()
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ds.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    ds.OtherPatientNames = ["Doe^Jane", "", "X"]
    ds.PatientComments = "two\\values are one"
    ds.InstitutionName = ""
    found = written(ds)
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert found["00101001"]["Value"] == [{"Alphabetic": "Doe^Jane"}, None, {"Alphabetic": "X"}]
    assert found["00104000"]["Value"] == ["two\\values are one"]
    assert found["00080080"] == {"vr": "LO"}


def test_an_item_may_have_a_character_set_of_its_own():
    item = element(0x00080005, b"CS", b"ISO_IR 192") + element(0x00080104, b"LO", "Ä".encode() + b"")
    item_head = struct.pack("<HHI", 0xFFFE, 0xE000, len(item))
    data = element(0x00080005, b"CS", b"ISO_IR 100") + element(0x00081140, b"SQ", item_head + item)
    data += element(0x00100010, b"PN", "Ö ".encode("latin-1"))
    found = raw(data)
    assert found["00081140"]["Value"][0]["00080104"]["Value"] == ["Ä"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Ö"}]


@pytest.mark.parametrize(
    ("vr", "value", "wanted"),
    [
        (b"IS", b"12\\ -3\\+4 ", [12, -3, 4]),
        (b"IS", b"1e5 ", ["1e5"]),
        (b"IS", b"\\1", [None, 1]),
        (b"DS", b"0.1\\1e400\\abc ", [0.1, "1e400", "abc"]),
        (b"DS", b"0.12345678901234567890", ["0.12345678901234567890"]),
        (b"DS", b"nan ", ["nan"]),
        (b"UV", struct.pack("<2Q", 1, 2**64 - 1), [1, str(2**64 - 1)]),
        (b"SV", struct.pack("<2q", -1, -(2**60)), [-1, str(-(2**60))]),
        (b"US", struct.pack("<2H", 1, 65535), [1, 65535]),
        (b"FD", struct.pack("<d", 0.1), [0.1]),
        (b"AT", struct.pack("<4H", 0x10, 0x20, 0xABCD, 0x1), ["00100020", "ABCD0001"]),
        (b"CS", b"A\\\\B ", ["A", None, "B"]),
        (b"UI", b"1.2\\1.3\0", ["1.2", "1.3"]),
    ],
)
def test_values(vr: bytes, value: bytes, wanted: list[Any]):
    found = raw(element(0x00091001, vr, value))["00091001"]
    assert found == {"vr": vr.decode(), "Value": wanted}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_bulk_data(number: float):
    assert raw(element(0x00091001, b"FD", struct.pack("<d", number)))["00091001"] == {
        "vr": "FD",
        "BulkDataURI": "bulk/00091001",
    }


def test_short_binary_values_are_inline_and_long_ones_bulk_data():
    short = raw(element(0x00091001, b"OB", b"x" * MAX_INLINE_BYTES))["00091001"]
    assert b64decode(short["InlineBinary"]) == b"x" * MAX_INLINE_BYTES
    assert raw(element(0x00091001, b"OB", b"x" * (MAX_INLINE_BYTES + 2)))["00091001"]["BulkDataURI"]


def test_a_value_of_big_endian_is_turned_round():
    ds = Dataset()
    ds.add_new(0x00091001, "OW", b"\1\0\2\0")
    ds.add_new(0x00091002, "US", [1, 2])
    out = io.BytesIO(struct.pack(">HH2sHI", 9, 0x1001, b"OW", 0, 4) + struct.pack(">2H", 1, 2))
    found = read_model(out, TRANSFER_SYNTAXES[ExplicitVRBigEndian], str)
    assert b64decode(found["00091001"]["InlineBinary"]) == struct.pack("<2H", 1, 2)


def test_bulk_data_in_a_sequence_says_where_it_is():
    item = element(0x00091001, b"OB", b"x" * 2000)
    head = struct.pack("<HHI", 0xFFFE, 0xE000, len(item))
    found = raw(element(0x00081140, b"SQ", (head + item) * 2))
    assert [i["00091001"]["BulkDataURI"] for i in found["00081140"]["Value"]] == [
        "bulk/00081140/1/00091001",
        "bulk/00081140/2/00091001",
    ]


def test_empty_sequences_and_items():
    head = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    found = raw(element(0x00081140, b"SQ", head) + element(0x00081199, b"SQ", b""))
    assert found == {"00081140": {"vr": "SQ", "Value": [{}]}, "00081199": {"vr": "SQ"}}


def test_group_lengths_are_left_out():
    assert raw(element(0x00080000, b"UL", b"\4\0\0\0") + element(0x00080060, b"CS", b"CT")) == {
        "00080060": {"vr": "CS", "Value": ["CT"]}
    }


def test_integers_a_double_cannot_hold_are_text():
    text = str(MAX_EXACT_INTEGER + 1)
    assert raw(element(0x00091001, b"IS", text.encode()))["00091001"]["Value"] == [text]
