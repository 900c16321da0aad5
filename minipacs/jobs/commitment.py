"""Storage Commitment when no request is waited for: reading objects again, telling peers (PS3.4 J.3.3)."""

import logging
from collections.abc import Callable, Sequence, Set

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import Reference, Sending
from minipacs.archive.intact import is_intact
from minipacs.audit.audit import Audit, application_entity
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.sop_classes import STORAGE_COMMITMENT
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.dicom.workflow.commitment import report
from minipacs.index.ledger.queue import Item
from minipacs.index.workflow.commitments import Pending, References
from minipacs.jobs.background import Job
from minipacs.jobs.deliveries import Deliveries, retry_s
from minipacs.net.access import Caller, Peer
from minipacs.net.association import Association
from minipacs.net.ending import AssociationEnded
from minipacs.net.requestor import AssociationRefused, Requestor
from minipacs.net.wire.bell import Bell, ring
from minipacs.net.wire.negotiation import ProposedContext
from minipacs.scu.event_report import context_for_events, tell

logger = logging.getLogger(__name__)

BELL_GRACE_S = 2.0
"""How long an association that was rung for has time to tell its peer; then another one is opened."""
GIVEN_UP_S = 3 * 86400.0
"""A peer that does not acknowledge is given up when it was left alone for so long in all."""
READING_LEASE_S = 86400.0
"""To read all objects of a request; it ends earlier with the process that has it."""
LEASE_MARGIN_S = 10.0
_NOBODY_TO_CALL = "no [[peer]] of this title has a host to call"
"""Stays so until the configuration changes: it is worth one line of the log, not one each quarter of an hour."""


class CommitmentJobs:
    """Works on the commitments of an archive. `sop_classes` are those whose objects are stored.

    `stopping` tells a long job to leave off: what it was at is done anew by the next process. `wake` is called when
    there is a peer to tell.
    """

    def __init__(
        self,
        ae_title: str,
        archive: Archive,
        requestor: Requestor,
        destination: Callable[[str], Peer | None],
        sop_classes: Set[str],
        audit: Audit,
        stopping: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._ae_title = ae_title
        self._archive = archive
        self._requestor = requestor
        self._destination = destination
        self._sop_classes = sop_classes
        self._audit = audit
        self._stopping = stopping
        queues = archive.index.commitments
        reading = Deliveries(queues.reading, self._read, READING_LEASE_S, stopping, wake, max_threads=1)
        telling = Deliveries(queues.telling, self._tell, _lease_s(requestor), stopping, wake)
        self.jobs: tuple[Job, ...] = (reading.work, telling.work)

    def _read(self, item: Item) -> None:
        """Read what was asked for and write the report."""
        commitments = self._archive.index.commitments
        pending = commitments.get(int(item.key))
        if pending is None:
            commitments.reading.change(lambda connection: commitments.reading.done(connection, item))
            return
        results = self._results(commitments.objects(pending.id))
        if results is None:
            commitments.reading.change(lambda connection: commitments.reading.give_back(connection, item))
            return
        self._archive.make_durable()
        commitments.report(item, report(self._ae_title, pending.transaction_uid, results))
        self._tell_trail(pending, results)
        failed = sum(reason != 0 for _, _, reason in results)
        fields = {**_fields(pending), "objects": len(results), "failed": failed or None}
        level = logging.WARNING if failed else logging.INFO
        logger.log(level, "objects read for commitment", extra={"fields": fields})

    def _tell_trail(self, pending: Pending, results: Sequence[tuple[str, str, int]]) -> None:
        """Tell the audit trail which objects a peer is told to be safe here, and which not to be."""
        peer = self._destination(pending.ae_title)
        who = application_entity(pending.ae_title, peer.host if peer else "", is_requestor=True)
        objects = [Reference(*pair) for *pair, _ in results]
        index, us = self._archive.index, self._audit.node
        with Sending(self._audit, index, objects, us, source=who, begins=False) as told:
            for one, (_, _, reason) in zip(objects, results, strict=True):
                told.answered(one, f"not committed: {reason:04X}" if reason else "")

    def _results(self, objects: References) -> list[tuple[str, str, int]] | None:
        """Give the failure reason of each object, 0 for one that is safe; None if it is time to stop."""
        found: list[tuple[str, str, int]] = []
        for sop_class_uid, sop_instance_uid in objects:
            if self._stopping():
                return None
            found.append((sop_class_uid, sop_instance_uid, self._reason(sop_class_uid, sop_instance_uid)))
        return found

    def _reason(self, sop_class_uid: str, sop_instance_uid: str) -> int:
        """Say why an object cannot be committed (PS3.3 C.14.1.1), 0 if its bytes are those that were acknowledged."""
        index = self._archive.index
        instance = index.instance(sop_instance_uid)
        if instance is None:
            known = sop_class_uid in self._sop_classes
            return statuses.NO_SUCH_SOP_INSTANCE if known else statuses.SOP_CLASS_NOT_SUPPORTED
        if instance.sop_class_uid != sop_class_uid:
            return statuses.CLASS_INSTANCE_CONFLICT
        if is_intact(self._archive.tree, index, instance):
            return 0
        again = index.instance(sop_instance_uid)
        if again is not None and again.digest != instance.digest and is_intact(self._archive.tree, index, again):
            return 0  # it was replaced while it was read
        return statuses.PROCESSING_FAILURE

    def _tell(self, item: Item) -> None:
        """Tell a peer, at first by ringing for the association it asked on, then over one of our own."""
        commitments = self._archive.index.commitments
        pending = commitments.get(int(item.key))
        if pending is None:
            commitments.acknowledge(item)
        elif pending.bell and not pending.was_rung:
            commitments.leave_to_bell(item, BELL_GRACE_S)  # first: who hears the bell takes the lease
            if not ring(pending.bell):
                commitments.bring_forward(item)
        elif item.waited_s >= GIVEN_UP_S:
            commitments.expire(item)
            logger.error("commitment given up", extra={"fields": _fields(pending)})
        elif (peer := self._destination(pending.ae_title)) is None:
            _postpone(self._archive, pending, item, _NOBODY_TO_CALL)
        else:
            self._call(pending, item, peer)

    def _call(self, pending: Pending, item: Item, peer: Peer) -> None:
        proposed = ProposedContext(1, STORAGE_COMMITMENT, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))
        event = self._archive.index.commitments.event(pending.id)
        try:
            association = self._requestor.called(pending.called_ae_title).open(
                peer, [proposed], roles={STORAGE_COMMITMENT: (False, True)}
            )
        except AssociationRefused as error:
            _postpone(self._archive, pending, item, str(error), is_away=True)
            return
        context = context_for_events(association.contexts.values())
        if context is None:
            association.release()
            _postpone(self._archive, pending, item, "the peer does not take events of Storage Commitment")
            return
        try:
            status = tell(association, context, 1, event)
        except AssociationEnded as ended:
            association.end(ended)
            _postpone(self._archive, pending, item, _ended(ended))
            return
        association.release()
        _conclude(self._archive, pending, item, status)


