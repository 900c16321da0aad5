"""The one way to write: callers queue a change, and whoever has the turn commits all that is queued.

While one caller commits, others queue up behind it; the next to have the turn commits theirs together with its own. So
a lone caller waits for nobody, and many share the cost of making a commit durable.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

from minipacs.dicom.tables.keys import KeyTable
from minipacs.errors import Failure, Kind
from minipacs.index.engine.database import Connection, Database
from minipacs.index.ledger import removals
from minipacs.index.objects.models import Availability
from minipacs.index.objects.refresh import Reread
from minipacs.index.objects.rows import Duplicates, Form, InstanceRecord, Placed, Rows

logger = logging.getLogger(__name__)

MAX_GROUP = 256
"""Changes in one commit."""

MAX_WAIT_S = 30.0
"""How long a change waits for its turn; once begun, it is waited for to its end."""

_T = TypeVar("_T")


class _NotRecoverable(Exception):
    """Changes have turned out to write more than rows that recovery would make again."""


class _Change:
    """A change that its caller waits for. Who acquires `claim` decides its fate: whoever commits it, or its caller.

    `recoverable` tells that it may turn out to add nothing but a row that recovery would make again.
    """

    __slots__ = ("claim", "error", "is_done", "recoverable", "result", "work")

    def __init__(self, work: Callable[[], Any], *, recoverable: bool) -> None:
        self.work = work
        self.recoverable = recoverable
        self.claim = threading.Lock()
        self.is_done = False
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """Owns the write connection of an open database.

    Every call blocks until its change is committed or has failed, alone: Failure FULL or BUSY where trying
    again may help, BROKEN for other faults of the database. With sync "always" a commit is durable, with "recoverable"
    it is unless all that it wrote are new rows that recovery would make again. `on_commit` gets the number of instances
    that a commit wrote, `reread` the digest of a file whose values are needed again (see Refresh); both are called by
    one thread at a time.
    """

    def __init__(self, database: Database, *, keys: KeyTable, reread: Reread, on_commit: Callable[[int], None]) -> None:
        self._database = database
        self._on_commit = on_commit
        self._connection = database.writer()
        self._keys = keys
        self._rows = Rows(database, self._connection, keys, reread)
        self._queue: deque[_Change] = deque()
        self._is_synced = database.sync == "always"
        self._turn = threading.Lock()
        self._closed = False

    def add(self, record: InstanceRecord, duplicates: Duplicates, *, recoverable: bool = False) -> Placed:
        """Give a stored file its row; `duplicates` tells what happens if its SOP Instance UID has another file.

        A row of the same digest becomes available again if it was not. `recoverable` tells that recovery finds all of
        the record in the file, which is durable. Raises Failure MISSING if a UID is missing.
        """
        objects = record.object_rows(self._keys)
        work = partial(self._rows.add, record, objects, duplicates, recoverable=recoverable)
        return self._submit(work, recoverable=recoverable)

    def add_all(self, records: Sequence[InstanceRecord]) -> list[Placed]:
        """Give stored files their rows, in this order and in one commit; what is known stays as it is."""
        objects = [(record, record.object_rows(self._keys)) for record in records]
        return self._submit(lambda: [self._rows.add(record, rows, "keep") for record, rows in objects])

    def remove(self, sop_instance_uids: Sequence[str]) -> list[str]:
        """Delete the rows of instances and note their files as to be removed, all in one commit; give their digests."""

        def work() -> list[str]:
            digests = self._rows.remove(sop_instance_uids)
            removals.note(self._database, self._connection, digests)
            return digests

        return self._submit(work)

    def set_availability(self, digests: Sequence[str], availability: Availability) -> None:
        """Set Instance Availability of the rows with these digests, all in one commit."""
        self._submit(partial(self._rows.set_availability, digests, availability))

    def settle(self, digest: str, form: Form | None) -> bool:
        """Settle in which form the file of an instance stays, see `Rows.settle`."""
        return self._submit(partial(self._rows.settle, digest, form))

    def change(self, work: Callable[[Connection], _T]) -> _T:
        """Do some other work within a transaction; it may run twice, since what fails is undone and tried alone."""
        return self._submit(partial(work, self._connection))

    def close(self) -> None:
        """Finish what is queued, refuse what comes after, and move the log into the file; may be called again."""
        with self._turn:
            if self._closed:
                return
            self._commit_queued()
            self._closed = True
            with suppress(Failure), self._database.errors():
                self._database.sync_log()
                self._database.finish_log(self._connection)
            self._connection.close()

    def _submit(self, work: Callable[[], _T], *, recoverable: bool = False) -> _T:
        change = _Change(work, recoverable=recoverable)
        self._queue.append(change)
        if not self._turn.acquire(timeout=MAX_WAIT_S):
            if change.claim.acquire(blocking=False):
                raise Failure(Kind.BUSY, "index busy")
            self._turn.acquire()
        try:
            if not change.is_done:
                self._commit_queued()
        finally:
            self._turn.release()
        if not change.is_done:  # it was begun by somebody who then ran into a bug
            raise Failure(Kind.BROKEN, "index error")
        if change.error is not None:
            raise change.error
        return cast(_T, change.result)

    def _commit_queued(self) -> None:
        """Commit everything that is queued, in groups; for whoever has the turn."""
        while self._queue:
            if self._closed:
                self._settle(self._gather(), Failure(Kind.BUSY, "index closing"))
                continue
            try:
                with self._database.exclusive():
                    self._commit(self._gather())
            except OSError as error:
                logger.error("index lock", extra={"fields": {"error": error.strerror}})
                self._settle(self._gather(), Failure(Kind.BUSY, "index lock failed"))

    def _gather(self) -> list[_Change]:
        """Take changes off the queue, save those whose callers gave up: until the lock is held they may."""
        found: list[_Change] = []
        with suppress(IndexError):
            while len(found) < MAX_GROUP:
                change = self._queue.popleft()
                if change.claim.acquire(blocking=False):
                    found.append(change)
        return found

    def _commit(self, changes: Sequence[_Change]) -> None:
        """Commit changes together; if that fails each by itself, so that only those at fault fail."""
        error = self._attempt(changes)
        if error is None or len(changes) == 1:
            self._settle(changes, error)
            return
        for change in changes:
            self._settle([change], self._attempt([change]))

    def _attempt(self, changes: Sequence[_Change]) -> Exception | None:
        try:
            with self._database.errors():
                if not self._commit_recoverable(changes):
                    self._run(changes, synced=self._database.sync != "batch")
        except Exception as error:
            self._rows.clear()
            return error
        self._on_commit(self._rows.take_written())
        return None

    def _commit_recoverable(self, changes: Sequence[_Change]) -> bool:
        """Commit changes unsynced if recovery would make all that they write again, else undo them and say False."""
        if self._database.sync != "recoverable" or not all(change.recoverable for change in changes):
            return False
        try:
            self._run(changes, synced=False, only_recoverable=True)
        except _NotRecoverable:
            self._rows.clear()
            return False
        return True

    def _run(self, changes: Sequence[_Change], *, synced: bool, only_recoverable: bool = False) -> None:
        if synced != self._is_synced:
            self._database.set_synced(self._connection, synced)
            self._is_synced = synced
        with self._database.transaction(self._connection):
            for change in changes:
                change.result = change.work()
            if only_recoverable and self._rows.written > self._rows.recoverable:
                raise _NotRecoverable

    def _settle(self, changes: Sequence[_Change], error: Exception | None) -> None:
        for change in changes:
            change.error = error
            change.is_done = True
