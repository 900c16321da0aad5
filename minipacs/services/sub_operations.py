"""The C-STORE sub-operations of C-MOVE and C-GET: contexts, sending, counting (PS3.4 C.4.2, C.4.3)."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minipacs.archive.stored import ObjectUnreadable
from minipacs.dicom import statuses
from minipacs.dicom.command_set import CommandField, CommandSet
from minipacs.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, UNCOMPRESSED
from minipacs.index import StoredInstance
from minipacs.net.association import SERVICE_USER, Association, AssociationEnded, timed_out
from minipacs.net.negotiation import PresentationContext, ProposedContext
from minipacs.net.requestor import MAX_CONTEXTS
from minipacs.services.environment import Environment, Request

logger = logging.getLogger(__name__)

PENDING_INTERVAL_S = 1.0
"""Between pending responses; SCUs give up on an archive that is silent for long."""
MAX_LOGGED_FAILURES = 20
_FALLBACKS = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


class Progress:
    """Counts sub-operations, tells the requestor, and hears from it: the companion of a C-MOVE's associations.

    `failed` holds SOP Instance UIDs. `gone` tells how the requestor's association ended, if it did meanwhile.
    """

    def __init__(self, request: Request, total: int) -> None:
        self._request = request
        self.total = total
        self.completed = 0
        self.warning = 0
        self.failed: list[str] = []
        self.first_reason = ""
        self.cancelled = False
        self.gone: AssociationEnded | None = None
        self._next_pending = 0.0

    @property
    def stopped(self) -> bool:
        """Tell whether no further sub-operation is to begin."""
        return self.cancelled or self.gone is not None

    def fileno(self) -> int:
        """Return the descriptor of the requestor's connection."""
        return -1 if self.stopped else self._request.association.transport.fileno()

    def due_in_s(self) -> float:
        """Return the time until the next pending response."""
        return float("inf") if self.stopped else max(self._next_pending - time.monotonic(), 0)

    def attend(self) -> None:
        """Look for a cancel, an abort or a vanished requestor, and send a pending response if one is due."""
        if self.stopped:
            return
        try:
            self.cancelled = self._request.association.cancelled(self._request.message_id)
            if not self.cancelled and self.due_in_s() <= 0:
                self.pending()
        except AssociationEnded as ended:
            self.gone = ended

    def pending(self) -> None:
        """Send a pending response with the counts as they are. Raises AssociationEnded."""
        command = self._request.response(statuses.PENDING)
        self.count(command, with_remaining=True)
        self._request.respond(command)
        self._next_pending = time.monotonic() + PENDING_INTERVAL_S

    def count(self, command: CommandSet, *, with_remaining: bool) -> None:
        """Put the counts into a response; more than 65535 are sent as 65535 (they are US)."""
        command.completed_sub_operations = self.completed
        command.failed_sub_operations = len(self.failed)
        command.warning_sub_operations = self.warning
        if with_remaining:
            command.remaining_sub_operations = self.total - self.completed - self.warning - len(self.failed)

    def fail(self, instances: Sequence[StoredInstance], reason: str) -> None:
        """Count instances as failed; the first few go to the log."""
        self.first_reason = self.first_reason or reason
        for instance in instances:
            if len(self.failed) < MAX_LOGGED_FAILURES:
                fields = {
                    "association": self._request.caller.association_id,
                    "sop_instance_uid": instance.sop_instance_uid,
                    "reason": reason,
                }
                logger.warning("sub-operation failed", extra={"fields": fields})
            self.failed.append(instance.sop_instance_uid)

    def final_status(self) -> int:
        """Return what the counts amount to (PS3.4 C.4.2.3.1)."""
        if self.cancelled:
            return statuses.CANCEL
        if self.failed and len(self.failed) == self.total:
            return statuses.UNABLE_TO_PERFORM_SUB_OPERATIONS
        return statuses.SUB_OPERATIONS_WITH_FAILURES if self.failed or self.warning else statuses.SUCCESS


@dataclass(frozen=True, slots=True)
class Originator:
    """The AE that asked for a C-MOVE, and its Message ID (PS3.7 9.1.1.1.6, 9.1.1.1.7)."""

    ae_title: str
    message_id: int


