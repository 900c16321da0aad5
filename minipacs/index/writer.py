"""The one thread that writes: callers hand over a change and wait; what queues together is committed together."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar, cast

from minipacs.dicom.statuses import OUT_OF_RESOURCES, PROCESSING_FAILURE
from minipacs.errors import DimseError
from minipacs.index.database import Database
from minipacs.index.models import Availability
from minipacs.index.refresh import Reread
from minipacs.index.rows import Duplicates, InstanceRecord, Placed, Rows

logger = logging.getLogger(__name__)

MAX_GROUP = 256
"""Changes in one commit."""

MAX_WAIT_S = 30.0
"""How long a change waits for its turn; once begun, it is waited for to its end."""

SYNC_INTERVAL_S = 1.0
"""With sync "batch": the oldest commit that a power loss may undo."""

_T = TypeVar("_T")


class _Change:
    """A change that its caller waits for. Whoever acquires `claim` first, caller or writer, decides its fate."""

    __slots__ = ("claim", "done", "error", "result", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.claim = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """Owns the write connection of an open database.

    Every call blocks until its change is committed (durable with sync "always") or has failed, alone: DimseError A700
    if the index is full, busy or closing, 0110 for other faults of the database. `on_commit` gets the number of
    instances that a commit wrote, `reread` the digest of a file whose values are needed again (see Refresh); both are
    called on the writer's thread.
    """

    def __init__(self, database: Database, *, reread: Reread, on_commit: Callable[[int], None]) -> None:
        self._database = database
        self._on_commit = on_commit
        self._connection = database.writer()
        self._rows = Rows(database, self._connection, reread)
        self._queue: SimpleQueue[_Change | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._last = False
        self._sync_due: float | None = None
        self._thread = threading.Thread(target=self._run, name="index-writer", daemon=True)
        self._thread.start()

    def add(self, record: InstanceRecord, duplicates: Duplicates) -> Placed:
        """Give a stored file its row; `duplicates` tells what happens if its SOP Instance UID has another file.

        A row of the same digest becomes available again if it was not. Raises DimseError C001 if a UID is missing.
        """
        return self._submit(partial(self._rows.add, record, record.object_rows(), duplicates))

    def remove(self, sop_instance_uids: Sequence[str]) -> list[str]:
        """Delete the rows of instances, all in one commit; give the digests of those that had one."""
        return self._submit(partial(self._rows.remove, sop_instance_uids))

    def set_availability(self, digests: Sequence[str], availability: Availability) -> None:
        """Set Instance Availability of the rows with these digests, all in one commit."""
        self._submit(partial(self._rows.set_availability, digests, availability))

    def close(self) -> None:
        """Finish what is queued, refuse what comes after, and empty the log into the file."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _submit(self, work: Callable[[], _T]) -> _T:
        change = _Change(work)
        with self._closing:
            if self._closed:
                raise DimseError(OUT_OF_RESOURCES, "index closing")
            self._queue.put(change)
        if not change.done.acquire(timeout=MAX_WAIT_S):
            if change.claim.acquire(blocking=False):
                raise DimseError(OUT_OF_RESOURCES, "index busy")
            change.done.acquire()
        if change.error is not None:
            raise change.error
        return cast(_T, change.result)

    def _run(self) -> None:
        while not self._last and (change := self._next()) is not None:
            try:
                with self._database.exclusive():
                    self._commit(self._gather(change))
            except OSError as error:
                logger.error("index lock", extra={"fields": {"error": error.strerror}})
                self._settle(self._claim([change]), DimseError(OUT_OF_RESOURCES, "index lock failed"))
        with suppress(DimseError), self._database.errors(PROCESSING_FAILURE):
            self._database.finish_log(self._connection)
        self._connection.close()

    def _next(self) -> _Change | None:
        """Wait for a change, or for the time to make durable what was committed."""
        while self._sync_due is not None:
            wait_s = self._sync_due - monotonic()
            if wait_s > 0:
                with suppress(Empty):
                    return self._queue.get(timeout=wait_s)
            self._sync_due = None
            try:
                self._database.sync_log()
            except OSError as error:
                logger.error("index log not synced", extra={"fields": {"error": error.strerror}})
        return self._queue.get()

    def _gather(self, first: _Change) -> list[_Change]:
        """Take what else has queued up, while the last commit ran or the lock was waited for."""
        changes = [first]
        with suppress(Empty):
            while len(changes) < MAX_GROUP:
                change = self._queue.get_nowait()
                if change is None:
                    self._last = True
                    break
                changes.append(change)
        return self._claim(changes)

    def _claim(self, changes: Sequence[_Change]) -> list[_Change]:
        return [change for change in changes if change.claim.acquire(blocking=False)]

    def _commit(self, changes: Sequence[_Change]) -> None:
        """Commit changes together; if that fails each by itself, so that only those at fault fail."""
        error = self._attempt(changes)
        if error is None or len(changes) == 1:
            self._settle(changes, error)
            return
        for change in changes:
            self._settle([change], self._attempt([change]))

    def _attempt(self, changes: Sequence[_Change]) -> Exception | None:
        rows = self._rows
        try:
            with self._database.errors(PROCESSING_FAILURE), self._database.transaction(self._connection):
                for change in changes:
                    change.result = change.work()
        except Exception as error:
            rows.clear()
            return error
        written, rows.written = rows.written, 0
        if written:
            if self._database.sync == "batch" and self._sync_due is None:
                self._sync_due = monotonic() + SYNC_INTERVAL_S
            self._on_commit(written)
        return None

    def _settle(self, changes: Sequence[_Change], error: Exception | None) -> None:
        for change in changes:
            change.error = error
            change.done.release()
