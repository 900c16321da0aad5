"""Forgetting by a plan: which studies outlive their rule and when each goes, and how they go, in two steps.

Of several rules that a study matches the one that keeps it longest tells. When its time is over, all of a study leaves
the index, for everybody, and its files move to `expired/`, where they can be had back until the time of grace is over.
Held studies, and those that others are to have first, stay. Grace is counted in days on which somebody looked, so that
a clock that jumps a year takes nothing away before its time.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from hashlib import sha256
from itertools import islice
from typing import Literal, TypeVar

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import by_patient, tell_deleted
from minipacs.archive.care.holds import hold
from minipacs.archive.care.quarantine import release, study_of
from minipacs.archive.ports import Catalogue
from minipacs.archive.removal import BATCH, let_go
from minipacs.audit.audit import Audit
from minipacs.audit.message import Participant
from minipacs.dicom.tables.attributes import BY_KEYWORD, Attribute
from minipacs.errors import Failure, Kind
from minipacs.index import Query, ToGo
from minipacs.index.ledger.removal.removals import EXPIRED

_STUDIES_AT_ONCE = 100
MAX_UNDATED = 1000
NO_DATE = "it has no Study Date to count from"
_UID, _DATE = BY_KEYWORD["StudyInstanceUID"], BY_KEYWORD["StudyDate"]
RESTORED = "restored after its retention was over"
UNKNOWN_GRACE_DAYS = 3650
"""Of files of a rule that is no longer in the configuration, after the index was lost."""
_DAYS = "retention_days"
"""Name of the setting that has how many days were seen, and the last of them."""
_RULE = "retention rule "
"""Name, before that of the rule, of the setting that tells it by its hash."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Rule:
    """How long studies that match `keys` are kept; `needs_copy` names peers to which a route must have brought them."""

    name: str
    keys: Sequence[tuple[Attribute, str]]
    keep_years: int
    keep_days: int
    since: Literal["study", "received"]
    grace_days: int
    needs_copy: Sequence[str]
    enabled: bool
    max_a_day: int

    def expires_on(self, begin: date) -> date:
        """Return the first day on which what began then is no longer to be kept; the last of days if there is none."""
        try:
            return _later(begin, self.keep_years) + timedelta(days=self.keep_days)
        except (OverflowError, ValueError):
            return date.max


@dataclass(frozen=True, slots=True)
class Planned:
    """A study whose time is over by a rule, or soon will be: the day on which it goes, or why it does not.

    `expires_on` is the last of days if there is none.
    """

    study_uid: str
    rule: str
    expires_on: date
    goes_on: date | None
    why_not: str = ""


def plan(index: Catalogue, rules: Sequence[Rule], today: date, days: int) -> list[Planned]:
    """Give each study whose time is over by `today` and so many days its day, at most `max_a_day` of a rule on each.

    First come those whose time was over first. Studies without a date, where a rule counts from it, never go by it: the
    first MAX_UNDATED are told. Raises Failure.
    """
    end = today + timedelta(days=days)
    due: dict[str, None] = {}
    undated: list[Planned] = []
    for rule in rules:
        for study_uid, begin in _begun(index, rule):
            if begin is None:
                undated += [Planned(study_uid, rule.name, date.max, None, NO_DATE)] * (len(undated) < MAX_UNDATED)
            elif rule.expires_on(begin) <= end:
                due[study_uid] = None
    planned = [one for part in _parts(list(due)) for one in _longest(index, rules, part) if one.expires_on <= end]
    planned.sort(key=lambda one: (one.expires_on, one.study_uid))
    return [*_with_days(index, {rule.name: rule for rule in rules}, planned, today), *undated]


def _begun(index: Catalogue, rule: Rule, study_uids: Sequence[str] = ()) -> Iterator[tuple[str, date | None]]:
    """Tell of the studies that a rule matches, of these or of all, when its time begins."""
    keys = list(rule.keys)
    if study_uids and all(attribute is not _UID for attribute, _ in keys):
        keys.append((_UID, "\\".join(study_uids)))
    rows = ((row[0], row[1]) for row in index.find(Query("STUDY", keys, [_UID, _DATE], empty_value=True)))
    if rule.since == "study":
        yield from ((uid, _date(text)) for uid, text in rows)
        return
    while part := list(islice(rows, _STUDIES_AT_ONCE)):
        received = index.received_in([uid for uid, _ in part])
        yield from ((uid, date.fromtimestamp(received[uid])) for uid, _ in part if uid in received)


def _longest(index: Catalogue, rules: Sequence[Rule], study_uids: Sequence[str]) -> Iterator[Planned]:
    """Let the rule tell of each study that keeps it longest; one that never lets it go keeps it."""
    found: dict[str, Planned] = {}
    for rule in rules:
        for study_uid, begin in _begun(index, rule, study_uids):
            expires_on = date.max if begin is None else rule.expires_on(begin)
            known = found.get(study_uid)
            if known is None or known.expires_on < expires_on:
                found[study_uid] = Planned(study_uid, rule.name, expires_on, None)
    return (found[uid] for uid in study_uids if uid in found)


