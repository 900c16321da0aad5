import struct
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode as pydicom_decode
from pynetdicom.dsutils import encode as pydicom_encode

from minipacs.dicom.data_set.command_set import CommandField, CommandSet, decode, encode
from minipacs.errors import DataSetError

KEYWORDS = {
    "affected_sop_class_uid": "AffectedSOPClassUID",
    "requested_sop_class_uid": "RequestedSOPClassUID",
    "command_field": "CommandField",
    "message_id": "MessageID",
    "message_id_being_responded_to": "MessageIDBeingRespondedTo",
    "move_destination": "MoveDestination",
    "priority": "Priority",
    "status": "Status",
    "offending_elements": "OffendingElement",
    "error_comment": "ErrorComment",
    "error_id": "ErrorID",
    "affected_sop_instance_uid": "AffectedSOPInstanceUID",
    "requested_sop_instance_uid": "RequestedSOPInstanceUID",
    "event_type_id": "EventTypeID",
    "attribute_identifier_list": "AttributeIdentifierList",
    "action_type_id": "ActionTypeID",
    "remaining_sub_operations": "NumberOfRemainingSuboperations",
    "completed_sub_operations": "NumberOfCompletedSuboperations",
    "failed_sub_operations": "NumberOfFailedSuboperations",
    "warning_sub_operations": "NumberOfWarningSuboperations",
    "move_originator_ae_title": "MoveOriginatorApplicationEntityTitle",
    "move_originator_message_id": "MoveOriginatorMessageID",
}

