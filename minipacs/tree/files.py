"""The file tree: stage, publish, open, remove, quarantine, walk. Every sync of a file or folder is here.

Rules:
- *must*: a published file is complete, synced (unless `durable` is off) and never changed.
- *must*: publishing and committing the row happen under the shared lock of the digest's folder, removing under the
  exclusive one, in every process: nobody finds a file that is about to go.
- *must*: nothing that was acknowledged is deleted; it goes to quarantine.
"""

import ctypes
import fcntl
import hashlib
import itertools
import json
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from minipacs.tree.layout import OBJECT_SUFFIX, PREFIXES, REASON_SUFFIX, Layout, is_digest

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2
_WHOLE_FILE = ctypes.c_int64(0)
"""Its first byte, and, as a length, up to its end."""
STAGED_MODE = 0o640
FILE_MODE = 0o440
FOLDER_MODE = 0o750
MAX_NOTE_CHARS = 4096
_NAMES = itertools.count(1)
_RECEIPT = "user.minipacs.receipt"
READ_BYTES = 1 << 20
_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC


class StagedFile:
    """A file being written, hashed on the way. Owned by one thread; `publish` or `discard` ends it."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()

    @classmethod
    def create(cls, path: str) -> "StagedFile":
        """Make an empty file and lock it. Raises OSError."""
        while True:
            fd = os.open(path, _CREATE, STAGED_MODE)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return cls(path, fd)
            os.close(fd)  # swept by another process before it was locked

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Append `buffers` in order. Raises OSError."""
        for buffer in buffers:
            self._sha256.update(buffer)
        size = sum(map(len, buffers))
        written = os.writev(self.fd, buffers)
        self.size_bytes += size
        if written < size:  # a nearly full disk takes a part; the rest then says why
            rest = memoryview(b"".join(buffers))[written:]
            while rest:
                rest = rest[os.write(self.fd, rest) :]

    def take_in(self) -> None:
        """Hash what another process has appended through the descriptor. Raises OSError."""
        while piece := os.pread(self.fd, READ_BYTES, self.size_bytes):
            self._sha256.update(piece)
            self.size_bytes += len(piece)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of what was written so far, in hexadecimal."""
        return self._sha256.hexdigest()

    def emptied(self) -> "StagedFile":
        """Give what is as good as a new file, in the place of this one, which ends. Raises OSError."""
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        fd, self.fd = self.fd, -1
        return StagedFile(self.path, fd)

    def discard(self) -> None:
        """Remove the file, unless it was published; may be called again."""
        if self.fd >= 0:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            self.close()

    def close(self) -> None:
        """Close the descriptor, and with it give up the lock."""
        os.close(self.fd)
        self.fd = -1


class _Ready(threading.local):
    """The empty file that a thread has ready, or will have; None if it keeps none."""

    files: list[StagedFile] | None = None


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A file in quarantine: why, and since when (seconds since 1970)."""

    digest: str
    reason: str
    since: float
    size_bytes: int


class Receipt(NamedTuple):
    """When a file came, in seconds since 1970, and from whom: what its bytes do not tell."""

    received_at: float
    source_ae_title: str


