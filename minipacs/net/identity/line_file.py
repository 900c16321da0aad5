"""A file of one entry a line, its name before the first colon: read anew when it changes, replaced as a whole.

Empty lines and those that begin with `#` say nothing. A line that is no entry harms itself alone.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from minipacs.durable import sync_folder
from minipacs.errors import MinipacsError

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 4 * 1024 * 1024

_Entry = TypeVar("_Entry")


class LineFile(Generic[_Entry]):
    """The entries of a file by their keys; safe to use from any thread.

    `parse` makes an entry of a line and tells its key; it raises ValueError with what is wrong. A file that is missing
    or cannot be read has no entries.
    """

    def __init__(self, path: Path, parse: Callable[[str], tuple[str, _Entry]]) -> None:
        self._path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._entries: Mapping[str, _Entry] = {}

    def entries(self) -> Mapping[str, _Entry]:
        """Give what the file holds now."""
        with self._lock:
            self._refresh()
            return self._entries

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
            if stamp == self._stamp:
                return
            entries, faults = read(self._path, self._parse)
        except (OSError, MinipacsError) as error:
            if self._stamp is not None:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                logger.error("file not read", extra={"fields": {"file": self._path.name, "error": reason}})
            self._entries, self._stamp = {}, None
            return
        for fault in faults:
            logger.warning("line not understood", extra={"fields": {"file": self._path.name, "fault": fault}})
        self._entries, self._stamp = entries, stamp


def read(path: Path, parse: Callable[[str], tuple[str, _Entry]]) -> tuple[dict[str, _Entry], list[str]]:
    """Read a file; give its entries, and what is wrong with lines that are none. Raises OSError, MinipacsError."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise MinipacsError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    entries: dict[str, _Entry] = {}
    faults: list[str] = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            key, entry = parse(line.rstrip("\r"))
            if key in entries:
                raise ValueError("it is there already")
        except ValueError as error:
            faults.append(f"line {number}: {error}")
        else:
            entries[key] = entry
    return entries, faults


def put(path: Path, name: str, line: str) -> bool:
    """Let `line` be the one of `name`; tell whether it is new. Durable on return. Raises OSError."""
    with _changing(path) as lines:
        others = _others(lines, name)
        is_new = len(others) == len(lines)
        lines[:] = [*others, line]
    return is_new


def remove(path: Path, name: str) -> bool:
    """Remove the line of `name`; false if there is none. Durable on return. Raises OSError."""
    with _changing(path) as lines:
        others = _others(lines, name)
        was_there = len(others) != len(lines)
        lines[:] = others
    return was_there


def _others(lines: list[str], name: str) -> list[str]:
    return [line for line in lines if line.partition(":")[0] != name]


@contextmanager
def _changing(path: Path) -> Iterator[list[str]]:
    """Give the lines to change; afterwards a new file with them takes the old one's place."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old = path.read_text("utf-8", "surrogateescape") if path.exists() else ""
        lines = old.removesuffix("\n").split("\n") if old else []
        yield lines
        new = path.with_name(path.name + ".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            with suppress(OSError):
                found = path.stat()
                os.fchown(fd, found.st_uid, found.st_gid)
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(fd)
        new.rename(path)
        sync_folder(path.parent)
