"""What has no standard: the change feed, added keys, and what a page for operations asks."""

import zlib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.dicom.tables.keys import KeyTable, extended_key
from minipacs.index.ledger.routed import Shipment
from minipacs.net.account import packed
from minipacs.net.explanation import Explanation
from tests.support.objects import ct, study
from tests.support.storing import published
from tests.support.web import Web
from tests.web.test_retrieve import path_of


def test_the_feed_tells_what_happened(web: Web):
    assert web.get("/changefeed").json == []
    assert web.get("/changefeed/latest").status == 204
    first, gone = ct(), ct()
    web.store(first, gone)
    again = ct(PatientName="Roe")
    again.SOPInstanceUID, again.SeriesInstanceUID = first.SOPInstanceUID, first.SeriesInstanceUID
    again.StudyInstanceUID = first.StudyInstanceUID
    web.store(again)
    assert web.ask("DELETE", f"/dicom-web{path_of(gone)}").status == 204
    found = web.get("/changefeed").json
    assert [(e["Action"], e["State"]) for e in found] == [
        ("create", "replaced"),
        ("create", "deleted"),
        ("update", "current"),
        ("delete", "deleted"),
    ]
    assert [e["SopInstanceUid"] for e in found[:2]] == [first.SOPInstanceUID, gone.SOPInstanceUID]
    assert found[2]["Metadata"]["00100010"]["Value"] == [{"Alphabetic": "Roe"}]
    assert found[2]["Metadata"]["7FE00010"]["BulkDataURI"].startswith(web.service)
    assert found[0]["Metadata"] is None
    assert web.get("/changefeed/latest").json == found[3]
    sequence = [e["Sequence"] for e in found]
    assert sequence == sorted(set(sequence))
    assert all(e["Metadata"] is None for e in web.get("/changefeed?includeMetadata=false").json)
    assert [e["Sequence"] for e in web.get("/changefeed?offset=1&limit=2").json] == sequence[1:3]
    assert web.get("/changefeed?offset=4").json == []


def test_the_feed_of_a_span_of_time(web: Web):
    web.store(*study(instances=3))
    times = [e["Timestamp"] for e in web.get("/changefeed").json]
    assert all(datetime.fromisoformat(time).tzinfo == UTC for time in times)
    for time in times:
        from_then = [e["Timestamp"] for e in web.get(f"/changefeed?startTime={time}").json]
        before = [e["Timestamp"] for e in web.get(f"/changefeed?endTime={time}").json]
        assert before + from_then == times
        assert from_then[0] == time
        rest = web.get(f"/changefeed?startTime={time}&endTime=2100-01-01T00:00:00%2B02:00&offset=1").json
        assert [e["Timestamp"] for e in rest] == from_then[1:]
    assert web.get(f"/changefeed?startTime={times[0]}&endTime={times[0]}").status == 400


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "offset=-1", "startTime=yesterday", "includeMetadata=perhaps"]
)
def test_the_feed_refuses(web: Web, query: str):
    assert web.get(f"/changefeed?{query}").status == 400


def test_keys_that_were_added(tmp_path: Path):
    keys = KeyTable([extended_key("SERIES:ScanOptions"), extended_key('0019,"ACME",01')])
    archive = Archive.open(tmp_path / "archive", StoragePolicy(), keys=keys)
    with closing(Web(tmp_path / "archive", archive=archive)) as web:
        first, second = web.get("/extendedquerytags").json
        assert (first["Path"], first["VR"], first["Level"]) == ("00180022", "CS", "Series")
        assert (second["Path"], second["PrivateCreator"], second["Status"]) == ("00190001", "ACME", "Ready")
        assert web.get("/extendedquerytags?limit=1&offset=1").json == [second]
        assert web.get("/extendedquerytags/ScanOptions").json == first
        assert web.get("/extendedquerytags/00190001").json == second
        assert web.get("/extendedquerytags/PatientID").status == 404


def test_statistics_and_health(web: Web):
    web.store(*study(series=2, instances=2))
    found = web.ask("GET", "/api/v1/statistics").json
    assert (found["studies"], found["series"], found["instances"]) == (1, 2, 4)
    assert found["by_modality"] == {"CT": 4}
    assert found["storage_free_bytes"] > 0
    health = web.ask("GET", "/api/v1/health")
    assert (health.status, health.json["status"]) == (200, "ok")


