"""Warnings that strangers can cause by the thousand: the first of a kind are written, then a sum now and then."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

WRITTEN = 10
"""Lines of a kind that are written in each interval."""
INTERVAL_S = 60.0
MAX_KINDS = 256
"""Events by address; beyond, those of all other addresses are summed as one."""
OTHERS = "others"


@dataclass(slots=True)
class _Kind:
    began_at: float
    written: int = 0
    unwritten: int = 0


Write = Callable[[str, Mapping[str, object]], None]
"""Writes an event with its fields; a sum has `more` and `within_s`."""


class Summed:
    """Has events written, by event and address. Safe to use from any thread; `tell` is to be called now and then."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def warn(self, event: str, address: str, fields: Mapping[str, object]) -> None:
        """Write an event, or count it if its kind has been written often enough."""
        with self._lock:
            key = (event, address)
            if key not in self._kinds and len(self._kinds) >= MAX_KINDS:
                key = (event, OTHERS)
            kind = self._kinds.setdefault(key, _Kind(time.monotonic()))
            if kind.written >= WRITTEN:
                kind.unwritten += 1
                return
            kind.written += 1
        self._write(event, {"address": address, **fields})

    def tell(self) -> None:
        """Write the sums of the intervals that are over, and begin new ones."""
        now = time.monotonic()
        with self._lock:
            over = [(key, kind) for key, kind in self._kinds.items() if now - kind.began_at >= INTERVAL_S]
            for key, _ in over:
                del self._kinds[key]
        for (event, address), kind in over:
            if kind.unwritten:
                within_s = round(now - kind.began_at)
                self._write(event, {"address": address, "more": kind.unwritten, "within_s": within_s})


class SummedLog(Summed):
    """Writes warnings to a logger."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(lambda event, fields: logger.warning(event, extra={"fields": fields}))