class FileTree:
    """The files below one storage folder. Safe to use from any thread and beside other processes."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.layout = Layout(root)
        self._durable = durable
        self._ready = _Ready()

    def create(self) -> None:
        """Make the folders that are missing, and sync them. Raises OSError."""
        layout = self.layout
        layout.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for folder in (layout.objects, layout.incoming, layout.quarantine):
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if len(os.listdir(layout.objects)) < len(PREFIXES):
            for prefix in PREFIXES:
                (layout.objects / prefix).mkdir(mode=FOLDER_MODE, exist_ok=True)
            _sync_folder(layout.objects)
        _sync_folder(layout.root)

    def contains(self, path: Path) -> bool:
        """Tell whether `path` lies below the root, links followed."""
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.layout.root))

    def free_bytes(self) -> int:
        """Return what the file system has left for this user."""
        found = os.statvfs(self.layout.root)
        return found.f_bavail * found.f_frsize

    def sync(self) -> None:
        """Bring to disk whatever was written, where `durable` is off. Raises OSError, also for earlier faults."""
        folder = os.open(self.layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _LIBC.syncfs(folder):  # unlike sync(), it waits for this file system only and tells of faults
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(folder)

    def stage(self) -> StagedFile:
        """Open a new file in `incoming/`, or take the one that is ready. Raises OSError."""
        if self._ready.files:
            staged = self._ready.files.pop()
            if os.fstat(staged.fd).st_nlink:
                return staged
            staged.close()
        return StagedFile.create(self.layout.staged(f"{os.getpid()}-{next(_NAMES)}"))

    @contextmanager
    def keeping_ready(self) -> Iterator[None]:
        """Let this thread have an empty file ready for the next `stage`: to make one takes the file system a while."""
        files: list[StagedFile] = []
        self._ready.files = files
        try:
            yield
        finally:
            self._ready.files = None
            for staged in files:
                staged.discard()

    def make_ready(self) -> None:
        """Make the next file now, when nobody waits for it, within `keeping_ready`. What fails will fail at `stage`."""
        if self._ready.files == []:
            with suppress(OSError):
                self._ready.files.append(self.stage())

    def scratch(self) -> FileIO:
        """Open a nameless file, gone when it is closed, for what is too large for memory."""
        name = self.layout.staged(f"{os.getpid()}-{next(_NAMES)}")
        file = FileIO(name, "x+")
        with suppress(FileNotFoundError):  # swept by another process
            os.unlink(name)
        return file

    def begin_sync(self, staged: StagedFile) -> None:
        """Let the disk take what was written while there is still something to check; only `publish` waits for it."""
        if self._durable:
            _LIBC.sync_file_range(staged.fd, _WHOLE_FILE, _WHOLE_FILE, _SYNC_FILE_RANGE_WRITE)

    @contextmanager
    def holding(self, digest: str, *, exclusive: bool = False) -> Iterator[int]:
        """Hold the lock of the digest's folder; gives a descriptor of the folder."""
        folder = os.open(self.layout.folder(digest), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield folder
        finally:
            os.close(folder)

    def publish(self, staged: StagedFile, digest: str, folder: int, receipt: Receipt) -> bool:
        """Put a staged file under its digest, durably, unless it is there already; ends `staged`.

        A file of that name but another size is damaged: the whole one replaces it. True if the file is new and has
        `receipt` with it, as most file systems can keep it. Call under `holding(digest)`, which gives `folder`, and
        commit the row before letting go. Raises OSError.
        """
        path = self.layout.published(digest)
        has_receipt = False
        if self.size_bytes(digest) == staged.size_bytes:
            self._give_back(staged)
        else:
            has_receipt = _attach(staged.fd, receipt)
            os.fchmod(staged.fd, FILE_MODE)
            if self._durable:
                os.fdatasync(staged.fd)
            os.rename(staged.path, path)
            staged.close()
        if self._durable:  # also for a file found: whoever put it there may not have come this far
            os.fsync(folder)
        return has_receipt

    def _give_back(self, staged: StagedFile) -> None:
        """Keep a file that turned out not to be needed for the next object, within `keeping_ready`."""
        if self._ready.files == []:
            self._ready.files.append(staged.emptied())
        else:
            staged.discard()

    def open(self, digest: str) -> FileIO:
        """Open a published file, unbuffered. Raises OSError, FileNotFoundError among them."""
        return FileIO(self.layout.published(digest), "r")

    def size_bytes(self, digest: str) -> int | None:
        """Return a published file's size, or None if there is none."""
        try:
            return os.stat(self.layout.published(digest)).st_size
        except FileNotFoundError:
            return None

    def receipt(self, digest: str) -> Receipt:
        """Return the receipt of a published file; without one, it came when it was written. Empty if there is none."""
        path = self.layout.published(digest)
        try:
            received_at, source_ae_title = os.getxattr(path, _RECEIPT).decode().split(" ", 1)
            return Receipt(float(received_at), source_ae_title)
        except (OSError, ValueError):
            with suppress(FileNotFoundError):
                return Receipt(os.stat(path).st_mtime, "")
        return Receipt(0.0, "")

    def in_order(self, digests: Iterable[str]) -> list[str]:
        """Sort published files by when they came."""
        return sorted(digests, key=lambda digest: self.receipt(digest).received_at)

    def remove(self, digest: str) -> None:
        """Remove a published file that has no row. Call under the exclusive `holding(digest)`."""
        with suppress(FileNotFoundError):
            os.unlink(self.layout.published(digest))

    def quarantine(self, digest: str, reason: str) -> None:
        """Move a published file to quarantine, with a note. Call under the exclusive `holding(digest)`."""
        source = self.layout.published(digest)
        if not os.path.exists(source):
            return
        note = json.dumps({"digest": digest, "reason": reason, "since": round(time.time(), 3)}) + "\n"
        staged = self.stage()
        try:
            staged.write([note.encode()])
            if self._durable:
                os.fdatasync(staged.fd)
            os.rename(staged.path, self.layout.quarantined(digest, REASON_SUFFIX))
        finally:
            staged.discard()
        os.rename(source, self.layout.quarantined(digest))
        if self._durable:
            _sync_folder(self.layout.quarantine)
            _sync_folder(self.layout.folder(digest))

    def quarantined_files(self) -> int:
        """Count the files in quarantine."""
        return sum(name.endswith(OBJECT_SUFFIX) for name in os.listdir(self.layout.quarantine))

    def quarantined(self) -> Iterator[QuarantinedFile]:
        """List what is in quarantine, the oldest first; a note that cannot be read leaves the reason empty."""
        digests = (name.removesuffix(OBJECT_SUFFIX) for name in os.listdir(self.layout.quarantine))
        found = (self._quarantined(digest) for digest in digests if is_digest(digest))
        return iter(sorted(filter(None, found), key=lambda file: (file.since, file.digest)))

    def open_quarantined(self, digest: str) -> FileIO:
        """Open a file in quarantine, unbuffered. Raises OSError."""
        return FileIO(self.layout.quarantined(digest), "r")

    def purge(self, digest: str) -> None:
        """Remove a file and its note from quarantine, for ever. Raises OSError."""
        for suffix in (OBJECT_SUFFIX, REASON_SUFFIX):
            with suppress(FileNotFoundError):
                os.unlink(self.layout.quarantined(digest, suffix))

    def _quarantined(self, digest: str) -> QuarantinedFile | None:
        try:
            file = os.stat(self.layout.quarantined(digest))
        except FileNotFoundError:
            return None
        try:
            with open(self.layout.quarantined(digest, REASON_SUFFIX), encoding="utf-8") as note:
                known = json.loads(note.read(MAX_NOTE_CHARS))
            return QuarantinedFile(digest, str(known["reason"]), float(known["since"]), file.st_size)
        except (OSError, ValueError, KeyError, TypeError):
            return QuarantinedFile(digest, "", file.st_mtime, file.st_size)

    def published(self) -> Iterator[tuple[str, int]]:
        """Walk the published files: digest and size, folder by folder. What is no object is passed over."""
        for prefix in PREFIXES:
            with os.scandir(self.layout.objects / prefix) as entries:
                for entry in entries:
                    digest = entry.name.removesuffix(OBJECT_SUFFIX)
                    if entry.name.endswith(OBJECT_SUFFIX) and is_digest(digest) and digest.startswith(prefix):
                        found = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(found.st_mode):
                            yield digest, found.st_size

    def sweep_incoming(self) -> int:
        """Remove what dead processes left in `incoming/`; returns how many files. Files being written are locked."""
        removed = 0
        for entry in list(os.scandir(self.layout.incoming)):
            with suppress(OSError):
                fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                    removed += 1
                finally:
                    os.close(fd)
        return removed


def _attach(fd: int, receipt: Receipt) -> bool:
    """Keep a receipt with a file, beside its bytes; False where the file system has no place for it."""
    try:
        os.setxattr(fd, _RECEIPT, f"{receipt.received_at!r} {receipt.source_ae_title}".encode())
    except OSError:
        return False
    return True


def _sync_folder(folder: Path | str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
