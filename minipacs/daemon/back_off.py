"""How often what dies is started again."""

import time

QUICK_DEATH_S = 10.0
"""A process that lived shorter than this died at once."""
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0


class BackOff:
    """When to start a process again: at once, but ever later if one after the other dies at once."""

    def __init__(self) -> None:
        self._deaths = 0
        self._not_before = 0.0

    def died(self, lived_s: float) -> None:
        """Take note of a death."""
        self._deaths = self._deaths + 1 if lived_s < QUICK_DEATH_S else 0
        delay_s = min(FIRST_DELAY_S * 2.0 ** (self._deaths - 2), MAX_DELAY_S) if self._deaths > 1 else 0.0
        self._not_before = time.monotonic() + delay_s

    def due_in_s(self) -> float:
        """Return the seconds to wait; infinite if there is nothing to wait for."""
        left_s = self._not_before - time.monotonic()
        return left_s if left_s > 0 else float("inf")

    def is_due(self) -> bool:
        """Tell whether a process may be started now."""
        return time.monotonic() >= self._not_before
