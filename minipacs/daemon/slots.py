"""What the processes of a daemon show each other, in memory that they share.

A slot is the number of a process: the lowest that is free when it is forked. It is its row among the places for
associations and its name in the metrics, so both are bounded however often processes come and go.
"""

import mmap
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Role = Literal["worker", "jobs"]
ROLES: tuple[Role, ...] = ("worker", "jobs")

MAX_PROCESSES = 256
"""Alive at once, those included that a reload has retired and that still have associations."""

_ENTRY = struct.Struct("=qqd")
_DEATHS = struct.Struct("=q")


@dataclass(frozen=True, slots=True)
class Shown:
    """A process that runs. `beat_at` is when its main loop last came round, by the monotonic clock; 0: never yet."""

    slot: int
    pid: int
    role: Role
    beat_at: float


class Slots:
    """The table, made before the fork. The parent gives and frees slots, each process beats in its own."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _DEATHS.size + MAX_PROCESSES * _ENTRY.size)

    @property
    def deaths(self) -> int:
        """Return how many processes have ended of themselves since the start."""
        return int(_DEATHS.unpack_from(self._memory, 0)[0])

    def count_death(self) -> None:
        """Count a process that ended of itself; for the parent."""
        _DEATHS.pack_into(self._memory, 0, self.deaths + 1)

    def free(self) -> int | None:
        """Return the lowest slot that is free, if there is one."""
        taken = {shown.slot for shown in self.all()}
        return next((slot for slot in range(MAX_PROCESSES) if slot not in taken), None)

    def show(self, slot: int, pid: int, role: Role) -> None:
        """Show a process that has just been forked."""
        _ENTRY.pack_into(self._memory, _at(slot), pid, ROLES.index(role), 0.0)

    def beat(self, slot: int) -> None:
        """Show that the main loop of this process has come round."""
        _ENTRY.pack_into(self._memory, _at(slot), os.getpid(), self._entry(slot)[1], time.monotonic())

    def clear(self, slot: int) -> None:
        """Free the slot of a process that has ended."""
        _ENTRY.pack_into(self._memory, _at(slot), 0, 0, 0.0)

    def get(self, slot: int) -> Shown | None:
        """Return what is in a slot."""
        pid, role, beat_at = self._entry(slot)
        return Shown(slot, pid, ROLES[role], beat_at) if pid else None

    def all(self) -> Iterator[Shown]:
        """Give the processes that run."""
        found = (self.get(slot) for slot in range(MAX_PROCESSES))
        return (shown for shown in found if shown is not None)

    def _entry(self, slot: int) -> tuple[int, int, float]:
        pid, role, beat_at = _ENTRY.unpack_from(self._memory, _at(slot))
        return pid, role, beat_at


def _at(slot: int) -> int:
    return _DEATHS.size + slot * _ENTRY.size
