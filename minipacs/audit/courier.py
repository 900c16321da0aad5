"""Carries the spool to the sinks: a thread for each, in the order of writing, for as long as it takes.

A sink that is away holds up nothing but itself. A segment goes when every sink has all of it.
"""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from minipacs.audit import spool
from minipacs.audit.sinks import Sink
from minipacs.audit.spool import Record, SpoolReader

logger = logging.getLogger(__name__)

BATCH_RECORDS = 256
TICK_S = 1.0
"""How often the spool is looked at and brought to the disk."""
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
END_S = 5.0
"""How long `close` lets the sinks go on."""


class Courier:
    """Delivers from one spool; only one process of an archive has one."""

    def __init__(self, folder: Path, sinks: Sequence[Sink]) -> None:
        self._folder = folder
        self._legs = [_Leg(folder, sink) for sink in sinks]
        self._ends = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="audit-spool", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        for leg in self._legs:
            leg.thread.start()
        self._keeper.start()

    def waiting(self) -> int:
        """Count the messages that the slowest sink does not have yet."""
        return max((leg.waiting for leg in self._legs), default=0)

    def close(self) -> None:
        """Deliver what can be delivered within `END_S`, and end; the rest waits for the next start."""
        ends_at = time.monotonic() + END_S
        for leg in self._legs:
            leg.finish(ends_at)
        self._ends.set()
        for thread in (*(leg.thread for leg in self._legs), self._keeper):
            if thread.ident is not None:
                thread.join(max(0.0, ends_at - time.monotonic()) + TICK_S)
        self._remove_delivered()

    def _keep(self) -> None:
        while not self._ends.wait(TICK_S):
            try:
                spool.sync(self._folder)
            except OSError as error:
                logger.error("audit spool not synced", extra={"fields": {"error": error.strerror}})
            self._remove_delivered()

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
        while not self._ending.is_set() or time.monotonic() < self._ends_at:
            with self._lock:
                records = self._reader.read(BATCH_RECORDS)
                self.waiting = len(records)
            if not self._deliver(records) or (self._ending.is_set() and not records):
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
        except OSError as error:
            if not told:
                fields = {"sink": self._sink.name, "error": error.strerror or str(error)}
                logger.warning("audit messages wait", extra={"fields": fields})
            return False
        return True
