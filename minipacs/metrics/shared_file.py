"""The files in which processes share their counts, with all their room on the disk.

The library makes them sparse and writes to memory that stands for them: where such a page finds no room, the system
ends the process (SIGBUS).
"""

import logging
import os
from contextlib import suppress

from prometheus_client.mmap_dict import MmapedDict

logger = logging.getLogger(__name__)

INITIAL_BYTES = 1 << 16
_MAX_ENTRY_OVERHEAD_BYTES = 32
"""Of a series, beside its name: a length, padding, the value and its time."""


class SharedFile(MmapedDict):
    """A file of counts. Where there is no room for it, this process counts for itself, and nobody sees it."""

    def __init__(self, filename: str) -> None:
        fd = _with_room(filename)
        try:
            super().__init__(f"/proc/self/fd/{fd}")  # type: ignore[no-untyped-call]
        finally:
            os.close(fd)

    def _init_value(self, key: str) -> None:
        """Make a series. Raises OSError if there is no room for it."""
        needed = self._used + len(key.encode()) + _MAX_ENTRY_OVERHEAD_BYTES
        if needed > self._capacity:
            os.posix_fallocate(self._f.fileno(), 0, 2 * self._capacity)  # as far as the library goes at a time
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _with_room(path: str) -> int:
    """Open a file that has all its room, in memory of our own if there is none at `path`. Raises OSError."""
    try:
        return _opened(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        with suppress(FileNotFoundError):
            os.unlink(path)
        fd = _opened(os.memfd_create("minipacs-counts", os.MFD_CLOEXEC))
        fields = {"file": path, "reason": error.strerror, "remedy": "make room and restart"}
        logger.warning("counts are not seen", extra={"fields": fields})
        return fd


def _opened(fd: int) -> int:
    try:
        os.posix_fallocate(fd, 0, max(os.fstat(fd).st_size, INITIAL_BYTES))
    except OSError:
        os.close(fd)
        raise
    return fd
