"""Instance Availability Notification as SCU: telling a peer what can be retrieved, by N-CREATE (PS3.4 R)."""

import secrets
from collections.abc import Sequence

from minipacs.dicom.data_set.command_set import CommandField, CommandSet
from minipacs.dicom.data_set.values import Values, encode
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.sop_classes import INSTANCE_AVAILABILITY
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.index import StoredInstance
from minipacs.net.access import Peer
from minipacs.net.ending import AssociationEnded
from minipacs.net.requestor import AssociationRefused, Requestor
from minipacs.net.wire.negotiation import ProposedContext
from minipacs.scu.delivery import AWAY, BROKE_OFF
from minipacs.scu.principal import Principal
from minipacs.scu.tally import Tally

_CONTEXT = ProposedContext(1, INSTANCE_AVAILABILITY, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))
_MESSAGE_ID = 1


def announce(
    requestor: Requestor,
    peer: Peer,
    notification: Values,
    instances: Sequence[StoredInstance],
    tally: Tally,
    principal: Principal,
) -> str:
    """Send a notification of these instances, and count them by its answer, or as failed.

    Returns why the peer could not be had, "" if it could.
    """
    try:
        association = requestor.open(peer, [_CONTEXT], principal)
    except AssociationRefused as error:
        tally.fail(instances, f"{AWAY}{error}")
        return f"{AWAY}{error}"
    context = next(iter(association.contexts.values()), None)
    if context is None:
        association.release()
        tally.fail(instances, "Instance Availability Notification is not accepted")
        return ""
    command = CommandSet(
        command_field=CommandField.N_CREATE_RQ,
        affected_sop_class_uid=INSTANCE_AVAILABILITY,
        affected_sop_instance_uid=f"2.25.{secrets.randbits(128)}",
        message_id=_MESSAGE_ID,
        has_data_set=True,
    )
    implicit = context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    try:
        association.send(context.context_id, command, encode(notification, (), implicit=implicit))
        response = association.response(_MESSAGE_ID, association.timeouts.dimse)
    except AssociationEnded as ended:
        association.end(ended)
        comment = f"{BROKE_OFF}{ended.outcome}"
        tally.fail(instances, comment)
        return comment
    if response is None:
        association.abort()
        comment = f"{BROKE_OFF}aborted: no N-CREATE response within {association.timeouts.dimse:g} s"
        tally.fail(instances, comment)
        return comment
    association.release()
    status = response.command.status or statuses.SUCCESS
    for instance in instances:
        tally.answered(instance, status)
    return ""
