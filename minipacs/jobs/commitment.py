"""Storage Commitment when no request is waited for: reading objects again, telling peers (PS3.4 J.3.3)."""

import logging
import time
from collections.abc import Callable, Set
from dataclasses import dataclass

from minipacs.archive.archive import Archive
from minipacs.archive.intact import is_intact
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.sop_classes import STORAGE_COMMITMENT
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.dicom.workflow.commitment import report
from minipacs.index.workflow.commitments import Pending, References
from minipacs.net.access import Caller, Peer
from minipacs.net.association import Association
from minipacs.net.bell import Bell, ring
from minipacs.net.ending import AssociationEnded
from minipacs.net.negotiation import ProposedContext
from minipacs.net.requestor import AssociationRefused, Requestor
from minipacs.scu.event_report import context_for_events, tell

logger = logging.getLogger(__name__)

BELL_GRACE_S = 2.0
"""How long an association that was rung for has time to tell its peer; then another one is opened."""
FIRST_RETRY_S, MAX_RETRY_S = 5.0, 900.0
EXPIRY_S = 3 * 86400.0
"""After so long a peer that does not acknowledge is given up."""
KEPT_S = 30 * 86400.0
"""How long closed commitments are remembered."""
LEASE_MARGIN_S = 10.0
_NOBODY_TO_CALL = "no [[peer]] of this title has a host to call"
"""Stays so until the configuration changes: it is worth one line of the log, not one each quarter of an hour."""
IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class CommitmentJobs:
    """Works on the commitments of an archive. `sop_classes` are those whose objects are stored.

    `stopping` tells a long job to leave off: what it was at is done anew by the next process. `wake` is called when
    there is a peer to tell.
    """

    ae_title: str
    archive: Archive
    requestor: Requestor
    destination: Callable[[str], Peer | None]
    sop_classes: Set[str]
    stopping: Callable[[], bool]
    wake: Callable[[], None]

    def begin(self) -> None:
        """Take over from processes that are gone; before any other has the archive."""
        self.archive.index.commitments.start(KEPT_S)

    def read_objects(self) -> float:
        """Read what was asked for and write the reports."""
        commitments = self.archive.index.commitments
        while not self.stopping() and (found := commitments.next_asked()) is not None:
            pending, objects = found
            results = self._results(objects)
            if results is None:
                break
            self.archive.make_durable()
            commitments.report(pending.id, report(self.ae_title, pending.transaction_uid, results))
            failed = sum(reason != 0 for _, _, reason in results)
            fields = {**_fields(pending), "objects": len(results), "failed": failed or None}
            logger.log(
                logging.WARNING if failed else logging.INFO, "objects read for commitment", extra={"fields": fields}
            )
            self.wake()
        return IDLE_S

    def tell_peers(self) -> float:
        """Tell every peer whose time has come, at first by ringing for the association it asked on.

        Returns the seconds until the next one's.
        """
        commitments = self.archive.index.commitments
        for pending in commitments.due():
            if self.stopping():
                break
            if not pending.was_rung and ring(pending.bell):
                commitments.rung(pending.id, time.time() + BELL_GRACE_S)
            else:
                self._tell(pending)
        due_at = commitments.next_due_at()
        return IDLE_S if due_at is None else max(due_at - time.time(), 0.1)

    def _results(self, objects: References) -> list[tuple[str, str, int]] | None:
        """Give the failure reason of each object, 0 for one that is safe; None if it is time to stop."""
        found: list[tuple[str, str, int]] = []
        for sop_class_uid, sop_instance_uid in objects:
            if self.stopping():
                return None
            found.append((sop_class_uid, sop_instance_uid, self._reason(sop_class_uid, sop_instance_uid)))
        return found

    def _reason(self, sop_class_uid: str, sop_instance_uid: str) -> int:
        """Say why an object cannot be committed (PS3.3 C.14.1.1), 0 if its bytes are those that were acknowledged."""
        index = self.archive.index
        instance = index.instance(sop_instance_uid)
        if instance is None:
            known = sop_class_uid in self.sop_classes
            return statuses.NO_SUCH_SOP_INSTANCE if known else statuses.SOP_CLASS_NOT_SUPPORTED
        if instance.sop_class_uid != sop_class_uid:
            return statuses.CLASS_INSTANCE_CONFLICT
        if is_intact(self.archive.tree, index, instance):
            return 0
        again = index.instance(sop_instance_uid)
        if again is not None and again.digest != instance.digest and is_intact(self.archive.tree, index, again):
            return 0  # it was replaced while it was read
        return statuses.PROCESSING_FAILURE

    def _tell(self, pending: Pending) -> None:
        """Tell a peer over an association of our own."""
        if time.time() - pending.asked_at > EXPIRY_S:
            self.archive.index.commitments.expire(pending.id)
            logger.error("commitment given up", extra={"fields": _fields(pending)})
            return
        peer = self.destination(pending.ae_title)
        if peer is None:
            _postpone(self.archive, pending, _NOBODY_TO_CALL)
            return
        event = self.archive.index.commitments.claim(pending.id, _lease_s(self.requestor))
        if event is None:
            return
        proposed = ProposedContext(1, STORAGE_COMMITMENT, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))
        try:
            association = self.requestor.called(pending.called_ae_title).open(
                peer, [proposed], roles={STORAGE_COMMITMENT: (False, True)}
            )
        except AssociationRefused as error:
            _postpone(self.archive, pending, str(error))
            return
        context = context_for_events(association.contexts.values())
        if context is None:
            association.release()
            _postpone(self.archive, pending, "the peer does not take events of Storage Commitment")
            return
        try:
            status = tell(association, context, 1, event)
        except AssociationEnded as ended:
            association.end(ended)
            _postpone(self.archive, pending, f"association {ended.outcome} {ended.reason}".rstrip())
            return
        association.release()
        _settle(self.archive, pending, status)


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
    for pending in archive.index.commitments.at_bell(bell.address, caller.ae_title):
        event = archive.index.commitments.claim(pending.id, association.timeouts.dimse + LEASE_MARGIN_S)
        if event is None:
            continue
        try:
            status = tell(association, context, pending.id % 0xFFFF + 1, event)
            _settle(archive, pending, status, caller.association_id)
        except AssociationEnded as ended:
            _postpone(archive, pending, f"association {ended.outcome} {ended.reason}".rstrip())
            raise
        finally:
            wake()


