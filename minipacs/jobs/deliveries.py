"""Working a queue off: a thread for each destination, so that one that is away or slow delays no other."""

import logging
import threading
import time
from collections.abc import Callable

from minipacs.errors import Failure
from minipacs.index.ledger.queue import Item, Queue

logger = logging.getLogger(__name__)

MAX_THREADS = 32
"""Destinations that are served at once, of one queue; the others come after, those that waited longest first."""
MIN_WAIT_S, IDLE_S = 0.1, 60.0
FIRST_RETRY_S, MAX_RETRY_S = 5.0, 900.0
REST_S = 5.0
"""After the queue itself has failed: its disk is full, or busy."""


class Deliveries:
    """Hands the items of a queue to `handle`, those of one destination one after the other.

    `handle` holds the lease of its item, and is done with it, has put it off or given it up when it returns; what it
    raises puts the item off. `wake` is called when a thread has come to its end: there may be work for others. If
    the queue cannot be written nobody is served for `REST_S`, then what could not be put off is, before all else.
    """

    def __init__(
        self,
        queue: Queue,
        handle: Callable[[Item], None],
        lease_s: float,
        stopping: Callable[[], bool],
        wake: Callable[[], None],
        max_threads: int = MAX_THREADS,
    ) -> None:
        self._queue = queue
        self._handle = handle
        self._lease_s = lease_s
        self._stopping = stopping
        self._wake = wake
        self._max_threads = max_threads
        self._lock = threading.Lock()
        self._served: set[str] = set()
        self._unsettled: list[tuple[Item, str]] = []
        self._rests_until = 0.0

    def work(self) -> float:
        """Begin with every destination that has something due; returns the seconds until the next one has."""
        rest_s = self._rests_until - time.monotonic()
        if rest_s > 0:
            return rest_s
        while self._unsettled:  # their leases are ours, and may last for long
            self._put_off(*self._unsettled[0])
            del self._unsettled[0]
        self._queue.end_leases_of_the_gone()
        for destination in self._queue.destinations():
            if self._stopping() or not self._begin(destination):
                break
        with self._lock:
            served = frozenset(self._served)
        if len(served) >= self._max_threads:
            return IDLE_S  # the next thread that ends wakes us
        due_s = self._queue.next_due_s(served)
        return IDLE_S if due_s is None else max(due_s, MIN_WAIT_S)

    def _begin(self, destination: str) -> bool:
        """Start a thread for a destination that has none; False if there are too many."""
        with self._lock:
            if destination in self._served:
                return True
            if len(self._served) >= self._max_threads:
                return False
            self._served.add(destination)
        threading.Thread(target=self._serve, args=(destination,), name="delivery", daemon=True).start()
        return True

    def _serve(self, destination: str) -> None:
        try:
            while not self._stopping():
                item = self._queue.claim(destination, self._lease_s)
                if item is None:
                    break
                self._deliver(item)
        except Exception as error:
            self._rest(error)
        finally:
            with self._lock:
                self._served.discard(destination)
            self._wake()

    def _deliver(self, item: Item) -> None:
        try:
            self._handle(item)
        except Exception as error:
            if self._stopping():
                raise
            self._tell(error)
            fault = type(error).__name__
            try:
                self._put_off(item, fault)
            except Failure:
                self._unsettled.append((item, fault))
                raise

    def _put_off(self, item: Item, fault: str) -> None:
        self._queue.change(lambda connection: self._queue.postpone(connection, item, retry_s(item), fault))

    def _rest(self, error: Exception) -> None:
        """Serve nobody for a while, and tell why: one of those that find it out together does."""
        with self._lock:
            is_told = time.monotonic() < self._rests_until
            self._rests_until = time.monotonic() + REST_S
        if not is_told and not self._stopping():
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        fields = {"queue": self._queue.name, "reason": str(error)}
        logger.error("delivery failed", extra={"fields": fields}, exc_info=not isinstance(error, Failure | OSError))


def retry_s(item: Item) -> float:
    """Return after how many seconds an item is tried again: each time twice as long, up to a limit."""
    return float(min(FIRST_RETRY_S * 2 ** min(item.attempts, 16), MAX_RETRY_S))
