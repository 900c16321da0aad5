"""The lock that the writers of all processes queue on, and the knowledge of whether there are others."""

import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from minipacs.errors import Failure, Kind

LOCK_MODE = 0o600
RESERVED_BYTES = 1 << 20
"""What the file keeps of its disk, for the index to be opened though nothing else is left."""
_PRESENCE = 0
"""The byte that every process with the file open for writing has a lock on."""
_FLOCK = "hhqqi4x"
"""Linux's `struct flock`: type, whence, start, length, pid."""


class WriterLock:
    """A file that is locked by whoever writes. Safe to use from any thread; to be made after a fork.

    `is_alone` tells that no other process had it open when it was opened. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = self._open()
        self._within = threading.Lock()
        self._guard = threading.Lock()
        self._waiter: _Waiter | None = None
        self.is_alone = False
        with suppress(OSError):  # somebody else has it, or the file system cannot tell
            self._mark(fcntl.F_WRLCK)
            self.is_alone = True
        with suppress(OSError):
            self._mark(fcntl.F_RDLCK, fcntl.F_OFD_SETLKW)  # who has the other one holds it for a moment only

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock. Raises Failure BUSY if others do for so long, and OSError."""
        deadline = monotonic() + timeout_s
        if not self._within.acquire(timeout=max(timeout_s, 0)):
            raise _busy()
        try:
            fd = self._acquire(deadline - monotonic())
            try:
                yield
            finally:
                self._release(fd)
        finally:
            self._within.release()

    def reserve(self) -> None:
        """Let the file have the room that is kept for an opening, if there is so much."""
        with suppress(OSError):
            os.posix_fallocate(self._fd, 0, RESERVED_BYTES)

    def give_up_reserve(self) -> None:
        """Leave the room to others, the index first. Raises OSError."""
        os.ftruncate(self._fd, 0)

    def becomes_alone(self) -> bool:
        """Tell whether no other process has it open; those who come now wait until it is closed here."""
        try:
            self._mark(fcntl.F_WRLCK)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the file; what waits for it lets go as soon as it gets it."""
        os.close(self._fd)

    def _acquire(self, timeout_s: float) -> int:
        with suppress(BlockingIOError):
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._fd
        with self._guard:
            waiter = self._waiter or _Waiter(self._open(), self._guard, self._abandoned)
            self._waiter = None
        waiter.done.wait(timeout_s)
        with self._guard:
            if not waiter.done.is_set():
                self._waiter = waiter
                raise _busy()
        if waiter.error is not None:
            os.close(waiter.fd)
            raise waiter.error
        return waiter.fd

    def _release(self, fd: int) -> None:
        if fd == self._fd:
            fcntl.flock(fd, fcntl.LOCK_UN)
        else:
            os.close(fd)

    def _abandoned(self, waiter: "_Waiter") -> bool:
        """Tell, and forget, that nobody waits any more for what a waiter has got now."""
        if self._waiter is not waiter:
            return False
        self._waiter = None
        return True

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, LOCK_MODE)

    def _mark(self, kind: int, how: int = fcntl.F_OFD_SETLK) -> None:
        fcntl.fcntl(self._fd, how, struct.pack(_FLOCK, kind, os.SEEK_SET, _PRESENCE, 1, 0))


class _Waiter:
    """A thread that waits for the lock on a descriptor of its own: flock knows no time limit.

    What it gets belongs to who waits for `done`; if that one gave up, it is let go.
    """

    def __init__(self, fd: int, guard: threading.Lock, is_abandoned: "Callable[[_Waiter], bool]") -> None:
        self.fd = fd
        self.error: OSError | None = None
        self.done = threading.Event()
        self._guard = guard
        self._is_abandoned = is_abandoned
        threading.Thread(target=self._run, name="index-lock", daemon=True).start()

    def _run(self) -> None:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        except OSError as error:
            self.error = error
        with self._guard:
            if self._is_abandoned(self):
                os.close(self.fd)
            self.done.set()


def _busy() -> Failure:
    return Failure(Kind.BUSY, "index busy")
