"""What all codec processes of a daemon may take together: jobs at once, memory for frames, space for copies.

A budget is a file in memory, made before the fork, of which nothing is used but locks: whoever has N units of a
resource holds a lock on N bytes of its range. So no unit is ever lost: the system gives back what its holder had when
the last descriptor is closed, however the holders died. (`F_OFD_SETLK` of fcntl(2).)
"""

import fcntl
import os
import struct
from contextlib import suppress
from typing import NamedTuple

MIB = 1 << 20
MAX_JOBS = max(min(os.cpu_count() or 1, 16), 2)
MAX_MEMORY_BYTES = max(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4, 1024 * MIB)
"""Of frames that are decoded or encoded: a quarter of the machine, yet enough for a large mammogram."""
MAX_COPY_BYTES = 16384 * MIB
"""Of transcoded copies that are being made or sent."""
COPY_UNIT_BYTES = 16 * MIB

RECHECK_S = 0.5
"""How long a waiter takes its chance to be taken by another: who was killed tells nobody that there is room again."""

_LOCK = struct.Struct("hhqqi4x")
"""struct flock of 64 bit systems: type, whence, start, length, process."""
_RANGE = 1 << 32


class Resource(NamedTuple):
    """A range of the budget: where its units begin, how many there are, and how much each is."""

    start: int
    units: int
    unit: int

    @property
    def whole(self) -> int:
        """Give how much there is of it."""
        return self.units * self.unit


JOBS = Resource(0, MAX_JOBS, 1)
MEMORY = Resource(_RANGE, MAX_MEMORY_BYTES // MIB, MIB)
COPIES = Resource(2 * _RANGE, MAX_COPY_BYTES // COPY_UNIT_BYTES, COPY_UNIT_BYTES)


class Budget:
    """Shared by all processes that are forked from the one that made it, and by those that are given its descriptors.

    `freed_fd` becomes readable when something was given back.
    """

    def __init__(self, fd: int = -1, freed_fd: int = -1) -> None:
        self.fd = fd if fd >= 0 else os.memfd_create("minipacs-codecs", os.MFD_CLOEXEC)
        self.freed_fd = freed_fd if freed_fd >= 0 else os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def open(self) -> "Holding":
        """Begin to hold something."""
        return Holding(os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC), self.freed_fd)

    def look_again(self) -> None:
        """Take note of what was given back, before another try."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.freed_fd)


class Holding:
    """What somebody has of a budget, until it is closed. The descriptor may be handed on: then one of the two takes."""

    def __init__(self, fd: int, freed_fd: int) -> None:
        self.fd = fd
        self._freed_fd = freed_fd
        self._taken: list[range] = []

    def take(self, resource: Resource, amount: int) -> bool:
        """Take some more of a resource, side by side; tells whether there was room."""
        units = -(-amount // resource.unit)
        at, end = resource.start, resource.start + resource.units
        while at + units <= end:
            # Locks of our own are in nobody's way, least of all in ours.
            stop = next((own.stop for own in self._taken if own.start < at + units and at < own.stop), 0)
            stop = stop or self._stop_of_other(at, units)
            if stop:
                at = stop
            elif self._lock(at, units):
                return True
        return False

    def close(self) -> None:
        """Give all back; may be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            os.eventfd_write(self._freed_fd, 1)

    def _stop_of_other(self, at: int, units: int) -> int:
        """Give where the lock ends that is in the way, 0 if none is."""
        found = fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, units, 0))
        kind, _, start, length, _ = _LOCK.unpack(found)
        return 0 if kind == fcntl.F_UNLCK else int(start + length)

    def _lock(self, at: int, units: int) -> bool:
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, units, 0))
        except BlockingIOError:  # somebody was quicker
            return False
        if self._taken and self._taken[-1].stop == at:
            at, units = self._taken[-1].start, len(self._taken.pop()) + units
        self._taken.append(range(at, at + units))
        return True
