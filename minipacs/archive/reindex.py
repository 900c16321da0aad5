"""The index anew from the files: patients, studies, series and instances, as they would be if all came again.

Rules:
- *must*: until the last moment the old rows are in use, then the new ones, in one transaction.
- *must*: what the files do not tell is kept: who sent each, when, and in what order.
- No daemon may run: its lock is held from start to end. Other commands may go on; what they add or remove counts.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from minipacs.archive.archive import Archive, DaemonLock, prepare
from minipacs.archive.identity import check_identity
from minipacs.archive.scan import skim
from minipacs.dicom.charset import terms
from minipacs.errors import MinipacsError
from minipacs.index import Index, InstanceRecord, Outcome, StoredFile

logger = logging.getLogger(__name__)

BATCH_FILES = 256
"""Files whose rows are committed together."""
READERS = 4
"""Threads that read files, so that one waits for the disk while another is understood."""


@dataclass(slots=True)
class Reindexed:
    """What came of it, in files; `faults` says by digest why a file has no row."""

    indexed: int = 0
    adopted: int = 0
    faults: dict[str, str] = field(default_factory=dict)


def reindex(archive: Archive, progress: Callable[[int], None]) -> Reindexed:
    """Rebuild the rows of an archive that is open for writing; `progress` hears of the files done.

    Raises MinipacsError if a daemon has the folder, or if there are rows but no files at all.
    """
    lock = DaemonLock(archive.tree)
    done = False
    try:
        prepare(archive, lock)
        _refuse_without_files(archive)
        path = Path(f"{archive.index.path}.new")
        _remove(path)
        try:
            found = _Rebuild(archive, path, progress).run()
        finally:
            _remove(path)
        done = True
        return found
    finally:
        lock.release(cleanly=done or lock.ended_cleanly)


class _Rebuild:
    """One run, with a second index beside that of the archive."""

    def __init__(self, archive: Archive, path: Path, progress: Callable[[int], None]) -> None:
        self._archive = archive
        self._path = path
        self._progress = progress
        self._seen: set[str] = set()
        self._found = Reindexed()
        self._fresh = Index.open(path, keys=archive.index.keys, sync="batch")

    def run(self) -> Reindexed:
        try:
            self._found.indexed = self._add(self._archive.index.files())
            self._found.adopted = self._add(self._orphans())
            self._archive.index.take_over(self._path, self._catch_up)
        finally:
            self._fresh.close()
        return self._found

    def _catch_up(self) -> None:
        """Follow what other commands did meanwhile; nobody writes any more."""
        self._found.indexed += self._add(row for row in self._archive.index.files() if row.digest not in self._seen)
        size_bytes = self._archive.tree.size_bytes
        gone = [row.digest for row in self._fresh.files() if size_bytes(row.digest) is None]
        self._fresh.remove([uid for uid in map(self._fresh.uid_of, gone) if uid])
        self._fresh.close()

    def _orphans(self) -> Iterator[StoredFile]:
        """Give the files that have no row: with the time when they were written, and nobody who sent them."""
        tree = self._archive.tree
        for digest, _ in tree.published():
            if digest not in self._seen:
                with suppress(FileNotFoundError):
                    yield StoredFile(digest, os.stat(tree.layout.published(digest)).st_mtime, "")

    def _add(self, rows: Iterable[StoredFile]) -> int:
        """Index files in this order; returns how many got a row."""
        rows, added = iter(rows), 0
        with ThreadPoolExecutor(READERS) as pool:
            while batch := list(islice(rows, BATCH_FILES)):
                records = [record for record in pool.map(self._record, batch) if record is not None]
                for record, placed in zip(records, self._fresh.add_all(records), strict=True):
                    if placed.outcome is Outcome.ADDED:
                        added += 1
                    else:
                        self._found.faults[record.digest] = "its SOP Instance UID has another file"
                self._seen.update(row.digest for row in batch)
                self._progress(len(batch))
        return added

    def _record(self, row: StoredFile) -> InstanceRecord | None:
        """Read what the index is told of a file; None, and a fault, if it cannot be read."""
        archive = self._archive
        try:
            meta, header = skim(archive.tree, row.digest, archive.index.keys)
            check_identity(header, meta.sop_class_uid, meta.sop_instance_uid)
            size_bytes = archive.tree.size_bytes(row.digest)
        except FileNotFoundError:
            self._found.faults[row.digest] = "the file is missing"
            return None
        except (OSError, MinipacsError) as error:
            self._found.faults[row.digest] = str(error)
            return None
        header.charsets = header.charsets or terms(archive.charset_of(row.source_ae_title))
        return InstanceRecord(
            values=header.values(archive.index.keys),
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            digest=row.digest,
            size_bytes=size_bytes or 0,
            received_at=row.received_at,
            source_ae_title=row.source_ae_title,
        )


def _refuse_without_files(archive: Archive) -> None:
    """Do not take an empty mount point for an archive that lost everything."""
    if archive.index.statistics().instances and next(archive.tree.published(), None) is None:
        raise MinipacsError(f"there are no files in {archive.tree.layout.objects}, but rows for them: is it mounted?")


def _remove(path: Path) -> None:
    for leftover in (path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", ".lock"))):
        with suppress(FileNotFoundError):
            leftover.unlink()
