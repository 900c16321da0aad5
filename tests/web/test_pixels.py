"""Frames, pictures and bulk data against pydicom's own pixels."""

import errno
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset

from minipacs.archive.reader import ObjectNotConvertible
from tests.support.objects import ct, encode
from tests.support.web import Web
from tests.web.test_retrieve import FOLDER, parts, path_of

NATIVE = 'multipart/related; type="application/octet-stream"'
STORED = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'

REFUSED = frozenset({"MR_truncated.dcm", "SC_rgb_jpeg.dcm"})
"""Cut short, and encoded otherwise than it says: never stored."""


UNCERTAIN = frozenset({"rtdose_expb.dcm", "rtdose_expb_1frame.dcm"})
"""Pixels of 32 bits in big endian, of which some writers turn round the words and others all bytes."""

UNLIKE = frozenset(
    {
        "JPEG-lossy.dcm",
        "JPEG2000-embedded-sequence-delimiter.dcm",
        "JPGExtended.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "badVR.dcm",
        "image_dfl.dcm",
        *UNCERTAIN,
    }
)
"""What one of the two does not decode."""


def images() -> list[str]:
    """Name the objects with pixels that pydicom ships and an archive takes: nothing is fetched."""
    found = []
    for path in sorted(FOLDER.glob("*.dcm")):
        ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        needed = ds.get("Rows"), ds.get("SOPClassUID"), ds.get("StudyInstanceUID"), ds.get("SeriesInstanceUID")
        if all(needed) and "TransferSyntaxUID" in ds.file_meta and path.name not in REFUSED:
            found.append(path.name)
    return found


@dataclass(eq=False)
class Shipped:
    """Archives that hold the objects; several, since some objects are the same one in other encodings."""

    folder: Path
    webs: list[Web] = field(default_factory=list)
    place: dict[str, Web] = field(default_factory=dict)
    stored: dict[str, Dataset] = field(default_factory=dict)

    def store(self, name: str) -> None:
        uid = pydicom.dcmread(FOLDER / name, stop_before_pixels=True).SOPInstanceUID
        held = {web: {self.stored[n].SOPInstanceUID for n, at in self.place.items() if at is web} for web in self.webs}
        web = next((web for web in self.webs if uid not in held[web]), None)
        if web is None:
            web = Web(self.folder / str(len(self.webs)))
            self.webs.append(web)
        self.place[name], self.stored[name] = web, web.store_file(FOLDER / name)


@pytest.fixture(scope="module")
def all_shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    found = Shipped(tmp_path_factory.mktemp("web"))
    for name in images():
        found.store(name)
    yield found
    for web in found.webs:
        web.close()


@pytest.fixture
def shipped(all_shipped: Shipped) -> tuple[Web, dict[str, Dataset]]:
    """Give the archive that has CT_small and its like, which come first."""
    return all_shipped.webs[0], all_shipped.stored


@pytest.mark.parametrize("name", sorted(UNLIKE))
def test_what_cannot_be_decoded_is_told(all_shipped: Shipped, name: str):
    web, ds = all_shipped.place[name], all_shipped.stored[name]
    for path in ("frames/1", "rendered", "thumbnail"):
        answer = web.get(f"{path_of(ds)}/{path}")
        assert answer.status in (200, 404, 406), answer.body


@pytest.mark.parametrize("name", sorted(UNCERTAIN))
def test_pixels_of_an_uncertain_byte_order_are_not_shown(all_shipped: Shipped, name: str):
    web, ds = all_shipped.place[name], all_shipped.stored[name]
    answers = [web.get(f"{path_of(ds)}/{path}") for path in ("frames/1", "rendered", "thumbnail", "bulkdata/7FE00010")]
    assert [answer.status for answer in answers] == [406, 406, 406, 404], [answer.body for answer in answers]


@pytest.mark.parametrize("name", [name for name in images() if name not in UNLIKE])
def test_native_frames_are_pydicoms_pixels(all_shipped: Shipped, name: str):
    web, ds = all_shipped.place[name], all_shipped.stored[name]
    count = min(int(ds.get("NumberOfFrames", 1)), 3)
    answer = web.get(f"{path_of(ds)}/frames/{','.join(str(n + 1) for n in range(count))}", accept=NATIVE)
    assert answer.status == 200, answer.body
    found = [data for _, data in parts(answer)]
    assert len(found) == count
    pixels = pydicom.pixels.pixel_array(FOLDER / name, raw=True)
    frames = pixels if int(ds.get("NumberOfFrames", 1)) > 1 else pixels[None]
    for i, data in enumerate(found):
        if ds.BitsAllocated == 1:
            wanted = np.packbits(frames[i].ravel(), bitorder="little").tobytes()
        elif ds.get("PlanarConfiguration") == 1 and not ds.file_meta.TransferSyntaxUID.is_encapsulated:
            wanted = frames[i].transpose(2, 0, 1).tobytes()
        else:
            wanted = frames[i].astype(frames.dtype.newbyteorder("<")).tobytes()
        if "jpeg_dcmtk" in name:
            assert len(data) == len(wanted)
        else:
            assert data == wanted


