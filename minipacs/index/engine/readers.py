"""The connections that read: each is lent for a moment, fairly, and what a query may take of them has an end."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from minipacs.errors import Failure, Kind
from minipacs.index.engine.connection import QueryCancelled

MAX_READERS = 8
"""Read connections open at once."""
MAX_READERS_OF_ONE = 4
"""Of these, how many queries of one asker have at once: the others wait for their turn."""
READER_WAIT_S = 30.0
MAX_QUERY_S = 20.0
"""For so long a query may read and compare, all its pages together; what its answers wait for does not count."""
CLOCK_STEPS = 10_000
"""Steps of SQLite's virtual machine between two looks at the clock."""


class Allowance:
    """What one query may take: readers in the share of its `asker`, and time; to be used by one thread.

    `cancelled` tells that nobody waits for the answer any more; it is asked between pages, never within a statement.
    """

    def __init__(
        self, asker: str, cancelled: Callable[[], bool] = lambda: False, *, limit_s: float = MAX_QUERY_S
    ) -> None:
        self.asker = asker
        self._cancelled = cancelled
        self._limit_s = limit_s
        self._left_s = limit_s
        self._deadline = 0.0

    def check_cancelled(self) -> None:
        """Raise QueryCancelled if nobody waits any more, or what `cancelled` raises."""
        if self._cancelled():
            raise QueryCancelled("query cancelled")

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Count the time of what is done within. Raises Failure BUSY if none is left for it."""
        self._deadline = time.monotonic() + self._left_s
        try:
            self.check_time()
            yield
        finally:
            self._left_s = self._deadline - time.monotonic()

    def check_time(self) -> None:
        """Raise Failure BUSY if the time is over; for use within `spent`."""
        if self.is_over():
            raise Failure(Kind.BUSY, f"query takes longer than {self._limit_s:g} s")

    def is_over(self) -> bool:
        """Tell whether the time is over; for use within `spent`."""
        return time.monotonic() > self._deadline


class Readers:
    """Lends connections that `connect` opens; safe to use from any thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0
        self._lent_to: Counter[str] = Counter()
        self._turn = threading.Condition()
        self._closed = False

    @property
    def idle(self) -> int:
        """Return how many connections are open and not lent."""
        return len(self._idle)

    @contextmanager
    def lend(self, allowance: Allowance | None = None) -> Iterator[sqlite3.Connection]:
        """Lend one: within the share of who asks, and until its time is over, if there is an allowance.

        Raises Failure BUSY if there is none within READER_WAIT_S, or if the time is over.
        """
        asker = "" if allowance is None else allowance.asker
        with self._turn:
            if not self._turn.wait_for(lambda: self._may_have_one(asker), READER_WAIT_S):
                raise Failure(Kind.BUSY, "index busy: no free reader")
            self._lent += 1
            self._lent_to[asker] += 1
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._connect()
            if allowance is None:
                yield connection
            else:
                with _within(connection, allowance):
                    yield connection
        finally:
            self._take_back(asker, connection)

    def close(self) -> None:
        """Close those that are idle now, the others as they are given back."""
        with self._turn:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    def _may_have_one(self, asker: str) -> bool:
        return self._lent < MAX_READERS and (not asker or self._lent_to[asker] < MAX_READERS_OF_ONE)

    def _take_back(self, asker: str, connection: sqlite3.Connection | None) -> None:
        with self._turn:
            self._lent -= 1
            self._lent_to[asker] -= 1
            if not self._lent_to[asker]:
                del self._lent_to[asker]
            if connection is not None and self._closed:
                connection.close()
            elif connection is not None:
                self._idle.append(connection)
            self._turn.notify_all()


@contextmanager
def _within(connection: sqlite3.Connection, allowance: Allowance) -> Iterator[None]:
    with allowance.spent():
        connection.set_progress_handler(allowance.is_over, CLOCK_STEPS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                allowance.check_time()
            raise
        finally:
            connection.set_progress_handler(None, 0)
