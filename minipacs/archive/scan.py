"""Reading back what a published file says of itself, for whatever makes rows from files."""

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from minipacs.archive.identity import check_identity
from minipacs.archive.ports import Storage
from minipacs.dicom.data_set.header import Header, HeaderScanner
from minipacs.dicom.data_set.part10 import FileMeta, parse_file_meta
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.tables.keys import KeyTable
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.text.charset import terms
from minipacs.errors import DataSetError, Failure
from minipacs.index import InstanceRecord, StoredFile

READ_BYTES = 1 << 20
SKIM_BYTES = 64 << 10
WRONG_DIGEST = "the file's bytes do not have its digest"

_GIVEN = "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"


class _Wanted(Protocol):
    """Says which elements are read."""

    @property
    def tags(self) -> frozenset[int]:
        """Their tags."""


@dataclass(frozen=True)
class _Tags:
    tags: frozenset[int]


_COUNTS = _Tags(frozenset(BY_KEYWORD[keyword].tag for keyword in _GIVEN))

_DAMAGE = frozenset({errno.EIO, errno.ENODATA, errno.EILSEQ, errno.EREMOTEIO, errno.EBADMSG, errno.EUCLEAN})
"""What Linux says of a medium that cannot be read, and its file systems of checksums that are wrong."""

CharsetOf = Callable[[str], str]
"""Gives the character set that is assumed of objects from an AE title, if they name none."""


def record_of(tree: Storage, row: StoredFile, keys: KeyTable, charset: str, *, whole: bool) -> InstanceRecord:
    """Return what the index is told of a published file; `row` has what the file does not tell.

    `whole` also checks that its bytes have its digest, else that they are as many, and what comes before Pixel Data is
    read. `charset` is assumed if it names none. Raises OSError, and Failure for what could not have been stored.
    """
    state = tree.stat(row.digest)
    if state is None:
        raise FileNotFoundError(errno.ENOENT, "the file is missing")
    size_bytes = state.size_bytes
    if size_bytes != row.size_bytes:
        raise DataSetError(f"the file has {size_bytes} bytes instead of {row.size_bytes}")
    meta, header = (scan if whole else _skim)(tree, row.digest, keys)
    check_identity(header, meta.sop_class_uid, meta.sop_instance_uid)
    header.charsets = header.charsets or terms(charset)
    return InstanceRecord(
        values=header.values(keys),
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        digest=row.digest,
        size_bytes=size_bytes,
        received_at=row.received_at,
        source=row.source,
        received_digest=row.received_digest,
    )


def orphan(tree: Storage, digest: str) -> StoredFile:
    """Return what can be known of a file without a row. Raises OSError."""
    state = tree.stat(digest)
    if state is None:
        raise FileNotFoundError(errno.ENOENT, "the file is missing")
    receipt = state.receipt
    return StoredFile(digest, state.size_bytes, receipt.received_at, receipt.source, "", receipt.received_digest)


def given_counts(tree: Storage, digest: str) -> tuple[str, str]:
    """Return how many series and instances a file says that its study has, "" where it does not.

    Raises OSError, DataSetError.
    """
    _, header = _skim(tree, digest, _COUNTS)
    series, instances = (header.get(keyword) for keyword in _GIVEN)
    return series, instances


def _skim(tree: Storage, digest: str, keys: _Wanted) -> tuple[FileMeta, Header]:
    """Read a published file up to its Pixel Data, whatever follows. Raises OSError, DataSetError."""
    with tree.open(digest) as file:
        piece = file.read(SKIM_BYTES)
        meta, scanner = _begin(piece, keys)
        while piece and not scanner.has_pixel_data:
            piece = file.read(SKIM_BYTES)
            scanner.feed(piece)
    return meta, scanner.header() if scanner.has_pixel_data else scanner.finish()


def _begin(piece: bytes, keys: _Wanted) -> tuple[FileMeta, HeaderScanner]:
    meta = parse_file_meta(piece)
    if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise DataSetError(f"unknown transfer syntax {meta.transfer_syntax_uid}")
    scanner = HeaderScanner(TRANSFER_SYNTAXES[meta.transfer_syntax_uid], keys.tags)
    scanner.feed(piece[meta.data_set_offset :])
    return meta, scanner


def scan(tree: Storage, digest: str, keys: KeyTable) -> tuple[FileMeta, Header]:
    """Read a published file whole and check that its bytes have its digest.

    Raises OSError, and DataSetError if it is damaged or no DICOM file that can be stored.
    """
    sha256 = hashlib.sha256()
    with tree.open(digest) as file:
        piece = file.read(READ_BYTES)
        meta, scanner = _begin(piece, keys)
        while piece:
            sha256.update(piece)
            piece = file.read(READ_BYTES)
            scanner.feed(piece)
    if sha256.hexdigest() != digest:
        raise DataSetError(WRONG_DIGEST)
    return meta, scanner.finish()


def tells_of_damage(error: Failure | OSError) -> bool:
    """Tell whether what a file could not be read for lies in its bytes.

    A wrong owner, too many open files or an index that is busy say nothing of them; a disk that cannot read them does.
    """
    return not error.temporary if isinstance(error, Failure) else error.errno in _DAMAGE


def fault_of(tree: Storage, digest: str, on_read: Callable[[int], None] = lambda size_bytes: None) -> str | None:
    """Read a file from the disk and say what is wrong with it, None if its bytes are those that its name stands for.

    `on_read` hears of bytes as they are read. Raises OSError for what says nothing of them, see `tells_of_damage`.
    """
    sha256 = hashlib.sha256()
    try:
        with tree.open(digest) as file:
            # What the system has in memory says nothing about the disk, and this reading is not to push others out.
            with suppress(OSError):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while piece := file.read(READ_BYTES):
                sha256.update(piece)
                on_read(len(piece))
            with suppress(OSError):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        if not tells_of_damage(error):
            raise
        return f"cannot be read: {error.strerror}"
    return None if sha256.hexdigest() == digest else WRONG_DIGEST
