"""THE table of audit events (PS3.15 A.5.3), and a function for each that this archive tells.

The functions take what happened; which codes and participants a message then has comes from the table, which the
documentation and the tests read as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from minipacs.audit import codes
from minipacs.audit.codes import Code
from minipacs.audit.message import (
    Action,
    EventOutcome,
    Message,
    Object,
    Participant,
    PatientObject,
    QueryObject,
    ResourceObject,
    StudyObject,
)

Kind = Literal["study", "patient", "query", "resource"]

MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the table.

    `roles` tells how many participants there are with each role, `objects` how many objects of each kind: (least,
    most). Participants without a role have the key None.
    """

    code: Code
    actions: str
    types: tuple[Code, ...]
    roles: Mapping[Code | None, tuple[int, int]]
    objects: Mapping[Kind, tuple[int, int]]
    section: str
    when: str


def _rows() -> tuple[Event, ...]:
    any_one: dict[Code | None, tuple[int, int]] = {None: (1, 2)}
    transfer: dict[Code | None, tuple[int, int]] = {codes.SOURCE: (1, 1), codes.DESTINATION: (1, 1), None: (0, MANY)}
    of_patient: dict[Kind, tuple[int, int]] = {"study": (1, MANY), "patient": (1, 1)}
    of_procedure: dict[Kind, tuple[int, int]] = {"study": (0, MANY), "patient": (1, 1)}
    return (
        Event(
            Code("110100", "Application Activity"),
            "E",
            (codes.APPLICATION_START, codes.APPLICATION_STOP),
            {codes.APPLICATION: (1, 1), codes.APPLICATION_LAUNCHER: (0, MANY)},
            {},
            "A.5.3.1",
            "the service starts and stops; after a kill the next start has outcome 4",
        ),
        Event(
            Code("110101", "Audit Log Used"),
            "R",
            (),
            any_one,
            {"resource": (1, 1)},
            "A.5.3.2",
            "`minipacs audit show`",
        ),
        Event(
            Code("110102", "Begin Transferring DICOM Instances"),
            "E",
            (),
            transfer,
            of_patient,
            "A.5.3.3",
            "before the first object of a retrieval or `minipacs send`, for each patient",
        ),
        Event(
            Code("110106", "Export"),
            "R",
            (),
            {codes.DESTINATION: (0, MANY), codes.SOURCE: (1, 2), codes.DESTINATION_MEDIA: (1, 1)},
            {"study": (0, MANY), "patient": (1, MANY)},
            "A.5.3.4",
            "`minipacs export`; `minipacs backup`, which says how many patients there are, and not who",
        ),
        Event(
            Code("110107", "Import"),
            "C",
            (),
            {codes.DESTINATION: (1, MANY), codes.SOURCE_MEDIA: (1, 1), codes.SOURCE: (0, MANY)},
            {"study": (0, MANY), "patient": (1, MANY)},
            "A.5.3.5",
            "`minipacs import`",
        ),
        Event(
            Code("110103", "DICOM Instances Accessed"),
            "CUD",
            (),
            any_one,
            of_patient,
            "A.5.3.6",
            "instances are released from quarantine (C), corrected (U), or deleted while their study stays (D)",
        ),
        Event(
            Code("110104", "DICOM Instances Transferred"),
            "CRU",
            (),
            transfer,
            of_patient,
            "A.5.3.7",
            "objects came (C new, U in place of others, R held already) or went (R)",
        ),
        Event(
            Code("110105", "DICOM Study Deleted"),
            "D",
            (),
            any_one,
            of_patient,
            "A.5.3.8",
            "a whole study is deleted",
        ),
        Event(
            Code("110112", "Query"),
            "E",
            (),
            transfer,
            {"query": (1, 1)},
            "A.5.3.10",
            "C-FIND, the worklist, searches over HTTP, `minipacs find` and whatever other command shows patient data",
        ),
        Event(
            Code("110113", "Security Alert"),
            "E",
            (
                codes.NODE_AUTHENTICATION,
                codes.NETWORK_CONFIGURATION,
                codes.SECURITY_CONFIGURATION,
                codes.SOFTWARE_CONFIGURATION,
                codes.USE_OF_RESTRICTED_FUNCTION,
                codes.AUDIT_RECORDING_STOPPED,
                codes.AUDIT_RECORDING_STARTED,
                codes.OBJECT_SECURITY_ATTRIBUTES_CHANGED,
                codes.USER_SECURITY_ATTRIBUTES_CHANGED,
            ),
            {None: (1, MANY)},
            {"resource": (0, MANY)},
            "A.5.3.11",
            "a caller is refused, a right is missing, the configuration or a user changes, the trail has a gap, "
            "a stored object is found damaged",
        ),
        Event(
            Code("110114", "User Authentication"),
            "E",
            (codes.LOGIN, codes.LOGOUT),
            {None: (1, 2)},
            {},
            "A.5.3.12",
            "an association is opened for a user or is over; a session of the page; wrong credentials, also over HTTP",
        ),
        Event(
            Code("110109", "Order Record"),
            "CRUD",
            (),
            any_one,
            {"patient": (1, 1)},
            "A.5.3.13",
            "an order comes or changes by HL7 (U), or is taken back (D)",
        ),
        Event(
            Code("110110", "Patient Record"),
            "CRUD",
            (),
            any_one,
            {"patient": (1, 1)},
            "A.5.3.14",
            "what objects say of a patient is corrected, or a correction is revoked (U)",
        ),
        Event(
            Code("110111", "Procedure Record"),
            "CRUD",
            (),
            any_one,
            of_procedure,
            "A.5.3.15",
            "a worklist item or a performed procedure step comes, changes or goes",
        ),
    )


