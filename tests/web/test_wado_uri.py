"""WADO-URI: the answers of WADO-RS under the parameters of old viewers."""

from io import BytesIO

import pydicom
import pytest
from PIL import Image

from tests.support.objects import ct, encode
from tests.support.web import Answer, Web
from tests.web.test_retrieve import path_of


def wado(web: Web, ds: pydicom.Dataset, more: str = "", **headers: str) -> Answer:
    uids = f"studyUID={ds.StudyInstanceUID}&seriesUID={ds.SeriesInstanceUID}&objectUID={ds.SOPInstanceUID}"
    return web.ask("GET", f"/wado?requestType=WADO&{uids}{more}", **headers)


def test_an_object(web: Web):
    ds = ct()
    web.store(ds)
    answer = wado(web, ds, "&contentType=application/dicom")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/dicom")
    assert answer.body.endswith(encode(ds))
    assert wado(web, ds, "&contentType=application%2Fdicom&transferSyntax=1.2.840.10008.1.2.1").body == answer.body
    assert wado(web, ds, "&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.4.50").status == 406


def test_a_picture_as_wado_rs_draws_it(web: Web):
    ds = ct(rows=64)
    web.store(ds)
    whole = wado(web, ds, accept="text/html,image/avif;q=0.9")
    assert (whole.status, whole.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(BytesIO(whole.body)).size == (64, 64)
    drawn = wado(web, ds, "&contentType=image/png&rows=32&columns=32&windowCenter=1000&windowWidth=500&frameNumber=1")
    same = web.get(f"{path_of(ds)}/rendered?viewport=32,32&window=1000,500,linear", accept="image/png")
    assert drawn.headers["content-type"] == "image/png"
    assert drawn.body == same.body
    assert wado(web, ds, "&frameNumber=2").status == 404


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ("&windowCenter=1", 400),
        ("&windowCenter=x&windowWidth=1", 400),
        ("&rows=0", 400),
        ("&imageQuality=101", 400),
        ("&contentType=video/mp4", 406),
        ("&anonymize=yes", 406),
        ("&region=0,0,1,1", 406),
        ("&presentationUID=1.2.3", 406),
    ],
)
def test_what_is_refused(web: Web, more: str, status: int):
    ds = ct()
    web.store(ds)
    assert wado(web, ds, more).status == status


def test_what_is_no_request_or_not_there(web: Web):
    assert web.ask("GET", "/wado?studyUID=1.2").status == 400
    assert web.ask("GET", "/wado?requestType=WADO&studyUID=1.2&seriesUID=..&objectUID=1").status == 400
    assert wado(web, ct()).status == 404
