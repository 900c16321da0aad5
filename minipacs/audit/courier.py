"""Carries the spool to the sinks: a thread for each, in the order of writing, for as long as it takes.

A sink that is away holds up nothing but itself. A segment goes when every sink has all of it.
"""

import fcntl
import logging
import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from minipacs.audit import spool
from minipacs.audit.sinks import Sink
from minipacs.audit.spool import Record, SpoolReader
from minipacs.errors import MinipacsError, system_words

logger = logging.getLogger(__name__)

LOCK_NAME = "courier.lock"
BATCH_RECORDS = 256
TICK_S = 1.0
"""How often the spool is looked at and brought to the disk."""
SETTLED_S = 0.25
"""How old a record has to be, so that none of another process comes later that is older."""
TURN_POLL_S = 0.05
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
END_S = 5.0
"""How long `close` lets the sinks go on."""


class Courier:
    """Delivers from one spool. Of several processes that have one, the first delivers until it ends."""

    def __init__(self, folder: Path, sinks: Sequence[Sink]) -> None:
        self._folder = folder
        self._sinks = sinks
        self._legs: list[_Leg] = []
        self._ends = threading.Event()
        self._lock_fd = os.open(folder / LOCK_NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._keeper = threading.Thread(target=self._keep, name="audit-spool", daemon=True)

    def start(self) -> None:
        """Begin to deliver, as soon as no other process does."""
        self._keeper.start()

    def waiting(self) -> int:
        """Count the messages that the slowest sink does not have yet."""
        return max((leg.waiting for leg in self._legs), default=0)

    def close(self) -> None:
        """Deliver what can be delivered within `END_S`, and end; the rest waits for the next start."""
        self._ends.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        ends_at = time.monotonic() + END_S
        for leg in self._legs:
            leg.finish(ends_at)
        for leg in self._legs:
            leg.thread.join(max(0.0, ends_at - time.monotonic()) + TICK_S)
        self._remove_delivered()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _keep(self) -> None:
        if not self._has_turn():
            return
        self._legs = [_Leg(self._folder, sink) for sink in self._sinks]  # where the one before has left off
        for leg in self._legs:
            leg.thread.start()
        while not self._ends.wait(TICK_S):
            try:
                spool.sync(self._folder)
            except OSError as error:
                logger.error("audit spool not synced", extra={"fields": {"error": error.strerror}})
            self._remove_delivered()

    def _has_turn(self) -> bool:
        """Wait until no other process delivers; at the end not for long."""
        gives_up_at = math.inf
        while not self._is_alone():
            if self._ends.is_set():
                gives_up_at = min(gives_up_at, time.monotonic() + END_S)
                time.sleep(TURN_POLL_S)
            else:
                self._ends.wait(TICK_S)
            if time.monotonic() >= gives_up_at:
                return False
        return True

    def _is_alone(self) -> bool:
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _remove_delivered(self) -> None:
        names = set.intersection(*(leg.delivered() for leg in self._legs)) if self._legs else set()
        for name in names:
            (self._folder / name).unlink(missing_ok=True)
        for leg in self._legs:
            leg.forget(names)


class _Leg:
    """The way to one sink. `waiting` counts the messages that it does not have yet, about."""

    def __init__(self, folder: Path, sink: Sink) -> None:
        self._sink = sink
        self._reader = SpoolReader(folder, sink.name)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._ends_at = 0.0
        self.waiting = 0
        self.thread = threading.Thread(target=self._run, name=f"audit-{sink.name}", daemon=True)

    def finish(self, ends_at: float) -> None:
        """End when nothing is left, at `ends_at` of the monotonic clock, or when the sink does not take it."""
        self._ends_at = ends_at
        self._ending.set()

    def delivered(self) -> set[str]:
        """Name the segments of which the sink has everything."""
        with self._lock:
            return set() if self.waiting else self._reader.finished()

    def forget(self, names: set[str]) -> None:
        """Drop segments that were removed."""
        with self._lock:
            self._reader.forget(names)

    def _run(self) -> None:
        while True:
            is_ending = self._ending.is_set()  # before reading: what came meanwhile is read once more
            with self._lock:
                records = self._reader.read(BATCH_RECORDS, 0 if is_ending else SETTLED_S)
                self.waiting = len(records)
            if not self._deliver(records):
                break
            if is_ending and (not records or time.monotonic() >= self._ends_at):
                break
            if not records:
                self._ending.wait(TICK_S)
        self._sink.close()

    def _deliver(self, records: list[Record]) -> bool:
        """Hand records over, again and again until the sink has them; False if the end came first."""
        pause_s = FIRST_PAUSE_S
        while not self._handed_over(records, told=pause_s > FIRST_PAUSE_S):
            with self._lock:
                self.waiting = len(records) + self._reader.backlog()
            if self._ending.wait(pause_s):
                return False
            pause_s = min(pause_s * 2, MAX_PAUSE_S)
        if pause_s > FIRST_PAUSE_S:
            logger.info("audit messages go on", extra={"fields": {"sink": self._sink.name}})
        return True

    def _handed_over(self, records: list[Record], *, told: bool) -> bool:
        try:
            self._sink.take(records)
            if records:
                with self._lock:
                    self._reader.taken()
                    self.waiting = 0
        except (OSError, ValueError, MinipacsError) as error:
            if not told:
                words = system_words(error) if isinstance(error, OSError) else str(error)
                fields = {"sink": self._sink.name, "error": words}
                logger.warning("audit messages wait", extra={"fields": fields})
            return False
        return True
