"""What was set aside: moved to a folder of its own with a note that says why and since when."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from minipacs.durable import sync_data, sync_folder
from minipacs.tree.layout import OBJECT_SUFFIX, REASON_SUFFIX, Layout, is_digest, shelved
from minipacs.tree.staging import StagedFile

MAX_NOTE_CHARS = 4096


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A file that was set aside: why, and since when (seconds since 1970)."""

    digest: str
    reason: str
    since: float
    size_bytes: int


class Quarantine:
    """A folder of files that were set aside: `quarantine/`, or `expired/`. `stage` opens a file for a note."""

    def __init__(self, layout: Layout, folder: Path, stage: Callable[[], StagedFile], *, durable: bool) -> None:
        self._layout = layout
        self._folder = folder
        self._stage = stage
        self._durable = durable

    def take(self, digest: str, reason: str) -> None:
        """Move a published file here, with a note; a damaged one goes if a whole one is here. Raises OSError."""
        source, target = self._layout.published(digest), shelved(self._folder, digest)
        if not os.path.exists(source):
            return
        if os.path.exists(target) and not _is_whole(source, digest) and _is_whole(target, digest):
            os.unlink(source)
            return
        note = json.dumps({"digest": digest, "reason": reason, "since": time.time()}) + "\n"
        staged = self._stage()
        try:
            staged.write([note.encode()])
            if self._durable:
                sync_data(staged.fileno())
            os.rename(staged.path, shelved(self._folder, digest, REASON_SUFFIX))
        finally:
            staged.discard()
        os.rename(source, target)
        if self._durable:
            sync_folder(self._folder)
            sync_folder(self._layout.folder(digest))

    def count(self) -> int:
        """Count the files."""
        return sum(name.endswith(OBJECT_SUFFIX) for name in os.listdir(self._folder))

    def files(self) -> Iterator[QuarantinedFile]:
        """List what is here, the oldest first; a note that cannot be read leaves the reason empty."""
        digests = (name.removesuffix(OBJECT_SUFFIX) for name in os.listdir(self._folder))
        found = (self._find(digest) for digest in digests if is_digest(digest))
        return iter(sorted(filter(None, found), key=lambda file: (file.since, file.digest)))

    def open(self, digest: str) -> FileIO:
        """Open a file, unbuffered. Raises OSError."""
        return FileIO(shelved(self._folder, digest), "r")

    def purge(self, digest: str) -> None:
        """Remove a file and its note, for ever. Raises OSError."""
        for suffix in (OBJECT_SUFFIX, REASON_SUFFIX):
            with suppress(FileNotFoundError):
                os.unlink(shelved(self._folder, digest, suffix))

    def _find(self, digest: str) -> QuarantinedFile | None:
        try:
            file = os.stat(shelved(self._folder, digest))
        except FileNotFoundError:
            return None
        try:
            with open(shelved(self._folder, digest, REASON_SUFFIX), encoding="utf-8") as note:
                known = json.loads(note.read(MAX_NOTE_CHARS))
            return QuarantinedFile(digest, str(known["reason"]), float(known["since"]), file.st_size)
        except (OSError, ValueError, KeyError, TypeError):
            return QuarantinedFile(digest, "", file.st_mtime, file.st_size)


def _is_whole(path: str, digest: str) -> bool:
    """Tell whether a file has the bytes of its name; one that cannot be read has not."""
    try:
        with FileIO(path, "r") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
