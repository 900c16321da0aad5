"""A Part 10 file into the archive, through the same way in as C-STORE."""

from collections.abc import Set
from io import FileIO
from typing import IO, Self

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import Incoming, Stored
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

READ_BYTES = 1 << 20


class MediaDirectory(Failure):
    """A DICOMDIR: it tells of the files beside it and is no object of a study (PS3.10 8.6)."""


class IncomingFile:
    """A Part 10 file on its way in, in pieces of any size: a context manager, as `Incoming` is.

    Owned by one thread at a time. `meta` is known once enough of the file has been written. Every refusal is a Failure.
    """

    def __init__(
        self,
        archive: Archive,
        sop_classes: Set[str],
        source: str = "",
        study_instance_uid: str = "",
        meta: FileMeta | None = None,
    ) -> None:
        self._archive = archive
        self._sop_classes = sop_classes
        self._source = source
        self._study_instance_uid = study_instance_uid
        self._prefix = b""
        self._incoming: Incoming | None = None
        self.meta = meta
        if meta is not None:
            self._incoming = self._begin(meta)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._incoming is not None:
            self._incoming.__exit__(*exception)

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next piece of the file; it is not kept."""
        if self._incoming is not None:
            self._incoming.write(piece)
            return
        self._prefix += piece
        try:
            self.meta = parse_file_meta(self._prefix)
        except NeedMoreData:
            if len(self._prefix) > MAX_FILE_META_BYTES + READ_BYTES:
                raise
            return
        self._incoming = self._begin(self.meta)
        first, self._prefix = self._prefix[self.meta.data_set_offset :], b""
        if first:
            self._incoming.write(first)

    def commit(self) -> Stored:
        """Check the object, make it durable and index it."""
        if self._incoming is None:
            parse_file_meta(self._prefix)  # says what is missing
            raise DataSetError("no data set")
        return self._incoming.commit()

    def _begin(self, meta: FileMeta) -> Incoming:
        if meta.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
            raise MediaDirectory(Kind.UNSUPPORTED, "a DICOMDIR")
        if meta.sop_class_uid not in self._sop_classes:
            raise Failure(Kind.UNSUPPORTED, f"SOP class {meta.sop_class_uid or 'missing'} is not stored here")
        if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise Failure(Kind.UNSUPPORTED, "transfer syntax is not stored here")
        return self._archive.receive(
            meta.sop_class_uid,
            meta.sop_instance_uid,
            meta.transfer_syntax_uid,
            self._source,
            self._archive.charset_of(self._source),
            study_instance_uid=self._study_instance_uid,
        )


def store(archive: Archive, stream: IO[bytes] | FileIO, sop_classes: Set[str], *, lenient: bool = False) -> Stored:
    """Store a Part 10 file; `lenient` goes by its data set, whatever stands before it. Raises OSError and Failure."""
    meta, piece = _read_meta_of_data_set(stream) if lenient else (None, stream.read(READ_BYTES))
    with IncomingFile(archive, sop_classes, meta=meta) as incoming:
        while piece:
            incoming.write(piece)
            piece = stream.read(READ_BYTES)
        return incoming.commit()


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
