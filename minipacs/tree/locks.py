"""Locks among threads and processes: of the folders of objects, and of the one daemon (flock, gone with its holder)."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from minipacs.durable import reserve
from minipacs.errors import MinipacsError
from minipacs.tree.layout import Layout

RESERVED_BYTES = 4096


class Held(NamedTuple):
    """A lock that is held. `folder_fd` is a descriptor of the folder that it is of, for `FileTree.put` to sync."""

    folder_fd: int
    exclusive: bool = False


class FolderLocks:
    """Locks of digests, by the folders that their files lie in: shared to publish, exclusive to remove.

    Each is taken on a descriptor of its own: so it holds against other threads as it does against other processes, and
    none of them lets go of another's. A thread may ask again for what it holds; to ask for more than it holds would be
    to wait for itself, a RuntimeError.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._thread = threading.local()

    @contextmanager
    def holding(self, digest: str, *, exclusive: bool = False) -> Iterator[Held]:
        """Hold the lock of a digest. Raises OSError."""
        folder = self._layout.folder(digest)
        mine: dict[str, Held] = self._thread.__dict__
        if folder in mine:
            if exclusive and not mine[folder].exclusive:
                raise RuntimeError("a shared lock cannot become an exclusive one")
            yield mine[folder]
            return
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            mine[folder] = held = Held(fd, exclusive=exclusive)
            try:
                yield held
            finally:
                del mine[folder]
        finally:
            os.close(fd)


class DaemonLock:
    """Held by the one daemon of a storage folder, from start to end.

    The file is emptied at a clean end, so that the next start knows whether there is something to recover. Raises
    MinipacsError if another daemon holds it, or it cannot be written.
    """

    def __init__(self, layout: Layout) -> None:
        path = layout.daemon_lock
        try:
            self.is_first = not path.exists()
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise MinipacsError(f"cannot start: {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise MinipacsError(f"{layout.root} is in use by another minipacs daemon (pid {holder})") from None
        self.ended_cleanly = not self.is_first and os.fstat(self._fd).st_size == 0
        own = f"{os.getpid()}\n".encode()
        try:
            os.pwrite(self._fd, own, 0)  # over what is there: at no instant is the file of an unclean end empty
            os.ftruncate(self._fd, len(own))
            os.fsync(self._fd)
        except OSError as error:
            os.close(self._fd)
            raise MinipacsError(f"cannot start: {path}: {error.strerror}") from error

    def fileno(self) -> int:
        """Return the descriptor that holds the lock; a child that is forked closes it."""
        return self._fd

    def release(self, *, cleanly: bool = True) -> None:
        """Let the next daemon in, and mark the end as clean if it was. Without this call the end was unclean."""
        if cleanly:
            os.ftruncate(self._fd, 0)
            reserve(self._fd, RESERVED_BYTES)  # the next daemon can write there though the disk is full
            os.fsync(self._fd)
        os.close(self._fd)