class Sender:
    """Sends instances over one association, each in the stored transfer syntax or in one that it can be decoded to.

    `label` names the receiver in metrics. `unsent` are the instances not answered for yet.
    """

    def __init__(
        self,
        environment: Environment,
        association: Association,
        contexts: Sequence[PresentationContext],
        label: str,
        originator: Originator | None = None,
    ) -> None:
        self._environment = environment
        self._association = association
        self._label = label
        self._originator = originator
        self._contexts: dict[str, dict[str, PresentationContext]] = {}
        for context in contexts:
            self._contexts.setdefault(context.abstract_syntax, {}).setdefault(context.transfer_syntax, context)
        self._message_id = 0
        self.unsent: Sequence[StoredInstance] = ()

    def send(self, instances: Sequence[StoredInstance], progress: Progress, priority: int = 0) -> None:
        """Send until all are answered or `progress` is stopped. Raises AssociationEnded of this association."""
        for position, instance in enumerate(instances):
            self.unsent = instances[position:]
            progress.attend()
            if progress.stopped:
                return
            context = self._choose(instance)
            if context is None:
                progress.fail([instance], "no presentation context accepted that it can be sent in")
                continue
            try:
                status = self._send_one(instance, context, progress, priority)
            except ObjectUnreadable as error:
                progress.fail([instance], str(error))
                continue
            category = statuses.category(status)
            if category == "success":
                progress.completed += 1
            elif category == "warning":
                progress.warning += 1
            else:
                progress.fail([instance], f"answered with status {status:04X}")
        self.unsent = ()

    def _choose(self, instance: StoredInstance) -> PresentationContext | None:
        contexts = self._contexts.get(instance.sop_class_uid, {})
        stored = contexts.get(instance.transfer_syntax_uid)
        if stored is not None:
            return stored
        reader = self._environment.archive.reader
        decoded = (contexts.get(uid) for uid in (*_FALLBACKS, *UNCOMPRESSED))
        return next((c for c in decoded if c is not None and reader.can_give(instance, c.transfer_syntax)), None)

    def _send_one(
        self, instance: StoredInstance, context: PresentationContext, progress: Progress, priority: int
    ) -> int:
        """Send one object and return the status it was answered with."""
        self._message_id = self._message_id % 0xFFFF + 1
        command = CommandSet(
            command_field=CommandField.C_STORE_RQ,
            message_id=self._message_id,
            affected_sop_class_uid=instance.sop_class_uid,
            affected_sop_instance_uid=instance.sop_instance_uid,
            priority=priority,
            has_data_set=True,
        )
        if self._originator is not None:
            command.move_originator_ae_title = self._originator.ae_title
            command.move_originator_message_id = self._originator.message_id
        with self._environment.archive.reader.open(instance, context.transfer_syntax) as data_set:
            try:
                self._association.send_file(context.context_id, command, data_set.file, data_set.size_bytes)
            except OSError as error:  # half of the object is on the wire: no message can follow
                raise AssociationEnded("failed", f"file cannot be read: {error}", (SERVICE_USER, 0)) from error
            self._environment.observer.sent(self._label, data_set.size_bytes)
        return self._await_response(progress)

    def _await_response(self, progress: Progress) -> int:
        timeout_s = self._association.timeouts.dimse
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            response = self._association.response(self._message_id, min(left_s, progress.due_in_s() + 0.001))
            if response is not None:
                return response.command.status or 0
            progress.attend()
        raise timed_out(f"no C-STORE response within {timeout_s:g} s")


def plan(
    instances: Sequence[StoredInstance],
) -> Iterator[tuple[list[ProposedContext], list[StoredInstance]]]:
    """Divide instances, in order, into batches of at most 128 presentation contexts each, for one association each.

    A class has a context for each stored transfer syntax, and one with those that anything decodable can be sent in.
    """
    proposals: dict[tuple[str, tuple[str, ...]], None] = {}
    batch: list[StoredInstance] = []
    for instance in instances:
        wanted = {
            (instance.sop_class_uid, (instance.transfer_syntax_uid,)): None,
            (instance.sop_class_uid, _FALLBACKS): None,
        }
        if len(proposals | wanted) > MAX_CONTEXTS:
            yield _numbered(proposals), batch
            proposals, batch = {}, []
        proposals |= wanted
        batch.append(instance)
    if batch:
        yield _numbered(proposals), batch


def _numbered(proposals: dict[tuple[str, tuple[str, ...]], None]) -> list[ProposedContext]:
    return [ProposedContext(2 * i + 1, uid, syntaxes) for i, (uid, syntaxes) in enumerate(proposals)]
