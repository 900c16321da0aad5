"""The lock among writers: waited for as long as is said, by processes and threads alike."""

import fcntl
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minipacs.errors import Failure, Kind
from minipacs.index.engine import lock as lock_module
from minipacs.index.engine.lock import WriterLock

DEADLINE_S = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db.lock"


@pytest.fixture
def lock(path: Path) -> Iterator[WriterLock]:
    lock = WriterLock(path)
    yield lock
    lock.close()


@pytest.fixture
def other(path: Path, lock: WriterLock) -> Iterator[WriterLock]:
    """Give the lock as another process has it."""
    other = WriterLock(path)
    yield other
    other.close()


def test_a_lock_that_others_hold_is_given_up_in_time(lock: WriterLock, other: WriterLock):
    before = threading.active_count()
    with other.held(0):
        for _ in range(3):
            with pytest.raises(Failure, match="index busy") as refused, lock.held(0.01):
                pass
            assert refused.value.kind is Kind.BUSY
        assert threading.active_count() <= before + 1, "one thread waits, however often it was given up"
    with lock.held(DEADLINE_S), pytest.raises(Failure), other.held(0.01):
        pass


def test_waiting_for_threads_and_for_processes_has_one_limit(lock: WriterLock, monkeypatch: pytest.MonkeyPatch):
    now, left = 100.0, []

    class Within:
        def acquire(self, timeout: float) -> bool:
            nonlocal now
            now += 20
            left.append(timeout)
            return True

        def release(self) -> None:
            pass

    acquire = lock._acquire
    monkeypatch.setattr(lock_module, "monotonic", lambda: now)
    monkeypatch.setattr(lock, "_within", Within())
    monkeypatch.setattr(lock, "_acquire", lambda timeout_s: (left.append(timeout_s), acquire(timeout_s))[1])
    with lock.held(30):
        assert left == [30, 10]


def test_a_lock_that_is_waited_for_is_got(lock: WriterLock, other: WriterLock):
    begun, order = threading.Event(), []

    def wait() -> None:
        begun.set()
        with lock.held(DEADLINE_S):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with other.held(0):
            waiting = pool.submit(wait)
            begun.wait(DEADLINE_S)
            order.append("first")
        waiting.result(DEADLINE_S)
    assert order == ["first", "second"]


def test_what_nobody_waits_for_any_more_is_let_go(path: Path, lock: WriterLock, other: WriterLock):
    with other.held(0), pytest.raises(Failure), lock.held(0.01):
        pass
    fd = os.open(path, os.O_RDWR)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fcntl.flock, fd, fcntl.LOCK_EX).result(DEADLINE_S)
    os.close(fd)


def test_threads_exclude_each_other(lock: WriterLock):
    with lock.held(0), ThreadPoolExecutor(1) as pool:

        def enter() -> None:
            with lock.held(0.01):
                pass

        assert isinstance(pool.submit(enter).exception(DEADLINE_S), Failure)


def test_who_is_alone_knows_it(path: Path, lock: WriterLock, other: WriterLock):
    assert (lock.is_alone, other.is_alone) == (True, False)


def test_the_next_one_is_alone_again(path: Path):
    for _ in range(2):
        lock = WriterLock(path)
        assert lock.is_alone
        lock.close()
