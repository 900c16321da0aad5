"""The index anew from the files: patients, studies, series and instances, as they would be if all came again.

Rules:
- *must*: until the last moment the old rows are in use, then the new ones, in one transaction.
- *must*: what the files do not tell is kept: who sent each, when, and in what order.
- *must*: no row is forgotten: that of a missing or damaged file stays as it was, as UNAVAILABLE; a re-send heals it.
- No daemon may run: its lock is held from start to end. Other commands may go on; what they add or remove counts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import NamedTuple

from minipacs.archive.archive import Archive
from minipacs.archive.care.amendments import adopt
from minipacs.archive.care.arrivals import Arrivals
from minipacs.archive.care.leftovers import finish_removals
from minipacs.archive.care.recovery import BATCH_FILES, READERS, Recovery, differences, leave, recheck_last
from minipacs.archive.care.rereading import contradicting, known_values
from minipacs.archive.ports import Catalogue
from minipacs.archive.scan import fault_of, orphan, record_of, tells_of_damage
from minipacs.errors import Failure, MinipacsError
from minipacs.index import InstanceRecord, Outcome, StoredFile

MAX_ROUNDS = 100
"""So often what others did meanwhile is read from files; what they are quicker at is taken from their rows."""

MAX_FAULTS = 1000
"""Told of one by one; a disk that is gone makes as many as there are files, of which `minipacs verify` tells each."""


@dataclass(slots=True)
class Reindexed:
    """What came of it, in files; `kept` are rows without a good file, `refused` files without a row.

    `faults` says what is wrong with the first MAX_FAULTS of both, by digest.
    """

    indexed: int = 0
    adopted: int = 0
    kept: int = 0
    refused: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def blame(self, digest: str, fault: str) -> None:
        """Say what is wrong with a file, unless much is."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.setdefault(digest, fault)


def reindex(archive: Archive, progress: Callable[[int], None]) -> Reindexed:
    """Rebuild the rows of an archive that is open for writing; `progress` hears of the files done.

    Raises MinipacsError if a daemon has the folder, or if there are rows but no files at all.
    """
    lock = archive.tree.daemon_lock()
    done = False
    try:
        archive.tree.sweep_incoming()
        _refuse_without_files(archive)
        with archive.index.fresh() as fresh, Arrivals(archive.tree.scratch) as damaged:
            found = _Rebuild(archive, fresh, damaged, progress).run()
        if not lock.ended_cleanly:
            recheck_last(archive.tree, archive.index, Recovery())
        done = True
        return found
    finally:
        lock.release(cleanly=done or lock.ended_cleanly)


class _Read(NamedTuple):
    """What the index is to be told of a file: by the file itself, or after a fault by the row that it had."""

    row: StoredFile
    record: InstanceRecord
    fault: str


