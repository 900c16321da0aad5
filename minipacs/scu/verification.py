"""C-ECHO as SCU: does a peer answer (PS3.4 A, PS3.7 9.1.5)."""

import time

from minipacs.dicom.data_set.command_set import CommandField, CommandSet
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.sop_classes import VERIFICATION
from minipacs.dicom.tables.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.errors import MinipacsError
from minipacs.net.access import Peer
from minipacs.net.ending import AssociationEnded
from minipacs.net.requestor import Requestor
from minipacs.net.wire.negotiation import ProposedContext


def verify(requestor: Requestor, peer: Peer) -> float:
    """Send a C-ECHO to `peer`; returns the seconds it took, association included. Raises MinipacsError."""
    started = time.monotonic()
    association = requestor.open(peer, [ProposedContext(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))])
    try:
        if not association.contexts:
            raise MinipacsError("the Verification SOP class is not accepted")
        command = CommandSet(command_field=CommandField.C_ECHO_RQ, message_id=1, affected_sop_class_uid=VERIFICATION)
        association.send(1, command)
        response = association.response(1, requestor.timeouts.dimse)
    except AssociationEnded as ended:
        association.end(ended)
        raise MinipacsError(f"association {ended.outcome} {ended.reason}".rstrip()) from ended
    association.release()
    status = None if response is None else response.command.status
    if status != statuses.SUCCESS:
        answer = "nothing" if status is None else f"status {status:04X}"
        raise MinipacsError(f"answered with {answer}")
    return time.monotonic() - started
