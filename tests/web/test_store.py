"""STOW-RS: what is answered is stored, what is refused leaves nothing, and bodies of any kind are borne."""

import http.client
import socket
import threading
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.dicom.data_set.part10 import file_meta, parse_file_meta
from minipacs.dicom.tables.failure_reasons import STORE
from minipacs.errors import Kind
from minipacs.index.engine.writer import Writer
from minipacs.net.identity import tokens
from minipacs.web import frame
from minipacs.web.dicomweb import intake
from minipacs.web.representations.multipart import MAX_HEAD_BYTES
from tests.support.objects import ct, encode, study
from tests.support.storing import incoming, published
from tests.support.web import Answer, Web
from tests.web.test_retrieve import ANY, FOLDER, parts, path_of

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
STORED, FAILED, OTHERS, URL = "00081199", "00081198", "0008119A", "00081190"


def as_file(ds: Dataset, syntax: str = EXPLICIT) -> bytes:
    return file_meta(ds.SOPClassUID, ds.SOPInstanceUID, syntax) + encode(ds, syntax)


def body(*files: bytes, boundary: str = "b", kind: str = "application/dicom", end: str = "--") -> bytes:
    found = b"".join(f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + f + b"\r\n" for f in files)
    return found + f"--{boundary}{end}\r\n".encode()


def post(web: Web, data: Any, path: str = "/dicom-web/studies", kind: str = "", **headers: str) -> Answer:
    kind = kind or 'multipart/related; type="application/dicom"; boundary=b'
    return web.ask("POST", path, data, content_type=kind, **headers)


def items(answer: Answer, tag: str) -> list[dict[str, Any]]:
    return answer.json.get(tag, {}).get("Value", [])


def uids(found: list[dict[str, Any]]) -> list[str]:
    return [item["00081155"]["Value"][0] for item in found]


def reasons(answer: Answer, tag: str = FAILED) -> list[int]:
    return [item["00081197"]["Value"][0] for item in items(answer, tag)]


def nothing_is_left(web: Web, stored: int = 0) -> bool:
    return not incoming(web.folder) and len(published(web.folder)) == stored


def test_many_objects_in_one_request(web: Web):
    datasets = study(series=2, instances=20)
    answer = post(web, body(*map(as_file, datasets)))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert uids(items(answer, STORED)) == [ds.SOPInstanceUID for ds in datasets]
    assert items(answer, STORED)[0][URL]["Value"] == [f"{web.service}{path_of(datasets[0])}"]
    assert answer.json[URL]["Value"] == [f"{web.service}/studies/{datasets[0].StudyInstanceUID}"]
    assert FAILED not in answer.json
    assert OTHERS not in answer.json
    assert nothing_is_left(web, 40)
    assert len(parts(web.get(path_of(datasets[0], "study"), accept=ANY))) == 40


def test_what_is_answered_has_been_committed_with_few_flushes(web: Web, monkeypatch: pytest.MonkeyPatch):
    """Objects of a request share commits: their answer is one."""
    changes: list[object] = []
    change = Writer.change
    monkeypatch.setattr(Writer, "change", lambda *a, **k: (changes.append(threading.get_ident()), change(*a, **k))[1])
    datasets = study(instances=30)
    assert post(web, body(*map(as_file, datasets))).status == 200
    assert 1 < len(set(changes)) <= intake.MAX_COMMITS
    with closing(Archive.open(web.folder, StoragePolicy(), read_only=True)) as again:
        assert all(again.index.instance(ds.SOPInstanceUID) for ds in datasets)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_one_object_alone_as_it_is(web: Web, syntax: str):
    ds = ct()
    answer = post(web, as_file(ds, syntax), kind="application/dicom")
    assert (answer.status, uids(items(answer, STORED))) == (200, [ds.SOPInstanceUID])
    assert published(web.folder)[0].read_bytes() == as_file(ds, syntax)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/related; type=application/dicom; boundary=b",
        'Multipart/Related;type="application/dicom";boundary="b"',
        "multipart/related; boundary=b",
    ],
)
def test_the_content_type_in_other_words(web: Web, kind: str):
    assert post(web, b"\r\n" + body(as_file(ct())), kind=kind).status == 200


