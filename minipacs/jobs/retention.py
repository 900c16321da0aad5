"""Letting studies go by their rules, once a day, and removing for good those whose time of grace is over."""

import logging
from collections.abc import Callable, Sequence
from datetime import date

from minipacs.archive.archive import Archive
from minipacs.archive.care import retention
from minipacs.archive.care.retention import Planned, Rule
from minipacs.audit.audit import Audit
from minipacs.errors import Failure, Kind

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 600.0


class Retention:
    """The work in the background; what was left over when a process ended is done by the next."""

    def __init__(self, archive: Archive, rules: Sequence[Rule], audit: Audit, stopping: Callable[[], bool]) -> None:
        self._archive = archive
        self._rules = {rule.name: rule for rule in rules}
        self._audit = audit
        self._stopping = stopping
        self._is_first = True
        self._done_on: date | None = None

    def work(self) -> float:
        """Do what is due; returns the seconds until the next look. Raises OSError and Failure."""
        archive, today = self._archive, date.today()
        if self._is_first:
            retention.adopt(archive, list(self._rules.values()))
            self._is_first = False
        is_later = retention.see(archive.index, today)
        if removed := retention.purge(archive):
            logger.info("grace of retention is over", extra={"fields": {"files_removed": removed}})
        if is_later or self._done_on is None:
            self._done_on = today if self._apply(today) else None
        return LOOK_INTERVAL_S

    def _apply(self, today: date) -> bool:
        """Let go what is due today; false if the process is to end before that is done."""
        index = self._archive.index
        waiting = {name for name, rule in self._rules.items() if retention.is_new(index, rule, today)}
        planned = retention.plan(index, list(self._rules.values()), today, 0) if self._rules else []
        for name in self._rules:
            due = [one for one in planned if one.rule == name and one.goes_on == today]
            fields = {"rule": name, "studies": len(due)}
            if name in waiting or not self._rules[name].enabled:
                logger.info("retention would let studies go", extra={"fields": fields})
                continue
            for one in due:
                if self._stopping():
                    return False
                self._expire(one)
        return True

    def _expire(self, one: Planned) -> None:
        rule = self._rules[one.rule]
        try:
            count = retention.expire(self._archive, self._audit, self._audit.node, rule, one.study_uid)
        except Failure as failure:
            if failure.kind is not Kind.HELD:
                raise
            return
        fields = {"rule": rule.name, "study_uid": one.study_uid, "instances": count, "grace_days": rule.grace_days}
        logger.warning("study let go by retention", extra={"fields": fields})
