"""What the ledger keeps for a time only: changes and messages of HL7 go when they are older than that."""

import time
from collections.abc import Callable

LOOK_INTERVAL_S = 3600.0
SECONDS_A_DAY = 86400


class Forgetting:
    """Lets go of what is old; `forget` takes some of before a time, in one commit, and tells how many went.

    So nobody who writes is kept waiting.
    """

    def __init__(self, forget: Callable[[float], int], keep_days: int, stopping: Callable[[], bool]) -> None:
        self._forget = forget
        self._keep_s = keep_days * SECONDS_A_DAY
        self._stopping = stopping

    def work(self) -> float:
        """Do what is due; returns the seconds until the next look. Raises Failure."""
        before = time.time() - self._keep_s
        while not self._stopping() and self._forget(before):
            pass
        return LOOK_INTERVAL_S
