"""The Modality Worklist, asked by findscu of the real process (PS3.4 K)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from minipacs.dicom.workflow.worklist import STEP_KEYS
from tests.support import wire
from tests.support.modality import STEP, ask, dataset, key, request
from tests.support.objects import encode
from tests.support.server import Server, run
from tests.support.wire import Wire

WORKLIST = "1.2.840.10008.5.1.4.31"
THREE = "1.2.3.1"

REQUESTS = [
    request(
        PatientName="Müller^Änne",
        PatientID="P1",
        StudyInstanceUID="1.2.3.9",
        ReferencedStudySequence=[],
        RequestedProcedureCodeSequence=[
            {"CodeValue": "CTH", "CodingSchemeDesignator": "99X", "CodeMeaning": "CT head"},
        ],
        step={"ScheduledProcedureStepID": "S1", "ScheduledPerformingPhysicianName": "Ray^X"},
    ),
    request(
        PatientName="Doe^John",
        PatientID="P2",
        AccessionNumber="",
        step={
            "ScheduledProcedureStepID": "S2",
            "ScheduledStationAETitle": "MR1\\MR2",
            "Modality": "MR",
            "ScheduledProcedureStepStartDate": "20240116",
            "ScheduledProcedureStepStartTime": "0800",
        },
    ),
    {
        **request(PatientName="山田^太郎", PatientID="P3", StudyInstanceUID=THREE),
        STEP: [
            {
                **request()[STEP][0],
                "ScheduledProcedureStepID": f"T{n}",
                "ScheduledProcedureStepStartDate": "20240117",
                "ScheduledProcedureStepStartTime": f"{n + 10}0000",
                "Modality": "US",
            }
            for n in range(3)
        ],
    },
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start an archive with three requests on its worklist; returns its port."""
    server = Server(tmp_path_factory.mktemp("worklist"))
    schedule(server, *REQUESTS)
    yield server.port
    server.end()


def schedule(server: Server, *requests: object) -> None:
    path = server.folder / "requests.json"
    path.write_text(json.dumps(requests))
    run("worklist", "import", "--config", server.config, path)


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        (key("ScheduledStationAETitle", "CT1"), ["S1", "T0", "T1", "T2"]),
        (key("ScheduledProcedureStepStartDate", "20240116"), ["S2"]),
        (key("ScheduledProcedureStepStartDate", "20240116-"), ["S2", "T0", "T1", "T2"]),
        (key("ScheduledProcedureStepStartTime", "1030"), ["S1"]),
        (key("ScheduledProcedureStepStartTime", "-1030"), ["S1", "S2", "T0"]),
        (key("Modality", "MR"), ["S2"]),
        (key("ScheduledPerformingPhysicianName", "ray*"), ["S1"]),
        ("PatientName=doe^john", ["S2"]),
        ("PatientName=*m?ller*", ["S1"]),
        ("PatientID=P3", ["T0", "T1", "T2"]),
        ("AccessionNumber=A1", ["S1", "T0", "T1", "T2"]),
        ("StudyInstanceUID=1.2.3.9", ["S1"]),
        ("PatientID=NOBODY", []),
    ],
)
def test_w1_required_keys_are_matched(port: int, asked: str, steps: list[str]):
    assert ask(port, asked).ids() == steps


def test_w1_a_station_of_several_matches(port: int):
    assert ask(port, key("ScheduledStationAETitle", "MR2")).ids() == ["S2"]


def test_f12_dates_and_times_form_one_interval(port: int):
    between = [
        key("ScheduledProcedureStepStartDate", "20240115-20240117"),
        key("ScheduledProcedureStepStartTime", "1100-1030"),
    ]
    assert ask(port, *between).ids() == ["S2", "T0"]


def test_w2_return_keys_are_all_there(port: int):
    (found,) = ask(port, "PatientID=P1", f"{STEP}=", "ReferencedStudySequence", "PatientWeight", "RequestedProcedureID")
    assert found.PatientWeight is None
    assert len(found.ReferencedStudySequence) == 0
    assert found.RequestedProcedureID


