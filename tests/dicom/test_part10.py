import io
import struct
from contextlib import suppress

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs import IMPLEMENTATION_CLASS_UID
from minipacs.dicom.data_set.part10 import MAX_FILE_META_BYTES, FileMeta, NeedMoreData, file_meta, parse_file_meta
from minipacs.dicom.tables.transfer_syntaxes import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
from minipacs.errors import DataSetError

CT = "1.2.840.10008.5.1.4.1.1.2"
INSTANCE = "1.2.3.4.5"
DATA_SET = struct.pack("<HH2sH", 8, 0x18, b"UI", 10) + b"1.2.3.4.5\0"
UIDS = st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)


def element(number: int, vr: bytes, value: bytes) -> bytes:
    if vr in (b"OB", b"UN", b"UR"):
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def file(*elements: bytes, data_set: bytes = DATA_SET) -> bytes:
    return b"\0" * 128 + b"DICM" + b"".join(elements) + data_set


TRANSFER_SYNTAX = element(0x10, b"UI", EXPLICIT_VR_LITTLE_ENDIAN.encode() + b"\0")


@given(UIDS, UIDS, UIDS)
def test_file_meta_is_read_back_by_us_and_by_pydicom(sop_class: str, instance: str, syntax: str) -> None:
    head = file_meta(sop_class, instance, syntax)
    assert parse_file_meta(head + DATA_SET) == FileMeta(sop_class, instance, syntax, len(head))
    meta = pydicom.dcmread(io.BytesIO(head + DATA_SET)).file_meta
    assert meta.FileMetaInformationGroupLength == len(head) - 144
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == sop_class
    assert meta.MediaStorageSOPInstanceUID == instance
    assert meta.TransferSyntaxUID == syntax
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert len(meta) == 6


def test_s3_file_meta_depends_on_class_instance_and_transfer_syntax_alone() -> None:
    head = file_meta(CT, INSTANCE, EXPLICIT_VR_LITTLE_ENDIAN)
    assert head == file_meta(CT, INSTANCE, EXPLICIT_VR_LITTLE_ENDIAN)
    assert b"MINIPACS" not in head  # no version name, which changes with releases


def test_x4_preamble_is_128_zero_bytes() -> None:
    assert file_meta(CT, INSTANCE, EXPLICIT_VR_LITTLE_ENDIAN)[:132] == bytes(128) + b"DICM"


def test_x4_what_a_preamble_holds_does_not_matter() -> None:
    tiff = b"II*\0" + b"\xff" * 124
    assert parse_file_meta(tiff + file(TRANSFER_SYNTAX)[128:]) == parse_file_meta(file(TRANSFER_SYNTAX))


def test_every_prefix_that_is_too_short_asks_for_more() -> None:
    whole = file_meta(CT, INSTANCE, EXPLICIT_VR_LITTLE_ENDIAN) + DATA_SET
    enough = whole.index(DATA_SET) + 12
    for size in range(enough):
        with pytest.raises(NeedMoreData):
            parse_file_meta(whole[:size])
    assert parse_file_meta(whole[:enough]) == parse_file_meta(whole)


def test_every_prefix_of_deflated_file_meta_asks_for_more() -> None:
    head = file_meta(CT, INSTANCE, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    for size in range(len(head)):
        with pytest.raises(NeedMoreData):
            parse_file_meta(head[:size])
    assert parse_file_meta(head).data_set_offset == len(head)


def test_a_bare_data_set_is_refused() -> None:
    with pytest.raises(DataSetError, match="not a DICOM file") as caught:
        parse_file_meta(DATA_SET * 20)
    assert not isinstance(caught.value, NeedMoreData)


def test_a_file_without_transfer_syntax_is_refused() -> None:
    with pytest.raises(DataSetError, match="without Transfer Syntax UID") as caught:
        parse_file_meta(file(element(2, b"UI", CT.encode() + b"\0")))
    assert caught.value.tags == (0x00020010,)


@pytest.mark.parametrize("length", [None, 0, 26, 10, 5000, 0xFFFFFFFF])
def test_group_length_wrong_or_absent(length: int | None) -> None:
    elements = [TRANSFER_SYNTAX, element(0x16, b"AE", b"MODALITY")]
    if length is not None:
        elements.insert(0, element(0, b"UL", struct.pack("<I", length)))
    raw = file(*elements)
    assert parse_file_meta(raw) == FileMeta("", "", EXPLICIT_VR_LITTLE_ENDIAN, len(raw) - len(DATA_SET))


def test_elements_in_any_order_with_any_vr() -> None:
    raw = file(
        TRANSFER_SYNTAX,
        element(0x102, b"OB", b"private " * 100),
        element(0x26, b"UR", b"http://a"),
        element(3, b"UI", b"1.2.3 "),
        element(2, b"UI", CT.encode() + b"\0"),
        element(0, b"UL", bytes(4)),
    )
    assert parse_file_meta(raw) == FileMeta(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN, len(raw) - len(DATA_SET))


def test_a_deflated_data_set_that_looks_like_file_meta_is_not_taken_for_it() -> None:
    head = file_meta(CT, INSTANCE, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    assert parse_file_meta(head + element(0x16, b"AE", b"MODALITY") + DATA_SET).data_set_offset == len(head)


def test_file_meta_has_a_limit() -> None:
    with pytest.raises(DataSetError, match="longer than") as caught:
        parse_file_meta(file(element(0x102, b"OB", b""), element(0x102, b"OB", bytes(MAX_FILE_META_BYTES))))
    assert not isinstance(caught.value, NeedMoreData)


def test_an_announced_length_beyond_the_limit_is_refused_at_once() -> None:
    with pytest.raises(DataSetError, match="longer than") as caught:
        parse_file_meta(file(struct.pack("<HH2sHI", 2, 0x102, b"OB", 0, 0xFFFFFFFF)))
    assert not isinstance(caught.value, NeedMoreData)


@given(st.binary(max_size=200))
def test_anything_after_the_prefix_is_read_or_refused(rest: bytes) -> None:
    raw = file(data_set=rest)
    with suppress(DataSetError):
        assert parse_file_meta(raw).data_set_offset <= len(raw)
