"""Command sets: the group 0000 elements that every DIMSE message starts with (PS3.7 6.3.1, E.1).

Always Implicit VR Little Endian. Every message passes through here: a table, no objects per element.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from typing import Any

from minipacs.errors import DataSetError

MAX_COMMENT_LENGTH = 64
"""Of Error Comment, an LO (PS3.7 E.1)."""

NO_DATA_SET = 0x0101
_DATA_SET_FOLLOWS = 0x0001


class CommandField(IntEnum):
    """The operations and notifications of DIMSE; a response is its request with 8000H set (PS3.7 E.1)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RQ = 0x0110
    N_GET_RSP = 0x8110
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    N_DELETE_RQ = 0x0150
    N_DELETE_RSP = 0x8150
    C_CANCEL_RQ = 0x0FFF


@dataclass(slots=True, kw_only=True)
class CommandSet:
    """One command set; None or empty is an absent element.

    `command_field` may be none of `CommandField`: a peer may send what the standard does not know. UIDs and AE titles
    are the text as sent without padding. Counts of sub-operations beyond FFFFH are sent as FFFFH (they are US).
    Offending elements and the attribute identifier list hold tags.
    """

    command_field: int
    has_data_set: bool = False
    affected_sop_class_uid: str | None = None
    requested_sop_class_uid: str | None = None
    message_id: int | None = None
    message_id_being_responded_to: int | None = None
    move_destination: str | None = None
    priority: int | None = None
    status: int | None = None
    offending_elements: tuple[int, ...] = ()
    error_comment: str | None = None
    error_id: int | None = None
    affected_sop_instance_uid: str | None = None
    requested_sop_instance_uid: str | None = None
    event_type_id: int | None = None
    attribute_identifier_list: tuple[int, ...] = ()
    action_type_id: int | None = None
    remaining_sub_operations: int | None = None
    completed_sub_operations: int | None = None
    failed_sub_operations: int | None = None
    warning_sub_operations: int | None = None
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None


_HEAD = struct.Struct("<II")
_GROUP_LENGTH = struct.Struct("<III")
_US = struct.Struct("<H")
_US_ELEMENT = struct.Struct("<IIH")
_unpack_us = _US.unpack
_NOT_LO = bytes(c if 0x20 <= c < 0x7F and c != ord("\\") else ord("?") for c in range(256))


def _read_us(raw: bytes) -> int | None:
    if not raw:
        return None
    value: int = _unpack_us(raw)[0]
    return value


def _read_text(raw: bytes) -> str | None:
    return str(raw, "latin-1").strip("\0 ") or None


def _read_tags(raw: bytes) -> tuple[int, ...]:
    numbers = struct.unpack(f"<{len(raw) // 4 * 2}H", raw)
    return tuple(group << 16 | element for group, element in zip(numbers[::2], numbers[1::2], strict=True))


def _write_us(key: int, value: int) -> bytes:
    return _US_ELEMENT.pack(key, 2, min(value, 0xFFFF))


def _write_uid(key: int, value: str) -> bytes:
    raw = value.encode("latin-1")
    size = len(raw)
    return _HEAD.pack(key, size) + raw if not size & 1 else _HEAD.pack(key, size + 1) + raw + b"\0"


def _write_text(key: int, value: str) -> bytes:
    raw = value.encode("latin-1", "replace")
    size = len(raw)
    return _HEAD.pack(key, size) + raw if not size & 1 else _HEAD.pack(key, size + 1) + raw + b" "


def _write_comment(key: int, value: str) -> bytes:
    return _write_text(key, str(value[:MAX_COMMENT_LENGTH].encode("ascii", "replace").translate(_NOT_LO), "ascii"))


def _write_tags(key: int, value: tuple[int, ...]) -> bytes:
    numbers = [half for tag in value for half in (tag >> 16, tag & 0xFFFF)]
    return struct.pack(f"<II{len(numbers)}H", key, 4 * len(value), *numbers)


_Reader = Callable[[bytes], Any]
_Writer = Callable[[int, Any], bytes]
_KINDS: dict[str, tuple[_Reader, _Writer]] = {
    "US": (_read_us, _write_us),
    "UI": (_read_text, _write_uid),
    "AE": (_read_text, _write_text),
    "LO": (_read_text, _write_comment),
    "AT": (_read_tags, _write_tags),
}

