"""Whether the main loop of a process still comes round, as its parent sees it."""

from dataclasses import dataclass

LOOK_INTERVAL_S = 5.0
"""Between two looks."""
LATE_S = 6.0
"""A main loop that has not come round for so long is not healthy."""
STALLED_S = 30.0
"""After so long its process is killed, to be replaced."""


@dataclass(slots=True)
class Pulse:
    """How long a process has been silent while its parent was awake.

    A machine that sleeps, or is moved to another host, stops parent and child alike: such a pause counts as the time
    between two looks, however long it was, and then the child has its time to come round.
    """

    silent_s: float = 0.0
    _beat_ns: int = 0

    def look(self, beat_ns: int, passed_s: float) -> None:
        """Take note of the last beat, at a look that comes `passed_s` after the one before."""
        self.silent_s = 0.0 if beat_ns != self._beat_ns else self.silent_s + min(passed_s, LOOK_INTERVAL_S)
        self._beat_ns = beat_ns

    @property
    def is_late(self) -> bool:
        """Tell that the process is not healthy."""
        return self.silent_s >= LATE_S

    @property
    def has_stalled(self) -> bool:
        """Tell that it will not come round any more."""
        return self.silent_s > STALLED_S
