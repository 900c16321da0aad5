"""What the audit trail is told of stored objects: whose they are, and what came of them. For every way in and out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

from minipacs.archive.ingest import Stored
from minipacs.archive.ports import Catalogue
from minipacs.audit import events
from minipacs.audit.audit import Audit, Transfers
from minipacs.audit.message import Action, EventOutcome, Participant, PatientObject, StudyObject
from minipacs.dicom.data_set.amendments import Identity
from minipacs.dicom.data_set.values import Values, items, text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.errors import Failure, Kind
from minipacs.index import InstanceRecord, Outcome, Subject

MAX_STUDIES = 32
"""Studies of one message; a patient with more has several."""

ACTIONS: Mapping[Outcome, Action] = {
    Outcome.ADDED: Action.CREATE,
    Outcome.REPLACED: Action.UPDATE,
    Outcome.SAME: Action.READ,
    Outcome.KEPT: Action.READ,
}
"""What storing an object amounts to, by what happened to it."""


class Named(Protocol):
    """An instance, by what it is called."""

    @property
    def sop_class_uid(self) -> str:
        """Its class."""

    @property
    def sop_instance_uid(self) -> str:
        """Its UID."""


class Reference(NamedTuple):
    """A name of an instance that need not be stored."""

    sop_class_uid: str
    sop_instance_uid: str


_SERIOUS = frozenset({Kind.FULL, Kind.BUSY})
_SUBJECT = ("StudyInstanceUID", "AccessionNumber", "PatientID", "IssuerOfPatientID", "PatientName")
MAX_IMPORTED = 1000
"""Objects of an import that are told together."""
_SCHEDULED_STEPS = tag_named("ScheduledStepAttributesSequence")
_NOBODY = Subject("", "", "", "", "")


def patient(patient_id: str, issuer: str, name: str) -> PatientObject:
    """Name a patient, with the issuer of the ID if it is known."""
    return PatientObject(f"{patient_id}^^^{issuer}" if issuer and patient_id else patient_id, name)


def subject_of_request(values: Values) -> tuple[PatientObject, StudyObject]:
    """Name whom and what a worklist item or a performed step is about."""
    whose = patient(*(text(values, tag_named(name)) for name in ("PatientID", "IssuerOfPatientID", "PatientName")))
    number = text(values, tag_named("AccessionNumber"))
    return whose, StudyObject(text(values, tag_named("StudyInstanceUID")), {}, (number,) if number else ())


def tell_procedure(audit: Audit, who: Participant, sop_instance_uid: str, values: Values, action: Action) -> None:
    """Tell what became of a performed procedure step, by whom."""
    if not audit.is_on:
        return
    studies: dict[str, dict[str, None]] = {}
    for step in items(values, _SCHEDULED_STEPS):
        whose, study = subject_of_request(step)
        studies.setdefault(study.study_instance_uid, {}).update(dict.fromkeys(study.accession_numbers))
    whose, _ = subject_of_request(values)
    objects = [StudyObject(uid, {}, tuple(numbers), (sop_instance_uid,)) for uid, numbers in studies.items()]
    audit.tell(events.procedure_record(who, objects, whose, action=action))


def tell_scheduled(audit: Audit, who: Participant, steps: Iterable[Values], action: Action) -> None:
    """Tell that worklist items came, changed or went."""
    for values in steps if audit.is_on else ():
        whose, study = subject_of_request(values)
        audit.tell(events.procedure_record(who, [study], whose, action=action))


def tell_deleted(
    audit: Audit, index: Catalogue, who: Participant, gone: Iterable[tuple[PatientObject, list[StudyObject]]]
) -> None:
    """Tell of instances that were deleted, apart where the whole study went and where a part of it stays."""
    for whose, studies in gone:
        parts = [s for s in studies if index.instances({"StudyInstanceUID": [s.study_instance_uid]})]
        whole = [study for study in studies if study not in parts]
        if whole:
            audit.tell(events.study_deleted(who, whole, whose))
        if parts:
            audit.tell(events.instances_accessed(who, parts, whose, action=Action.DELETE))


def tell_amended(
    audit: Audit,
    who: Participant,
    amended: Iterable[tuple[PatientObject, list[StudyObject]]],
    *,
    of_patients: bool,
) -> None:
    """Tell of instances that are read otherwise from now on, and of patients, if what is said of these changed."""
    for whose, studies in amended:
        audit.tell(events.instances_accessed(who, studies, whose, action=Action.UPDATE))
        if of_patients:
            audit.tell(events.patient_record(who, whose, action=Action.UPDATE))


def tell_merged(
    audit: Audit, who: Participant, prior: Identity, survivor: Identity, name: str, *, is_revoked: bool = False
) -> None:
    """Tell that a patient is another one from now on, or, if that is revoked, is there again."""
    deeds = (
        (patient(*prior, ""), Action.CREATE if is_revoked else Action.DELETE),
        (patient(*survivor, name), Action.UPDATE),
    )
    for whose, action in deeds if audit.is_on else ():
        audit.tell(events.patient_record(who, whose, action=action))


class Importing:
    """Sums up what comes from a medium, and tells it now and then; `close` tells the rest."""

    def __init__(self, audit: Audit, who: Participant, uri: str) -> None:
        self._audit, self._who, self._uri = audit, who, uri
        self._came: list[tuple[Subject, str]] = []

    def add(self, record: InstanceRecord) -> None:
        """Count an object."""
        if not self._audit.is_on:
            return
        self._came.append((Subject(*(_text(record.values, keyword) for keyword in _SUBJECT)), record.sop_class_uid))
        if len(self._came) >= MAX_IMPORTED:
            self.close()

    def close(self) -> None:
        """Tell what was not told yet."""
        came, self._came = self._came, []
        for whose, studies in _summed(came):
            self._audit.tell(events.import_(self._who, self._uri, studies, [whose]))


def tell_stored(transfers: Transfers, stored: Stored) -> None:
    """Tell of an object that came."""
    values = stored.record.values
    transfers.add(
        _text(values, "StudyInstanceUID"),
        patient(_text(values, "PatientID"), _text(values, "IssuerOfPatientID"), _text(values, "PatientName")),
        stored.record.sop_class_uid,
        action=ACTIONS[stored.outcome],
        accession_number=_text(values, "AccessionNumber"),
    )


def tell_refused(transfers: Transfers, sop_class_uid: str, failure: Failure) -> None:
    """Tell of an object that was not taken: whose it is nobody has looked at."""
    outcome = EventOutcome.SERIOUS_FAILURE if failure.kind in _SERIOUS else EventOutcome.MINOR_FAILURE
    nobody = patient("", "", "")
    transfers.add("", nobody, sop_class_uid, action=Action.CREATE, outcome=outcome, description=str(failure))


def by_patient(index: Catalogue, instances: Iterable[Named]) -> Iterator[tuple[PatientObject, list[StudyObject]]]:
    """Sum instances up by patient and study; a patient with more than MAX_STUDIES comes several times."""
    listed = list(instances)
    subjects = index.subjects([instance.sop_instance_uid for instance in listed])
    return _summed((subjects.get(one.sop_instance_uid, _NOBODY), one.sop_class_uid) for one in listed)


def _summed(found: Iterable[tuple[Subject, str]]) -> Iterator[tuple[PatientObject, list[StudyObject]]]:
    patients: dict[PatientObject, dict[str, tuple[dict[str, int], dict[str, None]]]] = {}
    for subject, sop_class_uid in found:
        whose = patient(subject.patient_id, subject.issuer, subject.patient_name)
        studies = patients.setdefault(whose, {})
        classes, accessions = studies.setdefault(subject.study_instance_uid, ({}, {}))
        classes[sop_class_uid] = classes.get(sop_class_uid, 0) + 1
        if subject.accession_number:
            accessions[subject.accession_number] = None
    for whose, studies in patients.items():
        objects = [StudyObject(uid, classes, tuple(numbers)) for uid, (classes, numbers) in studies.items()]
        for begin in range(0, len(objects), MAX_STUDIES):
            yield whose, objects[begin : begin + MAX_STUDIES]


class Sending:
    """Tells of instances that go to somebody: first that they will, then of each what came of it. A context manager.

    With `begins` the beginning is told as an event of its own, for each patient.
    """

    def __init__(
        self,
        audit: Audit,
        index: Catalogue,
        instances: Sequence[Named],
        destination: Participant,
        others: Sequence[Participant] = (),
        *,
        source: Participant | None = None,
        begins: bool = True,
    ) -> None:
        self._is_on = audit.is_on and bool(instances)
        parties = source or audit.node, destination
        self._transfers = audit.transfers(*parties, others)
        self._subjects: Mapping[str, Subject] = {}
        if not self._is_on:
            return
        self._subjects = index.subjects([instance.sop_instance_uid for instance in instances])
        if begins:
            told = ((self._subject(one), one.sop_class_uid) for one in instances)
            for whose, studies in _summed(told):
                audit.tell(events.begin_transferring(*parties, studies, whose, others))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Tell what was not told yet."""
        self._transfers.close()

    def answered(self, instance: Named, fault: str = "") -> None:
        """Tell that an instance went, or why it did not."""
        if not self._is_on:
            return
        subject = self._subject(instance)
        self._transfers.add(
            subject.study_instance_uid,
            patient(subject.patient_id, subject.issuer, subject.patient_name),
            instance.sop_class_uid,
            action=Action.READ,
            outcome=EventOutcome.MINOR_FAILURE if fault else EventOutcome.SUCCESS,
            accession_number=subject.accession_number,
            description=fault,
        )

    def _subject(self, instance: Named) -> Subject:
        return self._subjects.get(instance.sop_instance_uid, _NOBODY)


def _text(values: Mapping[str, object], keyword: str) -> str:
    return str(values.get(keyword) or "")