class _Rebuild:
    """One run, with a second index beside that of the archive."""

    def __init__(self, archive: Archive, fresh: Catalogue, damaged: Arrivals, progress: Callable[[int], None]) -> None:
        self._tree = archive.tree
        self._old = archive.index
        self._charset_of = archive.charset_of
        self._progress = progress
        self._found = Reindexed()
        self._noting = Lock()
        self._seen = 0
        self._fresh = fresh
        self._damaged = damaged

    def run(self) -> Reindexed:
        finish_removals(self._tree, self._old, self._charset_of)
        adopt(self._tree, self._old)
        self._amend()
        last = self._old.last_change()
        self._seen = last.seq if last is not None else 0
        self._add(self._old.files())
        with Arrivals(self._tree.scratch) as orphans:
            for digest, is_file in differences(self._tree, self._old):
                if is_file and (state := self._tree.stat(digest)) is not None:
                    orphans.add(state.receipt.received_at, digest)
            self._add(self._files(orphans))
        for _ in range(MAX_ROUNDS):
            if self._follow(self._add) < BATCH_FILES:
                break
        self._old.take_over(self._fresh, self._catch_up)
        for digest in self._damaged:
            self._set_aside(digest)
        return self._found

    def _catch_up(self) -> None:
        """Follow what came between the last round and the lock: nobody writes any more, so no file is read."""
        self._amend()
        while self._follow(self._copy):
            pass

    def _amend(self) -> None:
        """Let the fresh rows follow the amendments that there are; those that it has stay as they are."""
        for kept in self._old.amendments.all():
            self._fresh.amend(kept.amendment)

    def _follow(self, add: Callable[[Iterable[StoredFile]], None]) -> int:
        """Do what the next events tell that other commands did meanwhile; returns how many these were."""
        events = self._old.changes(self._seen)
        stale, due = [], []
        for uid in dict.fromkeys(event.sop_instance_uid for event in events):
            new, row = self._fresh.file(uid), self._old.file(uid)
            if new is None or row is None or new.digest != row.digest:
                stale += [uid] if new is not None else []
                due += [row] if row is not None else []
            elif new.availability != row.availability:
                self._fresh.set_availability([row.digest], "ONLINE" if row.availability == "ONLINE" else "UNAVAILABLE")
        self._fresh.remove(stale)
        add(due)
        if events:
            self._seen = events[-1].seq
        return len(events)

    def _copy(self, rows: Iterable[StoredFile]) -> None:
        """Index files by what their rows say."""
        self._place([read for row in rows if (read := self._taken_over(row)) is not None])

    def _left(self, row: StoredFile, fault: str) -> _Read | None:
        """Take what the row of a file says, which cannot be read now; without one it is not indexed."""
        read = self._taken_over(row)
        if read is None:
            with self._noting:
                self._found.blame(row.digest, fault)
                self._found.refused += 1
        return read

    def _taken_over(self, row: StoredFile) -> _Read | None:
        record = self._known(row)
        fault = "" if row.availability == "ONLINE" else "unavailable"
        return None if record is None else _Read(row, record, fault)

    def _set_aside(self, digest: str) -> None:
        """Quarantine a file that is damaged still, so that nobody takes it for what was sent."""
        with self._tree.holding(digest, exclusive=True):
            try:
                fault = fault_of(self._tree, digest)
            except FileNotFoundError:
                return
            except OSError as error:
                leave(digest, error)
                return
            if fault is not None:
                self._old.set_availability([digest], "UNAVAILABLE")
                self._tree.set_aside(digest, fault)

    def _files(self, digests: Iterable[str]) -> Iterator[StoredFile]:
        for digest in digests:
            with suppress(FileNotFoundError):
                yield orphan(self._tree, digest)

    def _add(self, rows: Iterable[StoredFile]) -> None:
        """Index files in this order."""
        rows = iter(rows)
        with ThreadPoolExecutor(READERS) as pool:
            while batch := list(islice(rows, BATCH_FILES)):
                reads = [read for read in pool.map(self._read, batch) if read is not None]
                self._place(self._assured(pool, reads))
                self._progress(len(batch))

    def _assured(self, pool: ThreadPoolExecutor, reads: Sequence[_Read]) -> list[_Read]:
        """Read those whole that say something else than their rows, so that their bytes are compared."""
        skimmed = [read.record for read in reads if read.row.availability == "ONLINE" and not read.fault]
        doubted = contradicting(self._old, skimmed)
        again = pool.map(lambda read: self._read(read.row, whole=True) if read.row.digest in doubted else read, reads)
        return [read for read in again if read is not None]

    def _place(self, reads: Sequence[_Read]) -> None:
        for read, placed in zip(reads, self._fresh.add_all([read.record for read in reads]), strict=True):
            self._note(read, placed.outcome)
        self._fresh.set_availability([read.row.digest for read in reads if read.fault], "UNAVAILABLE")

    def _note(self, read: _Read, outcome: Outcome) -> None:
        if outcome is Outcome.KEPT:
            self._found.refused += 1
            self._found.blame(read.row.digest, read.fault or "its SOP Instance UID has another file")
        elif read.fault:
            self._found.kept += 1
        elif read.row.availability:
            self._found.indexed += 1
        else:
            self._found.adopted += 1

    def _read(self, row: StoredFile, *, whole: bool = False) -> _Read | None:
        """Read a file: whole also if it was not known to be good. None, and a fault, for what can have no row.

        Threads do this side by side; what they find is noted under a lock.
        """
        try:
            charset = self._charset_of(row.source)
            whole = whole or row.availability != "ONLINE"
            return _Read(row, record_of(self._tree, row, self._old.keys, charset, whole=whole), "")
        except FileNotFoundError:
            fault = "the file is missing"
        except (OSError, Failure) as error:
            if not tells_of_damage(error):
                leave(row.digest, error)
                return self._left(row, str(error))
            fault = str(error)
        record = self._known(row)
        if record is None and self._tree.stat(row.digest) is None:
            return None  # removed meanwhile, row and file
        with self._noting:
            self._found.blame(row.digest, fault)
            self._damaged.add(row.received_at, row.digest)
            self._found.refused += record is None
        return None if record is None else _Read(row, record, fault)

    def _known(self, row: StoredFile) -> InstanceRecord | None:
        """Return what the row of a file says, if it has one."""
        uid = self._old.uid_of(row.digest)
        instance = self._old.instance(uid) if uid is not None else None
        if uid is None or instance is None:
            return None
        values = known_values(self._old, [uid]).get(uid)
        if values is None:
            return None
        return InstanceRecord(
            values=values,
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            digest=row.digest,
            size_bytes=row.size_bytes,
            received_at=row.received_at,
            source=row.source,
            received_digest=row.received_digest,
        )


def _refuse_without_files(archive: Archive) -> None:
    """Do not take an empty mount point for an archive that lost everything."""
    if archive.index.statistics().instances and next(archive.tree.walk(), None) is None:
        raise MinipacsError("there are no files, but rows for them: is the storage folder mounted?")
