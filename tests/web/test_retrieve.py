"""WADO-RS: what comes back is what was stored, in transfer syntaxes that HTTP allows."""

import email
import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from dicomweb_client import DICOMwebClient

from minipacs.archive.care.amendments import correct
from minipacs.dicom.data_set.amendments import Part
from tests.support.objects import ct, encode, study
from tests.support.storing import published
from tests.support.web import Answer, Web

FOLDER = Path(pydicom.data.__file__).parent / "test_files"
EXPLICIT, IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def parts(answer: Answer) -> list[tuple[str, bytes]]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body)
    return [(part["Content-Type"], part.get_payload(decode=True)) for part in message.get_payload()]


def path_of(ds: pydicom.Dataset, level: str = "instance") -> str:
    found = f"/studies/{ds.StudyInstanceUID}"
    if level != "study":
        found += f"/series/{ds.SeriesInstanceUID}"
    return found + (f"/instances/{ds.SOPInstanceUID}" if level == "instance" else "")


@pytest.mark.parametrize(("level", "count"), [("study", 6), ("series", 3), ("instance", 1)])
def test_each_level(web: Web, level: str, count: int):
    datasets = study(series=2, instances=3)
    web.store(*datasets, *study())
    answer = web.get(path_of(datasets[0], level), accept=ANY)
    assert answer.status == 200
    assert answer.headers["content-length"] == str(len(answer.body))
    found = parts(answer)
    assert len(found) == count
    stored = {hashlib.sha256(path.read_bytes()).hexdigest() for path in published(web.folder)}
    assert {hashlib.sha256(data).hexdigest() for _, data in found} <= stored
    assert {kind for kind, _ in found} == {f"application/dicom; transfer-syntax={EXPLICIT}"}


def test_one_instance_alone(web: Web):
    ds = ct()
    web.store(ds)
    answer = web.get(path_of(ds), accept="application/dicom")
    assert answer.headers["content-type"] == "application/dicom"
    assert answer.body[128:132] == b"DICM"
    assert answer.body.endswith(encode(ds))


@pytest.mark.parametrize("stored", [IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("accept", [ANY, "*/*"])
def test_what_http_forbids_is_sent_as_explicit_little_endian(web: Web, stored: str, accept: str):
    ds = ct()
    web.store(ds, syntax=stored)
    ((kind, data),) = parts(web.get(path_of(ds), accept=accept))
    assert kind.endswith(EXPLICIT)
    if stored == BIG_ENDIAN:  # pydicom writes the bytes of pixels as it got them
        ds["PixelData"].value = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
    assert data.endswith(encode(ds))


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN, "1.2.3", "1.2.840.10008.1.2.4.50"])
def test_a_syntax_that_cannot_be_had_is_not_acceptable(web: Web, syntax: str):
    ds = ct()
    web.store(ds)
    assert (
        web.get(path_of(ds), accept=f'multipart/related; type="application/dicom"; transfer-syntax={syntax}').status
        == 406
    )


def test_what_can_be_sent_of_a_study_is(web: Web):
    lossy, plain = web.store_file(FOLDER / "SC_rgb_jpeg_dcmtk.dcm"), ct()
    plain.StudyInstanceUID = lossy.StudyInstanceUID
    web.store(plain)
    rle = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.80'
    answer = web.get(path_of(plain, "study"), accept=rle)
    assert answer.status in (200, 206)
    assert len(parts(answer)) >= 1
    ((kind, _),) = parts(web.get(path_of(lossy)))
    assert kind.endswith("1.2.840.10008.1.2.4.50")  # without loss there is no use in decoding


@pytest.mark.parametrize(
    "path", ["/studies/1.2.3", "/studies/1.2.3/series/1.2", "/studies/abc", "/studies/1.2.3/metadata", "/x"]
)
def test_what_is_not_there(web: Web, path: str):
    answer = web.get(path)
    assert answer.status == 404
    assert answer.json["id"] == answer.headers["x-request-id"]


def test_an_instance_under_the_wrong_study(web: Web):
    ds, other = ct(), ct()
    web.store(ds, other)
    wrong = f"/studies/{other.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    assert web.get(wrong).status == 404


