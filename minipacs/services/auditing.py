"""What the audit trail is told by services: who asked whom for what (PS3.15 A.5.3)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from minipacs.archive.auditing import tell_procedure
from minipacs.audit import events
from minipacs.audit.audit import application_entity
from minipacs.audit.message import Action, EventOutcome, Participant, QueryObject
from minipacs.dicom.data_set.values import Values
from minipacs.errors import Failure
from minipacs.net.access import Caller
from minipacs.services.environment import Request


def requestor(caller: Caller) -> Participant:
    """Name whoever asked for an association, and so for all that is done over it, with the user it was let in as."""
    known = application_entity(caller.ae_title, caller.address, is_requestor=True)
    return replace(known, user_name=caller.user)


def tell_query(request: Request, outcome: EventOutcome = EventOutcome.SUCCESS) -> None:
    """Tell of a query, before anything is answered."""
    audit = request.environment.audit
    if not audit.tells_queries:
        return
    context = request.message.context
    asked = QueryObject(request.identifier, context.abstract_syntax, context.transfer_syntax)
    audit.tell(events.query(requestor(request.caller), audit.node, asked, outcome=outcome))


@contextmanager
def refusals_told(request: Request) -> Iterator[None]:
    """Tell of a query that fails."""
    try:
        yield
    except Failure:
        tell_query(request, EventOutcome.MINOR_FAILURE)
        raise


def tell_step(request: Request, sop_instance_uid: str, values: Values, action: Action) -> None:
    """Tell what became of a performed procedure step."""
    tell_procedure(request.environment.audit, requestor(request.caller), sop_instance_uid, values, action)