US = st.integers(0, 0xFFFF)
UIDS = st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,8})){1,6}", fullmatch=True)
AE_TITLES = st.from_regex(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?", fullmatch=True)
COMMENTS = st.from_regex(r"[!-\[\]-~]([ -\[\]-~]{0,62}[!-\[\]-~])?", fullmatch=True)
TAGS = st.lists(st.integers(0, 0xFFFFFFFF), max_size=5).map(tuple)


def strategy(name: str) -> st.SearchStrategy[Any]:
    if name in ("offending_elements", "attribute_identifier_list"):
        return TAGS
    if name in ("move_destination", "move_originator_ae_title"):
        return st.none() | AE_TITLES
    if name == "error_comment":
        return st.none() | COMMENTS
    return st.none() | (UIDS if name.endswith("uid") else US)


COMMANDS = st.builds(
    CommandSet,
    **{name: strategy(name) for name in KEYWORDS} | {"command_field": US, "has_data_set": st.booleans()},
)


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


FIELD = element(0x100, b"\x30\0")
NO_DATA_SET = element(0x800, b"\1\1")


@given(COMMANDS)
def test_what_is_encoded_decodes_to_the_same(command: CommandSet) -> None:
    assert decode(encode(command)) == command


@given(COMMANDS)
def test_encoded_bytes_are_those_of_pydicom(command: CommandSet) -> None:
    ds = Dataset()
    ds.CommandGroupLength = 0
    ds.CommandDataSetType = 1 if command.has_data_set else 0x0101
    for name, keyword in KEYWORDS.items():
        value = getattr(command, name)
        if value not in (None, ()):
            setattr(ds, keyword, list(value) if isinstance(value, tuple) else value)
    body = pydicom_encode(ds, is_implicit_vr=True, is_little_endian=True)
    assert body is not None
    assert encode(command) == body[:8] + struct.pack("<I", len(body) - 12) + body[12:]


@given(COMMANDS)
def test_b2_group_length_is_right_and_elements_ascend(command: CommandSet) -> None:
    raw = encode(command)
    assert len(raw) % 2 == 0
    ds = pydicom_decode(BytesIO(raw), is_implicit_vr=True, is_little_endian=True)
    assert ds.CommandGroupLength == len(raw) - 12
    tags, pos = [], 0
    while pos < len(raw):
        group, number, length = struct.unpack_from("<HHI", raw, pos)
        tags.append((group, number))
        pos += 8 + length
    assert tags == sorted(set(tags))
    assert {group for group, _ in tags} == {0}


@pytest.mark.parametrize(("has_data_set", "value"), [(False, 0x0101), (True, 0x0001)])
def test_b1_command_data_set_type(has_data_set: bool, value: int) -> None:
    raw = encode(CommandSet(command_field=CommandField.C_FIND_RSP, has_data_set=has_data_set))
    assert element(0x800, struct.pack("<H", value)) in raw


def test_any_data_set_type_but_0101_announces_a_data_set() -> None:
    assert decode(FIELD + element(0x800, b"\2\1")).has_data_set
    assert not decode(FIELD + NO_DATA_SET).has_data_set


def test_b2_unknown_elements_and_a_wrong_group_length_are_ignored() -> None:
    raw = (
        element(0, b"\xff\xff\xff\xff")
        + element(0x0001, b"\0\0\0\0")  # Length to End, retired
        + FIELD
        + element(0x0110, b"\7\0")
        + NO_DATA_SET
        + element(0x4321, b"odd")
        + element(0x0010, b"X", group=9)
    )
    assert decode(raw) == CommandSet(command_field=CommandField.C_ECHO_RQ, message_id=7)


def test_b3_a_command_field_that_the_standard_does_not_know_is_passed_on() -> None:
    assert decode(element(0x100, b"\x34\x12") + NO_DATA_SET).command_field == 0x1234


@pytest.mark.parametrize("padding", [b"", b"\0", b" ", b"\0\0", b"  "])
def test_padding_of_uids_and_ae_titles_is_stripped(padding: bytes) -> None:
    command = decode(FIELD + NO_DATA_SET + element(2, b"1.2.03" + padding) + element(0x600, b" A B" + padding))
    assert command.affected_sop_class_uid == "1.2.03"
    assert command.move_destination == "A B"


def test_empty_elements_count_as_absent() -> None:
    names = (0x0002, 0x0110, 0x0600, 0x0901, 0x1000, 0x1005)
    raw = FIELD + NO_DATA_SET + b"".join(element(number, b"") for number in names)
    assert decode(raw) == CommandSet(command_field=CommandField.C_ECHO_RQ)


def test_b4_error_comment_is_printable_ascii_of_at_most_64_characters() -> None:
    comment = 'C\u00f4t\u00e9 "x"\n\\\x7f' + "y" * 100
    raw = encode(CommandSet(command_field=CommandField.C_STORE_RSP, error_comment=comment))
    assert element(0x902, b'C?t? "x"???' + b"y" * 53) in raw


def test_b4_offending_elements_are_an_at_list() -> None:
    raw = encode(CommandSet(command_field=CommandField.C_STORE_RSP, offending_elements=(0x00080018, 0x7FE00010)))
    assert element(0x901, b"\x08\0\x18\0\xe0\x7f\x10\0") in raw


def test_m18_counts_beyond_16_bits_saturate() -> None:
    command = CommandSet(command_field=CommandField.C_MOVE_RSP, remaining_sub_operations=70_000)
    assert decode(encode(command)).remaining_sub_operations == 0xFFFF


@pytest.mark.parametrize(
    "number",
    [0x0100, 0x0110, 0x0120, 0x0700, 0x0800, 0x0900, 0x0901, 0x0903, 0x1002, 0x1005, 0x1008, 0x1020, 0x1023, 0x1031],
)
def test_an_element_of_a_wrong_length_is_refused(number: int) -> None:
    with pytest.raises(DataSetError, match="wrong length") as caught:
        decode(FIELD + NO_DATA_SET + element(number, b"\1\0\0"))
    assert caught.value.tags == (number,)


def test_a_long_message_id_is_refused() -> None:
    with pytest.raises(DataSetError, match="wrong length"):
        decode(FIELD + NO_DATA_SET + element(0x110, b"\1\0\0\0"))


@pytest.mark.parametrize("raw", [b"", FIELD, NO_DATA_SET, element(0x100, b"") + NO_DATA_SET])
def test_command_field_and_data_set_type_are_required(raw: bytes) -> None:
    with pytest.raises(DataSetError, match="without Command Field or Command Data Set Type"):
        decode(raw)


def test_every_truncation_inside_an_element_is_refused() -> None:
    parts = [FIELD, NO_DATA_SET, element(0x0002, b"1.2.3.4.")]
    raw = b"".join(parts)
    for size in range(len(FIELD + NO_DATA_SET) + 1, len(raw)):
        with pytest.raises(DataSetError, match="ends inside an element"):
            decode(raw[:size])


def test_a_length_beyond_the_end_is_refused() -> None:
    with pytest.raises(DataSetError, match="ends inside an element") as caught:
        decode(FIELD + NO_DATA_SET + struct.pack("<HHI", 0, 0x110, 0xFFFFFFFF))
    assert caught.value.tags == (0x110,)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(raw: bytes) -> None:
    with suppress(DataSetError):
        command = decode(raw)
        assert decode(encode(command)).command_field == command.command_field


@given(COMMANDS, st.data())
def test_damaged_command_sets_decode_or_are_refused(command: CommandSet, data: st.DataObject) -> None:
    raw = bytearray(encode(command))
    for index in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[index] = data.draw(st.integers(0, 255))
    with suppress(DataSetError):
        encode(decode(bytes(raw)))