def test_a_boundary_longer_than_it_may_be(web: Web):
    """Orthanc's is two UUIDs and a hyphen, three bytes too long (RFC 2046 5.1.1)."""
    boundary = f"{uuid.uuid4()}-{uuid.uuid4()}"
    kind = f"multipart/related; type=application/dicom; boundary={boundary}"
    assert post(web, body(as_file(ct()), boundary=boundary), kind=kind).status == 200


def test_a_body_in_chunks(web: Web):
    datasets = study(instances=5)
    whole = body(*map(as_file, datasets))
    answer = post(web, (whole[i : i + 700] for i in range(0, len(whole), 700)))
    assert (answer.status, len(items(answer, STORED))) == (200, 5)


def test_the_same_again_is_success(web: Web):
    ds = ct()
    assert post(web, body(as_file(ds))).status == 200
    again = post(web, body(as_file(ds), as_file(ds)))
    assert (again.status, len(items(again, STORED))) == (200, 2)
    assert nothing_is_left(web, 1)


def test_of_two_with_one_uid_the_last_stays(web: Web):
    first = ct(PatientName="First")
    second = ct(PatientName="Second")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(second, keyword, getattr(first, keyword))
    answer = post(web, body(*[as_file(first), as_file(second)] * 10))
    assert (answer.status, len(items(answer, STORED))) == (200, 20)
    assert parts(web.get(path_of(first), accept=ANY))[0][1] == as_file(second)


def test_objects_of_another_study_are_refused_by_the_path(web: Web):
    ds, other = ct(), ct()
    path = f"/dicom-web/studies/{ds.StudyInstanceUID}"
    answer = post(web, body(as_file(ds), as_file(other)), path)
    assert answer.status == 202
    assert (uids(items(answer, STORED)), uids(items(answer, FAILED))) == ([ds.SOPInstanceUID], [other.SOPInstanceUID])
    assert reasons(answer) == [STORE[Kind.WRONG_IDENTITY]]
    assert post(web, body(as_file(other)), path).status == 409
    assert nothing_is_left(web, 1)


def test_reasons_are_those_of_c_store(web: Web):
    wrong = ct()
    cases = [
        (as_file(ct())[:-100], Kind.UNREADABLE, 400),
        (as_file(ct(StudyInstanceUID=None)), Kind.MISSING, 409),
        (file_meta("1.2.3", ct().SOPInstanceUID, EXPLICIT) + encode(wrong), Kind.UNSUPPORTED, 409),
        (file_meta(wrong.SOPClassUID, "1.2.3", EXPLICIT) + encode(wrong), Kind.WRONG_IDENTITY, 409),
        (file_meta(wrong.SOPClassUID, wrong.SOPInstanceUID, "1.2.9") + encode(wrong), Kind.UNSUPPORTED, 409),
    ]
    for data, kind, status in cases:
        answer = post(web, body(data))
        assert (answer.status, reasons(answer)) == (status, [STORE[kind]]), kind
    answer = post(web, body(*(data for data, _, _ in cases), as_file(wrong)))
    assert (answer.status, sorted(reasons(answer))) == (202, sorted(STORE[kind] for _, kind, _ in cases))
    assert nothing_is_left(web, 1)


def test_why_an_object_was_refused_is_told_to_people_too(web: Web):
    cut = as_file(ct())[:-100]
    (told,) = items(post(web, body(cut)), FAILED)
    (whole,) = items(post(web, body(cut), x_minipacs_page="1"), FAILED)
    assert "cut" in whole["00000902"]["Value"][0] or "end" in whole["00000902"]["Value"][0]
    assert told["00000902"] == {"vr": "LO", "Value": [whole["00000902"]["Value"][0][:64]]}


@pytest.mark.parametrize("data", [b"", b"x" * 5000, b"\0" * 128 + b"DICM", b"\xff" * 2_000_000])
def test_parts_that_are_no_objects(web: Web, data: bytes):
    answer = post(web, body(data, as_file(ct())))
    assert (answer.status, reasons(answer, OTHERS), len(items(answer, STORED))) == (202, [STORE[Kind.UNREADABLE]], 1)
    assert post(web, body(data)).status == 400
    assert nothing_is_left(web, 1)


