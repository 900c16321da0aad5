"""Places for associations, counted over all processes that share the listening sockets.

Rules:
- *must*: a process writes its own row alone; whoever supervises it clears the row when it has died.
- *must*: to look whether there is a place and to take it is one step, under a lock that the system gives back when its
  holder dies.
"""

import fcntl
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Literal

MAX_PEERS = 4096
"""Titles that are counted apart, those of earlier configurations included; others count among all only."""

Limit = Literal["all", "peer"]

_COUNT_BYTES = 4
_ALL = 0
"""The column of the associations of all peers."""


class PlaceTable:
    """How many associations each process has, of each peer. Made before the fork, by the process that supervises."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.lock_fd = os.memfd_create("minipacs-places", os.MFD_CLOEXEC)
        self._memory = mmap.mmap(-1, rows * (1 + MAX_PEERS) * _COUNT_BYTES)
        self.counts = memoryview(self._memory).cast("I")
        self.columns: dict[str, int] = {}

    def know(self, titles: Iterable[str]) -> None:
        """Count these peers apart in processes forked from now on."""
        for title in titles:
            if len(self.columns) < MAX_PEERS:
                self.columns.setdefault(title, len(self.columns) + 1)

    def clear(self, row: int) -> None:
        """Forget the associations of a process that has died."""
        for column in range(len(self.columns) + 1):
            self.counts[column * self.rows + row] = 0

    def is_connected(self, title: str) -> bool:
        """Tell whether a peer has an association; those of other callers cannot be told from each other."""
        if title in self.columns:
            return self.total(title) > 0
        return self.total() > sum(map(self.total, self.columns))

    def total(self, title: str | None = None) -> int:
        """Count the associations of a peer, or of all."""
        column = _ALL if title is None else self.columns.get(title, -1)
        return sum(self.counts[column * self.rows : (column + 1) * self.rows]) if column >= 0 else 0


class Places:
    """One process's row of a table. Safe to use from any thread."""

    def __init__(self, table: PlaceTable, row: int) -> None:
        self._table = table
        self._row = row
        self._lock = Lock()

    @classmethod
    def alone(cls, titles: Iterable[str]) -> "Places":
        """Make the places of a process that shares them with no other."""
        table = PlaceTable(1)
        table.know(titles)
        return cls(table, 0)

    @property
    def taken(self) -> int:
        """Return how many places this process has."""
        return self._table.counts[_ALL * self._table.rows + self._row]

    def take(self, title: str, limit: int, limit_of_peer: int) -> Limit | None:
        """Take a place for an association of the peer `title` ("" for one that is not configured).

        At most `limit` of all peers and, if that is not 0, `limit_of_peer` of this one; returns the one that is
        reached, if one is.
        """
        with self._locked():
            if self._table.total() >= limit:
                return "all"
            if 0 < limit_of_peer <= self._table.total(title):
                return "peer"
            self._add(title, 1)
        return None

    def give_back(self, title: str) -> None:
        """Give a place back, once."""
        with self._locked():
            self._add(title, -1)

    def _add(self, title: str, change: int) -> None:
        for column in (_ALL, self._table.columns.get(title, -1)):
            if column >= 0:
                self._table.counts[column * self._table.rows + self._row] += change

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            fcntl.lockf(self._table.lock_fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._table.lock_fd, fcntl.LOCK_UN)