EVENTS: Mapping[str, Event] = MappingProxyType({event.code.value: event for event in _rows()})
"""Every event that is told, by its code. Network Entry (A.5.3.9) is for machines that move."""


def application_activity(
    application: Participant, *, starts: bool, launchers: Sequence[Participant] = (), ended_cleanly: bool = True
) -> Message:
    """Tell that the service starts or stops; `ended_cleanly` is false if the run before was killed."""
    participants = [replace(application, role=codes.APPLICATION)]
    participants += [replace(p, role=codes.APPLICATION_LAUNCHER, is_requestor=True) for p in launchers[:1]]
    return _message(
        "110100",
        Action.EXECUTE,
        participants,
        types=[codes.APPLICATION_START if starts else codes.APPLICATION_STOP],
        outcome=EventOutcome.SUCCESS if ended_cleanly else EventOutcome.MINOR_FAILURE,
        description="" if ended_cleanly else "the run before ended without a stop",
    )


def audit_log_used(who: Participant, uri: str) -> Message:
    """Tell that somebody read the trail at `uri`."""
    log = ResourceObject(uri, name="Security Audit Log", is_uri=True)
    return _message("110101", Action.READ, [replace(who, is_requestor=True)], [log])


def begin_transferring(
    source: Participant,
    destination: Participant,
    studies: Sequence[StudyObject],
    patient: PatientObject,
    others: Sequence[Participant] = (),
) -> Message:
    """Tell that objects of one patient are about to go. Whoever asked for it is marked as the requestor."""
    return _message("110102", Action.EXECUTE, _transfer(source, destination, others), [*studies, patient])


def instances_transferred(
    source: Participant,
    destination: Participant,
    studies: Sequence[StudyObject],
    patient: PatientObject,
    *,
    action: Action,
    outcome: EventOutcome = EventOutcome.SUCCESS,
    others: Sequence[Participant] = (),
    description: str = "",
) -> Message:
    """Tell that objects of one patient came (C, U, R as held already) or went (R), or failed to."""
    participants = _transfer(source, destination, others)
    return _message("110104", action, participants, [*studies, patient], outcome=outcome, description=description)


def export(
    who: Participant,
    uri: str,
    studies: Sequence[StudyObject],
    patients: Sequence[PatientObject],
    description: str = "",
) -> Message:
    """Tell that `who` had objects, or what is known of them, written to the medium at `uri`."""
    participants = [
        replace(who, role=codes.SOURCE, is_requestor=True),
        Participant(uri, codes.DESTINATION_MEDIA, is_media=True),
    ]
    return _message("110106", Action.READ, participants, [*studies, *patients], description=description)