def test_a_damaged_object_is_never_sent(web: Web):
    good, bad = study(instances=2)
    web.store(bad)
    (path,) = published(web.folder)
    os.utime(path, (0, 0))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert web.get(path_of(bad)).status == 404
    assert web.get(path_of(bad) + "/metadata").status == 404
    web.store(good)
    assert web.get(path_of(good)).status == 200


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm", "rtplan.dcm"]
)
def test_with_dicomweb_client(web: Web, name: str):
    ds = web.store_file(FOLDER / name)
    client = DICOMwebClient(web.service)
    client.set_http_retry_params(False)
    uids = ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID
    found = client.retrieve_instance(*uids, media_types=(("application/dicom", "*"),))
    if ds.file_meta.TransferSyntaxUID not in (IMPLICIT, BIG_ENDIAN):
        assert found.PixelData == ds.PixelData if "PixelData" in ds else found == ds
    (document,) = client.retrieve_series_metadata(*uids[:2])
    assert document["00080018"]["Value"] == [ds.SOPInstanceUID]
    assert document["00083002"]["Value"] == [ds.file_meta.TransferSyntaxUID]
    assert len(client.retrieve_study(uids[0])) == 1


def test_metadata_are_conditional_and_compressed(web: Web):
    datasets = study(instances=3)
    web.store(*datasets)
    path = path_of(datasets[0], "series") + "/metadata"
    answer = web.get(path)
    assert answer.headers["content-type"] == "application/dicom+json"
    assert [d["00200013"]["Value"] for d in answer.json] == [[1], [2], [3]]
    assert answer.json[0]["7FE00010"]["BulkDataURI"].startswith(f"{web.service}/studies/")
    tag = answer.headers["etag"]
    again = web.get(path, if_none_match=f'"x", W/{tag}')
    assert (again.status, again.body) == (304, b"")
    squeezed = web.get(path, accept_encoding="gzip")
    assert squeezed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(squeezed.body) == answer.body
    web.store(ct(StudyInstanceUID=datasets[0].StudyInstanceUID, SeriesInstanceUID=datasets[0].SeriesInstanceUID))
    assert web.get(path, if_none_match=tag).status == 200


def test_the_root_of_urls_is_what_the_client_sees(web: Web):
    ds = ct()
    web.store(ds)
    for host in ("localhost:80", "[::1]:8042"):
        (document,) = web.get(path_of(ds) + "/metadata", host=host).json
        assert document["7FE00010"]["BulkDataURI"].startswith(f"http://{host}/dicom-web/studies/")


@pytest.mark.parametrize(
    ("method", "status", "allow"),
    [("HEAD", 200, None), ("PUT", 405, "DELETE, GET, HEAD, OPTIONS"), ("PATCH", 405, "DELETE, GET, HEAD, OPTIONS")],
)
def test_methods(web: Web, method: str, status: int, allow: Any):
    ds = ct()
    web.store(ds)
    answer = web.ask(method, f"/dicom-web{path_of(ds)}")
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    if method == "HEAD":
        assert answer.body == b""


def test_rights(tmp_path: Path):
    served = Web(tmp_path / "archive", anonymous=())
    try:
        answer = served.get("/studies/1.2.3")
        assert answer.status == 401
        assert "Bearer" in answer.headers["www-authenticate"]
    finally:
        served.close()


def test_a_corrected_study_is_another_representation_of_everything(web: Web):
    ds = ct()
    web.store(ds)
    path = path_of(ds, "study")
    before = web.get(path + "/metadata").headers["etag"]
    part = Part(ds.StudyInstanceUID, "P1", "")
    values = {"PatientName": "New^Name", "PatientID": "N1"}
    correct(web.archive.tree, web.archive.index, [part], values, by="me", source="MINIPACS")
    whole = web.get(path, accept='multipart/related; type="application/dicom"; transfer-syntax=*')
    assert (whole.status, b"New^Name" in whole.body) == (200, True)
    metadata = web.get(path + "/metadata", **{"if-none-match": before})
    assert (metadata.status, metadata.headers["etag"] != before) == (200, True)
    (document,) = metadata.json
    assert document["00100010"]["Value"] == [{"Alphabetic": "New^Name"}]
    assert document["04000561"]["Value"][0]["04000565"]["Value"] == ["CORRECT"]
