"""A store of objects in memory, for tests of what stands above it: what `archive.ports.Storage` promises, no disk."""

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from minipacs.errors import MinipacsError
from minipacs.tree.locks import Held
from minipacs.tree.objects import ObjectState, Published, Receipt
from minipacs.tree.quarantine import QuarantinedFile
from minipacs.tree.staging import Spare, StagedFile


class MemoryQuarantine:
    """What gave way."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, QuarantinedFile]] = {}

    def count(self) -> int:
        return len(self.kept)

    def files(self) -> Iterator[QuarantinedFile]:
        return iter(sorted((file for _, file in self.kept.values()), key=lambda file: (file.since, file.digest)))

    def open(self, digest: str) -> FileIO:
        return _file_of(self.kept[digest][0])

    def purge(self, digest: str) -> None:
        self.kept.pop(digest, None)


class MemoryDocuments:
    """Documents beside objects."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def keep(self, document: bytes) -> str:
        digest = hashlib.sha256(document).hexdigest()
        self.kept[digest] = document
        return digest

    def discard(self, document_id: str) -> None:
        self.kept.pop(document_id, None)

    def ids(self) -> set[str]:
        return set(self.kept)

    def read(self, document_id: str) -> bytes:
        document = self.kept[document_id]
        if hashlib.sha256(document).hexdigest() != document_id:
            raise ValueError("its bytes do not have its digest")
        return document


class _DaemonLock:
    """Remembers how the last one ended."""

    def __init__(self, tree: "MemoryTree") -> None:
        if tree.has_daemon:
            raise MinipacsError("in use by another minipacs daemon")
        self._tree = tree
        self.is_first, self.ended_cleanly = tree.ended is None, bool(tree.ended)
        tree.has_daemon, tree.ended = True, False

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")

    def release(self, *, cleanly: bool = True) -> None:
        self._tree.has_daemon, self._tree.ended = False, cleanly


class MemoryTree:
    """Objects as bytes; staged files are nameless files in memory, as real as any to whoever writes them."""

    def __init__(self) -> None:
        self.quarantine = MemoryQuarantine()
        self.expired = MemoryQuarantine()
        self.amendments = MemoryDocuments()
        self.holds = MemoryDocuments()
        self.objects: dict[str, tuple[bytes, Receipt]] = {}
        self.has_daemon = False
        self.belongs_to = ""
        self.ended: bool | None = None
        self.free = 1 << 40
        self._changed = threading.Condition()
        self._readers: dict[str, int] = {}
        self._writers: set[str] = set()
        self._thread = threading.local()

    def stage(self) -> StagedFile:
        return _Nameless("", os.memfd_create("staged"), durable=False)

    def spare(self) -> Spare:
        return Spare(self.stage)

    def scratch(self) -> FileIO:
        return FileIO(os.memfd_create("scratch"), "r+")

    def sweep_incoming(self) -> int:
        return 0

    def free_bytes(self) -> int:
        return self.free

    def contains(self, path: Path) -> bool:
        return False

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass

    def identity(self) -> str:
        return self.belongs_to

    def claim(self, identity: str) -> str:
        self.belongs_to = self.belongs_to or identity
        return self.belongs_to

    def daemon_lock(self) -> _DaemonLock:
        return _DaemonLock(self)

    @contextmanager
    def holding(self, digest: str, *, exclusive: bool = False) -> Iterator[Held]:
        folder = digest[:2]
        mine: dict[str, Held] = self._thread.__dict__
        if folder in mine:
            if exclusive and not mine[folder].exclusive:
                raise RuntimeError("a shared lock cannot become an exclusive one")
            yield mine[folder]
            return
        with self._changed:
            self._changed.wait_for(
                lambda: folder not in self._writers and not (exclusive and self._readers.get(folder))
            )
            if exclusive:
                self._writers.add(folder)
            else:
                self._readers[folder] = self._readers.get(folder, 0) + 1
        mine[folder] = Held(-1, exclusive=exclusive)
        try:
            yield mine[folder]
        finally:
            del mine[folder]
            with self._changed:
                if exclusive:
                    self._writers.discard(folder)
                else:
                    self._readers[folder] -= 1
                self._changed.notify_all()

    def put(self, staged: StagedFile, digest: str, receipt: Receipt, held: Held) -> Published:
        data = os.pread(staged.fileno(), staged.size_bytes, 0)
        if digest in self.objects and self.objects[digest][0] == data:
            return Published(is_new=False)
        self.objects[digest] = data, receipt
        staged.close()
        return Published(is_new=True, has_receipt=True)

    def open(self, digest: str) -> FileIO:
        if digest not in self.objects:
            raise FileNotFoundError(2, "No such object")
        return _file_of(self.objects[digest][0])

    def stat(self, digest: str) -> ObjectState | None:
        if digest not in self.objects:
            return None
        data, receipt = self.objects[digest]
        return ObjectState(len(data), receipt)

    def delete(self, digest: str) -> None:
        self.objects.pop(digest, None)

    def set_aside(self, digest: str, reason: str) -> None:
        self._move(self.quarantine, digest, reason)

    def expire(self, digest: str, reason: str) -> None:
        self._move(self.expired, digest, reason)

    def _move(self, shelf: MemoryQuarantine, digest: str, reason: str) -> None:
        if digest in self.objects:
            data, _ = self.objects.pop(digest)
            kept = shelf.kept.get(digest)
            if kept is not None and _is_whole(kept[0], digest) and not _is_whole(data, digest):
                return
            shelf.kept[digest] = data, QuarantinedFile(digest, reason, time.time(), len(data))

    def walk(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(digest for digest in self.objects if digest.startswith(prefix)))


def _is_whole(data: bytes, digest: str) -> bool:
    return hashlib.sha256(data).hexdigest() == digest


class _Nameless(StagedFile):
    """A file that never had a name, so that nobody can have swept it."""

    def is_swept(self) -> bool:
        return False


def _file_of(data: bytes) -> FileIO:
    file = FileIO(os.memfd_create("object"), "r+")
    file.write(data)
    file.seek(0)
    return file
