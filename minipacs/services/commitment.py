"""Storage Commitment as SCP: N-ACTION asks, objects are read again, N-EVENT-REPORT answers (PS3.4 J).

What was asked is durable before the N-ACTION is answered, and the report before anybody is told; so every answer to a
transaction is the same one, whatever happens meanwhile.
"""

from collections.abc import Iterable

from minipacs.dicom.data_set.command_set import CommandField, CommandSet
from minipacs.dicom.data_set.values import MutableValues, Values, encode, items, text
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from minipacs.dicom.tables.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.dicom.tables.uids import is_uid
from minipacs.errors import Failure, Kind
from minipacs.index.workflow.commitments import References
from minipacs.net.association import Association
from minipacs.net.negotiation import PresentationContext
from minipacs.services.data_sets import read_values
from minipacs.services.environment import Request

MAX_OBJECTS = 100_000
"""Of one request; beyond: 0213."""

_REQUEST_COMMITMENT = 1
_ALL_SAFE, _SOME_FAILED = 1, 2
"""Event types (PS3.4 J.3.3.1)."""

_TRANSACTION_UID, _RETRIEVE_AE_TITLE = 0x00081195, 0x00080054
_REFERENCED, _FAILED = 0x00081199, 0x00081198
_SOP_CLASS_UID, _SOP_INSTANCE_UID, _FAILURE_REASON = 0x00081150, 0x00081155, 0x00081197


def ask(request: Request) -> CommandSet:
    """Take a request in; what becomes of it comes later, by an event."""
    _check_command(request.message.command)
    values, _ = read_values(request)
    transaction_uid, objects = _read_action(values)
    environment, caller = request.environment, request.caller
    conflict = report(
        environment.ae_title, transaction_uid, [(*pair, statuses.DUPLICATE_TRANSACTION) for pair in objects]
    )
    outcome = environment.archive.index.commitments.ask(
        caller.ae_title, caller.called_ae_title, transaction_uid, objects, request.association.bell(), conflict
    )
    request.log.update(transaction_uid=transaction_uid, objects=len(objects), outcome=outcome)
    final = request.response(statuses.SUCCESS)
    request.respond(final)
    environment.wake_jobs()
    return final


def report(ae_title: str, transaction_uid: str, found: Iterable[tuple[str, str, int]]) -> Values:
    """Make an event's data set of SOP class, instance and failure reason of each object, 0 for one that is safe."""
    safe: list[Values] = []
    failed: list[Values] = []
    for sop_class_uid, sop_instance_uid, reason in found:
        item: MutableValues = {_SOP_CLASS_UID: sop_class_uid, _SOP_INSTANCE_UID: sop_instance_uid}
        if reason:
            failed.append({**item, _FAILURE_REASON: str(reason)})
        else:
            safe.append(item)
    made: MutableValues = {_TRANSACTION_UID: transaction_uid, _RETRIEVE_AE_TITLE: ae_title}
    if safe:
        made[_REFERENCED] = tuple(safe)
    if failed:
        made[_FAILED] = tuple(failed)
    return made


def tell(association: Association, context: PresentationContext, message_id: int, event: Values) -> int | None:
    """Send an event; returns the status it is answered with, None if it is not. Raises AssociationEnded."""
    command = CommandSet(
        command_field=CommandField.N_EVENT_REPORT_RQ,
        affected_sop_class_uid=STORAGE_COMMITMENT,
        affected_sop_instance_uid=STORAGE_COMMITMENT_INSTANCE,
        message_id=message_id,
        event_type_id=_SOME_FAILED if _FAILED in event else _ALL_SAFE,
        has_data_set=True,
    )
    implicit = context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    association.send(context.context_id, command, encode(event, (), implicit=implicit))
    response = association.response(message_id, association.timeouts.dimse)
    return None if response is None else response.command.status


def context_for_events(contexts: Iterable[PresentationContext]) -> PresentationContext | None:
    """Find a context in which we are SCP of Storage Commitment."""
    return next((c for c in contexts if c.abstract_syntax == STORAGE_COMMITMENT and c.as_scp), None)


def _check_command(command: CommandSet) -> None:
    if command.requested_sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
        raise Failure(Kind.NOT_FOUND, "not the well-known SOP Instance of Storage Commitment")
    if command.action_type_id != _REQUEST_COMMITMENT:
        raise Failure(Kind.UNSUPPORTED, "the one Action Type is 1")


def _read_action(values: Values) -> tuple[str, References]:
    """Return the Transaction UID and what it is about. Raises Failure (PS3.4 J.3.2.1)."""
    for tag, name in ((_TRANSACTION_UID, "Transaction UID"), (_REFERENCED, "Referenced SOP Sequence")):
        if tag not in values:
            raise Failure(Kind.MISSING, f"{name} is missing", (tag,))
        if not values[tag]:
            raise Failure(Kind.EMPTY, f"{name} is empty", (tag,))
    transaction_uid = text(values, _TRANSACTION_UID)
    objects = [(text(item, _SOP_CLASS_UID), text(item, _SOP_INSTANCE_UID)) for item in items(values, _REFERENCED)]
    if not is_uid(transaction_uid):
        raise Failure(Kind.INVALID, "Transaction UID is malformed", (_TRANSACTION_UID,))
    if not all(is_uid(uid) for pair in objects for uid in pair):
        raise Failure(Kind.INVALID, "a reference lacks a UID", (_REFERENCED,))
    if len({instance for _, instance in objects}) < len(objects):
        raise Failure(Kind.INVALID, "an instance comes twice", (_REFERENCED,))
    if len(objects) > MAX_OBJECTS:
        raise Failure(Kind.TOO_MANY, f"more than {MAX_OBJECTS} objects")
    return transaction_uid, objects
