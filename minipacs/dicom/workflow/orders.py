"""What an order says of a study, and what becomes of the steps that the worklist has of it (IHE RAD-4, RAD-13)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from minipacs.dicom.data_set.values import Values, items, text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.dicom.workflow.scheduling import Unschedulable, steps_of
from minipacs.dicom.workflow.worklist import STEP_SEQUENCE
from minipacs.errors import Failure, Kind

PATIENT_ID, ISSUER = tag_named("PatientID"), tag_named("IssuerOfPatientID")
STUDY, STEP_ID = tag_named("StudyInstanceUID"), tag_named("ScheduledProcedureStepID")


class StudyName(NamedTuple):
    """What an order calls its study by, "" for nothing; the first that is there says which it is."""

    study_instance_uid: str = ""
    filler_order_number: str = ""
    accession_number: str = ""
    requested_procedure_id: str = ""


@dataclass(slots=True)
class StudyOrder:
    """What an order says of one study of a patient.

    `requests` are to be done, each with one step in its sequence; `taken_back` are IDs of steps that are not to be done
    any more, `completed` of those that are over.
    """

    name: StudyName
    patient: Values
    requests: list[Values] = field(default_factory=list)
    taken_back: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)


class Known(NamedTuple):
    """A step of the study that the worklist has. `is_begun` tells that a modality works on it, or has ended."""

    id: int
    values: Values
    is_begun: bool


class Plan(NamedTuple):
    """What the worklist has to do: steps to put, rows to remove, IDs of steps that are over."""

    study_instance_uid: str
    put: Sequence[Values]
    remove: Sequence[int]
    complete: Sequence[str]


def plan(order: StudyOrder, known: Sequence[Known]) -> Plan:
    """Decide what becomes of a study's steps; `known` are those there are, of whatever patient.

    An order that schedules names all steps of its study: what it does not name goes, unless it is begun. Raises Failure
    WRONG_IDENTITY if the study is another patient's, INVALID or MISSING if a step lacks something.
    """
    for step in known:
        if not is_same_patient(order.patient, step.values):
            raise Failure(Kind.WRONG_IDENTITY, "the study that is named is another patient's", (PATIENT_ID,))
    uid = text(known[0].values, STUDY) if known else order.name.study_instance_uid
    put = _complete(order.requests, uid)
    named = {_step_id(values) for values in put}
    gone = set(order.taken_back)
    remove = [
        step.id
        for step in known
        if not step.is_begun and (_step_id(step.values) in gone or (put and _step_id(step.values) not in named))
    ]
    return Plan(text(put[0], STUDY) if put else uid, put, remove, order.completed)


def is_same_patient(ours: Values, theirs: Values) -> bool:
    """Tell whether two have one Patient ID; an issuer that one of them does not name does not tell them apart."""
    issuers = text(ours, ISSUER), text(theirs, ISSUER)
    return text(ours, PATIENT_ID) == text(theirs, PATIENT_ID) and ("" in issuers or issuers[0] == issuers[1])


def _complete(requests: Sequence[Values], study_instance_uid: str) -> list[Values]:
    """Make whole steps of requests, all of one study: what they do not name is derived from the first of them."""
    found: list[Values] = []
    uid = study_instance_uid
    for request in requests:
        named = {**request, STUDY: uid} if uid else request
        try:
            found += steps_of(named)
        except Unschedulable as error:
            kind = Kind.MISSING if str(error).startswith("lacks") else Kind.INVALID
            raise Failure(kind, f"the order {error}") from error
        uid = uid or text(found[0], STUDY)
    return found


def _step_id(values: Values) -> str:
    return text(items(values, STEP_SEQUENCE)[0], STEP_ID)
