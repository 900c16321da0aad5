"""Looking for studies that are complete costs what has changed, not what is open."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from minipacs.archive.archive import Archive
from minipacs.index.engine.database import Database
from minipacs.jobs import study_watch
from minipacs.jobs.study_watch import StudyWatch
from tests.support.objects import ct
from tests.support.storing import put

STATEMENTS_A_LOOK = 8
"""Reads of the index by a look that finds nothing to do."""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often the index is read."""
    count = [0]
    lend = Database.reader

    @contextmanager
    def reader(self: Database, *given: Any) -> Iterator[Any]:
        count[0] += 1
        with lend(self, *given) as connection:
            yield connection

    monkeypatch.setattr(Database, "reader", reader)
    return count


def watch(archive: Archive, quiet_s: float = 3000) -> StudyWatch:
    return StudyWatch(archive, quiet_s, lambda ae_title: False, [], lambda: False, lambda: None)


def cost(reads: list[int], work: Callable[[], object]) -> int:
    before = reads[0]
    work()
    return reads[0] - before


@pytest.mark.parametrize("studies", [3, 40])
def test_studies_of_which_nothing_is_new_are_not_looked_at(
    open_archive: Callable[..., Archive], reads: list[int], studies: int
):
    archive = open_archive()
    for _ in range(studies):
        put(archive, ct(4))
    seen = watch(archive)
    assert cost(reads, seen.work) > studies, "each is looked at when its objects came"
    assert cost(reads, seen.work) <= STATEMENTS_A_LOOK
    put(archive, ct(4))
    assert cost(reads, seen.work) <= STATEMENTS_A_LOOK + 4, "the new one alone"


def test_all_are_looked_at_now_and_then(
    open_archive: Callable[..., Archive], reads: list[int], monkeypatch: pytest.MonkeyPatch
):
    archive = open_archive()
    for _ in range(20):
        put(archive, ct(4))
    seen = watch(archive)
    seen.work()
    monkeypatch.setattr(study_watch, "LOOK_AT_ALL_S", 0)
    assert cost(reads, seen.work) > 20


@pytest.mark.parametrize("jump_s", [-366 * 86400, 366 * 86400])
def test_a_clock_that_jumps_a_year_leaves_no_study_open(
    open_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch, jump_s: int
):
    archive = open_archive()
    put(archive, ct(4))
    seen = watch(archive)
    seen.work()
    assert len(archive.index.open_studies.all()) == 1
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump_s)
    seen.work()
    assert archive.index.open_studies.all() == [], "what is dated otherwise than now has been left alone"
    told = [(event.action, event.reason) for event in archive.index.changes(0)]
    assert told == [("create", ""), ("complete", "quiet")]
