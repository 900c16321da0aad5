"""What the audit trail is told of requests over HTTP, and how often."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from minipacs.audit.audit import open_audit
from minipacs.audit.message import Source
from minipacs.audit.spool import SpoolReader
from tests.support.modality import BEGUN
from tests.support.objects import study
from tests.support.web import Web
from tests.system.test_audit import Told

REQUESTED = ("110104", "R", "0")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    audit = open_audit(tmp_path / "audit", Source("MINIPACS"), max_bytes=1 << 30, queries=True)
    found = Web(tmp_path / "archive", audit=audit)
    found.trail = audit
    yield found
    found.close()


def told(web: Web) -> list[Told]:
    """Tell what is summed, and give all."""
    web.trail.close()
    folder = web.folder.parent / "audit"
    return [Told(record.payload) for record in SpoolReader(folder, "test").read(1000)]


def test_what_went_to_a_client_is_one_message_however_it_was_fetched(web: Web):
    objects = study(instances=3, PatientID="P1")
    web.store(*objects)
    uid, series = objects[0].StudyInstanceUID, objects[0].SeriesInstanceUID
    assert web.get(f"/studies/{uid}").status == 200
    for ds in objects:
        assert web.get(f"/studies/{uid}/series/{series}/instances/{ds.SOPInstanceUID}/frames/1").status == 200
    [went] = told(web)
    assert (went.event, went.action, went.outcome) == REQUESTED
    assert (went.instances, went.objects) == (6, [uid, "P1"])
    assert went.who == [("MINIPACS", False, "110153"), ("127.0.0.1", True, "110152")]


def test_a_search_is_told_with_its_url(web: Web):
    assert web.get("/studies?PatientID=P1").status == 200
    [query] = told(web)
    assert query.event == "110112"
    assert query.objects == [f"{web.service}/studies?PatientID=P1"]


def test_the_worklist_and_performed_steps_are_told(web: Web):
    worklist = "/dicom-web/modality-scheduled-procedure-steps?PatientID=P1"
    assert web.ask("GET", worklist).status == 200
    step = f"/dicom-web/modality-performed-procedure-steps/{generate_uid()}"
    changes = ((BEGUN, "", 201), ({"PerformedProcedureStepDescription": "Head"}, "?update", 200))
    for document, query, status in changes:
        body = json.dumps([document]).encode()
        assert web.ask("POST", step + query, body, content_type="application/dicom+json").status == status
    assert web.ask("GET", step).status == 200
    query, *steps = told(web)
    assert (query.event, query.objects) == ("110112", [f"http://{web.host}:{web.port}{worklist}"])
    assert [(one.event, one.action, one.objects) for one in steps] == [
        ("110111", action, ["1.2.3", "P1"]) for action in "CUR"
    ]
    assert steps[0].who == [("127.0.0.1", True, "")]


def test_credentials_that_are_wrong_are_told_with_who_they_claim(web: Web):
    basic = b64encode(b"anna:wrong").decode()
    for _ in range(3):
        assert web.get("/studies", Authorization=f"Basic {basic}").status == 401
    refused = told(web)
    assert [(one.event, one.type, one.outcome) for one in refused] == [("110114", "110122", "4")] * 3
    assert refused[0].who[0][0] == "anna"


def test_a_study_that_is_removed_is_told(web: Web):
    [ds] = study(PatientID="P1")
    web.store(ds)
    assert web.ask("DELETE", f"/dicom-web/studies/{ds.StudyInstanceUID}").status == 204
    [gone] = told(web)
    assert (gone.event, gone.action, gone.objects) == ("110105", "D", [ds.StudyInstanceUID, "P1"])
