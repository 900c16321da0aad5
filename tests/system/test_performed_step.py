"""Modality Performed Procedure Step, by pynetdicom on the real process (PS3.4 F.7, F.8)."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association

from minipacs.services.data_sets import MAX_DATA_SET_BYTES
from tests.support import wire
from tests.support.modality import BEGUN, ask, dataset, key, request
from tests.support.objects import ct, save
from tests.support.server import Server, limit_files, run
from tests.support.wire import Wire

MPPS, RETRIEVE = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.3.1.2.3.4"
STATUS = 0x00400252
RECEIVED: list[Dataset] = []
"""The command sets of responses, the last one last."""
SERIES = {"ProtocolName": "HEAD", "SeriesInstanceUID": "1.2.3.4.5", "PerformingPhysicianName": "", "OperatorsName": ""}


@pytest.fixture
def modality(shared_server: Server) -> Iterator[Association]:
    """Open an association for both classes."""
    found = associate(shared_server)
    yield found
    found.release()


def associate(server: Server, title: str = "CT1") -> Association:
    ae = AE(title)
    ae.add_requested_context(MPPS)
    ae.add_requested_context(RETRIEVE)
    handlers = [(evt.EVT_DIMSE_RECV, lambda event: RECEIVED.append(event.message.command_set))]
    found = ae.associate("127.0.0.1", server.port, ae_title="MINIPACS", evt_handlers=handlers)
    assert found.is_established
    return found


def begun(**values: Any) -> Dataset:
    """Make what an N-CREATE carries; None leaves an attribute out."""
    given = {**BEGUN, **values}
    return dataset({keyword: value for keyword, value in given.items() if value is not None})


def ended(status: str = "COMPLETED", **values: Any) -> Dataset:
    """Make what the last N-SET carries."""
    given = {
        "PerformedProcedureStepStatus": status,
        "PerformedProcedureStepEndDate": "20240115",
        "PerformedProcedureStepEndTime": "1045",
        "PerformedSeriesSequence": [SERIES],
        **values,
    }
    return dataset({keyword: value for keyword, value in given.items() if value is not None})


def create(modality: Association, ds: Dataset | None = None, uid: str | None = None) -> str:
    """Create a step; returns its UID."""
    uid = uid or generate_uid()
    status = try_to_create(modality, ds or begun(), uid)
    assert (status.Status, status.AffectedSOPInstanceUID) == (0, uid)
    return uid


def try_to_create(modality: Association, ds: Dataset, uid: str | None = None) -> Dataset:
    """Send an N-CREATE; returns the whole command set of the response, of which pynetdicom gives a part."""
    modality.send_n_create(ds, MPPS, uid or generate_uid())
    return RECEIVED[-1]


def change(modality: Association, uid: str, ds: Dataset) -> Dataset:
    modality.send_n_set(ds, MPPS, uid)
    return RECEIVED[-1]


def fetched(modality: Association, uid: str, tags: Sequence[int] = ()) -> Dataset:
    status, found = modality.send_n_get(list(tags), RETRIEVE, uid)
    assert status.Status == 0
    return found


def tags(status: Dataset) -> list[int]:
    found = status.get("AttributeIdentifierList") or []
    return [int(tag) for tag in ([found] if isinstance(found, int) else found)]


def test_p1_the_modality_names_the_instance(modality: Association):
    uid = create(modality)
    assert fetched(modality, uid).PatientName == "Doe^Jane"


def test_p1_without_a_uid_we_make_one(modality: Association):
    modality.send_n_create(begun(), MPPS, None)
    assert RECEIVED[-1].Status == 0
    assert fetched(modality, RECEIVED[-1].AffectedSOPInstanceUID).PatientID == "P1"


def test_p1_the_same_uid_again_is_0111(modality: Association):
    uid = create(modality)
    status = try_to_create(modality, begun(), uid)
    assert status.Status == 0x0111


@pytest.mark.parametrize("value", ["COMPLETED", "DISCONTINUED", "DONE"])
def test_p2_a_new_step_must_be_in_progress(modality: Association, value: str):
    status = try_to_create(modality, begun(PerformedProcedureStepStatus=value))
    assert (status.Status, tags(status)) == (0x0106, [STATUS])


@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("ScheduledStepAttributesSequence", 0x00400270),
        ("PerformedProcedureStepID", 0x00400253),
        ("PerformedStationAETitle", 0x00400241),
        ("PerformedProcedureStepStartDate", 0x00400244),
        ("PerformedProcedureStepStartTime", 0x00400245),
        ("PerformedProcedureStepStatus", STATUS),
        ("Modality", 0x00080060),
    ],
)
def test_p2_type_1_is_0120_if_missing_and_0121_if_empty(modality: Association, keyword: str, tag: int):
    empty: Any = [] if keyword.endswith("Sequence") else ""
    for value, expected in ((None, 0x0120), (empty, 0x0121)):
        status = try_to_create(modality, begun(**{keyword: value}))
        assert (status.Status, tags(status)) == (expected, [tag])
        assert status.ErrorComment


def test_p2_type_1_within_a_sequence_is_asked_for(modality: Association):
    without = [{"ScheduledProcedureStepID": "S1"}]
    status = try_to_create(modality, begun(ScheduledStepAttributesSequence=without))
    assert (status.Status, tags(status)) == (0x0120, [0x0020000D])


def test_p2_type_2_may_be_missing(modality: Association):
    uid = create(modality, begun(PatientName=None, PatientID=""))
    assert fetched(modality, uid).PatientName == ""


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_p2_a_malformed_value_is_0106(modality: Association):
    status = try_to_create(modality, begun(ScheduledStepAttributesSequence=[{"StudyInstanceUID": "1..2"}]))
    assert (status.Status, tags(status)) == (0x0106, [0x0020000D])


def test_an_unknown_attribute_is_a_warning_and_the_rest_is_done(modality: Association):
    ds = begun()
    ds.add_new(0x00091001, "LO", "private")
    uid = generate_uid()
    status = try_to_create(modality, ds, uid)
    assert (status.Status, tags(status)) == (0x0107, [0x00091001])
    assert fetched(modality, uid).PatientID == "P1"


def test_p3_whole_sequences_are_replaced(modality: Association):
    uid = create(modality, begun(PerformedSeriesSequence=[SERIES]))
    other = {**SERIES, "SeriesInstanceUID": "1.2.9"}
    assert change(modality, uid, dataset({"PerformedSeriesSequence": [other]})).Status == 0
    assert [s.SeriesInstanceUID for s in fetched(modality, uid).PerformedSeriesSequence] == ["1.2.9"]


@pytest.mark.parametrize(
    ("keyword", "value", "tag"),
    [("PatientID", "P2", 0x00100020), ("CommentsOnThePerformedProcedureStep", "new", 0x00400280)],
)
def test_p3_only_what_was_created_and_may_change_can_be_set(modality: Association, keyword: str, value: str, tag: int):
    uid = create(modality)
    status = change(modality, uid, dataset({keyword: value, "PerformedProcedureStepDescription": "HEAD"}))
    assert (status.Status, tags(status)) == (0x0105, [tag])
    assert fetched(modality, uid).PerformedProcedureStepDescription == ""


def test_p3_a_created_optional_attribute_can_be_set(modality: Association):
    uid = create(modality, begun(CommentsOnThePerformedProcedureStep=""))
    assert change(modality, uid, dataset({"CommentsOnThePerformedProcedureStep": "new"})).Status == 0
    assert fetched(modality, uid).CommentsOnThePerformedProcedureStep == "new"


def test_p3_character_sets_are_combined_to_unicode(modality: Association):
    first = begun(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^A")
    uid = create(modality, first)
    later = dataset({"SpecificCharacterSet": "ISO_IR 101", "PerformedProcedureStepDescription": "Główa"})
    assert change(modality, uid, later).Status == 0
    found = fetched(modality, uid)
    assert (found.PatientName, found.PerformedProcedureStepDescription) == ("Müller^A", "Główa")


@pytest.mark.parametrize(
    ("values", "expected", "tag"),
    [
        ({"PerformedProcedureStepEndDate": ""}, 0x0121, 0x00400250),
        ({"PerformedProcedureStepEndTime": None}, 0x0121, 0x00400251),
        ({"PerformedSeriesSequence": []}, 0x0121, 0x00400340),
        ({"PerformedSeriesSequence": [{**SERIES, "ProtocolName": ""}]}, 0x0121, 0x00181030),
        ({"PerformedSeriesSequence": [{"ProtocolName": "X"}]}, 0x0120, 0x0020000E),
    ],
)
def test_p3_the_final_state_needs_its_attributes(
    modality: Association, values: dict[str, Any], expected: int, tag: int
):
    uid = create(modality)
    status = change(modality, uid, ended(**values))
    assert (status.Status, tags(status)) == (expected, [tag])
    assert fetched(modality, uid).PerformedProcedureStepStatus == "IN PROGRESS"


def test_p3_a_step_may_be_discontinued_without_a_series(modality: Association):
    uid = create(modality)
    assert change(modality, uid, ended("DISCONTINUED", PerformedSeriesSequence=[])).Status == 0


def test_p3_an_unknown_status_is_0106(modality: Association):
    uid = create(modality)
    status = change(modality, uid, ended("PAUSED"))
    assert (status.Status, tags(status)) == (0x0106, [STATUS])


@pytest.mark.parametrize("final", ["COMPLETED", "DISCONTINUED"])
def test_p4_a_final_state_is_final(modality: Association, shared_server: Server, final: str):
    uid = create(modality)
    assert change(modality, uid, ended(final)).Status == 0
    status = change(modality, uid, dataset({"PerformedProcedureStepDescription": "later"}))
    assert (status.Status, status.ErrorID) == (0x0110, 0xA710)
    assert "may no longer be updated" in status.ErrorComment
    assert fetched(modality, uid).PerformedProcedureStepStatus == final
    refused = shared_server.wait_for(lambda e: e.get("sop_instance_uid") == uid and e.get("status") == "0110")
    assert refused["level"] == "warning", "the peer's fault, not ours"


def test_p4_n_get_returns_what_is_asked_for(modality: Association):
    uid = create(modality)
    assert fetched(modality, uid, [0x00100020, STATUS]) == dataset(
        {"PatientID": "P1", "PerformedProcedureStepStatus": "IN PROGRESS"}
    )


def test_p4_an_unknown_instance_is_0112(modality: Association):
    assert change(modality, "1.2.3.99", ended()).Status == 0x0112
    assert modality.send_n_get([], RETRIEVE, "1.2.3.99")[0].Status == 0x0112


@pytest.mark.parametrize("uid", ["1..2", "1." + "2" * 63])
def test_a_malformed_instance_uid_is_0117(shared_server: Server, uid: str):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, MPPS))
        data = wire.element(0x00100020, b"P1")
        caller.send(
            wire.message(1, wire.command(0x140, MPPS, data=True, more=wire.element(0x1000, uid.encode())), data)
        )
        assert caller.response().status == 0x0117
        caller.release()


def test_another_class_is_0118_and_an_image_0119(modality: Association, shared_server: Server, tmp_path):
    ds = ct()
    run("import", "--config", shared_server.config, save(ds, tmp_path / "a.dcm"))
    assert change(modality, ds.SOPInstanceUID, ended()).Status == 0x0119
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, MPPS))
        caller.send(wire.message(1, wire.command(0x140, "1.2.3.4")))
        assert caller.response().status == 0x0118
        caller.release()


@pytest.mark.parametrize("field", [0x150, 0x130])
def test_n_delete_and_n_action_are_0211(shared_server: Server, field: int):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, MPPS))
        caller.send(wire.message(1, wire.command(field, MPPS)))
        assert caller.response().status == 0x0211
        caller.release()


def test_an_unknown_character_set_is_0106(shared_server: Server):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, MPPS))
        data = wire.element(0x00080005, b"ISO_IR 999") + wire.element(0x00100020, b"P1")
        caller.send(wire.message(1, wire.command(0x140, MPPS, data=True), data))
        found = caller.response()
        assert (found.status, found.elements[0x1005]) == (0x0106, b"\x08\0\x05\0")
        caller.release()


def test_a_data_set_that_is_too_large_is_0213(shared_server: Server):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, MPPS))
        data = wire.element(0x00100020, b"P1") + wire.element(0x00400280, bytes(MAX_DATA_SET_BYTES))
        caller.send(wire.message(1, wire.command(0x140, MPPS, data=True), data))
        assert caller.response().status == 0x0213
        caller.send(wire.message(1, wire.command(0x140, MPPS, data=True), wire.element(0x00100020, b"P1")))
        assert caller.response().status == 0x0120, "the association goes on"
        caller.release()


def test_what_the_index_cannot_take_is_0213_and_taken_later(start_server: Callable[..., Server]):
    server = start_server()
    modality, uid = associate(server), generate_uid()
    create(modality)
    limit_files(server, 4096)
    status = try_to_create(modality, begun(), uid)
    assert (status.Status, status.ErrorComment[:6]) == (0x0213, "index ")
    limit_files(server)
    create(modality, uid=uid)
    modality.release()


def test_an_unreadable_data_set_is_0110_without_an_error_id(shared_server: Server):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, MPPS))
        caller.send(wire.message(1, wire.command(0x140, MPPS, data=True), b"\x10\0\x20\0\xff\0\0\0"))
        found = caller.response()
        assert (found.status, 0x903 in found.elements) == (0x0110, False)
        caller.release()


@pytest.mark.parametrize("stop", ["stop", "kill"])
def test_p5_a_step_survives_a_restart(start_server: Callable[..., Server], stop: str):
    server = start_server()
    modality = associate(server)
    uid = create(modality)
    modality.release()
    getattr(server, stop)()
    server.start()
    modality = associate(server)
    assert change(modality, uid, ended()).Status == 0
    assert fetched(modality, uid).PerformedProcedureStepStatus == "COMPLETED"
    modality.release()


def test_p6_an_unscheduled_step_is_accepted(modality: Association):
    unscheduled = [{"StudyInstanceUID": generate_uid(), "ScheduledProcedureStepID": "", "AccessionNumber": ""}]
    uid = create(
        modality,
        begun(ScheduledStepAttributesSequence=unscheduled, PatientName="山田^太郎", SpecificCharacterSet="ISO_IR 192"),
    )
    images = [
        {"ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "ReferencedSOPInstanceUID": f"1.2.{n}"}
        for n in range(500)
    ]
    assert (
        change(modality, uid, ended(PerformedSeriesSequence=[{**SERIES, "ReferencedImageSequence": images}])).Status
        == 0
    )
    found = fetched(modality, uid)
    assert found.PatientName == "山田^太郎"
    assert len(found.PerformedSeriesSequence[0].ReferencedImageSequence) == 500


@pytest.mark.parametrize("final", ["COMPLETED", "DISCONTINUED"])
def test_w7_the_worklist_step_changes_its_state_and_is_hidden(start_server: Callable[..., Server], final: str):
    server = start_server()
    path = server.folder / "requests.json"
    others = {"ScheduledProcedureStepID": "S2"}
    path.write_text(json.dumps([request(StudyInstanceUID="1.2.3"), request(StudyInstanceUID="1.2.3", step=others)]))
    run("worklist", "import", "--config", server.config, path)
    status = key("ScheduledProcedureStepStatus")
    modality = associate(server)
    uid = create(modality)
    assert ask(server.port).ids() == ["S2"]
    assert ask(server.port, status + "STARTED").ids() == ["S1"]
    assert change(modality, uid, ended(final)).Status == 0
    assert ask(server.port).ids() == ["S2"]
    assert ask(server.port, status + final).ids() == ["S1"]
    run("worklist", "import", "--config", server.config, path)
    assert ask(server.port).ids() == ["S2"]
    modality.release()