@pytest.mark.parametrize("whole", [[], [{}]])
def test_w2_an_empty_sequence_key_gives_the_whole_step(port: int, whole: list[dict[str, str]]):
    ((_, found), *_) = query(port, dataset({"PatientID": "P1", STEP: whole, "RequestedProcedureCodeSequence": whole}))
    (step,) = found[STEP]
    for entry in STEP_KEYS.values():
        if entry.return_type in ("1", "2") or entry.keyword == "ScheduledProcedureStepDescription":
            assert entry.keyword in step
        if entry.return_type == "1":
            assert step[entry.keyword].value, entry.keyword
    assert [code.CodeMeaning for code in found.RequestedProcedureCodeSequence] == ["CT head"]


def test_w2_nested_keys_choose_what_a_code_returns(port: int):
    asked = dataset({"PatientID": "P1", "RequestedProcedureCodeSequence": [{"CodeValue": ""}]})
    ((_, found), *_) = query(port, asked)
    assert found.RequestedProcedureCodeSequence[0] == dataset({"CodeValue": "CTH"})


def test_w2_only_what_was_asked_for_is_returned(port: int):
    ((_, found), *_) = query(port, dataset({"PatientID": "P2"}))
    assert found == dataset({"PatientID": "P2"})


def test_w3_without_a_date_everything_unfinished_is_listed(port: int):
    assert ask(port, key("ScheduledStationAETitle", "*")).ids() == ["S1", "S2", "T0", "T1", "T2"]


def test_w4_each_step_is_an_answer(port: int):
    found = ask(port, "PatientID=P3", "StudyInstanceUID")
    assert found.ids() == ["T0", "T1", "T2"]
    assert {ds.StudyInstanceUID for ds in found} == {THREE}
    assert all(len(ds[STEP].value) == 1 for ds in found)


def test_w5_study_instance_uid_is_stable(start_server: Callable[..., Server]):
    server = start_server()
    schedule(server, REQUESTS[1])
    (first,) = ask(server.port, "StudyInstanceUID")
    (again,) = ask(server.port, "StudyInstanceUID")
    run("worklist", "remove", "--config", server.config, 1)
    assert ask(server.port) == []
    schedule(server, REQUESTS[1])
    (later,) = ask(server.port, "StudyInstanceUID")
    assert first.StudyInstanceUID == again.StudyInstanceUID == later.StudyInstanceUID != ""


@pytest.mark.parametrize(
    ("asked", "answered", "name"),
    [("ISO_IR 100", "ISO_IR 100", "Müller^Änne"), ("", "ISO_IR 192", "Müller^Änne")],
)
def test_w6_answers_are_in_the_character_set_of_the_request(port: int, asked: str, answered: str, name: str):
    named = [f"SpecificCharacterSet={asked}"] if asked else []
    (found,) = ask(port, "PatientID=P1", "PatientName", *named)
    assert found.SpecificCharacterSet == answered
    assert found.PatientName == name


def test_w6_what_does_not_fit_is_sent_as_unicode(port: int):
    found = ask(port, "PatientID=P3", "PatientName", "SpecificCharacterSet=ISO_IR 100")[0]
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.PatientName == "山田^太郎"


def test_w6_a_peer_has_a_default(start_server: Callable[..., Server]):
    server = start_server(more='[[peer]]\ntitle = "FINDSCU"\ncharset = "ISO_IR 100"')
    schedule(server, REQUESTS[0])
    (found,) = ask(server.port, "PatientName")
    assert found.SpecificCharacterSet == "ISO_IR 100"
    assert found.PatientName == "Müller^Änne"


def query(port: int, identifier: Dataset) -> list[tuple[int, Dataset]]:
    """Query with pynetdicom; returns status and identifier of each answer, the final one with an empty identifier."""
    ae = AE()
    ae.add_requested_context(WORKLIST)
    association = ae.associate("127.0.0.1", port, ae_title="MINIPACS")
    try:
        assert association.is_established
        answers = association.send_c_find(identifier, WORKLIST)
        return [(status.Status, found or Dataset()) for status, found in answers]
    finally:
        association.release()


