"""Reports, documents and video as people read or watch them, and studies of which a part cannot be had."""

import http.client
import io
import os
from pathlib import Path

import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate

from minipacs.index import UNAVAILABLE
from minipacs.web.representations import reports
from tests.support.objects import ct, encode, study
from tests.support.storing import published
from tests.support.web import Web
from tests.web.test_retrieve import ANY, FOLDER, parts, path_of

PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
RLE = "1.2.840.10008.1.2.5"
VIDEO_CLASS, H264 = "1.2.840.10008.5.1.4.1.1.77.1.2.1", "1.2.840.10008.1.2.4.102"
PDF = b"%PDF-1.4\n " + bytes(range(256)) * 40


def test_a_report_as_a_page_and_as_text(web: Web):
    ds = web.store_file(FOLDER / "reportsi.dcm")
    page = web.get(f"{path_of(ds)}/rendered")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    text = web.get(f"{path_of(ds)}/rendered", accept="text/plain").body.decode()
    concept = str(ds.ConceptNameCodeSequence[0].CodeMeaning)
    assert text.startswith(concept)
    assert f"<h1>{concept}</h1>" in page.body.decode()
    for item in ds.ContentSequence:
        if item.ValueType == "TEXT":
            assert item.TextValue.splitlines()[0] in text
    tag = page.headers["etag"]
    assert web.get(f"{path_of(ds)}/rendered", if_none_match=tag).status == 304
    assert web.get(f"{path_of(ds)}/rendered", accept="image/jpeg").status == 406
    assert web.get(f"{path_of(ds)}/thumbnail").status in (404, 406)


def test_every_kind_of_content_item():
    def code(meaning: str) -> dict[str, object]:
        return {"vr": "SQ", "Value": [{"00080104": {"vr": "LO", "Value": [meaning]}}]}

    def item(kind: str, name: str, **attributes: object) -> dict[str, object]:
        found = {tag[1:]: {"vr": "UN", "Value": [value]} for tag, value in attributes.items()}
        return {"0040A040": {"vr": "CS", "Value": [kind]}, "0040A043": code(name), **found}

    measured = {"0040A30A": {"vr": "DS", "Value": [1.5]}, "004008EA": code("mm")}
    items = [
        item("TEXT", "Finding", _0040A160="<script>alert(1)</script>\nsecond\x1b[2J"),
        item("NUM", "Length", _0040A300=measured),
        item("PNAME", "Observer", _0040A123={"Alphabetic": "Doe^Jane"}),
        item("IMAGE", "Source", _00081199={"00081155": {"vr": "UI", "Value": ["1.2.3"]}}),
        {**item("CONTAINER", "Inner"), "0040A730": {"vr": "SQ", "Value": [item("DATE", "When", _0040A121="20240101")]}},
        {},
    ]
    model = {"0040A043": code("Title & more"), "0040A730": {"vr": "SQ", "Value": items}}
    text, page = reports.as_text(model), reports.as_page(model)
    for line in (
        "Title & more\n",
        "  Length: 1.5 mm\n",
        "  Observer: Doe Jane\n",
        "  Source: 1.2.3\n",
        "    When: 20240101\n",
    ):
        assert line in text
    assert "\x1b" not in text + page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;<br>second" in page
    assert page.count("<ul>") == page.count("</ul>") == 2
    for _ in range(reports.MAX_DEPTH + 10):
        model = {"0040A730": {"vr": "SQ", "Value": [model]}}
    assert "nested deeper" in reports.as_text(model)


def document(kind: str) -> Dataset:
    ds = ct(SOPClassUID=PDF_CLASS)
    del ds.PixelData
    ds.add_new(0x00420011, "OB", PDF)
    ds.MIMETypeOfEncapsulatedDocument = kind
    return ds


def test_a_document_is_answered_as_it_is(web: Web):
    ds = document("application/pdf")
    web.store(ds)
    path = f"{path_of(ds)}/rendered"
    answer = web.get(path)
    assert (answer.headers["content-type"], answer.body) == ("application/pdf", PDF)
    piece = web.get(path, range="bytes=5-8")
    assert (piece.status, piece.body) == (206, PDF[5:9])
    assert web.get(path, range="bytes=99999-").status == 416
    assert web.get(path, accept="image/png").status == 406
    other = document("text/html")  # would be a page of ours
    web.store(other)
    assert web.get(f"{path_of(other)}/rendered").status == 406


def test_video_in_ranges(web: Web):
    stream = os.urandom(5000)
    ds = ct(SOPClassUID=VIDEO_CLASS, NumberOfFrames=30)
    ds.PixelData = encapsulate([stream[:3000], stream[3000:]])
    ds["PixelData"].is_undefined_length = True
    web.store(ds, syntax=H264)
    path = f"{path_of(ds)}/rendered"
    whole = web.get(path)
    assert (whole.headers["content-type"], whole.headers["accept-ranges"]) == ("video/mp4", "bytes")
    assert whole.body == stream
    for first, last in ((0, 0), (2990, 3010), (3000, 4999), (0, 2999)):
        piece = web.get(path, range=f"bytes={first}-{last}")
        assert (piece.status, piece.body) == (206, stream[first : last + 1])
        assert piece.headers["content-range"] == f"bytes {first}-{last}/5000"


def test_of_a_study_a_picture_stands_for_all(web: Web):
    image, paper = ct(), document("application/pdf")
    paper.StudyInstanceUID = image.StudyInstanceUID
    web.store(image, paper)
    assert web.get(f"{path_of(image, 'study')}/rendered").headers["content-type"] == "image/jpeg"


