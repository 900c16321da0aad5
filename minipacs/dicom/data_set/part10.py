"""The head of a DICOM file: preamble, prefix and File Meta Information (PS3.10 7.1)."""

import struct
from dataclasses import dataclass

from minipacs import IMPLEMENTATION_CLASS_UID
from minipacs.dicom.data_set.header import HeaderScanner
from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from minipacs.dicom.tables.value_representations import SHORT_VR_CODES
from minipacs.errors import DataSetError

MAX_FILE_META_BYTES = 1 << 20
"""Beyond, a file is refused: only Private Information (0002,0102) could ever need more."""

_MAGIC = b"DICM"
_PREAMBLE_BYTES = 128
_PREFIX_END = _PREAMBLE_BYTES + len(_MAGIC)
_HEAD = struct.Struct("<HH2sH")
_LONG_LENGTH = struct.Struct("<I")
_GROUP_LENGTH = struct.Struct("<HH2sHI")
_LONG_HEAD_BYTES = _HEAD.size + _LONG_LENGTH.size

_VERSION = _HEAD.pack(2, 1, b"OB", 0) + _LONG_LENGTH.pack(2) + b"\0\1"


class NeedMoreData(DataSetError):
    """The prefix given ends inside the File Meta Information; if the file does too, this is the fault to report."""


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What a file says of itself; the class and instance UIDs are "" where it does not.

    `data_set_offset` is where the data set starts, in bytes from the start of the file.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set_offset: int


def _uid(element: int, uid: str) -> bytes:
    value = uid.encode("ascii")
    value += b"\0" * (len(value) & 1)
    return _HEAD.pack(2, element, b"UI", len(value)) + value


_IMPLEMENTATION = _uid(0x0012, IMPLEMENTATION_CLASS_UID)


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Give everything of a file that stands before its data set, for UIDs of at most 64 ASCII characters.

    The same three UIDs always give the same bytes: no version, no source, no time, a preamble of zeros. PS3.10 7.1
    """
    elements = (
        _VERSION
        + _uid(0x0002, sop_class_uid)
        + _uid(0x0003, sop_instance_uid)
        + _uid(0x0010, transfer_syntax_uid)
        + _IMPLEMENTATION
    )
    return bytes(_PREAMBLE_BYTES) + _MAGIC + _GROUP_LENGTH.pack(2, 0, b"UL", 4, len(elements)) + elements


def parse_file_meta(prefix: bytes) -> FileMeta:
    """Read the File Meta Information at the start of a file, of which `prefix` is the first part.

    The preamble is not looked at. Group 2 is taken as it stands, in any order. Raises `NeedMoreData` if `prefix` is
    too short, `DataSetError` if there is no prefix `DICM` or no Transfer Syntax UID. PS3.10 7.1
    """
    if len(prefix) >= _PREFIX_END and prefix[_PREAMBLE_BYTES:_PREFIX_END] != _MAGIC:
        raise DataSetError("not a DICOM file: no DICM after the preamble")
    values, pos = _group_2(prefix, _PREFIX_END)
    sop_class_uid, sop_instance_uid, transfer_syntax_uid = (
        str(values.get(element, b""), "latin-1").strip("\0 ") for element in (0x0002, 0x0003, 0x0010)
    )
    if not transfer_syntax_uid:
        raise DataSetError("File Meta Information without Transfer Syntax UID", 0x00020010)
    return FileMeta(sop_class_uid, sop_instance_uid, transfer_syntax_uid, pos)


def meta_of_data_set(prefix: bytes) -> FileMeta:
    """Tell from the data set what a file is, whatever stands before it: nothing, no preamble, or the wrong UIDs.

    `prefix` is the first part of the file, with the UIDs of its data set. Group 2 is believed where it names a transfer
    syntax that the data set does not contradict. The UIDs are "" where there are none. Raises `DataSetError` if the
    data set is none.
    """
    magic_at = next((at for at in (_PREAMBLE_BYTES, 0) if prefix.startswith(_MAGIC, at)), None)
    values, pos = _group_2(prefix, 0 if magic_at is None else magic_at + len(_MAGIC))
    known = TRANSFER_SYNTAXES.get(str(values.get(0x0010, b""), "latin-1").strip("\0 "))
    if known is None or not (known.encapsulated or known.deflated):
        known = TRANSFER_SYNTAXES[_native_syntax(prefix[pos : pos + _HEAD.size])]
    scanner = HeaderScanner(known)
    scanner.feed(prefix[pos:])
    header = scanner.header()
    return FileMeta(header.get("SOPClassUID"), header.get("SOPInstanceUID"), known.uid, pos)


def _native_syntax(head: bytes) -> str:
    """Tell how a data set is encoded that is not compressed, by the head of its first element, whose group is low."""
    if not (head[4:6].isalpha() and head[4:6].isupper()):
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_BIG_ENDIAN if head[:1] == b"\0" else EXPLICIT_VR_LITTLE_ENDIAN


def _group_2(prefix: bytes, pos: int) -> tuple[dict[int, bytes], int]:
    """Read the elements of group 2 from `pos` on; gives their values and where the data set starts."""
    values: dict[int, bytes] = {}
    announced_from = pos + _GROUP_LENGTH.size
    while pos > len(prefix) or not _is_announced_end_of_deflated(pos - announced_from, values):
        element, start, length = _element(prefix, pos)
        if element is None:
            break
        pos = start + length
        values[element] = prefix[start:pos]
    return values, pos


def _element(prefix: bytes, pos: int) -> tuple[int | None, int, int]:
    """Give number, start and length of the element of group 2 at `pos`; no number if the data set starts there."""
    if pos > MAX_FILE_META_BYTES:
        raise DataSetError(f"File Meta Information longer than {MAX_FILE_META_BYTES} bytes")
    if pos + _LONG_HEAD_BYTES > len(prefix):
        raise NeedMoreData("file ends inside its File Meta Information")
    group, element, vr, length = _HEAD.unpack_from(prefix, pos)
    if group != 2 or not (vr.isalpha() and vr.isupper()):
        return None, pos, 0
    if vr in SHORT_VR_CODES:
        return element, pos + _HEAD.size, length
    return element, pos + _LONG_HEAD_BYTES, _LONG_LENGTH.unpack_from(prefix, pos + _HEAD.size)[0]


def _is_announced_end_of_deflated(length: int, values: dict[int, bytes]) -> bool:
    """Tell whether to believe the group length, which many writers get wrong.

    It is believed only where the data set is deflated and so could look like one more element of group 2.
    """
    deflated = values.get(0x0010, b"").rstrip(b"\0 ") == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN.encode()
    return deflated and values.get(0x0000) == _LONG_LENGTH.pack(max(length, 0))
