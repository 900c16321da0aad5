"""Orders as requests: THE mapping row by row, which study is meant, what becomes of its steps."""

import pytest

from minipacs.dicom.data_set.json_values import by_keyword
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.workflow.orders import Known, StudyOrder, plan
from minipacs.dicom.workflow.scheduling import steps_of
from minipacs.errors import Failure
from minipacs.hl7 import mapping
from minipacs.hl7.controls import CONTROLS
from minipacs.hl7.faults import Refused
from minipacs.hl7.message import read
from minipacs.hl7.orders import Rules, Station, read_orders
from tests.support.hl7 import order

RULES = Rules(stations=[Station("MR1", "MR"), Station("CT-ER", "CT", "EMERGENCY*"), Station("CT1", "CT")])
CODED = [{"CodeValue": "V", "CodingSchemeDesignator": "S", "CodeMeaning": "M"}]
OMI = {"MSH-9": "OMI^O23", "MSH-12": "2.5.1"}


def orders(message: str, rules: Rules = RULES) -> list[StudyOrder]:
    return read_orders(read(message.encode("utf-8"), "UNICODE UTF-8"), rules)


def scheduled(message: str, rules: Rules = RULES) -> dict[str, object]:
    """Give the one step that a message schedules, its sequence's item among the rest."""
    (found,) = orders(message, rules)
    (request,) = found.requests
    values = by_keyword(request)
    (step,) = values.pop("ScheduledProcedureStepSequence")
    return {**values, **step}


