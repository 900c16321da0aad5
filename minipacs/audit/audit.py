"""What the archive tells the audit trail with: single events, and sums of what goes over an association."""

import errno
import itertools
import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minipacs.audit import codes, events
from minipacs.audit.message import (
    Action,
    EventOutcome,
    Message,
    Participant,
    PatientObject,
    Source,
    StudyObject,
    encode,
)
from minipacs.audit.spool import SpoolWriter

TICK_S = 1.0
"""Calls of `tick` that come sooner do nothing."""
MAX_SUM_S = 60.0
MAX_SUM_INSTANCES = 1000
INTERIM_S = 5.0
"""A sum is told after a minute or a thousand instances, and spooled as it stands every five seconds."""
MAX_SUMS = 64
"""Sums of one association; beyond, the oldest is told."""

SEVERITIES = {
    EventOutcome.SUCCESS: 5,
    EventOutcome.MINOR_FAILURE: 4,
    EventOutcome.SERIOUS_FAILURE: 3,
    EventOutcome.MAJOR_FAILURE: 2,
}
"""Severities of syslog (RFC 5424 6.2.1)."""


class Audit:
    """The audit trail of one process; safe to use from any thread.

    Without a spool nothing is told, at no cost. With one, `tell` returns when the kernel has the message: it never
    waits for a file to be synced or for a collector. `node` is this archive as a participant, `process` this process
    of it.
    """

    def __init__(self, spool: SpoolWriter | None, source: Source, *, queries: bool = True, ae_title: str = "") -> None:
        self._spool = spool
        self._source = source
        self._lock = threading.Lock()
        self._open: set[Transfers] = set()
        self._numbers = itertools.count(int.from_bytes(os.urandom(6), "big") << 16)
        self.is_on = spool is not None
        self.tells_queries = self.is_on and queries
        self._ticked_at = -TICK_S
        title = ae_title or source.id
        self.node = application_entity(title, socket.gethostname())
        self.process = Participant(str(os.getpid()), alternative_user_id=f"AETITLES={title}")

    def tell(self, message: Message) -> None:
        """Put one event into the trail."""
        self.tell_sum(message, 0, interim=False)

    def transfers(
        self, source: Participant, destination: Participant, others: Sequence[Participant] = ()
    ) -> "Transfers":
        """Begin to sum what goes from `source` to `destination`."""
        return Transfers(self, source, destination, others)

    def tick(self) -> None:
        """Spool the sums that are due, and tell of a gap that is over; to be called every second or so."""
        now = time.monotonic()
        if self._spool is None or now - self._ticked_at < TICK_S:
            return
        self._ticked_at = now
        with self._lock:
            transfers = list(self._open)
        for each in transfers:
            each.tick()
        dropped = self._spool.take_dropped()
        if dropped:
            self._tell_gap(dropped)

    def close(self) -> None:
        """Tell all sums and let go of the spool."""
        with self._lock:
            transfers = list(self._open)
        for each in transfers:
            each.close()
        if self._spool is not None:
            self._spool.close()

    def number(self) -> int:
        """Give a number for a sum that no other process gives."""
        return next(self._numbers) & 0xFFFF_FFFF_FFFF_FFFF

    def watch(self, transfers: "Transfers") -> None:
        """Let `tick` see to sums from now on."""
        with self._lock:
            self._open.add(transfers)

    def forget(self, transfers: "Transfers") -> None:
        """Leave sums that are told."""
        with self._lock:
            self._open.discard(transfers)

    def tell_sum(self, message: Message, number: int, *, interim: bool) -> None:
        """Put a sum into the trail, as it stands if `interim`."""
        if self._spool is not None:
            severity = SEVERITIES[message.outcome]
            self._spool.append(encode(message, self._source), severity, key=number, interim=interim)

    def _tell_gap(self, dropped: int) -> None:
        description = f"{dropped} messages were lost: the spool was full"
        stopped = events.security_alert(
            codes.AUDIT_RECORDING_STOPPED, self.process, outcome=EventOutcome.SERIOUS_FAILURE, description=description
        )
        self.tell(stopped)
        self.tell(events.security_alert(codes.AUDIT_RECORDING_STARTED, self.process))


