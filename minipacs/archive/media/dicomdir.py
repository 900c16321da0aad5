"""The directory of a DICOM file-set: a DICOMDIR, and the File IDs of the files it lists (PS3.3 F, PS3.10 8)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.sop_classes import MEDIA_STORAGE_DIRECTORY
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from minipacs.errors import MinipacsError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_ENTRIES = 99_999
"""Of one record: what is left of a File ID component of 8 characters behind its three letters (PS3.10 8.2)."""

_ROOT_OFFSETS, _SEQUENCE = struct.Struct("<HH2sHIHH2sHI"), struct.Struct("<HH2sHI")
_LINKS = struct.Struct("<HHI HH2sHI HH2sHH HH2sHI")
_FLAG = struct.Struct("<HH2sHH")
_IN_USE = 0xFFFF


class _Level(NamedTuple):
    """A level of the directory: its record type ("" for what the SOP class says), its UID, what is invented for it."""

    record_type: str
    prefix: str
    key: str
    invented: dict[str, str]


_LEVELS = (
    _Level("PATIENT", "PAT", "PatientID", {"PatientID": "PATIENT{}"}),
    _Level("STUDY", "STU", "StudyInstanceUID", {"StudyDate": "19000101", "StudyTime": "000000", "StudyID": "{}"}),
    _Level("SERIES", "SER", "SeriesInstanceUID", {"Modality": "OT", "SeriesNumber": "{}"}),
    _Level("", "IMG", "SOPInstanceUID", {"InstanceNumber": "{}"}),
)
"""Invented are values that a directory record must have and a data set may lack; `{}` is the number of the record."""


class NoDirectoryRecord(MinipacsError):
    """An object that a directory cannot list; the message says why."""


@dataclass(slots=True)
class _Record:
    name: str = ""
    body: bytes = b""
    below: dict[str, "_Record"] = field(default_factory=dict)
    offset: int = 0

    @property
    def size_bytes(self) -> int:
        return _LINKS.size + len(self.body)


class Directory:
    """The directory of a new file-set. Memory: the records, about 300 bytes for each file."""

    def __init__(self) -> None:
        self._root = _Record()

    def add(self, ds: "Dataset", transfer_syntax_uid: str) -> tuple[str, ...]:
        """Add an object, of which `ds` holds what stands before its pixels; returns its File ID.

        Raises NoDirectoryRecord.
        """
        record = self._root
        file_id: list[str] = []
        made: list[tuple[_Record, str, _Record]] = []
        for level in _LEVELS:
            key = str(ds.get(level.key) or "") or str(ds.StudyInstanceUID)
            found = record.below.get(key)
            if found is None:
                number = len(record.below) + 1
                if number > MAX_ENTRIES:
                    raise NoDirectoryRecord(f"more than {MAX_ENTRIES} entries below one directory record")
                found = _Record(f"{level.prefix}{number:05d}")
                file = (*file_id, found.name) if not level.record_type else ()
                found.body = _body(level, number, ds, file, transfer_syntax_uid)
                made.append((record, key, found))
            file_id.append(found.name)
            record = found
        for parent, key, child in made:  # only now: an object without a record leaves no empty ones above
            parent.below[key] = child
        return tuple(file_id)

    def encode(self) -> bytes:
        """Write the file DICOMDIR."""
        from pydicom.uid import generate_uid

        meta = file_meta(MEDIA_STORAGE_DIRECTORY, generate_uid(prefix=None), EXPLICIT_VR_LITTLE_ENDIAN)
        head = struct.pack("<HH2sH", 0x0004, 0x1130, b"CS", 0)
        records = list(_walk(self._root))
        position = len(meta) + len(head) + _ROOT_OFFSETS.size + _FLAG.size + _SEQUENCE.size
        size = 0
        for record, _ in records:
            record.offset = position + size
            size += record.size_bytes
        first, last = _ends(self._root)
        out = [
            meta,
            head,
            _ROOT_OFFSETS.pack(0x0004, 0x1200, b"UL", 4, first, 0x0004, 0x1202, b"UL", 4, last),
            _FLAG.pack(0x0004, 0x1212, b"US", 2, 0),
            _SEQUENCE.pack(0x0004, 0x1220, b"SQ", 0, size),
        ]
        for record, following in records:
            out += _links(record, following), record.body
        return b"".join(out)


def _walk(record: _Record) -> Iterator[tuple[_Record, _Record | None]]:
    """Give the records below one, each with the one that follows at its level."""
    below = list(record.below.values())
    for found, following in zip_longest(below, below[1:]):
        yield found, following
        yield from _walk(found)


def _ends(record: _Record) -> tuple[int, int]:
    below = list(record.below.values())
    return (below[0].offset, below[-1].offset) if below else (0, 0)


def _links(record: _Record, following: _Record | None) -> bytes:
    """Write an item's header, and the offsets and the flag that every record begins with."""
    return _LINKS.pack(
        *(0xFFFE, 0xE000, record.size_bytes - 8),
        *(0x0004, 0x1400, b"UL", 4, following.offset if following is not None else 0),
        *(0x0004, 0x1410, b"US", 2, _IN_USE),
        *(0x0004, 0x1420, b"UL", 4, _ends(record)[0]),
    )


def _body(level: _Level, number: int, ds: "Dataset", file_id: tuple[str, ...], transfer_syntax_uid: str) -> bytes:
    """Write what a record says of its object, from its type on."""
    from pydicom.filebase import DicomIO
    from pydicom.fileset import _FOUR_LEVEL_SOP_CLASSES, DIRECTORY_RECORDERS
    from pydicom.filewriter import write_dataset

    for keyword, value in level.invented.items():
        if not ds.get(keyword) and not isinstance(ds.get(keyword), int):
            setattr(ds, keyword, value.format(number))
    record_type = level.record_type or _FOUR_LEVEL_SOP_CLASSES.get(ds.SOPClassUID, "IMAGE")
    try:
        record = DIRECTORY_RECORDERS[record_type](ds)
        record.DirectoryRecordType = record_type
        if "SpecificCharacterSet" in ds:
            record.SpecificCharacterSet = ds.SpecificCharacterSet
        if file_id:
            record.ReferencedFileID = list(file_id)
            record.ReferencedSOPClassUIDInFile = ds.SOPClassUID
            record.ReferencedSOPInstanceUIDInFile = ds.SOPInstanceUID
            record.ReferencedTransferSyntaxUIDInFile = transfer_syntax_uid
        out = DicomIO(BytesIO())
        out.is_little_endian, out.is_implicit_VR = True, False
        write_dataset(out, record)
    except Exception as error:  # of any kind: the library takes values apart that nobody has looked at before
        raise NoDirectoryRecord(f"no directory record: {error}") from error
    return bytes(out.parent.getvalue())
