"""Messages of HL7 are kept for `hl7.keep_days`: this lets go of older ones."""

import time
from collections.abc import Callable

from minipacs.archive.ports import Catalogue

LOOK_INTERVAL_S = 3600.0
SECONDS_A_DAY = 86400


class Forgetting:
    """Forgets old messages, some a commit, so that nobody who writes is kept waiting."""

    def __init__(self, index: Catalogue, keep_days: int, stopping: Callable[[], bool]) -> None:
        self._index = index
        self._keep_s = keep_days * SECONDS_A_DAY
        self._stopping = stopping

    def work(self) -> float:
        """Do what is due; returns the seconds until the next look."""
        before = time.time() - self._keep_s
        while not self._stopping() and self._index.hl7_messages.forget(before):
            pass
        return LOOK_INTERVAL_S
