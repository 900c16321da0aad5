"""What an archive needs of whatever keeps its files: the protocols that `tree` fulfils; `ports` gives them out."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import Protocol

from minipacs.tree.layout import PREFIXES
from minipacs.tree.locks import DaemonLock, Held
from minipacs.tree.objects import ObjectState, Published, Receipt
from minipacs.tree.quarantine import QuarantinedFile
from minipacs.tree.staging import Spare, StagedFile

__all__ = [
    "PREFIXES",
    "DaemonLock",
    "DigestLocks",
    "Documents",
    "Held",
    "ObjectState",
    "ObjectStore",
    "Published",
    "Quarantine",
    "QuarantinedFile",
    "Receipt",
    "Spare",
    "StagedFile",
    "Storage",
]


class ObjectStore(Protocol):
    """Objects under the digests of their bytes. Calls raise OSError; safe to use from any thread."""

    def stage(self) -> StagedFile:
        """Open a new file, to be written."""

    def put(self, staged: StagedFile, digest: str, receipt: Receipt, held: Held) -> Published:
        """Publish a staged file, durably; ends it unless the same bytes, all compared, are there already.

        What is there with other bytes is damaged and gives way. Within `holding(digest)`, which gives `held`.
        """

    def open(self, digest: str) -> FileIO:
        """Open an object as a local file, unbuffered; FileNotFoundError if there is none."""

    def stat(self, digest: str) -> ObjectState | None:
        """Return size and receipt, None if there is no such object."""

    def delete(self, digest: str) -> None:
        """Remove an object, if it is there. Within `holding(digest, exclusive=True)`."""

    def walk(self, prefix: str = "") -> Iterator[str]:
        """Give the digests that begin with one of `PREFIXES`, or all, in their order."""

    def expire(self, digest: str, reason: str) -> None:
        """Move an object to `expired`, if it is there. Within `holding(digest, exclusive=True)`. Raises OSError."""

    def set_aside(self, digest: str, reason: str) -> None:
        """Move an object to quarantine, if it is there. Within `holding(digest, exclusive=True)`.

        One that is damaged takes no whole one's place there: it goes.
        """


class DigestLocks(Protocol):
    """Locks of digests, among threads, processes, and whoever else has the archive; gone with their holder."""

    def holding(self, digest: str, *, exclusive: bool = False) -> AbstractContextManager[Held]:
        """Hold the lock of a digest: shared to publish and commit a row, exclusive to remove.

        A thread may ask again for what it holds; to ask for more is a RuntimeError.
        """


class Quarantine(Protocol):
    """What gave way."""

    def count(self) -> int:
        """Count the files."""

    def files(self) -> Iterator[QuarantinedFile]:
        """List the files, the oldest first."""

    def open(self, digest: str) -> FileIO:
        """Open a file. Raises OSError."""

    def purge(self, digest: str) -> None:
        """Remove a file and its note, for ever. Raises OSError."""


class Documents(Protocol):
    """Documents beside the objects, under the SHA-256 of their bytes. Calls raise OSError."""

    def keep(self, document: bytes) -> str:
        """Keep a document, durably; returns its id."""

    def discard(self, document_id: str) -> None:
        """Remove a document whose row was refused; may be called again."""

    def ids(self) -> set[str]:
        """List the ids of what is kept."""

    def read(self, document_id: str) -> bytes:
        """Read a document. Raises ValueError if its bytes are not those that were kept."""


class Storage(ObjectStore, DigestLocks, Protocol):
    """All that an archive keeps files with."""

    @property
    def amendments(self) -> Documents:
        """Return the documents of amendments."""

    @property
    def holds(self) -> Documents:
        """Return the documents of holds."""

    @property
    def quarantine(self) -> Quarantine:
        """Return what gave way."""

    @property
    def expired(self) -> Quarantine:
        """Return what outlived its retention rule."""

    def spare(self) -> Spare:
        """Return what has a staged file ready."""

    def scratch(self) -> FileIO:
        """Open a nameless file, gone when it is closed. Raises OSError."""

    def identity(self) -> str:
        """Return who the archive is whose files these are, "" if it is not known. Raises OSError."""

    def claim(self, identity: str) -> str:
        """Let the files be those of an archive, unless they are; returns of which, durably. Raises OSError."""

    def daemon_lock(self) -> DaemonLock:
        """Take the lock of the one daemon. Raises MinipacsError if another has it."""

    def sweep_incoming(self) -> int:
        """Remove what dead processes staged; returns how many files."""

    def free_bytes(self) -> int:
        """Return the room that is left. Raises OSError."""

    def contains(self, path: Path) -> bool:
        """Tell whether a path of this machine lies where the archive keeps its files."""

    def sync(self) -> None:
        """Bring to disk whatever was written without being durable. Raises OSError, also for earlier faults, once."""

    def close(self) -> None:
        """Let go of whatever is held open."""