def test_parts_of_other_types(web: Web):
    answer = post(web, body(b"{}", kind="application/dicom+json"))
    assert (answer.status, reasons(answer, OTHERS)) == (415, [STORE[Kind.UNSUPPORTED]])
    nested = body(body(as_file(ct()), boundary="inner"), kind='multipart/related; boundary="inner"')
    assert post(web, nested).status == 415
    assert nothing_is_left(web)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/plain", 415),
        ("", 415),
        ("multipart/form-data; boundary=b", 415),
        ('multipart/related; type="application/dicom+json"; boundary=b', 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary=""', 400),
        (f'multipart/related; type="application/dicom"; boundary={"b" * 201}', 400),
        ('multipart/related; type="application/dicom"; boundary=other', 400),
    ],
)
def test_bodies_of_other_kinds_are_told_with_an_id(web: Web, kind: str, status: int):
    answer = web.ask("POST", "/dicom-web/studies", body(as_file(ct())), **({"content_type": kind} if kind else {}))
    assert answer.status == status
    assert answer.headers["x-request-id"]
    assert nothing_is_left(web)


@pytest.mark.parametrize(
    ("data", "status", "stored"),
    [
        (lambda f: b"", 400, 0),
        (lambda f: b"--b--", 400, 0),
        (lambda f: body(f)[:-6], 400, 0),
        (lambda f: body(f)[: len(f) // 2], 400, 0),
        (lambda f: body(f, end="x"), 202, 1),
        (lambda f: b"--b\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n" + f + b"\r\n--b--", 400, 0),
        (lambda f: body(f) + b"epilogue", 200, 1),
        (lambda f: body(f).replace(b"--b\r\n", b"--b\r\nContent-Length: 5\r\n"), 200, 1),
        (lambda f: body(f).replace(b"--b\r\n", b"--b\r\nContent-Length: 99999999999\r\n"), 200, 1),
        (lambda f: body(f)[:-4] + b"\r\nContent-Type: application/dicom\r\n\r\n" + f[:300], 202, 1),
    ],
)
def test_broken_structure(web: Web, data: Any, status: int, stored: int):
    answer = post(web, data(as_file(ct())))
    assert (answer.status, len(items(answer, STORED))) == (status, stored)
    assert nothing_is_left(web, stored)


def test_thousands_of_parts(web: Web):
    answer = post(web, body(*[b"x"] * 5000, as_file(ct())))
    assert (answer.status, len(reasons(answer, OTHERS)), len(items(answer, STORED))) == (202, 5000, 1)


def test_a_part_over_the_limit_fails_alone_and_one_object_is_refused_before_it_comes(tmp_path: Path):
    web = Web(tmp_path / "archive", policy=StoragePolicy(max_instance_bytes=5000))
    try:
        small, large = ct(), ct(rows=64)
        answer = post(web, body(as_file(large), as_file(small)))
        assert (answer.status, reasons(answer)) == (202, [STORE[Kind.TOO_LARGE]])
        assert uids(items(answer, FAILED)) == [large.SOPInstanceUID]
        assert expecting(web, "application/dicom", as_file(large)) == (413, False)
        assert nothing_is_left(web, 1)
    finally:
        web.close()


def expecting(web: Web, kind: str, data: bytes, authorization: str = "") -> tuple[int, bool]:
    """Ask for leave to send a body; give the answer, and whether leave was given."""
    with socket.create_connection((web.host, web.port), 20) as sock:
        fields = f"Host: localhost\r\nExpect: 100-continue\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
        sock.sendall(f"POST /dicom-web/studies HTTP/1.1\r\n{fields}{authorization}\r\n".encode())
        sock.settimeout(20)
        response = http.client.HTTPResponse(sock, method="POST")
        first = sock.recv(12, socket.MSG_PEEK)
        if first == b"HTTP/1.1 100":
            sock.sendall(data)
        response.begin()
        response.read()
        return response.status, first == b"HTTP/1.1 100"


def test_who_asks_first_is_answered_before_the_body(tmp_path: Path):
    web = Web(tmp_path / "archive", anonymous=["read"])
    try:
        kind, data = "multipart/related; boundary=b", body(as_file(ct()))
        reader = tokens.create(web.folder / "tokens", "reader", ["read"])
        writer = tokens.create(web.folder / "tokens", "the camera in the cellar", ["store"])
        assert expecting(web, kind, data) == (401, False)
        assert expecting(web, kind, data, f"Authorization: Bearer {reader}\r\n") == (403, False)
        assert expecting(web, "text/plain", data, f"Authorization: Bearer {writer}\r\n") == (415, False)
        assert expecting(web, kind, data, f"Authorization: Bearer {writer}\r\n") == (200, True)
        assert expecting(web, "application/dicom", as_file(ct()), f"Authorization: Bearer {writer}\r\n") == (200, True)
        (file, _) = published(web.folder)
        receipt = web.archive.tree.stat(file.stem)
        assert receipt is not None
        assert receipt.receipt is not None
        assert receipt.receipt.source == "the camera in th"
    finally:
        web.close()


def test_a_client_that_breaks_off_leaves_nothing(web: Web):
    data = body(as_file(ct()), as_file(ct(rows=512)))
    with socket.create_connection((web.host, web.port), 20) as sock:
        fields = f"Host: localhost\r\nContent-Type: multipart/related; boundary=b\r\nContent-Length: {len(data)}\r\n"
        sock.sendall(f"POST /dicom-web/studies HTTP/1.1\r\n{fields}\r\n".encode() + data[:-1000])
    web.wait_for_requests(1)
    assert not incoming(web.folder)


def test_a_slow_body_is_given_up(web: Web, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frame, "BODY_TIMEOUT_S", 0.05)
    with socket.create_connection((web.host, web.port), 20) as sock:
        fields = "Host: localhost\r\nContent-Type: multipart/related; boundary=b\r\nContent-Length: 100000\r\n"
        sock.sendall(f"POST /dicom-web/studies HTTP/1.1\r\n{fields}\r\n".encode() + body(as_file(ct()))[:500])
        response = http.client.HTTPResponse(sock, method="POST")
        response.begin()
        assert response.status == 408
    assert nothing_is_left(web)


def test_a_disk_that_is_full_is_told_before_the_body(tmp_path: Path):
    web = Web(tmp_path / "archive", policy=StoragePolicy(min_free_bytes=1 << 60))
    try:
        answer = post(web, body(as_file(ct())))
        assert answer.status == 503
        assert answer.headers["retry-after"]
    finally:
        web.close()


def test_the_client_library(web: Web):
    client = DICOMwebClient(web.service)
    client.set_http_retry_params(retry=False)
    datasets = study(instances=3)
    for ds in datasets:
        ds.preamble = b"\0" * 128
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = EXPLICIT
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    answer = client.store_instances(datasets)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        ds.SOPInstanceUID for ds in datasets
    ]
    assert len(client.retrieve_study(datasets[0].StudyInstanceUID)) == 3


def test_every_object_that_the_library_ships_comes_back_bit_for_bit(web: Web):
    """By study, series and instance; what C-STORE refuses is refused here."""
    came = 0
    for path in sorted(FOLDER.rglob("*.dcm")):
        answer = post(web, path.read_bytes(), kind="application/dicom")
        assert answer.status in (200, 400, 409), path
        if answer.status != 200:
            continue
        came += 1
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        stored = next(p for p in published(web.folder) if p.read_bytes().endswith(_data_set(path)))
        if str(ds.file_meta.TransferSyntaxUID) in (IMPLICIT, "1.2.840.10008.1.2.2"):
            continue  # never sent as they are (PS3.18 8.7.3.1)
        for level in ("study", "series", "instance"):
            found = [data for _, data in parts(web.get(path_of(ds, level), accept=ANY))]
            assert stored.read_bytes() in found, (path, level)
    assert came > 40


def _data_set(path: Path) -> bytes:
    raw = path.read_bytes()
    return raw[parse_file_meta(raw).data_set_offset :]