@dataclass(slots=True)
class _Sum:
    """Instances of one study, of one patient, that went the same way."""

    patient: PatientObject
    number: int
    action: Action
    outcome: EventOutcome
    description: str
    began_at: float
    spooled_at: float
    instances: int = 0
    sop_classes: dict[str, int] = field(default_factory=dict)
    accession_numbers: dict[str, None] = field(default_factory=dict)
    has_changed: bool = True


class Transfers:
    """Sums what goes over one association, by study, patient, action and outcome; safe to use from any thread."""

    def __init__(
        self, audit: Audit, source: Participant, destination: Participant, others: Sequence[Participant]
    ) -> None:
        self._audit = audit
        self._parties = source, destination, tuple(others)
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str, Action, EventOutcome], _Sum] = {}

    def add(
        self,
        study_instance_uid: str,
        patient: PatientObject,
        sop_class_uid: str,
        *,
        action: Action,
        outcome: EventOutcome = EventOutcome.SUCCESS,
        accession_number: str = "",
        description: str = "",
    ) -> None:
        """Count one instance; "" is what is not known."""
        if not self._audit.is_on:
            return
        key = study_instance_uid, patient.patient_id, action, outcome
        now = time.monotonic()
        with self._lock:
            found = self._sums.get(key)
            if found is None:
                if not self._sums:
                    self._audit.watch(self)
                elif len(self._sums) >= MAX_SUMS:
                    self._tell(next(iter(self._sums)))
                found = _Sum(patient, self._audit.number(), action, outcome, description, now, now)
                self._sums[key] = found
            found.instances += 1
            found.sop_classes[sop_class_uid] = found.sop_classes.get(sop_class_uid, 0) + 1
            if accession_number:
                found.accession_numbers[accession_number] = None
            found.has_changed = True
            if found.instances >= MAX_SUM_INSTANCES:
                self._tell(key)

    def tick(self) -> None:
        """Tell the sums that have gone on for long; spool the others as they stand."""
        now = time.monotonic()
        with self._lock:
            for key, found in list(self._sums.items()):
                if now - found.began_at >= MAX_SUM_S:
                    self._tell(key)
                elif found.has_changed and now - found.spooled_at >= INTERIM_S:
                    self._audit.tell_sum(self._message(key[0], found), found.number, interim=True)
                    found.has_changed, found.spooled_at = False, now

    def close(self) -> None:
        """Tell all of it: the association has ended."""
        with self._lock:
            for key in list(self._sums):
                self._tell(key)
        self._audit.forget(self)

    def _tell(self, key: tuple[str, str, Action, EventOutcome]) -> None:
        found = self._sums.pop(key)
        self._audit.tell_sum(self._message(key[0], found), found.number, interim=False)

    def _message(self, study_instance_uid: str, found: _Sum) -> Message:
        source, destination, others = self._parties
        study = StudyObject(study_instance_uid, dict(found.sop_classes), tuple(found.accession_numbers))
        return events.instances_transferred(
            source,
            destination,
            [study],
            found.patient,
            action=found.action,
            outcome=found.outcome,
            others=others,
            description=found.description,
        )


def application_entity(title: str, address: str, *, is_requestor: bool = False) -> Participant:
    """Name an Application Entity as a participant: `address` is where it is, an IP address or a name, "" if unknown."""
    user_id = f"{title}@{address}" if address else title
    return Participant(user_id, alternative_user_id=f"AETITLES={title}", address=address, is_requestor=is_requestor)


def person(name: str, site: str = "", *, address: str = "", sudo_user: str = "") -> Participant:
    """Name a person as a participant; `sudo_user` is who became `name`."""
    shown = f"{sudo_user} as {name}" if sudo_user else name
    return Participant(f"{shown}@{site}" if site else shown, user_name=sudo_user or name, address=address)


def open_audit(folder: Path, source: Source, *, max_bytes: int, queries: bool, ae_title: str = "") -> Audit:
    """Open the trail of this process in the spool at `folder`, made if missing.

    Raises OSError, also if this process may not write there: what would not be told is not to be done.
    """
    folder.mkdir(mode=0o750, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    return Audit(SpoolWriter(folder, max_bytes), source, queries=queries, ae_title=ae_title)