def _settle(archive: Archive, pending: Pending, status: int | None, association_id: str | None = None) -> None:
    """Close a commitment whose event was acknowledged; what was refused or not answered is tried again."""
    if status is not None and statuses.category(status) in ("success", "warning"):
        archive.index.commitments.acknowledge(pending.id)
        fields = {"association": association_id, **_fields(pending), "status": f"{status:04X}"}
        logger.info("N-EVENT-REPORT", extra={"fields": fields})
        return
    _postpone(
        archive, pending, "no answer to the event" if status is None else f"event refused with status {status:04X}"
    )


def _postpone(archive: Archive, pending: Pending, fault: str) -> None:
    """Put off what could not be told, for longer each time."""
    retry_s = min(FIRST_RETRY_S * 2 ** min(pending.attempts, 16), MAX_RETRY_S)
    archive.index.commitments.postpone(pending.id, time.time() + retry_s, fault)
    fields = {**_fields(pending), "reason": fault, "attempt": pending.attempts + 1, "retry_s": retry_s}
    level = logging.DEBUG if pending.attempts and fault == _NOBODY_TO_CALL else logging.WARNING
    logger.log(level, "N-EVENT-REPORT failed", extra={"fields": fields})


def _lease_s(requestor: Requestor) -> float:
    limits = requestor.timeouts
    return limits.connect + 2 * limits.acse + limits.dimse + LEASE_MARGIN_S


def _fields(pending: Pending) -> dict[str, object]:
    return {"peer": pending.ae_title, "transaction_uid": pending.transaction_uid}
