"""An archive through its life: stored into, replaced, compressed, emptied, killed and recovered, in any order."""

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pydicom.dataset import Dataset

from minipacs.archive.archive import Archive
from minipacs.archive.care.start import prepare
from minipacs.archive.ingest import StoragePolicy
from minipacs.archive.removal import remove
from minipacs.errors import Failure
from minipacs.index import Outcome
from minipacs.jobs.compression import Compression
from minipacs.pixels.codecs import RLE_LOSSLESS
from tests.support.objects import ct, encode
from tests.support.storing import incoming, published, put, quarantined, rows
from tests.support.wire import EXPLICIT

CALLS = ("open", "write", "writev", "pwrite", "fsync", "fdatasync", "rename", "link", "unlink", "setxattr", "ftruncate")
"""The calls of `os` at which a process is killed; `test_attacks` does so at every system call, in one order of acts."""
NAMES = ("A", "B")
OBJECTS = [ct(16, PatientID=f"P{i}", PixelData=bytes(512)) for i in range(3)]
OUTCOMES = {"replace": Outcome.REPLACED, "keep": Outcome.KEPT, "reject": Outcome.REJECTED}
NUMBERS = st.integers(0, len(OBJECTS) - 1)


def called(number: int, name: str) -> Dataset:
    """Make an object of one UID, with one content or another."""
    made = deepcopy(OBJECTS[number])
    made.PatientName = name
    return made


class Life(RuleBasedStateMachine):
    """An archive, and which name each object was acknowledged with last."""

    kills = 0
    compressed = 0

    def __init__(self) -> None:
        super().__init__()
        self._made = tempfile.TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
        self.folder = Path(self._made.name)
        self.stored: dict[int, str] = {}
        self.archive: Archive

    @initialize(duplicates=st.sampled_from(list(OUTCOMES)))
    def begin(self, duplicates: Any) -> None:
        self.policy = StoragePolicy(duplicates=duplicates)
        self._open()

    def _open(self) -> None:
        self.archive = Archive.open(self.folder, self.policy, recovers=True)
        self.lock = self.archive.tree.daemon_lock()
        prepare(self.archive, self.lock)

    def _close(self) -> None:
        self.archive.close()
        self.lock.release(cleanly=True)

    @rule(number=NUMBERS, name=st.sampled_from(NAMES))
    def store(self, number: int, name: str) -> None:
        before = self.archive.index.instance(OBJECTS[number].SOPInstanceUID)
        was = self.stored.get(number)
        expected = Outcome.ADDED if was is None else Outcome.SAME if was == name else OUTCOMES[self.policy.duplicates]
        if expected is Outcome.REJECTED:
            with pytest.raises(Failure):
                put(self.archive, called(number, name))
            return
        assert put(self.archive, called(number, name)) is expected
        if expected is Outcome.REPLACED:
            assert before is not None
            assert before.digest in quarantined(self.folder)
        if expected is not Outcome.KEPT:
            self.stored[number] = name

    @rule(number=NUMBERS)
    def delete(self, number: int) -> None:
        list(remove(self.archive.tree, self.archive.index, [OBJECTS[number].SOPInstanceUID]))
        self.stored.pop(number, None)

    @rule()
    def compress(self) -> None:
        self._compress(self.archive)

    def _compress(self, archive: Archive) -> None:
        def observe(outcome: str, saved: int) -> None:
            Life.compressed += outcome == "compressed"

        Compression(archive, RLE_LOSSLESS, lambda: False, observe).work()

    @rule()
    def end(self) -> None:
        self._close()
        self._open()

    @rule(at=st.integers(1, 19), number=NUMBERS, name=st.sampled_from(NAMES))
    def kill_while_storing(self, at: int, number: int, name: str) -> None:
        after = name if self.policy.duplicates == "replace" else self.stored.get(number, name)
        self._kill(at, lambda archive: put(archive, called(number, name)), {number: after})

    @rule(at=st.integers(1, 3), number=NUMBERS)
    def kill_while_deleting(self, at: int, number: int) -> None:
        uid = OBJECTS[number].SOPInstanceUID
        self._kill(at, lambda archive: list(remove(archive.tree, archive.index, [uid])), {number: None})

    @rule(at=st.integers(1, 13))
    def kill_while_compressing(self, at: int) -> None:
        self._kill(at, self._compress, {})

    def _kill(self, at: int, act: Callable[[Archive], object], after: dict[int, str | None]) -> None:
        """Kill a process at one of its calls; what it was about may be done or not, but nothing between."""
        self._close()
        was_killed = _killed(lambda: self._act(act, at))
        Life.kills += was_killed
        self._open()
        for number, name in after.items():
            found = self._name_of(number)
            assert found == name or (was_killed and found == self.stored.get(number))
            self.stored.pop(number, None)
            if found is not None:
                self.stored[number] = found

    def _act(self, act: Callable[[Archive], object], at: int) -> None:
        self._open()
        with _dying(at):
            act(self.archive)

    def _name_of(self, number: int) -> str | None:
        """Tell by its bytes, as a peer that takes nothing compressed gets them, which content an object has."""
        found = self.archive.index.instance(OBJECTS[number].SOPInstanceUID)
        if found is None:
            return None
        with self.archive.reader.open(found, EXPLICIT, memoryview(bytearray(1 << 16))) as data_set:
            data = b"".join(bytes(piece) for piece in data_set.pieces())
        return next(name for name in NAMES if encode(called(number, name)) == data)

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        if self.stored:
            assert {number: self._name_of(number) for number in self.stored} == self.stored

    @invariant()
    def files_and_rows_agree_and_nothing_is_half_done(self) -> None:
        if (self.folder / "index.db").exists():
            found = rows(self.folder)
            assert {path.stem for path in published(self.folder)} == set(found)
            assert set(found.values()) <= {"ONLINE"}
            assert len(found) == len(self.stored)
            assert incoming(self.folder) == []

    def teardown(self) -> None:
        if hasattr(self, "archive"):
            self.compress()  # so that some of the lives end with an object that is compressed
            self.what_was_acknowledged_is_there()
            self._close()
        self._made.cleanup()


@contextmanager
def _dying(at: int) -> Iterator[None]:
    """Kill this process at a call of CALLS, counted from now."""
    numbers = count(1)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(numbers) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    yield


def _killed(call: Callable[[], None]) -> bool:
    """Call in a process of its own; tell whether it was killed."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            logging.disable()
            call()
            status = 0
        except Failure:
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def test_what_is_acknowledged_stays_whatever_is_done_and_wherever_it_is_killed() -> None:
    Life.kills = Life.compressed = 0
    found = settings(
        max_examples=10,
        stateful_step_count=15,
        deadline=None,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Life, settings=found)
    assert Life.kills
    assert Life.compressed
