"""Storing one object: stage, check, publish, commit. The one way in, for C-STORE and import alike.

Rules:
- *must*: what `commit` returns normally is durable: file synced and published before the row, row before the return.
- *must*: a refused object leaves nothing behind; a file that gives way to another goes to quarantine.
"""

import errno
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Self

from minipacs.archive.disk_errors import DiskErrors
from minipacs.archive.identity import SOP_CLASS_UID, SOP_INSTANCE_UID, check_identity, check_uid
from minipacs.archive.intact import is_intact
from minipacs.archive.ports import Catalogue, Receipt, Spare, Storage
from minipacs.archive.removal import Displaced, remove_unused
from minipacs.dicom.data_set.header import HeaderScanner
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.text.charset import terms
from minipacs.errors import Failure, Kind, OutcomeUnknown
from minipacs.index import WHY_DISPLACED, Duplicates, InstanceRecord, Outcome, Placed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoragePolicy:
    """What may be stored. `max_instance_bytes` 0 means no limit; below `min_free_bytes` nothing is written."""

    duplicates: Duplicates = "replace"
    min_free_bytes: int = 0
    max_instance_bytes: int = 0


class Stored(NamedTuple):
    """What happened: whether an object is new, known, or took or left another's place, and what the index was told.

    The same stands in the feed of changes (`Catalogue.changes`), unless nothing has changed.
    """

    outcome: Outcome
    record: InstanceRecord


class Incoming:
    """An object on its way in: a context manager that is written to and committed; left otherwise, nothing stays.

    Owned by one thread. Every refusal is a Failure.
    """

    def __init__(
        self,
        tree: Storage,
        index: Catalogue,
        displaced: Displaced,
        policy: StoragePolicy,
        disk_errors: DiskErrors,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        source: str,
        charset: str,
        spare: Spare | None = None,
        study_instance_uid: str = "",
    ) -> None:
        check_uid(sop_class_uid, SOP_CLASS_UID)
        check_uid(sop_instance_uid, SOP_INSTANCE_UID)
        self._tree = tree
        self._spare = spare
        self._index = index
        self._displaced = displaced
        self._policy = policy
        self._disk_errors = disk_errors
        self._sop_class_uid = sop_class_uid
        self._sop_instance_uid = sop_instance_uid
        self._study_instance_uid = study_instance_uid
        self._transfer_syntax_uid = transfer_syntax_uid
        self._source = source
        self._charsets = terms(charset)
        self._scanner = HeaderScanner(TRANSFER_SYNTAXES[transfer_syntax_uid], index.keys.tags)
        self._data_set_bytes = 0
        with self._disk_errors.as_failures():
            free = tree.free_bytes()
            if free < policy.min_free_bytes:
                raise Failure(Kind.FULL, "free disk space is below the reserve")
            self._staged = tree.stage() if spare is None else spare.take()
        self._pending: bytes = file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._staged.discard()

    @property
    def size_bytes(self) -> int:
        """Return the size of the data set so far."""
        return self._data_set_bytes

    def write(self, data: bytes | memoryview) -> None:
        """Take the next piece of the data set; `data` is not kept."""
        self._data_set_bytes += len(data)
        limit = self._policy.max_instance_bytes
        if limit and self._data_set_bytes > limit:
            raise Failure(Kind.TOO_LARGE, f"object is larger than {limit} bytes")
        self._scanner.feed(data)
        with self._disk_errors.as_failures():
            self._staged.write([self._pending, data] if self._pending else [data])
        self._pending = b""

    def commit(self) -> Stored:
        """Check the object, make it durable and index it."""
        self._staged.begin_sync()
        header = self._scanner.finish()
        header.charsets = header.charsets or self._charsets
        if not self._data_set_bytes:
            raise Failure(Kind.UNREADABLE, "no data set")
        check_identity(header, self._sop_class_uid, self._sop_instance_uid, self._study_instance_uid)
        digest = self._staged.digest
        record = InstanceRecord(
            values=header.values(self._index.keys),
            sop_class_uid=self._sop_class_uid,
            sop_instance_uid=self._sop_instance_uid,
            transfer_syntax_uid=self._transfer_syntax_uid,
            digest=digest,
            size_bytes=self._staged.size_bytes,
            received_at=time.time(),
            source=self._source,
        )
        _note(record)
        return Stored(self._conclude(digest, self._place(record)), record)

    def _place(self, record: InstanceRecord) -> Placed:
        """Publish the file and commit its row, under one lock: whoever removes this digest waits."""
        receipt = Receipt(record.received_at, record.source)
        try:
            with self._disk_errors.as_failures(), self._tree.holding(record.digest) as held:
                published = self._tree.put(self._staged, record.digest, receipt, held)
                placed = self._index.add(record, self._policy.duplicates, recoverable=published.has_receipt)
            if placed.outcome is Outcome.SAME and placed.displaced_digest and not self._has_compressed():
                return self._place_again(record)
            if not published.is_new and self._spare is not None:
                with suppress(OSError):  # it is only a file less for the next object
                    self._spare.give_back(self._staged)
            return placed
        except OutcomeUnknown:
            self._displaced.doubt(record.digest)
            fields = {"digest": record.digest, "sop_instance_uid": record.sop_instance_uid}
            logger.error("file kept: its row may be there after a crash", extra={"fields": fields})
            raise
        except BaseException:
            self._take_back(record.digest)
            raise

    def _place_again(self, record: InstanceRecord) -> Placed:
        """Commit the row of a published file, now that its compressed form is known to be bad."""
        with self._disk_errors.as_failures(), self._tree.holding(record.digest):
            if self._tree.stat(record.digest) is None:  # somebody else who sent it has taken it back
                raise FileNotFoundError(errno.ENOENT, "the file is gone; send it again")
            return self._index.add(record, self._policy.duplicates)

    def _has_compressed(self) -> bool:
        """Tell whether the file that this object was compressed to is whole; one that is not is set aside."""
        stored = self._index.instance(self._sop_instance_uid)
        return stored is not None and is_intact(self._tree, self._index, stored)

    def _conclude(self, digest: str, placed: Placed) -> Outcome:
        self._displaced.clear_doubts()
        if placed.outcome is Outcome.REJECTED:
            self._take_back(digest)
            kind, words = (
                (Kind.OTHER_PARENT, "SOP Instance UID is stored in another series")
                if placed.moved
                else (Kind.OTHER_CONTENT, "SOP Instance UID is stored with other content")
            )
            raise Failure(kind, words, (SOP_INSTANCE_UID,))
        if placed.displaced_digest:
            self._displaced.take(placed.displaced_digest, WHY_DISPLACED[placed.outcome])
        return placed.outcome

    def _take_back(self, digest: str) -> None:
        """Remove the file published for a row that was not committed, unless another row is on it."""
        try:
            remove_unused(self._tree, self._index, digest)
        except (OSError, Failure) as error:  # an orphan: the next recovery finds it
            logger.error("file without a row left", extra={"fields": {"digest": digest, "reason": str(error)}})


def _note(record: InstanceRecord) -> None:
    """Log, at debug level, what came; whose it is where patients may be named."""
    if logger.isEnabledFor(logging.DEBUG):
        told = {
            keyword: record.values.get(keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Modality")
        }
        fields = {"digest": record.digest, "transfer_syntax": record.transfer_syntax_uid, **told}
        patient = {keyword: record.values.get(keyword) for keyword in ("PatientID", "PatientName", "StudyDate")}
        logger.debug("object", extra={"fields": fields, "patient": patient})