def import_(
    who: Participant,
    uri: str,
    studies: Sequence[StudyObject],
    patients: Sequence[PatientObject],
    *,
    outcome: EventOutcome = EventOutcome.SUCCESS,
) -> Message:
    """Tell that `who` had objects read from the medium at `uri`."""
    participants = [
        replace(who, role=codes.DESTINATION, is_requestor=True),
        Participant(uri, codes.SOURCE_MEDIA, is_media=True),
    ]
    return _message("110107", Action.CREATE, participants, [*studies, *patients], outcome=outcome)


def instances_accessed(
    who: Participant, studies: Sequence[StudyObject], patient: PatientObject, *, action: Action
) -> Message:
    """Tell that `who` brought back, corrected or deleted instances of one patient."""
    return _message("110103", action, [replace(who, is_requestor=True)], [*studies, patient])


def study_deleted(who: Participant, studies: Sequence[StudyObject], patient: PatientObject) -> Message:
    """Tell that `who` deleted whole studies of one patient."""
    return _message("110105", Action.DELETE, [replace(who, is_requestor=True)], [*studies, patient])


def query(
    source: Participant, destination: Participant, asked: QueryObject, *, outcome: EventOutcome = EventOutcome.SUCCESS
) -> Message:
    """Tell what `source` asked for."""
    participants = _transfer(replace(source, is_requestor=True), destination, ())
    return _message("110112", Action.EXECUTE, participants, [asked], outcome=outcome)


def security_alert(
    kind: Code,
    reporter: Participant,
    *,
    performers: Sequence[Participant] = (),
    resources: Sequence[ResourceObject] = (),
    outcome: EventOutcome = EventOutcome.SUCCESS,
    description: str = "",
) -> Message:
    """Tell of something that security has to know of; `performers` are those who did it."""
    participants = [replace(reporter, is_requestor=True), *(replace(p, is_requestor=False) for p in performers)]
    return _message(
        "110113", Action.EXECUTE, participants, resources, types=[kind], outcome=outcome, description=description
    )


def user_authentication(
    user: Participant,
    *,
    login: bool,
    node: Participant | None = None,
    outcome: EventOutcome = EventOutcome.SUCCESS,
    description: str = "",
) -> Message:
    """Tell that a user signed in or out, or failed to; its address must be known."""
    participants = [replace(user, is_requestor=True), *([node] if node else [])]
    kind = codes.LOGIN if login else codes.LOGOUT
    return _message("110114", Action.EXECUTE, participants, types=[kind], outcome=outcome, description=description)


def order_record(
    who: Participant, patient: PatientObject, *, action: Action, outcome: EventOutcome = EventOutcome.SUCCESS
) -> Message:
    """Tell what became of an order."""
    return _message("110109", action, [replace(who, is_requestor=True)], [patient], outcome=outcome)


def patient_record(
    who: Participant, patient: PatientObject, *, action: Action, outcome: EventOutcome = EventOutcome.SUCCESS
) -> Message:
    """Tell what became of what is known of a patient."""
    return _message("110110", action, [replace(who, is_requestor=True)], [patient], outcome=outcome)


def procedure_record(
    who: Participant,
    studies: Sequence[StudyObject],
    patient: PatientObject,
    *,
    action: Action,
    outcome: EventOutcome = EventOutcome.SUCCESS,
) -> Message:
    """Tell what became of a worklist item or a performed procedure step."""
    return _message("110111", action, [replace(who, is_requestor=True)], [*studies, patient], outcome=outcome)


def _transfer(source: Participant, destination: Participant, others: Sequence[Participant]) -> list[Participant]:
    return [replace(source, role=codes.SOURCE), replace(destination, role=codes.DESTINATION), *others]


def _message(
    event: str,
    action: Action,
    participants: Sequence[Participant],
    objects: Sequence[Object] = (),
    *,
    types: Sequence[Code] = (),
    outcome: EventOutcome = EventOutcome.SUCCESS,
    description: str = "",
) -> Message:
    return Message(EVENTS[event].code, action, tuple(participants), tuple(objects), tuple(types), outcome, description)
