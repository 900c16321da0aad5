"""N-EVENT-REPORT of Storage Commitment: telling a peer what became of its request (PS3.4 J.3.3)."""

from collections.abc import Iterable

from minipacs.dicom.data_set.command_set import CommandField, CommandSet
from minipacs.dicom.data_set.values import Values, encode
from minipacs.dicom.tables.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from minipacs.dicom.tables.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.dicom.workflow.commitment import event_type
from minipacs.net.association import Association
from minipacs.net.wire.negotiation import PresentationContext


def tell(association: Association, context: PresentationContext, message_id: int, event: Values) -> int | None:
    """Send an event; returns the status it is answered with, None if it is not. Raises AssociationEnded."""
    command = CommandSet(
        command_field=CommandField.N_EVENT_REPORT_RQ,
        affected_sop_class_uid=STORAGE_COMMITMENT,
        affected_sop_instance_uid=STORAGE_COMMITMENT_INSTANCE,
        message_id=message_id,
        event_type_id=event_type(event),
        has_data_set=True,
    )
    implicit = context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    association.send(context.context_id, command, encode(event, (), implicit=implicit))
    response = association.response(message_id, association.timeouts.dimse)
    return None if response is None else response.command.status


def context_for_events(contexts: Iterable[PresentationContext]) -> PresentationContext | None:
    """Find a context in which we are SCP of Storage Commitment."""
    return next((c for c in contexts if c.abstract_syntax == STORAGE_COMMITMENT and c.as_scp), None)
