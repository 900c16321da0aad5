"""The one way to write: callers queue a change, and whoever has the turn commits all that is queued.

While one caller commits, others queue up behind it; the next to have the turn commits theirs together with its own. So
a lone caller waits for nobody, and many share the cost of making a commit durable.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from minipacs.errors import Failure, Kind, OutcomeUnknown
from minipacs.index.engine.connection import Connection, Cursor
from minipacs.index.engine.database import BUSY_TIMEOUT_S, Database

logger = logging.getLogger(__name__)

MAX_GROUP = 256
"""Changes in one commit."""

MAX_WAIT_S = 30.0
"""How long a change waits for others, of this process, of other ones and of other programs, until it is begun."""
_LINE_WAIT_S = MAX_WAIT_S - BUSY_TIMEOUT_S
"""The part of it before a transaction is begun, which other programs may then keep from beginning."""

_T = TypeVar("_T")


class _MustWait(Exception):
    """Changes have turned out to write what has to be durable when they are committed."""


class Transaction:
    """The connection of the writer, and what the changes of one transaction tell of themselves, see `port`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.begin()

    def begin(self) -> None:
        """Count from zero; `was_begun` tells that the database let it begin."""
        self.written = self.recoverable = 0
        self.must_be_durable = False
        self.was_begun = False

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run a statement."""
        return self._connection.execute(statement, parameters)


class _Queued:
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

    Every change blocks until it is committed or has failed, alone: Failure FULL or BUSY where trying again may help,
    OutcomeUnknown if the disk failed while it was made durable, BROKEN for other faults of the database. It waits at
    most MAX_WAIT_S until it is begun. With sync "always" a commit is durable, with "recoverable" it is unless all that
    it wrote are rows that recovery would make again. `on_commit` gets the number of instances that a commit wrote; it
    is called by one thread at a time.
    """

    def __init__(self, database: Database, on_commit: Callable[[int], None] = lambda instances: None) -> None:
        self._database = database
        self._on_commit = on_commit
        self._connection = database.writer()
        database.lay_out_log(self._connection)
        self.transaction = Transaction(self._connection)
        self._queue: deque[_Queued] = deque()
        self._is_synced = database.sync == "always"
        self._turn = threading.Lock()
        self._closed = False

    def change(self, work: Callable[[Connection], _T], *, recoverable: bool = False) -> _T:
        """Do some work within a transaction; it may run twice, since what fails is undone and tried alone.

        `recoverable` tells that the work counts what it writes in `transaction`, see there.
        """
        change = _Queued(lambda: work(self.transaction), recoverable=recoverable)
        deadline = time.monotonic() + _LINE_WAIT_S
        self._queue.append(change)
        if not self._turn.acquire(timeout=_LINE_WAIT_S):
            if change.claim.acquire(blocking=False):
                raise Failure(Kind.BUSY, "index busy")
            self._turn.acquire()  # it was begun, and will not take long
        try:
            if not change.is_done:
                self._commit_queued(change, deadline)
        finally:
            self._turn.release()
        if not change.is_done:  # it was begun by somebody who then ran into a bug
            raise Failure(Kind.BROKEN, "index error")
        if change.error is not None:
            raise change.error
        return cast(_T, change.result)

    def close(self) -> None:
        """Finish what is queued, refuse what comes after, and move the log into the file; may be called again."""
        with self._turn:
            if self._closed:
                return
            with suppress(Failure):
                self._commit_queued(None, time.monotonic() + _LINE_WAIT_S)
            self._closed = True
            with suppress(Failure), self._database.errors():
                self._database.sync_log()
                self._database.finish_log(self._connection)
            self._connection.close()

    def _commit_queued(self, own: _Queued | None, deadline: float) -> None:
        """Commit what is queued, in groups, until `own` is among it, or all is; for whoever has the turn.

        What queues up meanwhile its callers see to: else who is first might serve the others for ever.

        Raises Failure BUSY if others hold the lock until the deadline, without `own` being begun.
        """
        while self._queue and not (own is not None and own.is_done):
            if self._closed:
                self._finish(self._gather(), Failure(Kind.BUSY, "index closing"))
                continue
            try:
                with self._database.exclusive(deadline - time.monotonic()):
                    if not self._commit(self._gather()):
                        return
            except Failure:
                if own is not None and own.claim.acquire(blocking=False):
                    raise
                return
            except OSError as error:
                logger.error("index lock", extra={"fields": {"error": error.strerror}})
                self._finish(self._gather(), Failure(Kind.BUSY, "index lock failed"))

    def _gather(self) -> list[_Queued]:
        """Take changes off the queue, save those whose callers gave up: until the lock is held they may."""
        found: list[_Queued] = []
        with suppress(IndexError):
            while len(found) < MAX_GROUP:
                change = self._queue.popleft()
                if change.claim.acquire(blocking=False):
                    found.append(change)
        return found

    def _commit(self, changes: Sequence[_Queued]) -> bool:
        """Commit changes together; if that fails each by itself, so that only those at fault fail.

        False if no transaction could be begun at all.
        """
        error = self._attempt(changes)
        if error is None or not self.transaction.was_begun:
            self._finish(changes, error)
            return error is None
        is_unknown = isinstance(error, OutcomeUnknown)
        if len(changes) == 1 and not is_unknown:
            self._finish(changes, error)
            return True
        for change in changes:
            error = self._attempt([change], durable=is_unknown)
            if error is None:
                is_unknown = False  # the log has something else now where that commit may have been
            elif is_unknown or isinstance(error, OutcomeUnknown):
                error, is_unknown = OutcomeUnknown("index disk error, outcome unknown"), True
            self._finish([change], error)
        return True

    def _attempt(self, changes: Sequence[_Queued], *, durable: bool = False) -> Exception | None:
        """Run changes in one transaction and commit it; `durable` makes it wait for the disk in any case."""
        try:
            with self._database.errors():
                self._run_as_needed(changes, durable=durable)
        except Exception as error:
            return error
        return None

    def _run_as_needed(self, changes: Sequence[_Queued], *, durable: bool) -> None:
        sync = self._database.sync
        if not durable and (sync == "batch" or (sync == "recoverable" and all(c.recoverable for c in changes))):
            with suppress(_MustWait):
                self._run(changes, synced=False)
                return
        self._run(changes, synced=True)

    def _run(self, changes: Sequence[_Queued], *, synced: bool) -> None:
        transaction = self.transaction
        transaction.begin()
        if synced != self._is_synced:
            self._database.set_synced(self._connection, synced=synced)
            self._is_synced = synced
        with self._database.transaction(self._connection):
            transaction.was_begun = True
            for change in changes:
                change.result = change.work()
            if not synced and (transaction.must_be_durable or self._writes_more_than_rows_to_recover()):
                raise _MustWait

    def _writes_more_than_rows_to_recover(self) -> bool:
        return self._database.sync == "recoverable" and self.transaction.written > self.transaction.recoverable

    def _finish(self, changes: Sequence[_Queued], error: Exception | None) -> None:
        for change in changes:
            change.error = error
            change.is_done = True
        if error is None:
            self._tell_commit()

    def _tell_commit(self) -> None:
        try:
            self._on_commit(self.transaction.written)
        except Exception:  # of no concern to those whose changes are there
            logger.exception("commit not counted")
