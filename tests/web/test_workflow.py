"""Worklist, performed steps, storage commitment and capabilities over HTTP: the services of DIMSE in other words."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.dicom.data_set import json_values
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.sop_classes import STORAGE
from minipacs.dicom.workflow import scheduling
from minipacs.jobs.commitment import CommitmentJobs
from minipacs.net.association import Timeouts
from minipacs.net.requestor import Requestor
from minipacs.web.environment import DICOM_WEB
from minipacs.web.routes import ROUTES
from minipacs.web.workflow.documents import MAX_DOCUMENT_BYTES
from tests.support.modality import request
from tests.support.objects import ct, study
from tests.support.storing import published
from tests.support.web import Answer, Web

JSON = "application/dicom+json"
WORKLIST, STEPS, COMMITMENTS = (
    f"{DICOM_WEB}/{name}"
    for name in ("modality-scheduled-procedure-steps", "modality-performed-procedure-steps", "commitment-requests")
)


def post(web: Web, path: str, document: Any, kind: str = JSON) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return web.ask("POST", path, body, content_type=kind)


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [item["00400100"]["Value"][0]["00400009"]["Value"][0] for item in answer.json]


def schedule(web: Web, **values: Any) -> str:
    steps = scheduling.steps_of(json_values.parse(request(**values)))
    web.archive.index.worklist.put(steps)
    return str(steps[0][0x0020000D])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["S1", "S2", "S3"]),
        ("?ScheduledProcedureStepSequence.Modality=MR", ["S2"]),
        ("?00400100.00080060=MR", ["S2"]),
        ("?Modality=CT,MR&limit=1&offset=1", ["S2"]),
        ("?PatientName=Gr*", ["S3"]),
        ("?ScheduledProcedureStepStartDate=20240102-20240103", ["S2", "S3"]),
        ("?PatientID=none", []),
        ("?limit=0", []),
    ],
)
def test_the_worklist_is_searched_as_by_c_find(web: Web, query: str, found: list[str]):
    for number, (modality, name) in enumerate([("CT", "Doe"), ("MR", "Roe"), ("CT", "Größe")], 1):
        step = {
            "ScheduledProcedureStepID": f"S{number}",
            "Modality": modality,
            "ScheduledProcedureStepStartDate": f"2024010{number}",
        }
        schedule(web, PatientName=name, step=step)
    assert ids(web.ask("GET", WORKLIST + query)) == found


def test_what_is_returned_of_the_worklist(web: Web):
    uid = schedule(web, PatientName="Größe^Jörg")
    (whole,) = web.ask("GET", WORKLIST).json
    assert whole["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Größe^Jörg"}]}
    (picked,) = web.ask("GET", f"{WORKLIST}?includefield=PatientID&PatientName=*").json
    assert set(picked) == {"00100010", "00100020", "0020000D"}
    assert picked["0020000D"]["Value"] == [uid]
    (picked,) = web.ask("GET", f"{WORKLIST}?includefield=00400100").json
    assert picked["00400100"] == whole["00400100"]
    for parameter in ("Nonsense=1", "includefield=Rubbish", "fuzzymatching=true", "PatientWeight=70"):
        assert web.ask("GET", f"{WORKLIST}?{parameter}").headers["warning"].startswith("299 "), parameter
    assert web.ask("GET", f"{WORKLIST}?limit=x").status == 400
    assert web.ask("GET", f"{WORKLIST}?ScheduledProcedureStepStartDate=tomorrow").status == 400


def begun(study_uid: str = "", step_id: str = "S1") -> dict[str, Any]:
    scheduled = {"StudyInstanceUID": study_uid or generate_uid(), "ScheduledProcedureStepID": step_id}
    empty = ("AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription")
    return {
        "ScheduledStepAttributesSequence": [{**dict.fromkeys(empty, ""), **scheduled}],
        "PerformedProcedureStepID": "P1",
        "PerformedStationAETitle": "CT1",
        "PerformedProcedureStepStartDate": "20240101",
        "PerformedProcedureStepStartTime": "1000",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "Modality": "CT",
        "PatientName": {"vr": "PN", "Value": [{"Alphabetic": "Größe^Jörg"}]},
        "SpecificCharacterSet": "ISO_IR 192",
    }


def test_a_step_from_its_beginning_to_its_end(web: Web):
    study_uid = schedule(web)
    uid = generate_uid()
    path = f"{STEPS}/{uid}"
    assert web.ask("GET", path).status == 404
    answer = post(web, path, [begun(study_uid)])
    assert (answer.status, answer.headers["location"]) == (201, f"http://{web.host}:{web.port}{path}")
    assert ids(web.ask("GET", WORKLIST)) == []
    assert post(web, path, begun(study_uid)).status == 409
    (found,) = web.ask("GET", path).json
    assert found["00100010"]["Value"] == [{"Alphabetic": "Größe^Jörg"}]
    assert "00080005" not in found
    (found,) = web.ask("GET", f"{path}?includefield=00400252,Modality").json
    assert {tag: value["Value"] for tag, value in found.items()} == {"00400252": ["IN PROGRESS"], "00080060": ["CT"]}
    over = {
        "PerformedProcedureStepStatus": "DISCONTINUED",
        "PerformedProcedureStepEndDate": "20240101",
        "PerformedProcedureStepEndTime": "1001",
    }
    assert post(web, f"{path}?update", over).status == 200
    assert post(web, f"{path}?update", over).status == 409
    assert web.ask("GET", path).json[0]["00400252"]["Value"] == ["DISCONTINUED"]
    assert post(web, f"{STEPS}/{generate_uid()}?update", over).status == 404


@pytest.mark.parametrize(
    ("document", "kind", "status"),
    [
        (b"", JSON, 400),
        (b"[", JSON, 400),
        (b"[1]", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"PatientName": "\\ud800"}', JSON, 400),
        (b'{"Nonsense": 1}', JSON, 400),
        (b" " * (MAX_DOCUMENT_BYTES + 1), JSON, 413),
        (b"{}", "text/plain", 415),
        ({"PerformedProcedureStepStatus": "COMPLETED"}, JSON, 400),
    ],
)
def test_documents_that_are_none(web: Web, document: Any, kind: str, status: int):
    answer = post(web, f"{STEPS}/1.2.3", document, kind)
    assert answer.status == status
    assert answer.json["id"]


def test_the_uid_of_a_stored_object_is_no_steps(web: Web):
    ds = ct()
    web.store(ds)
    assert post(web, f"{STEPS}/{ds.SOPInstanceUID}", begun()).status == 409
    assert post(web, f"{STEPS}/1.x", begun()).status == 404


def references(*pairs: tuple[str, str]) -> dict[str, Any]:
    items = [{"ReferencedSOPClassUID": c, "ReferencedSOPInstanceUID": i} for c, i in pairs]
    return {"ReferencedSOPSequence": items}


def read_objects(web: Web) -> None:
    """Do what the jobs process does when it is woken."""
    requestor = Requestor("MINIPACS", Timeouts(1, 1, 1, 1), 16384)
    audit = Audit(None, Source("MINIPACS"))
    jobs = CommitmentJobs(
        "MINIPACS", web.archive, requestor, {}.get, frozenset(STORAGE), audit, lambda: False, lambda: None
    )
    reading = web.archive.index.commitments.reading
    for destination in reading.destinations():
        item = reading.claim(destination, 100)
        assert item is not None
        jobs._read(item)


def test_commitment_is_asked_for_and_fetched(tmp_path: Path):
    woken: list[bool] = []
    web = Web(tmp_path / "archive", wake_jobs=lambda: woken.append(True))
    try:
        datasets = study(instances=2)
        web.store(*datasets)
        lost = ct()
        asked = references(*((ds.SOPClassUID, ds.SOPInstanceUID) for ds in (*datasets, lost)))
        path = f"{COMMITMENTS}/{generate_uid()}"
        assert web.ask("GET", path).status == 404
        first = post(web, path, [asked])
        assert (first.status, first.body) == (202, b"")
        assert first.headers["content-location"].endswith(path)
        assert woken
        assert (post(web, path, asked).status, web.ask("GET", path).status) == (202, 202)
        assert post(web, path, references((lost.SOPClassUID, lost.SOPInstanceUID))).status == 409
        read_objects(web)
        answer = web.ask("GET", path)
        (report,) = answer.json
        safe = [item["00081155"]["Value"][0] for item in report["00081199"]["Value"]]
        assert sorted(safe) == sorted(ds.SOPInstanceUID for ds in datasets)
        (failed,) = report["00081198"]["Value"]
        assert failed["00081155"]["Value"] == [lost.SOPInstanceUID]
        assert failed["00081197"]["Value"] == [statuses.NO_SUCH_SOP_INSTANCE]
        assert post(web, path, asked).json == answer.json
        assert web.archive.index.commitments.telling.destinations() == []
    finally:
        web.close()


def test_a_damaged_object_is_not_committed(web: Web):
    ds = ct()
    web.store(ds)
    (file,) = published(web.folder)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    path = f"{COMMITMENTS}/{generate_uid()}"
    assert post(web, path, references((ds.SOPClassUID, ds.SOPInstanceUID))).status == 202
    read_objects(web)
    assert "00081199" not in web.ask("GET", path).json[0]


def test_a_request_for_nothing(web: Web):
    assert post(web, f"{COMMITMENTS}/1.2.3", {}).status == 400
    assert post(web, f"{COMMITMENTS}/1.2.3", references(("1.2", "x"))).status == 400


def test_capabilities_are_the_table(web: Web):
    told = web.ask("OPTIONS", "/").json
    assert [r["path"] for r in told["resources"]] == list(dict.fromkeys(route.path for route in ROUTES))
    assert web.ask("OPTIONS", DICOM_WEB).json == told
    tag = web.ask("OPTIONS", "/").headers["etag"]
    assert web.ask("OPTIONS", "/", if_none_match=tag).status == 304
    answer = web.ask("OPTIONS", f"{DICOM_WEB}/studies", if_none_match=tag)
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    (resource,) = answer.json["resources"]
    assert [method["method"] for method in resource["methods"]] == ["GET", "POST"]
    assert web.ask("OPTIONS", "/nowhere").status == 404
