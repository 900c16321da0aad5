"""Files on their way in: written below `incoming/`, hashed on the way, locked so that none is swept while it is in use.

Names are random: two processes, or one after the other, never mean different files by one name.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import FileIO
from typing import Self

from minipacs.durable import begin_sync
from minipacs.tree.layout import Layout

STAGED_MODE, FILE_MODE = 0o640, 0o440
READ_BYTES = 1 << 20
NAME_BYTES = 16
"""Of a staged file's name, by chance."""
_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC


class StagedFile:
    """A file being written, hashed on the way. Owned by one thread; `FileTree.put` or `discard` ends it."""

    def __init__(self, path: str, fd: int, *, durable: bool) -> None:
        self.path = path
        self.size_bytes = 0
        self._fd = fd
        self._durable = durable
        self._sha256 = hashlib.sha256()

    @classmethod
    def create(cls, path: str, *, durable: bool = True) -> "StagedFile":
        """Make an empty file and lock it. Raises OSError."""
        while True:
            fd = os.open(path, _CREATE, STAGED_MODE)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return cls(path, fd, durable=durable)
            os.close(fd)  # swept by another process before it was locked

    def fileno(self) -> int:
        """Return the descriptor, for another process that is to append to the file; see `take_in`."""
        return self._fd

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Append `buffers` in order. Raises OSError."""
        for buffer in buffers:
            self._sha256.update(buffer)
        size = sum(map(len, buffers))
        written = os.writev(self._fd, buffers)
        self.size_bytes += size
        if written < size:  # a nearly full disk takes a part; the rest then says why
            rest = memoryview(b"".join(buffers))[written:]
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def take_in(self) -> None:
        """Hash what another process has appended through the descriptor. Raises OSError."""
        while piece := os.pread(self._fd, READ_BYTES, self.size_bytes):
            self._sha256.update(piece)
            self.size_bytes += len(piece)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of what was written so far, in hexadecimal."""
        return self._sha256.hexdigest()

    def begin_sync(self) -> None:
        """Let the disk take what was written while there is still something to check; only `put` waits for it."""
        if self._durable:
            begin_sync(self._fd)

    def has_bytes_of(self, file: FileIO) -> bool:
        """Tell whether an open file has the same bytes, each one compared. Raises OSError."""
        if os.fstat(file.fileno()).st_size != self.size_bytes:
            return False
        for offset in range(0, self.size_bytes, READ_BYTES):
            if os.pread(self._fd, READ_BYTES, offset) != os.pread(file.fileno(), READ_BYTES, offset):
                return False
        return True

    def emptied(self) -> "StagedFile":
        """Give what is as good as a new file, in the place of this one, which ends. Raises OSError."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        fd, self._fd = self._fd, -1
        return StagedFile(self.path, fd, durable=self._durable)

    def discard(self) -> None:
        """Remove the file, unless it has ended; may be called again."""
        if self._fd >= 0:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            self.close()

    def close(self) -> None:
        """Close the descriptor, and with it give up the lock."""
        os.close(self._fd)
        self._fd = -1

    def is_swept(self) -> bool:
        """Tell whether somebody has removed the file's name."""
        return not os.fstat(self._fd).st_nlink


class Spare:
    """The empty file that an association has ready for its next object: to make one takes the file system a while.

    Owned by one thread; a context manager, at whose end the file goes if it was not used.
    """

    def __init__(self, stage: Callable[[], StagedFile]) -> None:
        self._stage = stage
        self._file: StagedFile | None = None

    def make(self) -> None:
        """Make the file now, when nobody waits for it. What fails now will fail at `take`."""
        if self._file is None:
            with suppress(OSError):
                self._file = self._stage()

    def take(self) -> StagedFile:
        """Give the file away, or a new one if none is ready. Raises OSError."""
        staged, self._file = self._file, None
        if staged is not None:
            if not staged.is_swept():
                return staged
            staged.close()
        return self._stage()

    def give_back(self, staged: StagedFile) -> None:
        """Keep for the next object a file that turned out not to be needed. Raises OSError."""
        if self._file is None:
            self._file = staged.emptied()
        else:
            staged.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.discard()
            self._file = None


class Staging:
    """The folder `incoming/`."""

    def __init__(self, layout: Layout, *, durable: bool) -> None:
        self._layout = layout
        self._durable = durable

    def stage(self) -> StagedFile:
        """Open a new file. Raises OSError."""
        return StagedFile.create(self._name(), durable=self._durable)

    def scratch(self) -> FileIO:
        """Open a nameless file, gone when it is closed. Raises OSError."""
        name = self._name()
        file = FileIO(name, "x+")
        with suppress(FileNotFoundError):  # swept by another process
            os.unlink(name)
        return file

    def sweep(self) -> int:
        """Remove what dead processes left; returns how many files. Files in use are locked."""
        removed = 0
        for entry in list(os.scandir(self._layout.incoming)):
            with suppress(OSError):
                fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                    removed += 1
                finally:
                    os.close(fd)
        return removed

    def _name(self) -> str:
        return self._layout.staged(os.urandom(NAME_BYTES).hex())