def test_health_says_what_is_wrong(tmp_path: Path):
    web = Web(tmp_path / "archive", policy=StoragePolicy(min_free_bytes=1 << 60))
    try:
        health = web.ask("GET", "/api/v1/health")
        assert (health.status, health.json["status"]) == (503, "failing")
        assert "min_free_bytes" in health.json["reason"]
    finally:
        web.close()


def test_the_queue_tells_what_goes_where_and_what_was_given_up(web: Web):
    routed = web.archive.index.routed
    whole, cut = Shipment("night", "1.2"), Shipment("night", "1.3", series_uid="1.3.1")
    for shipment in (whole, cut):
        routed.queue.change(lambda connection, one=shipment: routed.put(connection, "PACS2", one, 0))  # type: ignore[misc]
    claimed = [routed.queue.claim("PACS2", 60.0) for _ in range(2)]
    assert claimed[0]
    assert claimed[1]
    routed.give_up(claimed[0], "refused")
    routed.give_up_some(claimed[1], {"1.3.1.1": "too large", "1.3.1.2": "too large"})
    listed = web.ask("GET", "/api/v1/queue").json
    assert [(row["queue"], row["route"], row["peer"]) for row in listed] == [("routes", "night", "PACS2")] * 3
    assert [(row["study"], row["series"], row["only"], row["state"]) for row in listed] == [
        ("1.2", "", 0, "dead"),
        ("1.3", "1.3.1", 0, "sending"),
        ("1.3", "1.3.1", 2, "dead"),
    ]
    dead = web.ask("GET", "/api/v1/queue?state=dead&queue=routes").json
    assert [row["id"] for row in dead] == [listed[0]["id"], listed[2]["id"]]
    assert web.ask("GET", "/api/v1/queue?state=dead&limit=1&offset=1").json == dead[1:]
    assert web.ask("GET", "/api/v1/queue?queue=sends").json == []
    assert web.ask("GET", "/api/v1/statistics").json["deliveries_given_up"] == 2
    for wrong in ("state=gone", "queue=nowhere"):
        assert web.ask("GET", f"/api/v1/queue?{wrong}").status == 400
    assert web.ask("POST", f"/api/v1/queue/{dead[0]['id']}/retry").status == 204
    assert web.ask("DELETE", f"/api/v1/queue/{dead[1]['id']}").status == 204
    assert web.ask("GET", "/api/v1/queue?state=dead").json == []
    assert web.ask("DELETE", f"/api/v1/queue/{dead[1]['id']}").status == 404


def test_associations_quarantine_and_conflicts(web: Web):
    told = Explanation("7", "127.0.0.1")
    told.contexts = [(1, "1.2.840.10008.1.1", ["1.2.840.10008.1.2"], 0, "1.2.840.10008.1.2")]
    web.archive.index.associations.add([("7", packed(told)), ("8", packed(Explanation("8", "127.0.0.1")))])
    listed = web.ask("GET", "/api/v1/associations").json
    assert [row["association_id"] for row in listed] == ["8", "7"]
    assert web.ask("GET", "/api/v1/associations?limit=1&offset=1").json == listed[1:]
    one = web.ask("GET", "/api/v1/associations/7").json
    assert one["contexts"][0]["name"] == "Verification SOP Class"
    assert datetime.fromisoformat(one["began_at"])
    assert web.ask("GET", "/api/v1/associations/9").status == 404
    first = ct()
    again = ct(PatientName="Roe")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(again, keyword, getattr(first, keyword))
    web.store(first)
    (digest,) = [path.stem for path in published(web.folder)]
    web.store(again, ct(PatientName="Somebody^Else"))
    (file,) = web.ask("GET", "/api/v1/quarantine").json
    assert file["digest"] == digest
    (conflict,) = web.ask("GET", "/api/v1/conflicts").json
    assert (conflict["attribute"], len(conflict["values"])) == ("PatientName", 2)
    assert conflict["remedy"]
    assert web.ask("GET", "/api/v1/conflicts?limit=0").json == []
    assert web.ask("GET", "/api/v1/conflicts?limit=1001").status == 400


def test_operations_need_their_right(tmp_path: Path):
    web = Web(tmp_path / "archive", anonymous=["read", "store", "delete"])
    try:
        for name in ("statistics", "associations", "associations/1", "quarantine", "conflicts", "health"):
            assert web.ask("GET", f"/api/v1/{name}").status == 401
    finally:
        web.close()


def test_an_account_is_packed_small():
    assert zlib.decompress(packed(Explanation("7", "127.0.0.1"))).startswith(b'{"association_id":"7"')
