"""What processes show each other: no beat is lost, none is read in halves."""

import os
import signal
import time

import pytest

from minipacs.daemon.processes import process
from minipacs.daemon.processes.process import Control, fork
from minipacs.daemon.slots import Slots


def test_the_first_beat_of_a_child_outlives_whatever_its_parent_shows(monkeypatch):
    """A child may be quicker than its parent, which shows it: the beat must stay."""
    slots = Slots(("jobs", "worker"))

    def fork_and_let_the_child_be_quicker() -> int:
        slots.beat(0)
        return 4711

    monkeypatch.setattr(process.os, "fork", fork_and_let_the_child_be_quicker)
    forked = fork("worker", 1, slots, lambda control: None, [])
    forked.control.close()
    shown = slots.get(0)
    assert (shown.pid, shown.role) == (4711, "worker")
    assert shown.beat_ns > 0


def test_a_fork_that_fails_leaves_its_slot_free(monkeypatch):
    slots = Slots(("jobs", "worker"))

    def fail() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process.os, "fork", fail)
    with pytest.raises(OSError, match="Resource"):
        fork("worker", 1, slots, lambda control: None, [])
    assert slots.get(0) is None
    assert slots.free() == 0


def test_a_beat_is_read_whole():
    slots = Slots(("jobs", "worker"))

    def beat_all_the_time(control: Control) -> None:
        while True:
            slots.beat(control.slot)

    began = time.monotonic_ns()
    child = fork("worker", 1, slots, beat_all_the_time, [])
    try:
        while not slots.get(0).beat_ns:
            os.sched_yield()
        last = 0
        for _ in range(200_000):
            beat = slots.get(0).beat_ns
            assert began <= beat <= time.monotonic_ns()
            assert beat >= last
            last = beat
    finally:
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        child.control.close()


def test_a_slot_that_was_never_beaten_in_says_so():
    slots = Slots(("jobs", "worker"))
    slots.show(3, "jobs")
    assert slots.get(3) is None, "nobody is known to be there yet"
    slots.name(3, 99)
    assert (slots.get(3).pid, slots.get(3).beat_ns) == (99, 0)
    slots.clear(3)
    assert list(slots.all()) == []