def answer_bell(
    archive: Archive, wake: Callable[[], None], bell: Bell, association: Association, caller: Caller
) -> None:
    """Tell the peer of an association whose bell has rung what it waits for. Raises AssociationEnded.

    `wake` is called when what was put off has another time.
    """
    bell.answer()
    context = context_for_events(association.contexts.values())
    if context is None:
        return
    commitments = archive.index.commitments
    for pending in commitments.at_bell(bell.address, caller.ae_title):
        item = commitments.telling.claim_key(str(pending.id), association.timeouts.dimse + LEASE_MARGIN_S)
        if item is None:
            continue
        try:
            status = tell(association, context, pending.id % 0xFFFF + 1, commitments.event(pending.id))
            _conclude(archive, pending, item, status, caller.association_id)
        except AssociationEnded as ended:
            _postpone(archive, pending, item, _ended(ended))
            raise
        finally:
            wake()


def _conclude(
    archive: Archive, pending: Pending, item: Item, status: int | None, association_id: str | None = None
) -> None:
    """Close a commitment whose event was acknowledged; what was refused or not answered is tried again."""
    if status is not None and statuses.category(status) in ("success", "warning"):
        archive.index.commitments.acknowledge(item)
        fields = {"association": association_id, **_fields(pending), "status": f"{status:04X}"}
        logger.info("N-EVENT-REPORT", extra={"fields": fields})
        return
    fault = "no answer to the event" if status is None else f"event refused with status {status:04X}"
    _postpone(archive, pending, item, fault)


def _postpone(archive: Archive, pending: Pending, item: Item, fault: str, *, is_away: bool = False) -> None:
    """Put off what could not be told, for longer each time; if the peer is away, so what else waits for it."""
    delay_s = retry_s(item)
    archive.index.commitments.postpone(item, delay_s, fault, is_away=is_away)
    fields = {**_fields(pending), "reason": fault, "attempt": item.attempts + 1, "retry_s": delay_s}
    level = logging.DEBUG if item.attempts and fault == _NOBODY_TO_CALL else logging.WARNING
    logger.log(level, "N-EVENT-REPORT failed", extra={"fields": fields})


def _ended(ended: AssociationEnded) -> str:
    return f"association {ended.outcome} {ended.reason}".rstrip()


def _lease_s(requestor: Requestor) -> float:
    limits = requestor.timeouts
    return limits.connect + 2 * limits.acse + limits.dimse + LEASE_MARGIN_S


def _fields(pending: Pending) -> dict[str, object]:
    return {"peer": pending.ae_title, "transaction_uid": pending.transaction_uid}