def test_w8_unsupported_keys_are_ignored_and_told(port: int):
    """dcmjs-dimse asks for Pregnancy Status 0."""
    found = query(port, dataset({"PatientID": "P2", "PregnancyStatus": 0}))
    assert [status for status, _ in found] == [0xFF01, 0x0000]
    assert "PregnancyStatus" in found[0][1]


def test_w8_an_unknown_key_is_absent_from_the_answer(port: int):
    found = query(port, dataset({"PatientID": "P2", "StudyDescription": ""}))
    assert [status for status, _ in found] == [0xFF01, 0x0000]
    assert "StudyDescription" not in found[0][1]


@pytest.mark.parametrize(
    ("identifier", "offending"),
    [
        (wire.element(0x00400100, wire.element(0xFFFEE000, wire.element(0x00400002, b"TODAY "))), [0x00400002]),
        (wire.element(0x00400100, wire.element(0xFFFEE000, b"") * 2), [0x00400100]),
    ],
)
def test_w8_malformed_keys_are_a900(port: int, identifier: bytes, offending: list[int]):
    with Wire(port) as caller:
        caller.accepted(wire.context(1, WORKLIST))
        caller.send(wire.message(1, wire.command(0x20, WORKLIST, data=True), identifier))
        found = caller.response()
        assert (found.status, found.offending) == (0xA900, offending)
        caller.release()


def test_w8_cancel_between_answers(start_server: Callable[..., Server]):
    server = start_server()
    steps = [
        request(PatientID=f"P{n}", PatientName="X" * 60, step={"ScheduledProcedureStepID": f"S{n}"})
        for n in range(3000)
    ]
    schedule(server, *steps)
    found = ask(server.port, "PatientName", "StudyInstanceUID", options=["--cancel", 2])
    assert 2 <= len(found) < len(steps)
    assert server.events("C-FIND-MWL")[0]["status"] == "FE00"


def test_w3_more_than_the_limit_is_a700(start_server: Callable[..., Server]):
    server = start_server(more="[query]\nmax_matches = 2")
    schedule(server, REQUESTS[2])
    assert [status for status, _ in query(server.port, dataset({"PatientID": ""}))] == [0xA700]
    removed = run("worklist", "remove", "--config", server.config, 1)
    assert removed.stdout == "1 removed\n"
    assert [status for status, _ in query(server.port, dataset({"PatientID": ""}))] == [0xFF00, 0xFF00, 0x0000]


def test_a_dead_source_is_a700(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(more=f'[worklist]\nfolder = "{tmp_path / "absent"}"')
    server.wait_for(lambda line: line.get("event") == "worklist folder cannot be read")
    ((status, _),) = query(server.port, dataset({"PatientID": ""}))
    assert status == 0xA700


def test_a_peer_without_the_right_is_refused(start_server: Callable[..., Server]):
    server = start_server(more='[[peer]]\ntitle = "TEST"\nallow = ["find"]')
    with Wire(server.port) as caller:
        assert wire.context_results(caller.accepted(wire.context(1, WORKLIST)))[1][0] == 1
        caller.release()


def test_the_watched_folder_is_served_and_broken_files_counted(start_server: Callable[..., Server], tmp_path: Path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "whole.wl").write_bytes(encode(dataset(request())))
    (lists / "broken.wl").write_bytes(encode(dataset(request()))[:-3])
    server = start_server(more=f'[worklist]\nfolder = "{lists}"')
    skipped = server.wait_for(lambda line: line.get("event") == "worklist file skipped")
    assert str(skipped["file"]).endswith("broken.wl")
    server.wait_for(lambda line: line.get("event") == "worklist folder read")
    assert ask(server.port).ids() == ["S1"]
    assert server.metric("minipacs_worklist_broken_files") == 1