_DATA_SET_TYPE = "command_data_set_type"
_ELEMENTS: tuple[tuple[int, str, str], ...] = (
    (0x0002, "UI", "affected_sop_class_uid"),
    (0x0003, "UI", "requested_sop_class_uid"),
    (0x0100, "US", "command_field"),
    (0x0110, "US", "message_id"),
    (0x0120, "US", "message_id_being_responded_to"),
    (0x0600, "AE", "move_destination"),
    (0x0700, "US", "priority"),
    (0x0800, "US", _DATA_SET_TYPE),
    (0x0900, "US", "status"),
    (0x0901, "AT", "offending_elements"),
    (0x0902, "LO", "error_comment"),
    (0x0903, "US", "error_id"),
    (0x1000, "UI", "affected_sop_instance_uid"),
    (0x1001, "UI", "requested_sop_instance_uid"),
    (0x1002, "US", "event_type_id"),
    (0x1005, "AT", "attribute_identifier_list"),
    (0x1008, "US", "action_type_id"),
    (0x1020, "US", "remaining_sub_operations"),
    (0x1021, "US", "completed_sub_operations"),
    (0x1022, "US", "failed_sub_operations"),
    (0x1023, "US", "warning_sub_operations"),
    (0x1030, "AE", "move_originator_ae_title"),
    (0x1031, "US", "move_originator_message_id"),
)
"""Element number in group 0000, VR, name; in the order of tags. PS3.7 E.1"""

# The four bytes of a tag of group 0000, read as one little endian number, are its element number times 65536.
_READERS = {element << 16: (name, _KINDS[vr][0]) for element, vr, name in _ELEMENTS}
_WRITERS = tuple((element << 16, _KINDS[vr][1]) for element, vr, _ in _ELEMENTS)
_values = attrgetter(*("has_data_set" if name == _DATA_SET_TYPE else name for _, _, name in _ELEMENTS))
_DATA_SET_TYPE_KEY = 0x0800 << 16
_DATA_SET_TYPES = (
    _write_us(_DATA_SET_TYPE_KEY, NO_DATA_SET),
    _write_us(_DATA_SET_TYPE_KEY, _DATA_SET_FOLLOWS),
)


def decode(data: bytes) -> CommandSet:
    """Read a whole command set, whose size the caller has bounded.

    Unknown elements are ignored, and so is the group length. Raises `DataSetError` if it is malformed: a length beyond
    the end, a value that is not of its VR, no Command Field or no Command Data Set Type. PS3.7 6.3.1
    """
    values: dict[str, Any] = {}
    pos, end = 0, len(data)
    unpack_head = _HEAD.unpack_from
    readers = _READERS
    while pos < end:
        try:
            key, length = unpack_head(data, pos)
        except struct.error:
            raise DataSetError("command set ends inside an element") from None
        pos += 8
        stop = pos + length
        if stop > end:
            raise DataSetError("command set ends inside an element", (key & 0xFFFF) << 16 | key >> 16)
        known = readers.get(key)
        if known is not None:
            try:
                values[known[0]] = known[1](data[pos:stop])
            except struct.error:
                raise DataSetError("command element of wrong length", key >> 16) from None
        pos = stop
    data_set_type = values.pop(_DATA_SET_TYPE, None)
    if values.get("command_field") is None or data_set_type is None:
        raise DataSetError("command set without Command Field or Command Data Set Type")
    return CommandSet(has_data_set=data_set_type != NO_DATA_SET, **values)


def encode(command: CommandSet) -> bytes:
    """Write a command set: elements in the order of tags, even lengths, the group length first.

    The Error Comment is cut at 64 characters, and what LO cannot carry in it becomes `?`. PS3.7 6.3.1
    """
    parts = []
    for (key, write), value in zip(_WRITERS, _values(command), strict=True):
        if key == _DATA_SET_TYPE_KEY:
            parts.append(_DATA_SET_TYPES[value])
        elif value is not None and value != ():
            parts.append(write(key, value))
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 4, len(body)) + body
