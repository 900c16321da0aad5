"""An archive in a process of its own that is killed, or told of an error, at one system call; and what is left of it.

The acts of `ACTS` are done one after another on a copy of a prepared archive, while strace counts the system calls of
the process from the first act on. So the same number means the same call in each run. Needs strace, and root's rights.
"""

import copy
import logging
import mmap
import os
import pickle
import re
import select
import shutil
import sqlite3
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from minipacs.archive.archive import Archive
from minipacs.archive.care.leftovers import finish_removals
from minipacs.archive.care.start import prepare
from minipacs.archive.ingest import StoragePolicy
from minipacs.archive.removal import remove
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from minipacs.errors import MinipacsError
from minipacs.jobs.compression import Compression
from minipacs.pixels.codecs import RLE_LOSSLESS
from tests.support.objects import ct, encode
from tests.support.storing import published, put

TIMEOUT_S = 60
CALLS = (
    *("openat", "read", "pread64", "write", "pwrite64", "writev", "close", "fsync", "fdatasync", "sync_file_range"),
    *("fstat", "newfstatat", "statfs", "fstatfs", "flock", "fcntl", "ftruncate", "fallocate", "mmap"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat"),
    *("fsetxattr", "setxattr", "fgetxattr", "getxattr", "getdents64", "fchmod", "utimensat"),
)
"""The calls at which something is done to files."""


@dataclass(frozen=True)
class Objects:
    """What the prepared archive has, and what is stored besides."""

    kept: Dataset = field(default_factory=lambda: ct(PatientID="KEPT"))
    old: Dataset = field(default_factory=lambda: ct(PatientID="OLD"))
    same: Dataset = field(default_factory=lambda: ct(PatientID="SAME"))
    gone: Dataset = field(default_factory=lambda: ct(PatientID="GONE"))
    new: Dataset = field(default_factory=lambda: ct(PatientID="NEW"))

    @property
    def replacement(self) -> Dataset:
        """Make other content under the UID of `old`."""
        changed = copy.deepcopy(self.old)
        changed.PatientName = "Replaced"
        return changed


def _compress(archive: Archive, objects: Objects) -> None:
    found: list[str] = []
    Compression(archive, RLE_LOSSLESS, lambda: False, lambda outcome, saved: found.append(outcome)).work()


def _delete(archive: Archive, objects: Objects) -> None:
    finish_removals(archive.tree, archive.index, archive.charset_of)
    list(remove(archive.tree, archive.index, [objects.gone.SOPInstanceUID]))


Act = Callable[[Archive, Objects], object]
ACTS: dict[str, Act] = {
    "store": lambda archive, objects: put(archive, objects.new),
    "replace": lambda archive, objects: put(archive, objects.replacement),
    "store again": lambda archive, objects: put(archive, objects.same),
    "delete": _delete,
}
COMPRESSION: dict[str, Act] = {"compress": _compress}


@dataclass
class Outcome:
    """What became of one run: acts that were done, acts that failed and said so, and what is wrong."""

    done: list[str]
    failed: list[str]
    faults: list[str]
    was_killed: bool


class Attack:
    """Runs acts on copies of one archive below `folder`; `duplicates` is what replaces."""

    def __init__(self, folder: Path, acts: dict[str, Act] = ACTS) -> None:
        self._folder = folder
        self._acts = acts
        self._objects = Objects()
        self._prepared = folder / "prepared"
        _in_child(self._prepare)

    def calls(self) -> dict[str, int]:
        """Count the system calls of a run in which nothing goes wrong, by name; fails if something does."""
        log = self._folder / "calls"
        outcome = self.run(["-o", str(log), "-e", f"trace={','.join('?' + name for name in CALLS)}"])
        if outcome.faults or outcome.failed:
            raise AssertionError(f"without an attack: {outcome}")
        names = re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE)
        return {name: names.count(name) for name in CALLS if name in names}

    def run_injected(self, name: str, number: int, what: str) -> Outcome:
        """Run with `what` (as strace's inject= has it) at the call of that name and number."""
        return self.run(["-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:{what}:when={number}"])

    def run(self, strace: list[str]) -> Outcome:
        """Run the acts under strace, then open the archive again as the next daemon does, and look."""
        data = self._folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(self._prepared, data)
        told = mmap.mmap(-1, len(self._acts))
        gate_read, gate_write = os.pipe()
        ready_read, ready_write = os.pipe()
        pid = os.fork()
        if not pid:
            _exit_with(lambda: self._act(data, told, gate_read, ready_write))
        os.read(ready_read, 1)
        tracer = subprocess.Popen(["strace", "-p", str(pid), *strace], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if "attached" not in line:
            os.kill(pid, 9)
            raise SystemExit(f"strace cannot be used here: {line.strip()}")
        os.write(gate_write, b"g")
        status = os.waitstatus_to_exitcode(_wait(pid))
        tracer.wait(TIMEOUT_S)
        for fd in (gate_read, gate_write, ready_read, ready_write):
            os.close(fd)
        tracer.stderr.close()
        done = [name for name, mark in zip(self._acts, told, strict=True) if mark == b"d"]
        failed = [name for name, mark in zip(self._acts, told, strict=True) if mark == b"f"]
        faults = [] if status in (0, -9) else [f"the process ended with {status}"]
        faults += _in_child(lambda: self._look(data, done))
        return Outcome(done, failed, faults, status == -9)

    def _prepare(self) -> None:
        archive = _open(self._prepared)
        lock = archive.tree.daemon_lock()
        for ds in (self._objects.kept, self._objects.old, self._objects.same, self._objects.gone):
            put(archive, ds)
        archive.close()
        lock.release(cleanly=True)

    def _act(self, data: Path, told: mmap.mmap, gate: int, ready: int) -> None:
        archive = _open(data)
        lock = archive.tree.daemon_lock()
        prepare(archive, lock)
        os.write(ready, b"r")
        poll = select.poll()  # a call that nobody injects anything into
        poll.register(gate, select.POLLIN)
        poll.poll()
        for number, act in enumerate(self._acts.values()):
            try:
                act(archive, self._objects)
                told[number] = ord("d")
            except (MinipacsError, OSError):
                told[number] = ord("f")
        os._exit(0)  # unclean on purpose: what is left is looked at as after a crash

    def _look(self, data: Path, done: list[str]) -> list[str]:
        """Recover, then say what is not as it must be."""
        archive = _open(data)
        lock = archive.tree.daemon_lock()
        prepare(archive, lock)
        faults = list(self._wrong(archive, done)) + list(_untidy(archive, data))
        archive.close()
        lock.release(cleanly=True)
        return faults

    def _wrong(self, archive: Archive, done: list[str]) -> Iterator[str]:
        objects = self._objects
        allowed: dict[str, list[Dataset | None]] = {
            "kept": [objects.kept],
            "same": [objects.same],
            "new": [objects.new] if "store" in done else [objects.new, None],
            "old": [objects.replacement] if "replace" in done else [objects.old, objects.replacement],
            "gone": [None] if "delete" in done else [objects.gone, None],
        }
        for name, states in allowed.items():
            found = _data_of(archive, getattr(objects, name).SOPInstanceUID)
            if not any(found == (state and encode(state)) for state in states):
                yield f"{name} is {'not there' if found is None else 'another one'} after {done}"
        if _data_of(archive, objects.old.SOPInstanceUID) == encode(objects.replacement):
            quarantined = [archive.tree.quarantine.open(each.digest).read() for each in archive.tree.quarantine.files()]
            if not any(raw.endswith(encode(objects.old)) for raw in quarantined):
                yield "what was replaced is in no quarantine"


def sample(count: int, most: int) -> list[int]:
    """Take numbers from 1 to `count`, evenly, at most so many."""
    step = max(count / most, 1) if most else count
    return sorted({int(1 + at * step) for at in range(min(count, most))})


def _data_of(archive: Archive, sop_instance_uid: str) -> bytes | None:
    """Read an object as a peer that takes only uncompressed ones gets it; None if there is no row."""
    found = archive.index.instance(sop_instance_uid)
    if found is None:
        return None
    with archive.reader.open(found, EXPLICIT_VR_LITTLE_ENDIAN, memoryview(bytearray(1 << 16))) as data_set:
        return b"".join(bytes(piece) for piece in data_set.pieces())


def _untidy(archive: Archive, data: Path) -> Iterator[str]:
    with closing(sqlite3.connect(data / "index.db")) as index:
        digests = {row[0] for row in index.execute("SELECT digest FROM instance WHERE availability = 'ONLINE'")}
        if index.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            yield "the index is damaged"
    files = {path.stem for path in published(data)}
    if files - digests:
        yield f"{len(files - digests)} files without a row"
    if digests - files:
        yield f"{len(digests - files)} rows without a file"
    left = [path for path in data.glob("incoming/*") if path.stat().st_size]
    if left:
        yield f"{len(left)} unfinished files left"


def _open(data: Path) -> Archive:
    return Archive.open(data, StoragePolicy(duplicates="replace"), recovers=True)


def _wait(pid: int) -> int:
    """Wait for a process; one that hangs is killed."""
    ends_at = time.monotonic() + TIMEOUT_S
    while time.monotonic() < ends_at:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    os.kill(pid, 14)
    return os.waitpid(pid, 0)[1]


def _in_child(call: Callable[[], Any]) -> Any:
    """Call in a process of its own: no connection, lock or cache is shared with what comes after."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)

        def tell() -> None:
            with open(write, "wb") as out:
                try:
                    pickle.dump(call(), out)
                except BaseException:
                    pickle.dump([traceback.format_exc()], out)
                    raise

        _exit_with(tell)
    os.close(write)
    with open(read, "rb") as answer:
        raw = answer.read()
    os.waitpid(pid, 0)
    return pickle.loads(raw)


def _exit_with(call: Callable[[], None]) -> None:
    logging.disable()
    status = 1
    try:
        call()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
