"""A Part 10 file into the archive, through the same way in as C-STORE."""

from collections.abc import Set
from io import FileIO
from typing import IO

from minipacs.archive.archive import Archive
from minipacs.dicom.data_set.part10 import (
    MAX_FILE_META_BYTES,
    FileMeta,
    NeedMoreData,
    meta_of_data_set,
    parse_file_meta,
)
from minipacs.dicom.tables.sop_classes import MEDIA_STORAGE_DIRECTORY
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.errors import DataSetError, Failure, Kind
from minipacs.index import Outcome

READ_BYTES = 1 << 20


class MediaDirectory(Failure):
    """A DICOMDIR: it tells of the files beside it and is no object of a study (PS3.10 8.6)."""


def store(archive: Archive, stream: IO[bytes] | FileIO, sop_classes: Set[str], *, lenient: bool = False) -> Outcome:
    """Store a Part 10 file; `lenient` goes by its data set, whatever stands before it. Raises OSError and Failure."""
    meta, first = _read_meta_of_data_set(stream) if lenient else _read_file_meta(stream)
    if meta.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        raise MediaDirectory(Kind.UNSUPPORTED, "a DICOMDIR")
    if meta.sop_class_uid not in sop_classes:
        raise Failure(Kind.UNSUPPORTED, f"SOP class {meta.sop_class_uid or 'missing'} is not stored here")
    if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise Failure(Kind.UNSUPPORTED, "transfer syntax is not stored here")
    with archive.receive(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid, "") as incoming:
        piece = first
        while piece:
            incoming.write(piece)
            piece = stream.read(READ_BYTES)
        return incoming.commit().outcome


def _read_meta_of_data_set(stream: IO[bytes] | FileIO) -> tuple[FileMeta, bytes]:
    """Read the beginning of a data set, after whatever stands before it. Raises Failure."""
    prefix = b""
    while len(prefix) < READ_BYTES and (piece := stream.read(READ_BYTES - len(prefix))):
        prefix += piece
    try:
        meta = meta_of_data_set(prefix)
    except DataSetError:
        meta = None
    if meta is None or not meta.sop_class_uid:
        meta = parse_file_meta(prefix)  # says what is wrong with a file of some other kind
    return meta, prefix[meta.data_set_offset :]


def _read_file_meta(stream: IO[bytes] | FileIO) -> tuple[FileMeta, bytes]:
    """Read up to the data set, of which the second value is the beginning. Raises Failure."""
    prefix = b""
    while True:
        piece = stream.read(READ_BYTES)
        prefix += piece
        try:
            meta = parse_file_meta(prefix)
            return meta, prefix[meta.data_set_offset :]
        except NeedMoreData:
            if not piece or len(prefix) > MAX_FILE_META_BYTES + READ_BYTES:
                raise
