"""QIDO-RS: what is found, in what order, how much of it, and what is said of searches that make no sense."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from minipacs.index import Query
from tests.support.objects import ct, study
from tests.support.web import Web

NAMES = ["Doe^Jane", "Doe^John", "Μαρία^Παπαδάκη", "Nobody", "O'Hara^Sean,Jr"]


def item(**values: str) -> Dataset:
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return found


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    served = Web(tmp_path_factory.mktemp("web") / "archive")
    for number, name in enumerate(NAMES):
        charset = {"SpecificCharacterSet": "ISO_IR 192"}
        step = [item(ScheduledProcedureStepID=f"S{number}")]
        served.store(
            *study(
                series=number + 1,
                instances=2,
                **charset,
                PatientName=name,
                PatientID=f"P{number}",
                StudyDate=f"202401{number + 10}",
                AccessionNumber=f"A{number}",
                RequestAttributesSequence=step,
            )
        )
    yield served
    served.close()


def names(answer: Any) -> list[str]:
    return [row["00100010"]["Value"][0]["Alphabetic"] for row in answer.json]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", [4, 3, 2, 1, 0]),
        ("PatientName=doe*", [1, 0]),
        ("00100010=doe*", [1, 0]),
        ("PatientName=Doe%5EJ%2A", [1, 0]),
        ("PatientName=" + quote("Μαρία*"), [2]),
        ("PatientName=O'Hara%5ESean%2CJr", [4]),
        ("PatientID=P1,P3", [3, 1]),
        ("PatientID=P1%5CP3", [3, 1]),
        ("AccessionNumber=A1,A2,A3", [3, 2, 1]),
        ("ModalitiesInStudy=CT,MR", [4, 3, 2, 1, 0]),
        ("ModalitiesInStudy=CT%2CMR", [4, 3, 2, 1, 0]),
        ("ModalitiesInStudy=MR", []),
        ("patientid=P1", [1]),
        ("orderby=PatientName%2CStudyDate", [0, 1, 3, 4, 2]),
        ("StudyDate=20240111-20240112", [2, 1]),
        ("StudyDate=20240111-&PatientName=doe*", [1]),
        ("StudyDate=20240101-&limit=2", [4, 3]),
        ("limit=2&offset=1", [3, 2]),
        ("limit=0", []),
        ("offset=5", []),
        ("offset=500000", []),
        ("orderby=PatientName", [0, 1, 3, 4, 2]),
        ("orderby=-NumberOfStudyRelatedSeries,StudyDate", [4, 3, 2, 1, 0]),
        ("orderby=StudyDate&offset=1&limit=2", [1, 2]),
        ("RequestAttributesSequence.ScheduledProcedureStepID=S2", None),
        ("fuzzymatching=true&PatientName=" + quote("Do Jon"), [1, 0]),
        ("&includefield=00081030,00080060", [4, 3, 2, 1, 0]),
        ("PatientName=", [4, 3, 2, 1, 0]),
    ],
)
def test_studies(web: Web, query: str, wanted: list[int] | None):
    answer = web.get(f"/studies?{query}")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/dicom+json"
    if wanted is not None:
        assert names(answer) == [NAMES[number] for number in wanted]


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/patients", 5),
        ("/studies", 5),
        ("/series", 15),
        ("/instances", 30),
        ("/series?PatientID=P2", 3),
        ("/instances?PatientID=P2&limit=4", 4),
        ("/series?RequestAttributesSequence.ScheduledProcedureStepID=S2", 3),
        ("/series?00400275.00400009=S2", 3),
        ("/instances?Modality=MR", 0),
        ("/studies?StudyInstanceUID=1.2.3,1.2.4", 0),
    ],
)
def test_levels(web: Web, path: str, count: int):
    assert len(web.get(path).json) == count
    if "limit" not in path:
        resource, _, query = path.partition("?")
        assert web.get(f"{resource}/count?{query}").json == {"count": count}


def test_within_a_study_and_a_series(web: Web):
    row = web.get("/studies?PatientID=P3").json[0]
    uid = row["0020000D"]["Value"][0]
    assert row["00201206"]["Value"] == [4]
    assert row["00081190"]["Value"] == [f"{web.service}/studies/{uid}"]
    found = web.get(f"/studies/{uid}/series").json
    assert len(found) == 4
    assert "00100010" not in found[0]
    assert found[0]["0020000D"]["Value"] == [uid]
    series = found[0]["0020000E"]["Value"][0]
    assert len(web.get(f"/studies/{uid}/instances").json) == 8
    (first, second) = web.get(f"/studies/{uid}/series/{series}/instances").json
    assert {first["00200013"]["Value"][0], second["00200013"]["Value"][0]} == {1, 2}
    assert web.get(first["00081190"]["Value"][0].removeprefix(web.service), accept="application/dicom").status == 200
    assert web.get("/studies/1.2.3/series").json == []


def test_what_comes_unasked_and_what_is_asked_for(web: Web):
    (row,) = web.get("/studies?PatientID=P2").json
    assert {f"{tag:08X}" for tag in (0x80020, 0x80030, 0x80050, 0x80056, 0x80061, 0x80090, 0x81190)} <= row.keys()
    assert "00080080" not in row
    assert "00080201" not in row  # without a value it may not stand there
    assert row["00080080" if "00080080" in row else "00081030"]["vr"] == "LO"
    (row,) = web.get("/studies?PatientID=P2&includefield=all").json
    assert "00080080" in row
    assert "00080060" not in row
    answer = web.get("/studies?PatientID=P2&includefield=InstitutionName%2C00081030")
    assert answer.json[0]["00080080"] == {"vr": "LO"}
    assert "warning" not in answer.headers
    (row, *_) = web.get("/instances?PatientID=P2&includefield=00083002").json
    assert row["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}


def test_series_tell_how_they_are_stored(tmp_path: Path):
    served = Web(tmp_path / "archive")
    first, second = study(instances=2, PatientID="P1")
    served.store(first)
    served.store(second, syntax=ImplicitVRLittleEndian)
    uid = first.StudyInstanceUID
    [row] = served.get(f"/studies/{uid}/series").json
    assert sorted(row["00083002"]["Value"]) == ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]
    [row] = served.get("/series").json
    assert "00083002" not in row
    [row] = served.get("/series?includefield=00083002").json
    assert len(row["00083002"]["Value"]) == 2
    syntaxes = [row["00083002"]["Value"] for row in served.get(f"/studies/{uid}/instances").json]
    assert sorted(syntaxes) == [["1.2.840.10008.1.2"], ["1.2.840.10008.1.2.1"]]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=-1", 400),
        ("limit=x", 400),
        ("offset=1.5", 400),
        ("limit=1&limit=2", 400),
        ("fuzzymatching=maybe", 400),
        ("PatientName=a&PatientName=b", 400),
        ("StudyDate=yesterday", 400),
        ("orderby=Nonsense", 400),
        ("orderby=Modality", 400),
        ("PatientName=%FF", 400),
        ("PatientName=a%00b", 400),
        ("x=" + "a" * 9000, 414),
        ("&".join(f"a{n}=1" for n in range(1001)), 400),
    ],
)
def test_searches_that_make_no_sense(web: Web, query: str, status: int):
    answer = web.get(f"/studies?{query}")
    assert answer.status == status
    assert answer.json["details"]


@pytest.mark.parametrize("query", ["PatientNam=x", "includefield=Nonsense", "SeriesNumber=1", "00091001=x"])
def test_what_is_left_out_is_told(web: Web, query: str):
    answer = web.get(f"/studies?{query}&PatientID=P1")
    assert names(answer) == [NAMES[1]]
    assert answer.headers["warning"].startswith("299 ")
    assert "PatientNam" not in answer.headers["warning"]


def test_more_results_are_told(web: Web):
    assert "3 additional results" in web.get("/studies?limit=2").headers["warning"]
    assert "warning" not in web.get("/studies?limit=5").headers


def test_empty_values(tmp_path: Path):
    served = Web(tmp_path / "archive")
    try:
        served.store(ct(AccessionNumber=""), ct(AccessionNumber="A"))
        assert len(served.get("/studies?AccessionNumber=%22%22&emptyvaluematching=true").json) == 1
        assert len(served.get("/studies?AccessionNumber=A").json) == 1
    finally:
        served.close()


def test_a_long_answer_comes_in_pieces_and_squeezed(web: Web, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("minipacs.web.streaming.BATCH_BYTES", 1)
    answer = web.get("/instances", accept_encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == web.get("/instances").body
    assert answer.headers["transfer-encoding"] == "chunked"


def test_too_many_to_sort_are_refused(web: Web, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("minipacs.index.queries.ordering.SHORT_ROWS", 2)
    monkeypatch.setattr("minipacs.index.queries.ordering.MAX_SORTED_ROWS", 3)
    assert web.get("/studies?orderby=PatientName").status == 413
    assert web.get("/studies").status == 200


def test_the_newest_come_first_without_sorting(web: Web, monkeypatch: pytest.MonkeyPatch):
    asked: list[Query] = []
    index = web.archive.index
    real = type(index).find
    monkeypatch.setattr(type(index), "find", lambda self, q, **o: (asked.append(q), real(self, q, **o))[1])
    assert len(web.get("/studies?limit=2&StudyDate=20240101-").json) == 2
    assert all(query.newest_first or not query.returns for query in asked)


def test_with_dicomweb_client(web: Web):
    client = DICOMwebClient(web.service)
    client.set_http_retry_params(False)
    found = client.search_for_studies(search_filters={"PatientName": "Doe*"}, fields=["StudyDescription"])
    assert len(found) == 2
    assert len(client.search_for_studies(limit=2, get_remaining=True)) == 5
    uid = found[0]["0020000D"]["Value"][0]
    assert len(client.search_for_series(uid)) == 2
    assert len(client.search_for_instances(uid)) == 4


def test_a_limit_of_the_server_holds(tmp_path: Path):
    served = Web(tmp_path / "archive", max_results=3)
    try:
        served.store(*study(patients=5))
        assert len(served.get("/studies").json) == 3
        assert len(served.get("/studies?limit=4").json) == 4
    finally:
        served.close()