def test_of_a_study_all_pictures_come_in_parts(web: Web):
    first, second = study(instances=2)
    paper = document("application/pdf")
    paper.StudyInstanceUID = first.StudyInstanceUID
    web.store(first, second, paper)
    path, wish = (
        f"{path_of(first, 'study')}/rendered?viewport=8,8&annotation=nonsense",
        'multipart/related; type="image/png"',
    )
    answer = web.get(path, accept=wish)
    assert answer.status == 200
    assert answer.headers["warning"].count("299") == 1
    found = parts(answer)
    assert [kind for kind, _ in found] == ["image/png"] * 2
    assert {Image.open(io.BytesIO(data)).size for _, data in found} == {(8, 8)}
    assert web.get(f"{path_of(first)}/rendered", accept=wish).status == 406


@pytest.mark.parametrize(("kind", "form"), [("image/gif", "GIF"), ("image/jp2", "JPEG2000"), ("image/png", "PNG")])
def test_forms_of_pictures(web: Web, kind: str, form: str):
    ds = web.store_file(FOLDER / "CT_small.dcm")
    answer = web.get(f"{path_of(ds)}/rendered", accept=kind)
    assert answer.headers["content-type"] == kind
    assert Image.open(io.BytesIO(answer.body)).format == form


@pytest.mark.parametrize(("query", "is_told"), [("iccprofile=no", False), ("iccprofile=yes", True), ("windo=1", True)])
def test_parameters_that_do_nothing_are_told(web: Web, query: str, is_told: bool):
    ds = web.store_file(FOLDER / "CT_small.dcm")
    assert ("warning" in web.get(f"{path_of(ds)}/rendered?{query}").headers) == is_told


def test_an_instance_in_ranges_and_on_condition(web: Web):
    ds = ct()
    web.store(ds)
    path = path_of(ds)
    whole = web.get(path, accept="application/dicom")
    assert whole.headers["content-length"] == str(len(whole.body))
    tag = whole.headers["etag"]
    assert web.get(path, accept="application/dicom", if_none_match=tag).status == 304
    for text, first, last in (("128-131", 128, 132), ("-10", -10, None), ("100-", 100, None), ("0-99999", 0, None)):
        piece = web.get(path, accept="application/dicom", range=f"bytes={text}", if_range=tag)
        assert (piece.status, piece.body) == (206, whole.body[first:last])
    for field in ({"range": "bytes=0-1", "if_range": '"x"'}, {"range": "bytes=0-1,3-4"}, {"range": "lines=1-2"}):
        assert web.get(path, accept="application/dicom", **field).status == 200
    assert web.get(path, accept="application/dicom", range="bytes=9999999-").status == 416
    flood = "bytes=" + ",".join(f"{n}-{n}" for n in range(5000))
    assert web.get(path, accept="application/dicom", range=flood).body == whole.body
    assert len(parts(web.get(path, range="bytes=0-1"))) == 1
    flood = "bytes=" + ",".join(f"{n}-{n}" for n in range(5000))
    assert web.get(path, accept="application/dicom", range=flood).body == whole.body
    assert whole.body.endswith(encode(ds))


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_what_is_left_of_a_damaged_study_is_partial(web: Web):
    bad, good = study(instances=2)
    web.store(bad)
    (path,) = published(web.folder)
    damage(path)
    web.store(good)
    answer = web.get(path_of(good, "study"), accept=ANY)
    assert (answer.status, len(parts(answer))) == (206, 1)


@pytest.mark.parametrize("accept", ["application/dicom+json", 'multipart/related; type="application/dicom+xml"'])
def test_metadata_of_a_study_tell_that_one_of_it_is_damaged(web: Web, accept: str):
    first, bad, last = study(instances=3)
    web.store(bad)
    (path,) = published(web.folder)
    damage(path)
    web.store(first, last)
    answer = web.get(path_of(first, "study") + "/metadata", accept=accept)
    assert answer.status == 206
    assert all(ds.SOPInstanceUID.encode() in answer.body for ds in (first, last))
    assert bad.SOPInstanceUID.encode() not in answer.body


@pytest.mark.parametrize("accept", [ANY, ANY.replace("*", RLE)])
def test_an_answer_that_comes_upon_damage_ends_before_its_end(web: Web, accept: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("minipacs.web.streaming.BATCH_BYTES", 1)
    good, bad = study(instances=2)
    good.InstanceNumber, bad.InstanceNumber = 1, 2
    web.store(bad)
    (path,) = published(web.folder)
    damage(path)
    web.store(good)
    with pytest.raises(http.client.IncompleteRead) as cut:
        web.get(path_of(good, "study"), accept=accept)
    assert good.SOPInstanceUID.encode() in cut.value.partial
    assert bad.SOPInstanceUID.encode() not in cut.value.partial


def test_what_is_known_to_be_unavailable_is_left_out(web: Web, monkeypatch: pytest.MonkeyPatch):
    datasets = study(instances=3)
    web.store(*datasets)
    index = web.archive.index
    real = type(index).instances

    def listed(self, keys, **options):  # type: ignore[no-untyped-def]
        lost = datasets[1].SOPInstanceUID
        return [
            i._replace(availability=UNAVAILABLE) if i.sop_instance_uid == lost else i
            for i in real(self, keys, **options)
        ]

    monkeypatch.setattr(type(index), "instances", listed)
    answer = web.get(path_of(datasets[0], "study"), accept=ANY)
    assert (answer.status, len(parts(answer))) == (206, 2)
    answer = web.get(path_of(datasets[0], "series") + "/metadata")
    assert (answer.status, len(answer.json)) == (206, 2)
    for path in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010"):
        answer = web.get(path_of(datasets[1]) + path)
        assert answer.status == 404, path
        assert "damaged or missing" in answer.json["details"]
