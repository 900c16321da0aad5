"""The file tree: objects published under the digests of their bytes, beside what is on its way in and what gave way.

Rules:
- *must*: a published file is complete, synced (unless `durable` is off) and never changed.
- *must*: publishing and committing the row happen under the shared lock of the digest, removing under the exclusive
  one, in every process: nobody finds a file that is about to go.
- *must*: nothing that was acknowledged is deleted; it goes to quarantine.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from minipacs.durable import sync_data, sync_file_system, sync_folder
from minipacs.tree.documents import Documents
from minipacs.tree.layout import OBJECT_SUFFIX, PREFIXES, Layout, is_digest
from minipacs.tree.locks import DaemonLock, FolderLocks, Held
from minipacs.tree.quarantine import Quarantine
from minipacs.tree.staging import FILE_MODE, Spare, StagedFile, Staging

FOLDER_MODE = 0o750
MAX_IDENTITY_CHARS = 100
_RECEIPT, _RECEIVED_AS = "user.minipacs.receipt", "user.minipacs.received"


class Receipt(NamedTuple):
    """What a file's bytes do not tell: when it came, in seconds since 1970, from whom, and as which other file.

    `received_digest` is that of the file that was received, if this one was made of it, else "".
    """

    received_at: float
    source: str
    received_digest: str = ""


class ObjectState(NamedTuple):
    """What is known of a published file without reading it."""

    size_bytes: int
    receipt: Receipt


class Published(NamedTuple):
    """The answer to `put`: whether the file is new, else its bytes were there; and whether its receipt lies with it."""

    is_new: bool
    has_receipt: bool = False


class FileTree:
    """The files below one storage folder. Safe to use from any thread and beside other processes."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.layout = Layout(root)
        self._durable = durable
        self._locks = FolderLocks(self.layout)
        self._staging = Staging(self.layout, durable=durable)
        self.quarantine = Quarantine(self.layout, self.layout.quarantine, self._staging.stage, durable=durable)
        self.expired = Quarantine(self.layout, self.layout.expired, self._staging.stage, durable=durable)
        self.amendments = Documents(self.layout.amendments, self._staging.stage)
        self.holds = Documents(self.layout.holds, self._staging.stage)
        self._root_fd: int | None = None

    def create(self) -> None:
        """Make the folders that are missing, and sync them. Raises OSError."""
        layout = self.layout
        layout.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for folder in layout.folders:
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if len(os.listdir(layout.objects)) < len(PREFIXES):
            for prefix in PREFIXES:
                (layout.objects / prefix).mkdir(mode=FOLDER_MODE, exist_ok=True)
            sync_folder(layout.objects)
        sync_folder(layout.root)

    def contains(self, path: Path) -> bool:
        """Tell whether `path` lies below the root, links followed."""
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.layout.root))

    def free_bytes(self) -> int:
        """Return what the file system has left for this user. Raises OSError."""
        found = os.statvfs(self.layout.root)
        return found.f_bavail * found.f_frsize

    def sync(self) -> None:
        """Bring to disk whatever was written, where `durable` is off. Raises OSError, also for earlier faults, once."""
        if self._root_fd is None:
            self._root_fd = os.open(self.layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        sync_file_system(self._root_fd)

    def close(self) -> None:
        """Let go of the root folder; nothing else is held open."""
        if self._root_fd is not None:
            os.close(self._root_fd)
            self._root_fd = None

    def identity(self) -> str:
        """Return who the archive is that the folder belongs to, "" if it is not known. Raises OSError."""
        try:
            return self.layout.identity.read_text("utf-8", "replace").strip()[:MAX_IDENTITY_CHARS]
        except FileNotFoundError:
            return ""

    def claim(self, identity: str) -> str:
        """Let the folder belong to an archive, unless it does; returns to which, durably. Raises OSError."""
        staged = self.stage()
        try:
            staged.write([identity.encode(), b"\n"])
            sync_data(staged.fileno())
            with suppress(FileExistsError):
                os.link(staged.path, self.layout.identity)
        finally:
            staged.discard()
        sync_folder(self.layout.root)
        return self.identity()

    def daemon_lock(self) -> DaemonLock:
        """Take the lock of the one daemon; see `DaemonLock`. Raises MinipacsError."""
        return DaemonLock(self.layout)

    def stage(self) -> StagedFile:
        """Open a new file in `incoming/`. Raises OSError."""
        return self._staging.stage()

    def spare(self) -> Spare:
        """Return what has a new file ready; see `Spare`."""
        return Spare(self._staging.stage)

    def scratch(self) -> FileIO:
        """Open a nameless file, gone when it is closed, for what is too large for memory. Raises OSError."""
        return self._staging.scratch()

    def sweep_incoming(self) -> int:
        """Remove what dead processes left in `incoming/`; returns how many files."""
        return self._staging.sweep()

    def holding(self, digest: str, *, exclusive: bool = False) -> AbstractContextManager[Held]:
        """Hold the lock of a digest; see `FolderLocks`."""
        return self._locks.holding(digest, exclusive=exclusive)

    def put(self, staged: StagedFile, digest: str, receipt: Receipt, held: Held) -> Published:
        """Publish a staged file under its digest, durably; ends `staged` unless the same bytes are there already.

        A file of that name is believed when every byte was compared; any other is damaged, and the whole one takes its
        place. The file keeps `receipt`, as most file systems can. Call within `holding(digest)`, which gives `held`,
        and commit the row before letting go. Raises OSError.
        """
        published = Published(is_new=False)
        if not self._has(digest, staged):
            published = Published(is_new=True, has_receipt=_attach(staged.fileno(), receipt))
            os.fchmod(staged.fileno(), FILE_MODE)
            if self._durable:
                sync_data(staged.fileno())
            os.rename(staged.path, self.layout.published(digest))
            staged.close()
        if self._durable:  # also for a file found: whoever put it there may not have come this far
            os.fsync(held.folder_fd)
        return published

    def _has(self, digest: str, staged: StagedFile) -> bool:
        """Tell whether the bytes of a staged file are there already; what cannot be read is not."""
        try:
            with self.open(digest) as file:
                return staged.has_bytes_of(file)
        except OSError:
            return False

    def open(self, digest: str) -> FileIO:
        """Open a published file, unbuffered. Raises OSError, FileNotFoundError among them."""
        return FileIO(self.layout.published(digest), "r")

    def stat(self, digest: str) -> ObjectState | None:
        """Return what is known of a published file, None if there is none; without a receipt it came when written."""
        path = self.layout.published(digest)
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        return ObjectState(found.st_size, _receipt_of(path) or Receipt(found.st_mtime, ""))

    def delete(self, digest: str) -> None:
        """Remove a published file that has no row. Call within the exclusive `holding(digest)`. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(self.layout.published(digest))

    def set_aside(self, digest: str, reason: str) -> None:
        """Move a published file to quarantine, with a note; a damaged one goes if a whole one is there.

        Call within the exclusive `holding(digest)`. Raises OSError; then the file is where it was.
        """
        self.quarantine.take(digest, reason)

    def expire(self, digest: str, reason: str) -> None:
        """Move a published file to where those lie whose time is over; as `set_aside`."""
        self.expired.take(digest, reason)

    def walk(self, prefix: str = "") -> Iterator[str]:
        """Give the digests of published files, those that begin with one of `PREFIXES` or all, in their order.

        What is no object is passed over. Memory: the names of one folder. Raises OSError.
        """
        for folder in (prefix,) if prefix else PREFIXES:
            with os.scandir(self.layout.objects / folder) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
            for name in sorted(names):
                digest = name.removesuffix(OBJECT_SUFFIX)
                if digest != name and is_digest(digest) and digest.startswith(folder):
                    yield digest


def _attach(fd: int, receipt: Receipt) -> bool:
    """Keep a receipt with a file, beside its bytes; False where the file system has no place for it."""
    try:
        os.setxattr(fd, _RECEIPT, f"{receipt.received_at!r} {receipt.source}".encode())
        if receipt.received_digest:
            os.setxattr(fd, _RECEIVED_AS, receipt.received_digest.encode())
    except OSError:
        return False
    return True


def _receipt_of(path: str) -> Receipt | None:
    try:
        received_at, source = os.getxattr(path, _RECEIPT).decode().split(" ", 1)
    except (OSError, ValueError):
        return None
    received_digest = ""
    with suppress(OSError, ValueError):
        received_digest = os.getxattr(path, _RECEIVED_AS).decode()
    try:
        return Receipt(float(received_at), source, received_digest if is_digest(received_digest) else "")
    except ValueError:
        return None
