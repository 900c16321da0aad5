"""What the page asks beside DICOMweb: presence, removals, growth, the worklist, queues, orders to send."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minipacs.index import UNAVAILABLE
from minipacs.index.ledger.routed import Shipment
from tests.support.objects import ct, study
from tests.support.storing import published
from tests.support.web import Answer, Web

STEP = {"PatientName": "Doe^Jane", "PatientID": "P1", "Modality": "CT", "ScheduledStationAETitle": "CT1"}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    served = Web(tmp_path / "archive", destinations=["WORKSTATION"])
    yield served
    served.close()


def api(web: Web, method: str, path: str, document: Any = None) -> Answer:
    return web.ask(method, f"/api/v1/{path}", None if document is None else json.dumps(document))


def test_what_is_stored_already_is_told_of_many_at_once(web: Web):
    stored = study(instances=3)
    web.store(*stored)
    uids = [ds.SOPInstanceUID for ds in stored]
    asked = [*uids, *(f"1.2.3.{i}" for i in range(5000))]
    assert sorted(api(web, "POST", "presence", {"instances": asked}).json["present"]) == sorted(uids)
    assert api(web, "POST", "presence", {"instances": []}).json == {"present": []}


def test_what_cannot_be_had_is_to_be_sent_again(web: Web):
    web.store(ds := ct())
    (path,) = published(web.folder)
    web.archive.index.set_availability([path.stem], UNAVAILABLE)
    assert api(web, "POST", "presence", {"instances": [ds.SOPInstanceUID]}).json == {"present": []}


@pytest.mark.parametrize("body", [{"instances": ["x"]}, {"instances": "1.2"}, {"instances": ["1.2"] * 10_001}, []])
def test_presence_refuses(web: Web, body: Any):
    assert api(web, "POST", "presence", body).status == 400


def test_a_removal_is_shown_before_it_is_done(web: Web):
    mine, others = study(series=2, instances=2), ct(PatientID="P2", PatientName="Roe")
    others.StudyInstanceUID = mine[0].StudyInstanceUID
    web.store(*mine, others)
    found = api(web, "GET", f"removal?study={mine[0].StudyInstanceUID}").json
    assert (found["series"], found["instances"]) == (3, 5)
    assert found["bytes"] == sum(path.stat().st_size for path in published(web.folder))
    assert [(p["id"], p["name"], p["birth_date"]) for p in found["patients"]] == [
        ("P1", "Doe^Jane", "19700101"),
        ("P2", "Roe", "19700101"),
    ]
    part = f"removal?study={mine[0].StudyInstanceUID}&series={mine[0].SeriesInstanceUID}"
    assert api(web, "GET", part).json["instances"] == 2
    assert api(web, "GET", "removal?study=1.2.3").status == 404
    assert api(web, "GET", "removal?study=x").status == 400
    assert api(web, "GET", "removal").status == 400


def test_growth_tells_what_came_on_which_day(web: Web):
    web.store(*study(instances=3))
    (day,) = api(web, "GET", "growth?days=2").json
    assert day["day"] in {time.strftime("%Y-%m-%d", time.gmtime(time.time() - s)) for s in (0, 60)}
    assert (day["instances"], day["bytes"]) == (3, sum(path.stat().st_size for path in published(web.folder)))
    assert api(web, "GET", "growth?days=0").status == 400


def test_growth_finds_its_days_among_older_ones(web: Web, monkeypatch: pytest.MonkeyPatch):
    now = time.time()
    for ago in (40, 9, 8, 3, 3, 0):
        monkeypatch.setattr(time, "time", lambda ago=ago: now - ago * 86400)
        web.store(ct())
    monkeypatch.undo()
    for days, counts in ((1, [1]), (4, [2, 1]), (5, [2, 1]), (10, [1, 1, 2, 1]), (365, [1, 1, 1, 2, 1])):
        assert [day["instances"] for day in api(web, "GET", f"growth?days={days}").json] == counts


def test_a_step_is_added_listed_cancelled_and_removed(web: Web):
    added = api(web, "POST", "worklist", {**STEP, "AccessionNumber": "A1"})
    assert (added.status, added.json["state"], added.json["AccessionNumber"]) == (201, "SCHEDULED", "A1")
    other = api(
        web, "POST", "worklist", {**STEP, "PatientID": "P2", "ScheduledStationAETitle": "MR1", "Modality": "MR"}
    )
    today = time.strftime("%Y%m%d")
    assert [s["PatientID"] for s in api(web, "GET", f"worklist?date={today}&station=MR1").json] == ["P2"]
    assert [s["id"] for s in api(web, "GET", "worklist").json] == [added.json["id"], other.json["id"]]
    assert api(web, "POST", f"worklist/{added.json['id']}/cancel").status == 204
    assert [s["id"] for s in api(web, "GET", "worklist").json] == [other.json["id"]]
    states = [s["state"] for s in api(web, "GET", "worklist?all=true").json]
    assert states == ["DISCONTINUED", "SCHEDULED"]
    again = api(web, "POST", f"worklist/{added.json['id']}/cancel")
    assert (again.status, again.json["details"]) == (409, "the step is discontinued")
    assert api(web, "DELETE", f"worklist/{added.json['id']}").status == 204
    assert api(web, "DELETE", f"worklist/{added.json['id']}").status == 404
    assert len(api(web, "GET", "worklist?all=true").json) == 1


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"PatientID": "P1"}, "PatientName"),
        ({**STEP, "Nonsense": "x"}, "no keyword"),
        ({**STEP, "ScheduledProcedureStepStartDate": "tomorrow"}, "ScheduledProcedureStepStartDate"),
        ([], "object"),
    ],
)
def test_a_step_that_lacks_something_is_refused_with_its_name(web: Web, document: Any, words: str):
    answer = api(web, "POST", "worklist", document)
    assert answer.status == 400
    assert words in answer.json["details"]
    assert api(web, "GET", "worklist").json == []


def test_an_order_is_queued_told_and_called_off(web: Web):
    web.store(*study(instances=2), other := ct())
    assert api(web, "GET", "peers").json == [{"title": "WORKSTATION", "kind": "dimse"}]
    order = api(web, "POST", "sends", {"peer": "WORKSTATION", "study": other.StudyInstanceUID})
    assert order.status == 202
    assert (order.json["state"], order.json["total"], order.json["completed"]) == ("waiting", 1, 0)
    assert api(web, "GET", f"sends/{order.json['id']}").json["study"] == other.StudyInstanceUID
    (item,) = api(web, "GET", "queue").json
    assert (item["queue"], item["peer"], item["state"]) == ("sends", "WORKSTATION", "waiting")
    assert api(web, "POST", f"queue/{item['id']}/retry").status == 204
    assert api(web, "DELETE", f"sends/{order.json['id']}").status == 204
    assert api(web, "GET", "sends").json == []
    assert api(web, "GET", f"sends/{order.json['id']}").status == 404


def test_what_a_route_sends_is_in_the_queue_by_its_name(web: Web):
    routed = web.archive.index.routed
    shipment = Shipment("nights", "1.2.3")
    routed.queue.change(lambda connection: routed.put(connection, "WORKSTATION", shipment, 0))
    (item,) = api(web, "GET", "queue").json
    assert (item["route"], item["peer"], item["state"]) == ("nights", "WORKSTATION", "waiting")
    assert api(web, "POST", f"queue/{item['id']}/retry").status == 204
    assert api(web, "DELETE", f"queue/{item['id']}").status == 204
    assert api(web, "GET", "queue").json == []


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"peer": "NOBODY", "study": "1.2"}, 400),
        ({"peer": "WORKSTATION", "study": "x"}, 400),
        ({"peer": "WORKSTATION", "study": "1.2"}, 404),
        ({"peer": "WORKSTATION"}, 400),
        ({"peer": ["WORKSTATION"], "study": "1.2"}, 400),
    ],
)
def test_an_order_of_nothing_is_refused(web: Web, document: Any, status: int):
    assert api(web, "POST", "sends", document).status == status


def test_health_tells_of_checks_and_of_the_last_verification(tmp_path: Path):
    web = Web(tmp_path / "archive", checks=lambda: [("warn", "peer X", "no address")])
    found = api(web, "GET", "health").json
    assert (found["verify"], found["checks"]) == (
        None,
        [{"severity": "warn", "what": "peer X", "detail": "no address"}],
    )
    web.close()


def test_what_one_may_not_is_refused(tmp_path: Path):
    web = Web(tmp_path / "archive", anonymous=["read"])
    for method, path in (
        ("GET", "removal?study=1.2"),
        ("GET", "growth"),
        ("GET", "queue"),
        ("GET", "commitments"),
        ("POST", "worklist"),
        ("DELETE", "worklist/1"),
        ("POST", "queue/1/retry"),
    ):
        assert api(web, method, path).status == 401, path
    web.close()
