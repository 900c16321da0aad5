"""Forgetting by a plan: who goes when, what stays, and how it comes back."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from datetime import time as clock

import pytest

from minipacs.archive.archive import Archive
from minipacs.archive.care import holds, retention
from minipacs.archive.care.leftovers import finish_removals
from minipacs.archive.care.retention import NO_DATE, Planned, Rule
from minipacs.archive.ingest import StoragePolicy
from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.dicom.matching.words import asked, keys_of
from minipacs.dicom.tables.keys import STANDARD_KEYS
from minipacs.errors import Failure, Kind
from minipacs.index.ledger.removal.removals import EXPIRED
from minipacs.jobs.retention import Retention
from tests.support.objects import ct, study
from tests.support.storing import published, put

CT = "1.2.840.10008.5.1.4.1.1.2"
SILENT = Audit(None, Source("US"))
TODAY = date(2026, 11, 24)


def rule(name: str = "ten", *words: str, **settings: object) -> Rule:
    keys = asked(keys_of(words), STANDARD_KEYS, "STUDY")
    usual = Rule(name, keys, 10, 0, "study", 30, (), enabled=True, max_a_day=100)
    return replace(usual, **settings)  # type: ignore[arg-type]


def store(archive: Archive, uid: str, study_date: str, **values: str) -> None:
    put(archive, ct(StudyInstanceUID=uid, StudyDate=study_date, **values))


def planned(archive: Archive, *rules: Rule, days: int = 0, today: date = TODAY) -> list[Planned]:
    return retention.plan(archive.index, rules, today, days)


def uids(found: Sequence[Planned]) -> list[str]:
    return [one.study_uid for one in found]


def expire(archive: Archive, uid: str, by: Rule | None = None) -> int:
    return retention.expire(archive, SILENT, SILENT.node, by or rule(), uid)


def test_what_is_over_goes_the_first_first_and_what_is_not_stays(archive: Archive) -> None:
    store(archive, "1.1", "20161124")
    store(archive, "1.2", "20161125")
    store(archive, "1.3", "20010101")
    assert uids(planned(archive, rule())) == ["1.3", "1.1"]
    assert uids(planned(archive, rule(), days=1)) == ["1.3", "1.1", "1.2"]
    assert planned(archive, rule(), days=1)[2].goes_on == TODAY + timedelta(days=1)
    assert planned(archive) == []


@pytest.mark.parametrize(
    ("begin", "years", "days", "end"),
    [
        ("20160229", 10, 0, date(2026, 3, 1)),
        ("20160229", 4, 0, date(2020, 2, 29)),
        ("20161224", 0, 30, date(2017, 1, 23)),
        ("99990101", 10, 0, date.max),
    ],
)
def test_when_a_time_is_over(begin: str, years: int, days: int, end: date) -> None:
    made = rule(keep_years=years, keep_days=days)
    assert made.expires_on(date(int(begin[:4]), int(begin[4:6]), int(begin[6:]))) == end


def test_the_rule_that_keeps_it_longest_tells(archive: Archive) -> None:
    store(archive, "1.1", "20101124", Modality="MG")
    store(archive, "1.2", "20101124")
    long, short = rule("long", "ModalitiesInStudy=MG", keep_years=30), rule("short")
    for rules in ((long, short), (short, long)):
        assert [(one.study_uid, one.rule) for one in planned(archive, *rules)] == [("1.2", "short")]
    assert [one.rule for one in planned(archive, short, long, days=366 * 20)] == ["short", "long"]


def test_without_a_date_nothing_goes_and_that_is_told(archive: Archive) -> None:
    store(archive, "1.1", "")
    (one,) = planned(archive, rule())
    assert (one.goes_on, one.why_not) == (None, NO_DATE)
    put_at = planned(archive, rule(keep_years=0, keep_days=1, since="received"), today=date.today() + timedelta(days=1))
    assert uids(put_at) == ["1.1"]
    both = rule(), rule("received", keep_years=0, keep_days=1, since="received")
    assert [one.goes_on for one in planned(archive, *both, today=date.today() + timedelta(days=1))] == [None]


def test_no_more_than_so_many_a_day_and_those_of_today_count(archive: Archive) -> None:
    for n in range(7):
        store(archive, f"1.{n}", "20010101")
    three = rule(max_a_day=3)
    today = date.today()
    days = [one.goes_on for one in planned(archive, three, today=today)]
    assert days == [today + timedelta(days=n // 3) for n in range(7)]
    for one in planned(archive, three, today=today)[:2]:
        expire(archive, one.study_uid, three)
    assert [one.goes_on == today for one in planned(archive, three, today=today)] == [True, False, False, False, False]


def test_what_is_held_or_not_yet_where_it_is_to_be_stays(archive: Archive) -> None:
    store(archive, "1.1", "20010101")
    store(archive, "1.2", "20010101")
    holds.hold(archive.tree, archive.index, ["1.1"], by="me", reason="lawsuit", releases=False)
    first, second = planned(archive, rule(needs_copy=("COPY",)))
    assert (first.study_uid, first.why_not) == ("1.1", "held: lawsuit")
    assert (second.study_uid, second.why_not) == ("1.2", "no route has brought all of it to COPY")
    (instance,) = archive.index.instances({"StudyInstanceUID": ["1.2"]})
    archive.index.routed.note("COPY", instance.sop_instance_uid, instance.digest)
    assert planned(archive, rule(needs_copy=("COPY",)))[1].goes_on == TODAY
    with pytest.raises(Failure) as failure:
        expire(archive, "1.1")
    assert failure.value.kind is Kind.HELD
    assert archive.figures().instances == 2


def test_what_went_is_nowhere_and_comes_back_whole(archive: Archive) -> None:
    objects = study(series=2, instances=2)
    for ds in objects:
        put(archive, ds)
    uid = objects[0].StudyInstanceUID
    before = sorted(path.name for path in published(archive.tree.layout.root))
    assert expire(archive, uid) == 4
    assert archive.figures().instances == 0
    assert published(archive.tree.layout.root) == []
    assert archive.index.removals.unfinished() == []
    assert {event.reason for event in archive.index.changes(0) if event.action == "delete"} == {"expired"}
    assert (archive.index.expired.files(), archive.tree.expired.count()) == (4, 4)
    (gone,) = archive.index.expired.all()
    assert (gone.study_uid, gone.rule, gone.instances, gone.removed_at) == (uid, "ten", 4, 0)
    assert retention.restore(archive, uid, {ds.SOPClassUID for ds in objects}, by="me") == 4
    assert sorted(path.name for path in published(archive.tree.layout.root)) == before
    assert (archive.index.expired.all(), archive.tree.expired.count()) == ([], 0)
    assert archive.index.holds.of([uid])[uid].reason == retention.RESTORED
    with pytest.raises(Failure, match="nothing of study"):
        retention.restore(archive, uid, {CT}, by="me")


def test_grace_is_counted_in_days_that_were_seen(archive: Archive) -> None:
    store(archive, "1.1", "20010101")
    today = TODAY
    assert retention.see(archive.index, today)
    expire(archive, "1.1", rule(grace_days=3))
    for day in (today + timedelta(days=1), today + timedelta(days=400)):
        assert retention.see(archive.index, day)
        assert retention.purge(archive) == 0
    assert not retention.see(archive.index, today)  # the clock went back
    assert retention.purge(archive) == 0
    assert retention.see(archive.index, today + timedelta(days=401))
    assert retention.purge(archive) == 1
    assert (archive.index.expired.files(), archive.tree.expired.count()) == (0, 0)
    assert archive.index.expired.all()[0].removed_at > 0


def test_who_is_killed_between_row_and_file_leaves_the_file_to_come_back(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(archive, "1.1", "20010101")

    def die(digest: str, reason: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive.tree, "expire", die)
        with pytest.raises(KeyboardInterrupt):
            expire(archive, "1.1")
    (note,) = archive.index.removals.unfinished()
    assert note.reason == f"{EXPIRED}ten"
    assert finish_removals(archive.tree, archive.index, archive.charset_of) == 1
    assert archive.tree.expired.count() == 1
    assert archive.tree.quarantine.count() == 0
    assert retention.restore(archive, "1.1", {CT}, by="me") == 1


def test_a_lost_index_learns_of_the_files_again(archive: Archive) -> None:
    store(archive, "1.1", "20010101")
    expire(archive, "1.1")
    root = archive.tree.layout.root
    archive.close()
    for path in root.glob("index.db*"):
        path.unlink()
    again = Archive.open(root, StoragePolicy())
    try:
        assert retention.adopt(again, [rule(grace_days=5)]) == 1
        assert retention.adopt(again, [rule(grace_days=5)]) == 0
        assert retention.restore(again, "1.1", {CT}, by="me") == 1
    finally:
        again.close()


class Day(date):
    """The day that the job believes it is."""

    now = TODAY

    @classmethod
    def today(cls) -> date:
        return cls.now


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> type[Day]:
    monkeypatch.setattr("minipacs.jobs.retention.date", Day)
    monkeypatch.setattr(Day, "now", TODAY)
    return Day


def look(archive: Archive, *rules: Rule, stopping: bool = False) -> int:
    """Let a new process look; count what is left."""
    Retention(archive, rules, SILENT, lambda: stopping).work()
    return archive.figures().instances


def test_the_job_lets_go_each_day_what_is_due_but_a_new_rule_waits(
    archive: Archive, day: type[Day], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        store(archive, f"1.{n}", "20010101")
    assert look(archive, rule(max_a_day=1, enabled=False)) == 3
    assert look(archive, rule(max_a_day=2)) == 3, "a rule that was changed waits"
    assert look(archive, rule(max_a_day=2)) == 3, "also for who starts again on the same day"
    day.now += timedelta(days=1)
    monkeypatch.setattr(time, "time", lambda: datetime.combine(day.now, clock(12)).timestamp())
    assert look(archive, rule(max_a_day=2)) == 1
    assert look(archive, rule(max_a_day=2)) == 1, "no more on that day"
    day.now += timedelta(days=1)
    assert look(archive, rule(max_a_day=2)) == 0


def test_a_job_that_is_to_end_leaves_the_rest(archive: Archive, day: type[Day]) -> None:
    for n in range(3):
        store(archive, f"1.{n}", "20010101")
    assert look(archive, rule()) == 3
    day.now += timedelta(days=1)
    assert look(archive, rule(), stopping=True) == 3
    assert look(archive, rule()) == 0
