"""Storage Commitment as SCP: N-ACTION asks, objects are read again, N-EVENT-REPORT answers (PS3.4 J).

What was asked is durable before the N-ACTION is answered, and the report before anybody is told; so every answer to a
transaction is the same one, whatever happens meanwhile.
"""

from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.sop_classes import STORAGE_COMMITMENT_INSTANCE
from minipacs.dicom.workflow import commitment
from minipacs.errors import Failure, Kind
from minipacs.services.data_sets import read_values
from minipacs.services.environment import Request

_REQUEST_COMMITMENT = 1
"""The one Action Type (PS3.4 J.3.2.1)."""


def ask(request: Request) -> CommandSet:
    """Take a request in; what becomes of it comes later, by an event."""
    command = request.message.command
    if command.requested_sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
        raise Failure(Kind.NOT_FOUND, "not the well-known SOP Instance of Storage Commitment")
    if command.action_type_id != _REQUEST_COMMITMENT:
        raise Failure(Kind.UNSUPPORTED, f"the one Action Type is {_REQUEST_COMMITMENT}")
    values, _ = read_values(request)
    transaction_uid, objects = commitment.asked(values)
    environment, caller = request.environment, request.caller
    refused = [(*pair, statuses.DUPLICATE_TRANSACTION) for pair in objects]
    outcome = environment.archive.index.commitments.ask(
        caller.ae_title,
        caller.called_ae_title,
        transaction_uid,
        objects,
        request.association.bell(),
        conflict=commitment.report(environment.ae_title, transaction_uid, refused),
    )
    request.log.update(transaction_uid=transaction_uid, objects=len(objects), outcome=outcome)
    final = request.response(statuses.SUCCESS)
    request.respond(final)
    environment.wake_jobs()
    return final
