"""Every event by the schema and by its row; hostile text stays text."""

from base64 import b64decode
from typing import Any

import pytest

from minipacs.audit import codes, events
from minipacs.audit.audit import application_entity, person
from minipacs.audit.events import EVENTS
from minipacs.audit.message import (
    MAX_QUERY_BYTES,
    UNKNOWN_PATIENT,
    UNKNOWN_STUDY,
    Action,
    EventOutcome,
    Message,
    Participant,
    PatientObject,
    QueryObject,
    ResourceObject,
    Source,
    StudyObject,
    encode,
)
from tests.support.audit_messages import check

SOURCE = Source("MINIPACS", "North Hospital")
US = application_entity("MINIPACS", "10.0.0.1")
THEM = application_entity("CT1", "ct1.example", is_requestor=True)
WHO = person("anna", "host", sudo_user="karl")
STUDY = StudyObject("1.2.3", {"1.2.840.10008.5.1.4.1.1.2": 120}, ("A1",), ("1.2.9",))
PATIENT = PatientObject("P1", "Müller^Änne")
CT = "1.2.840.10008.5.1.4.1.1.2"

MESSAGES: dict[str, Message] = {
    "start": events.application_activity(US, starts=True, launchers=[WHO]),
    "stop": events.application_activity(US, starts=False),
    "killed": events.application_activity(US, starts=True, ended_cleanly=False),
    "log used": events.audit_log_used(WHO, "file:///var/lib/minipacs/audit.log"),
    "begin": events.begin_transferring(US, THEM, [STUDY], PATIENT),
    "export": events.export(WHO, "file:///media/disc", [STUDY], [PATIENT, PatientObject("P2")]),
    "import": events.import_(WHO, "file:///media/disc", [STUDY], [PATIENT]),
    "accessed": events.instances_accessed(WHO, [STUDY], PATIENT, action=Action.CREATE),
    "transferred": events.instances_transferred(THEM, US, [STUDY], PATIENT, action=Action.CREATE),
    "failed": events.instances_transferred(
        THEM, US, [StudyObject("")], PatientObject(""), action=Action.CREATE, outcome=EventOutcome.MINOR_FAILURE
    ),
    "moved": events.instances_transferred(
        US, application_entity("WS", "10.0.0.3"), [STUDY], PATIENT, action=Action.READ, others=[THEM]
    ),
    "deleted": events.study_deleted(WHO, [STUDY], PATIENT),
    "query": events.query(THEM, US, QueryObject(b"\0\1", CT, "1.2.840.10008.1.2")),
    "search": events.query(THEM, US, QueryObject(b"a=b", url="https://pacs/dicom-web/studies?a=b")),
    "alert": events.security_alert(
        codes.NODE_AUTHENTICATION,
        US,
        performers=[THEM],
        resources=[ResourceObject("CT1", "certificate revoked")],
        outcome=EventOutcome.MINOR_FAILURE,
    ),
    "login": events.user_authentication(
        Participant("anna@CT1", address="10.0.0.5"), login=True, outcome=EventOutcome.MINOR_FAILURE
    ),
    "order": events.order_record(THEM, PATIENT, action=Action.UPDATE),
    "patient": events.patient_record(THEM, PATIENT, action=Action.UPDATE),
    "procedure": events.procedure_record(THEM, [STUDY], PATIENT, action=Action.UPDATE),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_is_valid_and_has_what_its_row_asks_for(name: str):
    check(encode(MESSAGES[name], SOURCE))


def test_every_event_of_the_table_is_told_by_some_message():
    assert {message.event.value for message in MESSAGES.values()} == set(EVENTS)


def test_what_a_transfer_tells():
    root = check(encode(MESSAGES["transferred"], SOURCE))
    study, patient = root.findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == "1.2.3"
    assert study.find("ParticipantObjectDescription/SOPClass").get("NumberOfInstances") == "120"
    assert study.find("ParticipantObjectDescription/Accession").get("Number") == "A1"
    assert patient.find("ParticipantObjectName").text == "Müller^Änne"
    assert root.find("ActiveParticipant").get("AlternativeUserID") == "AETITLES=CT1"
    assert root.find("ActiveParticipant").get("NetworkAccessPointTypeCode") == "1"
    assert root.findall("ActiveParticipant")[1].get("NetworkAccessPointTypeCode") == "2"
    assert root.find("AuditSourceIdentification").get("AuditEnterpriseSiteID") == "North Hospital"


def test_what_a_failed_store_does_not_know_has_a_placeholder():
    root = check(encode(MESSAGES["failed"], SOURCE))
    ids = [o.get("ParticipantObjectID") for o in root.findall("ParticipantObjectIdentification")]
    assert ids == [UNKNOWN_STUDY, UNKNOWN_PATIENT]


def test_an_identifier_is_kept_as_it_came_up_to_a_bound():
    root = check(encode(events.query(THEM, US, QueryObject(b"\xff" * (MAX_QUERY_BYTES + 1), CT)), SOURCE))
    query = root.find("ParticipantObjectIdentification")
    assert b64decode(query.find("ParticipantObjectQuery").text) == b"\xff" * MAX_QUERY_BYTES
    details = {d.get("type"): b64decode(d.get("value")) for d in query.findall("ParticipantObjectDetail")}
    assert details == {"TruncatedFromBytes": str(MAX_QUERY_BYTES + 1).encode()}


@pytest.mark.parametrize("text", ["<b>\"&'", "a\nb\r\tc", "\0\x1b[2J", "\u202egnp\u2028", "\ud800", "x" * 100_000])
@pytest.mark.parametrize("where", ["user", "patient", "study", "accession", "description", "resource"])
def test_hostile_text_forges_nothing(where: str, text: str):
    def of(place: str, otherwise: str) -> str:
        return text if place == where else otherwise

    study: Any = StudyObject(of("study", "1.2"), {CT: 1}, (of("accession", "A"),))
    message = events.instances_transferred(
        application_entity(of("user", "CT1"), "10.0.0.2"),
        US,
        [study],
        PatientObject(of("patient", "P"), of("patient", "N")),
        action=Action.CREATE,
        description=of("description", "d"),
    )
    assert len(check(encode(message, SOURCE)).findall("ActiveParticipant")) == 2
    alert = events.security_alert(
        codes.SECURITY_CONFIGURATION, US, resources=[ResourceObject(of("resource", "N"), of("resource", "d"))]
    )
    check(encode(alert, SOURCE))
