"""The head of a DICOM file: preamble, prefix and File Meta Information (PS3.10 7.1)."""

import struct
from dataclasses import dataclass

from minipacs import IMPLEMENTATION_CLASS_UID
from minipacs.errors import DataSetError

MAX_FILE_META_BYTES = 1 << 20
"""Beyond, a file is refused: only Private Information (0002,0102) could ever need more."""

_PREFIX_END = 132
_LONG_VRS = frozenset({b"OB", b"OW", b"OD", b"OF", b"OL", b"OV", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_VRS = frozenset(
    {b"AE", b"CS", b"DA", b"DT", b"IS", b"LO", b"LT", b"PN", b"SH", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_HEAD = struct.Struct("<HH2sH")
_LONG_LENGTH = struct.Struct("<I")
_GROUP_LENGTH = struct.Struct("<HH2sHI")

_TOO_SHORT = "file ends inside its File Meta Information"
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
    return b"\0" * 128 + b"DICM" + _GROUP_LENGTH.pack(2, 0, b"UL", 4, len(elements)) + elements


def parse_file_meta(prefix: bytes) -> FileMeta:
    """Read the File Meta Information at the start of a file, of which `prefix` is the first part.

    The preamble is not looked at. Group 2 is taken as it stands, in any order, without trust in its group length,
    which many writers get wrong. Raises `NeedMoreData` if `prefix` is too short, `DataSetError` if there is no prefix
    `DICM` or no Transfer Syntax UID. PS3.10 7.1
    """
    if len(prefix) >= _PREFIX_END and prefix[128:_PREFIX_END] != b"DICM":
        raise DataSetError("not a DICOM file: no DICM after the preamble")
    uids: dict[int, str] = {}
    pos = _PREFIX_END
    while True:
        if pos > MAX_FILE_META_BYTES:
            raise DataSetError(f"File Meta Information longer than {MAX_FILE_META_BYTES} bytes")
        if pos + _HEAD.size > len(prefix):
            raise NeedMoreData(_TOO_SHORT)
        group, element, vr, length = _HEAD.unpack_from(prefix, pos)
        is_long = vr in _LONG_VRS
        if group != 2 or not (is_long or vr in _SHORT_VRS):
            break
        pos += _HEAD.size
        if is_long:
            if pos + _LONG_LENGTH.size > len(prefix):
                raise NeedMoreData(_TOO_SHORT)
            (length,) = _LONG_LENGTH.unpack_from(prefix, pos)
            pos += _LONG_LENGTH.size
        if vr == b"UI":
            uids[element] = str(prefix[pos : pos + length], "latin-1").strip("\0 ")
        pos += length
    if not uids.get(0x0010):
        raise DataSetError("File Meta Information without Transfer Syntax UID", 0x00020010)
    return FileMeta(uids.get(0x0002, ""), uids.get(0x0003, ""), uids[0x0010], pos)