def _with_days(
    index: Catalogue, rules: Mapping[str, Rule], planned: Sequence[Planned], today: date
) -> Iterator[Planned]:
    """Say of each study, in their order, on which day it goes, or why it does not."""
    midnight = datetime.combine(today, time()).timestamp()
    last = {name: (today, index.expired.count(name, midnight)) for name in rules}
    for part in _parts(planned):
        held = index.holds.of(one.study_uid for one in part)
        for one in part:
            rule = rules[one.rule]
            why_not = f"held: {held[one.study_uid].reason}" if one.study_uid in held else _lacking(index, rule, one)
            if why_not:
                yield replace(one, why_not=why_not)
                continue
            day, taken = last[one.rule]
            if one.expires_on > day or taken >= rule.max_a_day:
                day, taken = max(one.expires_on, day + timedelta(days=1)), 0
            last[one.rule] = day, taken + 1
            yield replace(one, goes_on=day)


def _lacking(index: Catalogue, rule: Rule, one: Planned) -> str:
    """Say who does not have all of a study that is to have it first, "" if all have."""
    if not rule.needs_copy:
        return ""
    instances = index.instances({"StudyInstanceUID": [one.study_uid]})
    for peer in rule.needs_copy:
        has = index.routed.delivered(peer, [instance.sop_instance_uid for instance in instances])
        if any(has.get(i.sop_instance_uid) != (i.received_digest or i.digest) for i in instances):
            return f"no route has brought all of it to {peer}"
    return ""


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None


def _later(begin: date, years: int) -> date:
    try:
        return begin.replace(year=begin.year + years)
    except ValueError:
        return date(begin.year + years, 3, 1)  # of 29 February


def _parts(everything: Sequence[_T], size: int = _STUDIES_AT_ONCE) -> Iterator[Sequence[_T]]:
    return (everything[begin : begin + size] for begin in range(0, len(everything), size))


def expire(archive: Archive, audit: Audit, who: Participant, rule: Rule, study_uid: str) -> int:
    """Let a study go, all of it; returns how many instances. Raises Failure, HELD if somebody holds it, and OSError."""
    index = archive.index
    instances = index.instances({"StudyInstanceUID": [study_uid]})
    gone = list(by_patient(index, instances)) if audit.is_on else []
    purge_day = days_seen(index) + rule.grace_days
    try:
        for part in _parts([instance.sop_instance_uid for instance in instances], BATCH):
            digests = index.expire(study_uid, part, rule.name, purge_day)
            for digest in digests:
                let_go(archive.tree, index, ToGo(digest, f"{EXPIRED}{rule.name}"))
            archive.tree.sync()  # the note is to outlive the file
            index.removals.forget(digests)
    finally:
        tell_deleted(audit, index, who, gone)
    return len(instances)


def purge(archive: Archive) -> int:
    """Remove the files whose time of grace is over, for good; returns how many. Raises OSError and Failure."""
    count, today = 0, days_seen(archive.index)
    while digests := archive.index.expired.due(today):
        for digest in digests:
            archive.tree.expired.purge(digest)
        archive.tree.sync()
        archive.index.expired.forget(digests)
        count += len(digests)
    return count


def days_seen(index: Catalogue) -> int:
    """Return on how many days somebody has looked, as grace is counted."""
    return int(index.recall(_DAYS).partition(" ")[0] or 0)


def see(index: Catalogue, today: date) -> bool:
    """Take note that it is a new day; false for one that was seen, or lies before one."""
    seen = index.recall(_DAYS).partition(" ")[2]
    if seen and date.fromisoformat(seen) >= today:
        return False
    index.remember(_DAYS, f"{days_seen(index) + 1} {today.isoformat()}")
    return True


def is_new(index: Catalogue, rule: Rule, today: date) -> bool:
    """Tell whether a rule is new today, or was changed: then it only says what it would do."""
    asks = "\0".join(f"{attribute.keyword}={value}" for attribute, value in rule.keys)
    known = sha256(repr((asks, replace(rule, keys=(), enabled=True))).encode()).hexdigest()
    name = f"{_RULE}{rule.name}"
    seen, _, day = index.recall(name).partition(" ")
    if seen == known:
        return day == today.isoformat()
    index.remember(name, f"{known} {today.isoformat()}")
    return True


def adopt(archive: Archive, rules: Sequence[Rule]) -> int:
    """Let the index know of files that it has lost sight of, with a grace that begins anew; returns how many."""
    index, grace = archive.index, {rule.name: rule.grace_days for rule in rules}
    if archive.tree.expired.count() <= index.expired.files():
        return 0
    count = 0
    for file in archive.tree.expired.files():
        if not index.expired.has(file.digest):
            rule = file.reason.removeprefix(EXPIRED)
            purge_day = days_seen(index) + grace.get(rule, UNKNOWN_GRACE_DAYS)
            index.expired.adopt(study_of(archive.tree.expired, file.digest), rule, purge_day, file.digest)
            count += 1
    return count


def restore(archive: Archive, study_uid: str, sop_classes: Set[str], *, by: str) -> int:
    """Store a study again whose time of grace is not over, and hold it; returns how many instances.

    Raises Failure NOT_FOUND if nothing can be had back, OSError, and MinipacsError for a file that is refused.
    """
    expired = archive.index.expired
    digests = expired.files_of(study_uid)
    if not digests:
        raise Failure(Kind.NOT_FOUND, f"nothing of study {study_uid} can be had back")
    hold(archive.tree, archive.index, [study_uid], by=by, reason=RESTORED, releases=False)
    for digest in digests:
        with suppress(FileNotFoundError):  # who was here before ended between the file and its row
            release(archive, archive.tree.expired, digest, sop_classes)
        expired.forget([digest])
    expired.raise_up(study_uid)
    return len(digests)
