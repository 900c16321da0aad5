"""What the audit trail is told of messages: orders, the steps that come and go, patients (PS3.15 A.5.3.13 to 15)."""

from collections.abc import Sequence

from minipacs.archive.auditing import patient, subject_of_request, tell_merged
from minipacs.archive.care.patients import Person
from minipacs.audit import events
from minipacs.audit.audit import Audit
from minipacs.audit.message import Action, Participant
from minipacs.dicom.data_set.amendments import Identity
from minipacs.dicom.data_set.values import Values, text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.index.workflow.orders import Ordered
from minipacs.index.workflow.people import PeopleChange

_PATIENT = tuple(map(tag_named, ("PatientID", "IssuerOfPatientID", "PatientName")))


class Trail:
    """Tells of messages by their senders."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def ordered(self, sender: str, address: str, done: Sequence[Ordered], whose: Values) -> None:
        """Tell of an order, and what became of the steps of its studies."""
        if not self._audit.is_on:
            return
        who = _who(sender, address)
        is_scheduled = any(each.put for each in done)
        action = Action.UPDATE if is_scheduled else Action.DELETE
        known = patient(*(text(whose, tag) for tag in _PATIENT))
        self._audit.tell(events.order_record(who, known, action=action))
        for each in done:
            for steps, deed in ((each.put, Action.UPDATE), (each.removed, Action.DELETE)):
                for values in steps:
                    subject, study = subject_of_request(values)
                    self._audit.tell(events.procedure_record(who, [study], subject, action=deed))

    def updated(self, sender: str, address: str, people: PeopleChange) -> None:
        """Tell that something else is said of a patient."""
        if self._audit.is_on and people.whose:
            known = patient(*people.whose[0], people.new.get(_PATIENT[2], ""))
            self._audit.tell(events.patient_record(_who(sender, address), known, action=Action.UPDATE))

    def merged(self, sender: str, address: str, prior: Identity, survivor: Person) -> None:
        """Tell that a patient is another one."""
        tell_merged(self._audit, _who(sender, address), prior, survivor.whose, survivor.values.get("PatientName", ""))


def _who(sender: str, address: str) -> Participant:
    return Participant(sender, is_requestor=True, address=address)
