"""The files of an index on the disk: who may read them, their log laid out ahead, copies."""

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from minipacs.durable import sync_file, sync_folder
from minipacs.index.engine.connection import primary_code

MODE = 0o640
"""Of the file, and so of its log and its shared memory, which SQLite makes like it; whatever the umask."""
NOT_FOR_OTHERS = 0o770

CHECKPOINT_PAGES = 4000
LOG_BYTES = CHECKPOINT_PAGES * (4096 + 24) + 32
"""The log's length when a checkpoint is due: pages with their frame headers, behind the log's own."""

SHARED_MEMORY_BYTES = 8 * 32768
"""What is laid out of the shared memory: 32 KiB for every 4096 pages of the log, here for 128 MiB of it."""

BACKUP_STEP_PAGES = 2000
PARTIAL_SUFFIX = ".part"

CLOSED = b"closed\n"
"""In place of a log that was closed: shorter than the header of one, so that SQLite takes it as empty."""

Progress = Callable[[int, int], None]
"""Hears of pages done and pages in all."""


def log_of(path: Path) -> Path:
    """Return where the write-ahead log of an index is, if there is one."""
    return Path(f"{path}-wal")


def _shared_memory_of(path: Path) -> Path:
    return Path(f"{path}-shm")


def leave_log(path: Path) -> None:
    """Leave an empty log, and shared memory, behind; for the last one who had the index open for writing.

    Whoever may read these files but make none beside them can read the index only while they are there
    (https://sqlite.org/wal.html#readonly), and the last connection that may write removes them. Raises OSError and
    sqlite3.Error.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        lay_out_shared_memory(path)
    fd = os.open(log_of(path), os.O_WRONLY | os.O_CLOEXEC)
    try:
        if not os.fstat(fd).st_size:
            os.pwrite(fd, CLOSED, 0)
    finally:
        os.close(fd)


def begin_log(path: Path) -> bool:
    """Tell whether there is a log that was not closed; from now on it is not, durably. Raises OSError."""
    try:
        fd = os.open(log_of(path), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if os.fstat(fd).st_size != len(CLOSED):
            return True
        os.ftruncate(fd, 0)
        os.fsync(fd)
        return False
    finally:
        os.close(fd)


def create(path: Path) -> None:
    """Make the file if it is missing, readable for owner and group; take it from others. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    except FileExistsError:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            for each in (path, log_of(path), _shared_memory_of(path)):  # those beside it are left by who closed it last
                with suppress(FileNotFoundError, PermissionError):  # they are another user's
                    each.chmod(stat.S_IMODE(mode) & NOT_FOR_OTHERS)
        return
    os.fchmod(fd, MODE)
    os.close(fd)


def inode(path: Path) -> tuple[int, int] | None:
    """Tell one file from another at the same path; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def free_bytes(path: Path) -> int:
    """Return the free space of the disk that a file is on. Raises OSError."""
    found = os.statvfs(path.absolute().parent)
    return found.f_bavail * found.f_frsize


@contextmanager
def lent(path: Path) -> Iterator[Path]:
    """Let an index be made at a path, in place of what a run that was killed has left; it is gone afterwards."""
    _remove(path)
    try:
        yield path
    finally:
        _remove(path)


def lay_out_log(path: Path) -> None:
    """Fill the log with zeros up to where a checkpoint is due; for whoever keeps others from writing.

    To sync a commit that makes the file longer takes a file system several times as long as one that writes over what
    is there. SQLite reads a log up to the first frame that is not whole. Raises OSError.
    """
    fd = os.open(log_of(path), os.O_RDWR | os.O_CLOEXEC)
    try:
        length = os.fstat(fd).st_size
        try:
            os.pwrite(fd, bytes(max(LOG_BYTES - length, 0)), length)
            os.fsync(fd)
        except OSError:  # no room: commits then say so, or find some
            os.ftruncate(fd, length)
    finally:
        os.close(fd)


def lay_out_shared_memory(path: Path) -> None:
    """Let the shared memory have its room on the disk, if there is so much; for whoever has a connection open.

    SQLite maps the file and sees to it that each page has a block. Where blocks are smaller than pages the others are
    found when memory is written to, and where there is none the system ends the process (SIGBUS). The descriptor is
    SQLite's: to close another one would let go of its locks (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(OSError):
        wanted = _shared_memory_of(path).stat()
        for name in os.listdir("/proc/self/fd"):
            if _is_file(int(name), wanted):
                os.posix_fallocate(int(name), 0, SHARED_MEMORY_BYTES)
                return


def sync_log(path: Path) -> None:
    """Make durable what was committed so far: the log, if it is still there, and its entry in the folder."""
    with suppress(FileNotFoundError):
        sync_file(log_of(path))
    with suppress(FileNotFoundError):
        sync_folder(path.absolute().parent)


def copy(source: sqlite3.Connection, path: Path, progress: Progress) -> None:
    """Copy what one connection sees at one instant to a new file, durably; a copy that fails leaves nothing.

    Raises OSError (FileExistsError if there is one) and sqlite3.Error.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE))
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE))
        source.execute("BEGIN")  # one snapshot: a copy in steps would begin anew with every commit
        try:
            source.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
            with _target_errors(partial), closing(sqlite3.connect(partial)) as target:
                source.backup(
                    target, pages=BACKUP_STEP_PAGES, progress=lambda _, left, pages: progress(pages - left, pages)
                )
                target.execute("PRAGMA journal_mode = DELETE").fetchone()
        finally:
            source.execute("ROLLBACK")
        sync_file(partial)
        os.rename(partial, path)
    except BaseException:
        for left_over in (partial, path, *(Path(f"{partial}{suffix}") for suffix in ("-journal", "-wal", "-shm"))):
            left_over.unlink(missing_ok=True)
        raise
    sync_folder(path.absolute().parent)


@contextmanager
def _target_errors(path: Path) -> Iterator[None]:
    """Tell a disk that is full from the one of the index, which is only read meanwhile."""
    try:
        yield
    except sqlite3.Error as error:
        if primary_code(error) != sqlite3.SQLITE_FULL:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def _is_file(fd: int, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), wanted)
    except OSError:  # closed meanwhile
        return False


def _remove(path: Path) -> None:
    for each in (path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", ".lock"))):
        each.unlink(missing_ok=True)
