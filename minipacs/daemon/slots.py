"""What the processes of a daemon show each other, in memory that they share.

A slot is the number of a process: the lowest that is free when it is forked. It is its row among the places for
associations and its name in the metrics, so both are bounded however often processes come and go.

Rules:
- *must*: each number in the memory has one writer at a time, and is stored at once: eight aligned bytes. So a reader
  sees the one before or the one after, and no mark is written over by somebody else's.
"""

import mmap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_PROCESSES = 256
"""Alive at once, those included that a reload has retired and that still have associations."""

_NUMBER_BYTES = 8
_PID, _ROLE, _BEAT = 0, 1, 2
_COLUMNS = 3
_DEATHS = MAX_PROCESSES * _COLUMNS
_FAILED_RELOADS = _DEATHS + 1
"""The numbers behind the table."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A process that runs. `beat_ns` is when its main loop last came round, by the monotonic clock; 0: not yet."""

    slot: int
    pid: int
    role: str
    beat_ns: int


class Slots:
    """The table, made before the fork. The parent gives and frees slots, each process beats in its own.

    `roles` are the names of all kinds of process there may be.
    """

    def __init__(self, roles: Sequence[str]) -> None:
        self._memory = mmap.mmap(-1, (_FAILED_RELOADS + 1) * _NUMBER_BYTES)
        self._numbers = memoryview(self._memory).cast("q")  # native: an item is stored with one instruction
        self._roles = tuple(roles)

    @property
    def deaths(self) -> int:
        """Return how many processes have ended of themselves since the start."""
        return self._numbers[_DEATHS]

    def count_death(self) -> None:
        """Count a process that ended of itself; for the parent."""
        self._numbers[_DEATHS] += 1

    @property
    def failed_reloads(self) -> int:
        """Return how many reloads have failed since the start."""
        return self._numbers[_FAILED_RELOADS]

    def count_failed_reload(self) -> None:
        """Count a reload that failed; for the parent."""
        self._numbers[_FAILED_RELOADS] += 1

    def free(self) -> int | None:
        """Return the lowest slot that is free, if there is one."""
        return next((slot for slot in range(MAX_PROCESSES) if not self._numbers[_at(slot, _PID)]), None)

    def show(self, slot: int, role: str) -> None:
        """Get a slot ready for a process, before it is forked: from then on the beat is the child's."""
        self._numbers[_at(slot, _ROLE)] = self._roles.index(role)
        self._numbers[_at(slot, _BEAT)] = 0

    def name(self, slot: int, pid: int) -> None:
        """Show that a process has been forked; for the parent."""
        self._numbers[_at(slot, _PID)] = pid

    def beat(self, slot: int) -> None:
        """Show that the main loop of this process has come round."""
        self._numbers[_at(slot, _BEAT)] = time.monotonic_ns()

    def clear(self, slot: int) -> None:
        """Free the slot of a process that has ended."""
        self._numbers[_at(slot, _PID)] = 0

    def get(self, slot: int) -> Shown | None:
        """Return what is in a slot."""
        pid = self._numbers[_at(slot, _PID)]
        if not pid:
            return None
        return Shown(slot, pid, self._roles[self._numbers[_at(slot, _ROLE)]], self._numbers[_at(slot, _BEAT)])

    def all(self) -> Iterator[Shown]:
        """Give the processes that run."""
        found = (self.get(slot) for slot in range(MAX_PROCESSES))
        return (shown for shown in found if shown is not None)


def _at(slot: int, column: int) -> int:
    return slot * _COLUMNS + column
