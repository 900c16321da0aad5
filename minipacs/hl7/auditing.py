"""What the audit trail is told of messages: orders, and the steps that come and go with them (PS3.15 A.5.3.13, 15)."""

from collections.abc import Sequence

from minipacs.archive.auditing import patient, subject_of_request
from minipacs.audit import events
from minipacs.audit.audit import Audit
from minipacs.audit.message import Action, Participant
from minipacs.dicom.data_set.values import Values, text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.index.workflow.orders import Ordered

_PATIENT = tuple(map(tag_named, ("PatientID", "IssuerOfPatientID", "PatientName")))


class Trail:
    """Tells of messages by their senders."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def ordered(self, sender: str, address: str, done: Sequence[Ordered], whose: Values) -> None:
        """Tell of an order, and what became of the steps of its studies."""
        if not self._audit.is_on:
            return
        who = Participant(sender, is_requestor=True, address=address)
        is_scheduled = any(each.put for each in done)
        action = Action.UPDATE if is_scheduled else Action.DELETE
        known = patient(*(text(whose, tag) for tag in _PATIENT))
        self._audit.tell(events.order_record(who, known, action=action))
        for each in done:
            for steps, deed in ((each.put, Action.UPDATE), (each.removed, Action.DELETE)):
                for values in steps:
                    subject, study = subject_of_request(values)
                    self._audit.tell(events.procedure_record(who, [study], subject, action=deed))
