"""Telling when a study is complete, from the feed of changes and from what modalities say of it.

An open study is complete by the first of these that is so: `mpps`, all performed steps of it are over and what they
made is here; `commitment`, a sender had all of it committed; `count`, as many series and instances are here as its
objects say; `quiet`, nothing came for a while, and none of its senders has an association open. What comes later opens
it again.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from minipacs.archive.archive import Archive
from minipacs.archive.scan import given_counts
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.workflow import commitment, performed_step
from minipacs.errors import DataSetError, Failure, Kind
from minipacs.index import Query, StoredInstance
from minipacs.index.engine.connection import Connection
from minipacs.index.ledger.changes import Completion, Event
from minipacs.index.ledger.open_studies import Open
from minipacs.index.workflow.performed_steps import Performed

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""Between two looks at the feed."""
EVENTS_A_COMMIT = 500
LOOK_AT_ALL_S = 60.0
"""How often each open study is looked at, also if nothing has told that it may be complete."""
EVIDENCE_MARGIN_S = 5.0
"""What modalities said is read again for so long, since it is dated before it is committed."""
STEPS_BEFORE_S = 7 * 86400.0
"""A performed step was begun, and commitment asked for, at most so long before the first object came."""


class Follower(Protocol):
    """Somebody who acts on what the watch finds, in the same commit as it."""

    def came(self, events: Sequence[Event]) -> Callable[[Connection], None]:
        """Look at changes; what is returned does what follows from them."""

    def complete(self, study: Open, reason: Completion) -> Callable[[Connection], None]:
        """Look at a study that is complete; what is returned does what follows from it."""


class StudyWatch:
    """Reads the feed, one process at a time; `is_connected` tells of an AE title whether it has an association."""

    def __init__(
        self,
        archive: Archive,
        quiet_s: float,
        is_connected: Callable[[str], bool],
        followers: Sequence[Follower],
        stopping: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._studies = archive.index.open_studies
        self._quiet_s = quiet_s
        self._is_connected = is_connected
        self._followers = followers
        self._stopping = stopping
        self._wake = wake
        self._seen: dict[str, float] = {}
        self._evidence_at = 0.0
        self._all_at = float("-inf")

    def work(self) -> float:
        """Read what is new and look at studies that may be complete; returns the seconds until the next look.

        Raises Failure.
        """
        found = False
        while not self._stopping() and (events := self._next()):
            self._studies.take(events, events[-1].seq, _all([follower.came(events) for follower in self._followers]))
            found = True
        began_at, began = time.time(), time.monotonic()
        opened = self._studies.all()
        studies = self._due(opened)
        if studies:
            evidence = _Evidence(self._archive, studies)
            for study in studies:
                found |= not self._stopping() and self._look(study, evidence)
        if len(studies) == len(opened):
            self._all_at = began
        self._seen = {study.study_uid: study.changed_at for study in opened}
        self._evidence_at = began_at
        if found and self._followers:
            self._wake()
        return INTERVAL_S

    def _due(self, studies: Sequence[Open]) -> list[Open]:
        """Choose those that may be complete: objects came, a modality has said something, or nothing came for long."""
        if time.monotonic() - self._all_at >= LOOK_AT_ALL_S:
            return list(studies)
        since = min(self._evidence_at, time.time()) - EVIDENCE_MARGIN_S
        told = self._told_since(since) if studies else frozenset()
        return [
            study
            for study in studies
            if self._seen.get(study.study_uid) != study.changed_at
            or not told.isdisjoint((study.study_uid, *study.sources))
            or self._quiet(study)
        ]

    def _told_since(self, since: float) -> frozenset[str]:
        """Return of which studies, and to which AE titles, something was said that may complete a study."""
        index = self._archive.index
        steps = index.performed_steps.changed_since(since)
        studies = {uid for step in steps for uid, _ in performed_step.scheduled_steps(step.values)}
        return frozenset({*studies, *(ae_title for ae_title, _ in index.commitments.reported_since(since))})

    def _next(self) -> list[Event]:
        index, seen = self._archive.index, self._studies.seen()
        try:
            return index.changes(seen, EVENTS_A_COMMIT)
        except Failure as failure:
            if failure.kind is not Kind.NOT_FOUND:
                raise
        forgotten = index.forgotten_changes()
        fields = {"from": seen, "to": forgotten}
        logger.error("changes were forgotten before studies were watched", extra={"fields": fields})
        self._studies.take((), forgotten, _all(()))
        return index.changes(forgotten, EVENTS_A_COMMIT)

    def _look(self, study: Open, evidence: "_Evidence") -> bool:
        """Tell that a study is complete, if it is."""
        instances = self._archive.index.instances({"StudyInstanceUID": [study.study_uid]})
        if not instances:
            self._studies.forget(study)
            return False
        reason = evidence.of(study, instances) or self._quiet(study)
        if reason is None:
            return False
        within = _all([follower.complete(study, reason) for follower in self._followers])
        if not self._studies.complete(study, reason, within):
            return False
        fields = {"study_uid": study.study_uid, "reason": reason, "instances": len(instances)}
        logger.info("study complete", extra={"fields": fields})
        return True

    def _quiet(self, study: Open) -> Completion | None:
        """Tell whether it was left alone for long enough; a clock that was set back does not make it wait."""
        if 0 <= time.time() - study.changed_at < self._quiet_s:
            return None
        return None if any(map(self._is_connected, study.sources)) else "quiet"


class _Evidence:
    """What modalities said since the first of some studies was begun."""

    def __init__(self, archive: Archive, studies: Iterable[Open]) -> None:
        self._archive = archive
        since = min(study.began_at for study in studies) - STEPS_BEFORE_S
        self._steps: dict[str, list[Performed]] = {}
        for step in archive.index.performed_steps.changed_since(since):
            for study_uid in dict.fromkeys(uid for uid, _ in performed_step.scheduled_steps(step.values)):
                self._steps.setdefault(study_uid, []).append(step)
        self._safe: dict[str, set[str]] = {}
        for ae_title, report in archive.index.commitments.reported_since(since):
            self._safe.setdefault(ae_title, set()).update(commitment.safe(report))

    def of(self, study: Open, instances: Sequence[StoredInstance]) -> Completion | None:
        """Tell by what a study is complete, None if by nothing."""
        here = {instance.sop_instance_uid for instance in instances}
        if self._performed(study, here):
            return "mpps"
        if any(here <= self._safe.get(source, set()) for source in study.sources):
            return "commitment"
        return "count" if self._counted(study, here) else None

    def _performed(self, study: Open, here: set[str]) -> bool:
        steps = self._steps.get(study.study_uid, [])
        made = {uid for step in steps for uid in performed_step.referenced(step.values)}
        return bool(made) and made <= here and all(step.status in performed_step.FINAL for step in steps)

    def _counted(self, study: Open, here: set[str]) -> bool:
        try:
            series, instances = map(_number, given_counts(self._archive.tree, study.last_digest))
        except (OSError, DataSetError):
            return False
        if not instances or len(here) < instances:
            return False
        asked = Query("SERIES", [(BY_KEYWORD["StudyInstanceUID"], study.study_uid)], ())
        return not series or self._archive.index.count(asked, series) == series


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _all(works: Sequence[Callable[[Connection], None]]) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        for one in works:
            one(connection)

    return work
