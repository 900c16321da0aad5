"""The spool: what is to be told, on disk before the audited operation goes on, until every sink has it.

A folder of segments. Each process that audits appends to one of its own, which it holds locked; whoever delivers reads
all of them in the order of writing. A record is a header and a payload; what a crash cut short is not read.

A record may be *interim*: the sum so far of what goes on. A later record with its key takes its place, and it counts
only if its writer is gone.
"""

import fcntl
import heapq
import logging
import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4
from zlib import crc32

from minipacs.durable import sync_file, sync_folder

logger = logging.getLogger(__name__)

MAX_SEGMENT_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 1024 * 1024
SPACE_CHECK_S = 1.0
"""How old the knowledge of the spool's size may be."""
SUFFIX = ".segment"

_HEADER = struct.Struct("<IBQQI")
"""Bytes of the payload, severity, key (0: none), time in nanoseconds since 1970, CRC-32 of the payload."""
_INTERIM = 0x80


class Record(NamedTuple):
    """One message in the spool; `severity` is that of syslog, `key` that of the sum which it ends or carries on."""

    at_ns: int
    severity: int
    payload: bytes
    key: int = 0
    is_interim: bool = False


class SpoolWriter:
    """The segments of one process; safe to use from any thread.

    `append` costs one `write`: what it wrote survives the process, and the machine once `Spool.sync` was called. It
    drops records while the spool is full, and counts them.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._fd = -1
        self._size = self._carried_bytes = 0
        self._known_bytes = 0
        self._looked_at = -SPACE_CHECK_S
        self._dropped = 0
        self._open: dict[int, tuple[bytes, int]] = {}

    def append(self, payload: bytes, severity: int, *, key: int = 0, interim: bool = False) -> bool:
        """Write a record; False if the spool is full or cannot be written."""
        with self._lock:
            fits = len(payload) <= MAX_RECORD_BYTES and self._has_room(len(payload))
            if not fits:
                self._make_way()
            is_written = fits and self._enter_if_due()
            if not is_written or not self._write(payload, severity | (_INTERIM if interim else 0), key):
                self._dropped += not interim
                return False
            if interim:
                self._open[key] = payload, severity
            else:
                self._open.pop(key, None)
        return True

    def take_dropped(self) -> int:
        """Say how many records found no room since the last time, if there is room again; else 0."""
        with self._lock:
            if not self._dropped or not self._has_room(min(MAX_SEGMENT_BYTES, self._max_bytes // 2)):
                return 0
            dropped, self._dropped = self._dropped, 0
            return dropped

    def close(self) -> None:
        """Let go of the segment: its interim records count from now on."""
        with self._lock:
            self._leave()

    def _has_room(self, size: int) -> bool:
        now = time.monotonic()
        if now - self._looked_at >= SPACE_CHECK_S:
            self._known_bytes, self._looked_at = folder_bytes(self._folder), now
        return self._known_bytes + size <= self._max_bytes

    def _write(self, payload: bytes, flags: int, key: int) -> bool:
        header = _HEADER.pack(len(payload), flags, key, time.time_ns(), crc32(payload))
        try:
            written = os.writev(self._fd, [header, payload])
            if written != len(header) + len(payload):  # the disk is full: nothing may follow half a record
                os.ftruncate(self._fd, self._size)
                return False
        except OSError:
            return False
        self._size += written
        self._known_bytes += written
        return True

    def _enter_if_due(self) -> bool:
        """Have a segment that can be written."""
        return (self._fd >= 0 and self._size < MAX_SEGMENT_BYTES) or self._enter()

    def _make_way(self) -> None:
        """Leave a segment that holds more than what is interim: nothing else lets it go once it is delivered."""
        if self._fd >= 0 and self._size > self._carried_bytes:
            self._enter()

    def _enter(self) -> bool:
        """Begin a segment; what is interim is carried over before the old one is left."""
        path = self._folder / f"{time.time_ns():020d}-{uuid4().hex}{SUFFIX}"
        unlocked = path.with_suffix(".new")
        try:
            fd = os.open(unlocked, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
            fcntl.flock(fd, fcntl.LOCK_EX)
            unlocked.rename(path)  # a reader takes a segment without a lock for one that was left
        except OSError:
            return self._fd >= 0
        old, self._fd, self._size = self._fd, fd, 0
        for key, (payload, severity) in self._open.items():
            self._write(payload, severity | _INTERIM, key)
        self._carried_bytes = self._size
        if old >= 0:
            os.close(old)
        return True

    def _leave(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass(slots=True)
class _Segment:
    """A segment as a reader knows it: read up to `offset`; `is_over` once its writer is gone and all of it was read."""

    path: Path
    offset: int = 0
    is_over: bool = False


class SpoolReader:
    """Reads the segments of all processes for one sink, whose position is kept beside them. For one thread.

    `read` gives records in the order of writing; `taken` says that the sink has what was read.
    """

    def __init__(self, folder: Path, sink: str) -> None:
        self._folder = folder
        self._position = folder / f"{sink}.position"
        self._segments: dict[str, _Segment] = {}
        self._interim: dict[int, tuple[str, Record]] = {}
        self._load()

    def read(self, most: int, settled_s: float = 0) -> list[Record]:
        """Give up to `most` records that were not read before, and the interim ones that their writers left behind.

        Those of the last `settled_s` wait: another process may have one under way that is older.
        """
        now_ns = time.time_ns()
        settled_ns = now_ns - int(settled_s * 1e9)
        self._look()
        left = {name for name, segment in self._segments.items() if not segment.is_over and _is_left(segment.path)}
        self._look()  # after that: a writer carries its interim records over before it leaves a segment
        found: list[Record] = []
        streams = [self._stream(name, segment) for name, segment in self._segments.items() if not segment.is_over]
        for record, name, offset in heapq.merge(*streams, key=lambda item: item[0].at_ns):
            if settled_ns < record.at_ns <= now_ns:  # a clock that was set back holds up nothing
                return found
            self._segments[name].offset = offset
            self._sort_in(name, record, found)
            if len(found) >= most:
                return found
        for name in left & self._segments.keys():
            self._segments[name].is_over = True
        left_behind = {key: record for key, (name, record) in self._interim.items() if name in left}
        for key in left_behind:
            del self._interim[key]
        return found + sorted(left_behind.values())

    def taken(self) -> None:
        """Note durably that the sink has all that was read. Raises OSError."""
        lines = [f"{name} {segment.offset} {segment.is_over:d}\n" for name, segment in self._segments.items()]
        partial = self._position.with_suffix(".new")
        with partial.open("w") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._position)

    def backlog(self) -> int:
        """Count the records that were not read yet, by their headers."""
        self._look()
        return sum(_count(segment) for segment in self._segments.values() if not segment.is_over)

    def finished(self) -> set[str]:
        """Give the names of the segments that nobody writes and that were read to their ends."""
        return {name for name, segment in self._segments.items() if segment.is_over}

    def forget(self, names: Iterable[str]) -> None:
        """Drop segments that were removed."""
        for name in names:
            self._segments.pop(name, None)

    def _load(self) -> None:
        try:
            known = [_read_position(line) for line in self._position.read_text().splitlines()]
        except FileNotFoundError:
            return
        except ValueError:  # a disk that lost it: all comes again
            logger.error("audit position not readable", extra={"fields": {"file": self._position.name}})
            return
        for name, offset, is_over in known:
            segment = _Segment(self._folder / name, offset, is_over)
            self._segments[name] = segment
            if not segment.is_over:  # interim records of before may still count
                for record, _, behind in self._stream(name, _Segment(segment.path)):
                    if behind <= segment.offset:
                        self._sort_in(name, record, [])

    def _look(self) -> None:
        for path in segments(self._folder):
            self._segments.setdefault(path.name, _Segment(path))

    def _stream(self, name: str, segment: _Segment) -> Iterator[tuple[Record, str, int]]:
        """Give the whole records of a segment from its offset on, each with the offset behind it."""
        try:
            file = segment.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(segment.offset)
            offset = segment.offset
            while len(header := file.read(_HEADER.size)) == _HEADER.size:
                size, flags, key, at_ns, checksum = _HEADER.unpack(header)
                payload = file.read(min(size, MAX_RECORD_BYTES))
                if len(payload) != size or crc32(payload) != checksum:
                    return
                offset += _HEADER.size + size
                yield Record(at_ns, flags & ~_INTERIM, payload, key, bool(flags & _INTERIM)), name, offset

    def _sort_in(self, name: str, record: Record, found: list[Record]) -> None:
        if record.is_interim:
            self._interim[record.key] = name, record
            return
        self._interim.pop(record.key, None)
        found.append(record)


def segments(folder: Path) -> list[Path]:
    """List the segments, oldest first."""
    with suppress(FileNotFoundError):
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    return []


def folder_bytes(folder: Path) -> int:
    """Sum up what the segments take."""
    total = 0
    for path in segments(folder):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def sync(folder: Path) -> None:
    """Bring all segments to the disk, whoever writes them. Raises OSError."""
    for path in segments(folder):
        with suppress(FileNotFoundError):
            sync_file(path)
    with suppress(FileNotFoundError):
        sync_folder(folder)


def _read_position(line: str) -> tuple[str, int, bool]:
    name, offset, is_over = line.split(" ")
    return name, int(offset), is_over == "1"


def _count(segment: _Segment) -> int:
    count, offset = 0, segment.offset
    with suppress(FileNotFoundError), segment.path.open("rb") as file:
        while len(header := os.pread(file.fileno(), _HEADER.size, offset)) == _HEADER.size:
            count, offset = count + 1, offset + _HEADER.size + _HEADER.unpack(header)[0]
    return count


def _is_left(path: Path) -> bool:
    """Tell whether the writer of a segment is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