@pytest.mark.parametrize("name", [name for name in images() if name not in UNLIKE])
def test_pictures_of_every_kind(all_shipped: Shipped, name: str):
    web, ds = all_shipped.place[name], all_shipped.stored[name]
    for kind, path in (("image/png", "rendered"), ("image/jpeg", "thumbnail")):
        answer = web.get(f"{path_of(ds)}/{path}", accept=kind)
        assert answer.status == 200, answer.body
        picture = Image.open(io.BytesIO(answer.body))
        assert picture.get_format_mimetype() == kind
        darkest, brightest = picture.convert("L").getextrema()
        assert darkest < brightest
    assert max(picture.size) == 128


@pytest.mark.parametrize("name", [name for name in images() if name not in UNLIKE])
def test_pictures_are_pydicoms_pixels(all_shipped: Shipped, name: str):
    """With a window from the lowest to the highest value of the frame, where there is one."""
    web, ds = all_shipped.place[name], all_shipped.stored[name]
    wanted, window = drawn(ds, pydicom.pixels.pixel_array(FOLDER / name, index=0))
    answer = web.get(f"{path_of(ds)}/frames/1/rendered{window}", accept="image/png")
    assert answer.status == 200, answer.body
    picture = np.asarray(Image.open(io.BytesIO(answer.body))).astype(int)
    assert picture.shape == wanted.shape
    assert np.abs(picture - wanted).max() <= (3 if "jpeg" in name or "jpg" in name.lower() else 1)


def drawn(ds: Dataset, pixels: Any) -> tuple[Any, str]:
    """Draw a frame by what pydicom has for it; give the parameter for the same."""
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        return pydicom.pixels.apply_color_lut(pixels, ds)[..., :3] >> 8, ""
    if ds.SamplesPerPixel == 3:
        return pixels.astype(int) >> ds.BitsStored - 8, ""
    values = pydicom.pixels.apply_modality_lut(pixels, ds).astype(float)
    low, high = values.min(), values.max()
    window = f"?window={(low + high) / 2},{high - low},linear-exact"
    grey = (values - low) / (high - low) * 255
    return (255 - grey if ds.PhotometricInterpretation == "MONOCHROME1" else grey), window


def test_frames_as_they_are_stored(all_shipped: Shipped):
    web, ds = all_shipped.place["JPEG2000.dcm"], all_shipped.stored["JPEG2000.dcm"]
    wanted = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    for accept, kind in ((STORED, "application/octet-stream"), ('multipart/related; type="image/jp2"', "image/jp2")):
        ((told, data),) = parts(web.get(f"{path_of(ds)}/frames/1", accept=accept))
        assert told == f"{kind}; transfer-syntax={ds.file_meta.TransferSyntaxUID}"
        assert data == wanted
    single = web.get(f"{path_of(ds)}/frames/1", accept="image/*")
    assert (single.headers["content-type"].split(";")[0], single.body) == ("image/jp2", wanted)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("frames/0", 404),
        ("frames/2", 404),
        ("frames/1,2", 404),
        ("frames/x", 400),
        ("frames/1.5", 400),
        ("frames/-1", 400),
        ("frames/1/2", 404),
        ("frames/" + "1," * 20000 + "1", 414),
        ("frames/1/rendered?window=1,2", 400),
        ("rendered?window=40,0,linear", 400),
        ("rendered?window=nan,1,linear", 400),
        ("rendered?viewport=1000000,1000000", 400),
        ("rendered?viewport=0,10", 400),
        ("rendered?viewport=10", 400),
        ("rendered?viewport=10,10,-1,0,5,5", 400),
        ("rendered?quality=101", 400),
        ("rendered?quality=5&quality=6", 400),
        ("thumbnail?window=1,2,linear", 400),
        ("frames/9/rendered", 404),
        ("bulkdata/x", 404),
        ("bulkdata/00100010/1", 404),
        ("bulkdata/00091099", 404),
    ],
)
def test_what_cannot_be(shipped: tuple[Web, dict[str, Dataset]], path: str, status: int):
    web, stored = shipped
    answer = web.get(f"{path_of(stored['CT_small.dcm'])}/{path}")
    assert answer.status == status, answer.body
    assert answer.json["details"]


def test_an_object_without_pixels(web: Web):
    ds = web.store_file(FOLDER / "rtplan.dcm")
    for path in ("frames/1", "rendered", "thumbnail"):
        assert web.get(f"{path_of(ds)}/{path}").status == 404


