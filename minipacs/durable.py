"""Every sync of a file or folder: what makes bytes and names survive a power loss."""

import ctypes
import os
from pathlib import Path

_FALLOC_FL_KEEP_SIZE = 1
_SYNC_FILE_RANGE_WRITE = 2
_WHOLE_FILE = ctypes.c_int64(0)
"""Its first byte, and, as a length, up to its end."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def reserve(fd: int, size_bytes: int) -> None:
    """Let a file have room for so many bytes, though it is shorter, where the file system can and has it."""
    _LIBC.fallocate(fd, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size_bytes))


def sync_data(fd: int) -> None:
    """Return when a file's bytes are on the disk. Raises OSError."""
    os.fdatasync(fd)


def begin_sync(fd: int) -> None:
    """Let the disk begin to take what was written to a file, and wait for nothing."""
    _LIBC.sync_file_range(fd, _WHOLE_FILE, _WHOLE_FILE, _SYNC_FILE_RANGE_WRITE)


def sync_file(path: Path) -> None:
    """Return when what others wrote to a file is on the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path | str) -> None:
    """Return when the names in a folder are on the disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(fd: int) -> None:
    """Return when all that was written to the file system of `fd` is on the disk.

    Raises OSError, also for what could not be written since `fd` was opened, once: so keep it open.
    """
    if _LIBC.syncfs(fd):  # unlike sync(), it waits for this file system only and tells of faults
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