ROWS = [
    ("PID-5", "Doe^Jane^Q^Jr.^Dr.^MD", "PatientName", "Doe^Jane^Q^Dr.^Jr. MD"),
    (
        "PID-5",
        "Yamada^Tarou~山田^太郎^^^^^^I~やまだ^たろう^^^^^^P",
        "PatientName",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    ("PID-5", "O=Neill^J\\S\\x", "PatientName", "O Neill^J x"),
    ("PID-7", "197001011230", "PatientBirthDate", "19700101"),
    ("PID-8", "A", "PatientSex", "O"),
    ("PID-6", "Smith^Ann", "PatientMotherBirthName", "Smith^Ann"),
    ("PID-11", "Main St 1^^Town^^12345^DE", "PatientAddress", "Main St 1, Town, 12345, DE"),
    ("PID-14", "555-1", "PatientTelephoneNumbers", "555-1"),
    ("PV1-15", "A0~B6", "PregnancyStatus", "3"),
    ("PV1-16", "VIP", "ConfidentialityConstraintOnPatientDataDescription", "VIP"),
    ("PV1-19", "V77", "AdmissionID", "V77"),
    ("PV1-3", "WARD^12^1^HOSP", "CurrentPatientLocation", "WARD^12^1"),
    ("PV1-8", "8^Ref^Doc^^^Dr.", "ReferringPhysicianName", "Ref^Doc^^Dr."),
    ("OBR-12", "MRSA", "PatientState", "MRSA"),
    ("OBR-13", "pacemaker", "MedicalAlerts", "pacemaker"),
    ("AL1-3", "X^Iodine", "Allergies", "Iodine"),
    ("OBX-3", "29463-7^Weight^LN||70500|g", "PatientWeight", "70.5"),
    ("OBX-3", "X^Body Height^L||1.80|m", "PatientSize", "1.8"),
    ("OBR-18", "A-1", "AccessionNumber", "A-1"),
    ("OBR-19", "R-1", "RequestedProcedureID", "R-1"),
    ("OBR-44", "V^M^S", "RequestedProcedureCodeSequence", CODED),
    ("OBR-44", "V^M^S", "RequestedProcedureDescription", "M"),
    ("OBR-31", "V^M^S", "ReasonForRequestedProcedureCodeSequence", CODED),
    ("OBR-31", "^cough", "ReasonForTheRequestedProcedure", "cough"),
    ("ORC-7", "^^^202611241100^^S", "RequestedProcedurePriority", "STAT"),
    ("OBR-30", "WHLC", "PatientTransportArrangements", "WHLC"),
    ("OBR-16", "7^Ray^X", "RequestingPhysician", "Ray^X"),
    ("ORC-12", "7^Ray^Y", "RequestingPhysician", "Ray^Y"),
    ("ORC-2", "P9^RIS", "PlacerOrderNumberImagingServiceRequest", "P9"),
    ("ORC-3", "F9^RIS&1.2&ISO", "FillerOrderNumberImagingServiceRequest", "F9"),
    ("ORC-17", "V^M^S", "InstitutionName", "M"),
    ("ORC-7", "^^^202701020304^^R", "ScheduledProcedureStepStartDate", "20270102"),
    ("ORC-7", "^^^20270102030405+0100^^R", "ScheduledProcedureStepStartTime", "030405"),
    ("ORC-7", "^^^20270102^^R", "ScheduledProcedureStepStartTime", "000000"),
    ("OBR-20", "S-1", "ScheduledProcedureStepID", "S-1"),
    ("OBR-20", "", "ScheduledProcedureStepID", "RP1"),
    ("OBR-4", "A^B^C^V^M^S", "ScheduledProtocolCodeSequence", CODED),
    ("OBR-4", "A^B^C^V^M^S", "ScheduledProcedureStepDescription", "M"),
    ("OBR-34", "7&Tech&Tim", "ScheduledPerformingPhysicianName", "Tech^Tim"),
    ("ORC-18", "CT7~CT8", "ScheduledStationAETitle", "CT7\\CT8"),
    ("OBR-4", "A^back\\E\\slash^", "ScheduledProcedureStepDescription", "back_slash"),
    ("OBR-4", "A^" + "x" * 70, "ScheduledProcedureStepDescription", "x" * 64),
]


@pytest.mark.parametrize(("place", "text", "keyword", "value"), ROWS)
def test_a_field_becomes_its_attribute(place: str, text: str, keyword: str, value: object):
    assert scheduled(order(fields={place: text}))[keyword] == value


def test_every_row_of_the_table_names_an_attribute_and_places():
    rows = (*mapping.PATIENT, *mapping.VISIT, *mapping.REQUEST, *mapping.STEP)
    assert len({row.keyword for row in rows}) == len(rows)
    assert all(row.tag and (row.orm or row.omi) for row in rows)


def test_omi_has_steps_in_ipc():
    ipc = {1: "ACC9^RIS", 2: "RP9", 3: "1.2.9", 4: "S9", 5: "MR", 6: "V^M^S", 7: "ROOM1", 8: "FLOOR2", 9: "MR7"}
    found = scheduled(order(fields=OMI | {f"IPC-{number}": text for number, text in ipc.items()}))
    wanted = {
        "AccessionNumber": "ACC9",
        "RequestedProcedureID": "RP9",
        "StudyInstanceUID": "1.2.9",
        "ScheduledProcedureStepID": "S9",
        "Modality": "MR",
        "ScheduledProtocolCodeSequence": CODED,
        "ScheduledStationName": "ROOM1",
        "ScheduledProcedureStepLocation": "FLOOR2",
        "ScheduledStationAETitle": "MR7",
    }
    assert {name: found[name] for name in wanted} == wanted


def test_the_identifier_of_the_authority_is_the_patient_id():
    message = order(fields={"PID-3": "1^^^OLD~2^^^HOSP&1.2.3&ISO~3"})
    found = scheduled(message, Rules("HOSP", RULES.stations))
    assert (found["PatientID"], found["IssuerOfPatientID"]) == ("2", "HOSP")
    assert [other["PatientID"] for other in found["OtherPatientIDsSequence"]] == ["1", "3"]  # type: ignore[attr-defined]
    assert scheduled(message)["PatientID"] == "1"


def test_several_orders_are_steps_of_a_study_and_a_repeated_step_adds_its_code():
    message = order() + "ORC|NW||FI1^RIS||SC\rOBR|1|||B^two^L||||||||||||||ACC1|RP1|SPS1||||CT\r"
    (found,) = orders(message)
    (request,) = found.requests
    codes = by_keyword(request)["ScheduledProcedureStepSequence"][0]["ScheduledProtocolCodeSequence"]
    assert [code["CodeValue"] for code in codes] == ["CTH", "B"]
    (found,) = orders(message.replace("|RP1|SPS1||||CT\rZDS", "|RP1|SPS9||||CT\rZDS"))
    assert len(found.requests) == 2


def test_a_station_is_chosen_by_modality_and_place():
    assert scheduled(order())["ScheduledStationAETitle"] == "CT1"
    assert scheduled(order(fields={"PV1-3": "EMERGENCY2"}))["ScheduledStationAETitle"] == "CT-ER"
    assert scheduled(order(fields={"OBR-24": "MR"}))["ScheduledStationAETitle"] == "MR1"


@pytest.mark.parametrize(
    ("fields", "condition", "location"),
    [
        ({"OBR-18": "x" * 17}, 102, "OBR^1^18"),
        ({"OBR-19": "x" * 17}, 102, "OBR^1^19"),
        ({"OBR-20": "x" * 17}, 102, "OBR^1^20"),
        ({"PID-3": "x" * 65}, 102, "PID^1^3"),
        ({"PID-3": ""}, 101, "PID^1^3"),
        ({"ZDS-1": "1.2.x"}, 102, "ZDS^1^1"),
        ({"ORC-1": "ZZ"}, 103, "ORC^1^1"),
        ({"ORC-5": "ZZ"}, 103, "ORC^1^1"),
        ({"OBR-24": ""}, 101, "OBR^1^24"),
        ({"OBR-24": "US"}, 101, "ORC^1^18"),
        ({"ORC-7": "^^^tomorrow"}, 102, "ORC^1^7"),
        ({"PID-5": "x" * 65}, 102, "PID^1^5"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_with_its_place(fields: dict[str, str], condition: int, location: str):
    with pytest.raises(Refused) as refused:
        orders(order(fields=fields))
    assert (refused.value.condition, refused.value.location) == (condition, location)


@pytest.mark.parametrize(("control", "status"), CONTROLS)
def test_every_control_says_what_becomes_of_the_step(control: str, status: str):
    (found,) = orders(order(control=control, status=status))
    assert [bool(found.requests), bool(found.taken_back), bool(found.completed)].count(True) == 1


def known(number: int, message: str, *, is_begun: bool = False) -> Known:
    (values,) = steps_of(orders(message)[0].requests[0])
    return Known(number, values, is_begun)


def test_an_order_without_a_uid_means_the_study_that_it_meant_before():
    first = known(1, order())
    (again,) = orders(order(fields={"ZDS-1": ""}))
    assert plan(again, [first]).study_instance_uid == "1.2.3.4.5"
    derived = [plan(orders(order(fields={"ZDS-1": ""}))[0], []).study_instance_uid for _ in range(2)]
    assert derived[0] == derived[1] != ""


def test_steps_that_an_order_no_longer_names_go_unless_they_are_begun():
    old, begun = known(1, order(fields={"OBR-20": "S1"})), known(2, order(fields={"OBR-20": "S2"}), is_begun=True)
    (new,) = orders(order(fields={"OBR-20": "S3"}))
    assert list(plan(new, [old, begun]).remove) == [1]
    (cancelled,) = orders(order(control="CA", status="CA", fields={"OBR-20": "S1"}))
    assert list(plan(cancelled, [old, begun]).remove) == [1]
    (cancelled,) = orders(order(control="CA", status="CA", fields={"OBR-20": "S2"}))
    assert list(plan(cancelled, [old, begun]).remove) == []


def test_the_study_of_another_patient_is_refused():
    (other,) = orders(order(fields={"PID-3": "4712^^^HOSP"}))
    with pytest.raises(Failure, match="another patient"):
        plan(other, [known(1, order())])


def test_an_issuer_that_one_does_not_name_does_not_tell_patients_apart():
    (same,) = orders(order(fields={"PID-3": "4711"}))
    put: list[Values] = list(plan(same, [known(1, order())]).put)
    assert len(put) == 1
