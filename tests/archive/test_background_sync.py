import errno
import logging
import threading

import pytest

from minipacs.archive.background_sync import BackgroundSync

NEVER_S = 3600


class Disk:
    """Counts syncs; each may be held up."""

    def __init__(self):
        self.syncs = 0
        self.fault = None
        self.began = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.may_end.set()

    def sync(self):
        self.syncs += 1
        self.began.release()
        assert self.may_end.wait(10)
        if self.fault:
            raise self.fault


@pytest.fixture
def disk():
    return Disk()


def started(disk, interval_s):
    background = BackgroundSync(disk.sync, interval_s)
    background.start()
    return background


def test_nothing_is_synced_until_something_was_committed(disk):
    started(disk, 0).close()
    assert disk.syncs == 1, "the last one, at the end"


def test_what_is_committed_reaches_the_disk(disk):
    background = started(disk, 0)
    for _ in range(3):
        background.wake()
        assert disk.began.acquire(timeout=10)
    background.close()


def test_there_is_one_sync_an_interval(disk):
    background = started(disk, NEVER_S)
    background.wake()
    assert disk.began.acquire(timeout=10)
    for _ in range(100):
        background.wake()
    background.close()
    assert disk.syncs == 2, "the first at once, the second at the end"


def test_what_is_committed_during_a_sync_waits_for_the_next(disk):
    disk.may_end.clear()
    background = started(disk, 0)
    background.wake()
    assert disk.began.acquire(timeout=10)
    background.wake()
    disk.may_end.set()
    assert disk.began.acquire(timeout=10)
    background.close()


def test_a_fault_is_logged_and_the_next_sync_tried(disk, caplog):
    disk.fault = OSError(errno.EIO, "Input/output error")
    background = started(disk, 0)
    with caplog.at_level(logging.ERROR, "minipacs"):
        background.wake()
        assert disk.began.acquire(timeout=10)
        background.wake()
        assert disk.began.acquire(timeout=10)
        background.close()
    assert caplog.records[0].message == "files not synced"
    assert caplog.records[0].fields == {"reason": "Input/output error"}