def test_words_of_a_failure_do_not_decide_how_it_is_answered(
    shipped: tuple[Web, dict[str, Dataset]], monkeypatch: pytest.MonkeyPatch
):
    """A decoder may say "no frame" of code that is broken: the frame is there, a picture of it is not to be had."""
    web, stored = shipped

    def broken(*arguments: object) -> object:
        raise ObjectNotConvertible("frame 1: no frame header, so no pixels")

    monkeypatch.setattr(web.archive.reader, "picture", broken)
    answer = web.get(f"{path_of(stored['CT_small.dcm'])}/rendered?quality=83", accept="image/jpeg")
    assert answer.status == 406, answer.body


@pytest.mark.parametrize("kind", ["frames", "rendered", "whole", "metadata"])
def test_what_may_be_had_later_is_not_told_to_be_gone(web: Web, monkeypatch: pytest.MonkeyPatch, kind: str):
    ds = web.store_file(FOLDER / "MR_small_RLE.dcm")
    path, accept = {
        "frames": ("/frames/1", NATIVE),
        "rendered": ("/rendered", "image/png"),
        "whole": ("", 'multipart/related; type="application/dicom"'),
        "metadata": ("/bulkdata/00100010", "*/*"),
    }[kind]

    def refused(*arguments: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(*{"metadata": (web.archive.tree, "open")}.get(kind, (web.archive.tree, "scratch")), refused)
        answer = web.get(path_of(ds) + path, accept=accept)
    assert (answer.status, answer.headers.get("retry-after")) == (503, "10"), answer.body
    assert web.get(path_of(ds) + path, accept=accept).status == 200


def test_window_viewport_quality_and_text(shipped: tuple[Web, dict[str, Dataset]]):
    web, stored = shipped
    path = path_of(stored["CT_small.dcm"]) + "/rendered"
    plain = web.get(f"{path}?accept=image/png&window=0,2000,linear")
    picture = np.asarray(Image.open(io.BytesIO(plain.body)))
    ds = stored["CT_small.dcm"]
    values = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    wanted = ((values + 0.5) / 1999 + 0.5).clip(0, 1) * 255
    assert np.abs(picture - wanted).max() <= 1
    part = web.get(f"{path}?accept=image/png&viewport=64,64,10,10,64,64&window=0,2000,linear")
    assert (np.asarray(Image.open(io.BytesIO(part.body))) == picture[10:74, 10:74]).all()
    texts = web.get(f"{path}?accept=image/png&annotation=patient,technique,nonsense")
    assert "299" in texts.headers["warning"]
    assert texts.body != web.get(f"{path}?accept=image/png").body


def test_pictures_are_conditional(shipped: tuple[Web, dict[str, Dataset]]):
    web, stored = shipped
    path = path_of(stored["CT_small.dcm"]) + "/thumbnail"
    tag = web.get(path).headers["etag"]
    assert web.get(path, if_none_match=tag).status == 304
    answer = web.get(f"{path}?viewport=64,64", if_none_match=tag)
    assert answer.status == 200
    assert web.get(f"{path}?viewport=64%2C64").body == answer.body  # as Weasis and every URLSearchParams write it


def test_bulk_data_by_its_uri_whole_and_in_ranges(web: Web):
    ds = ct()
    ds.add_new(0x00420011, "OB", bytes(range(256)) * 100)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    item = Dataset()
    item.add_new(0x00420011, "OB", b"within" * 1000)
    ds.ReferencedImageSequence = [Dataset(), item]
    web.store(ds)
    (document,) = web.get(path_of(ds) + "/metadata").json
    uri = document["00420011"]["BulkDataURI"].removeprefix(web.service)
    whole = web.get(uri, accept="application/pdf")
    assert (whole.headers["content-type"], whole.body) == ("application/pdf", bytes(range(256)) * 100)
    assert parts(web.get(uri))[0][1] == whole.body
    piece = web.get(uri, accept="*/*;q=0.1, application/octet-stream", range="bytes=100-199")
    assert (piece.status, piece.headers["content-range"], piece.body) == (
        206,
        "bytes 100-199/25600",
        whole.body[100:200],
    )
    assert web.get(uri, accept="application/pdf", range="bytes=-10").body == whole.body[-10:]
    assert web.get(uri, accept="application/pdf", range="bytes=25600-").status == 416
    nested = document["00081140"]["Value"][1]["00420011"]["BulkDataURI"].removeprefix(web.service)
    assert web.get(nested, accept="application/octet-stream").body == b"within" * 1000
    pixels = document["7FE00010"]["BulkDataURI"].removeprefix(web.service)
    assert web.get(pixels, accept="application/octet-stream").body == encode(ds)[-512:]


def test_with_dicomweb_client(shipped: tuple[Web, dict[str, Dataset]]):
    web, stored = shipped
    client = DICOMwebClient(web.service)
    client.set_http_retry_params(False)
    ds = stored["CT_small.dcm"]
    uids = ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID
    assert client.retrieve_instance_frames(*uids, [1])[0] == ds.PixelData
    assert client.retrieve_instance_rendered(*uids, media_types=("image/png",))[:4] == b"\x89PNG"
    (metadata,) = client.retrieve_series_metadata(*uids[:2])
    assert client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])[0] == ds.PixelData
