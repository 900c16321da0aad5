"""Zip archives over HTTP: whole files under harmless names, made as they are sent."""

import io
import os
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet

from minipacs.web.dicomweb import zipped
from tests.support.objects import ct, study
from tests.support.storing import published
from tests.support.web import Answer, Web
from tests.web.test_retrieve import path_of


def files(answer: Answer) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(("level", "count"), [("study", 6), ("series", 3), ("instance", 1)])
def test_each_level(web: Web, level: str, count: int):
    datasets = study(series=2, instances=3)
    web.store(*datasets, *study())
    answer = web.get(path_of(datasets[0], level), accept="application/zip")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    found = files(answer)
    assert len(found) == count
    assert set(found.values()) <= {path.read_bytes() for path in published(web.folder)}
    uid = path_of(datasets[0], level).rpartition("/")[2]
    assert answer.headers["content-disposition"] == f'attachment; filename="{level}-{uid}.zip"'


def test_a_link_asks_by_its_query(web: Web):
    ds = ct()
    web.store(ds)
    answer = web.get(f"{path_of(ds, 'study')}?accept=application/zip", accept="text/html,*/*;q=0.8")
    assert len(files(answer)) == 1


def test_names_are_harmless(web: Web):
    ds = ct(PatientID="../../etc/p\\sswd", Modality="C:", StudyDate="")
    web.store(ds)
    (name,) = files(web.get(path_of(ds, "study"), accept="application/zip"))
    assert ".." not in name.split("/")
    assert not name.startswith("/")
    assert name.isascii()
    assert not set(name) & set("\\: ")


def test_a_file_set_has_a_directory(web: Web, tmp_path: Path):
    datasets = study(series=2, instances=2)
    web.store(*datasets)
    answer = web.get(f"{path_of(datasets[0], 'study')}?dicomdir=true", accept="application/zip")
    folder = tmp_path / "set"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        archive.extractall(folder)
    found = FileSet(pydicom.dcmread(folder / "DICOMDIR"))
    assert sorted(i.SOPInstanceUID for i in found) == sorted(ds.SOPInstanceUID for ds in datasets)
    assert all(i.load().PatientName == "Doe^Jane" for i in found)
    assert web.get(f"{path_of(datasets[0], 'study')}?dicomdir=x", accept="application/zip").status == 400


def test_what_is_damaged_is_told_in_the_archive(web: Web):
    datasets = study(instances=3)
    web.store(*datasets)
    lost = published(web.folder)[0]
    uid = pydicom.dcmread(lost).SOPInstanceUID
    lost.unlink()
    found = files(web.get(path_of(datasets[0], "study"), accept="application/zip"))
    assert uid in found.pop(zipped.NOT_INCLUDED).decode()
    assert len(found) == 2
    for path in published(web.folder):
        path.unlink()
    assert web.get(path_of(datasets[0], "study"), accept="application/zip").status == 404


def test_a_large_object_goes_out_in_pieces():
    data = [memoryview(os.urandom(1 << 20)) for _ in range(8)]
    found = list(zipped._pieces(iter([zipped.Copy("1.2", "x", iter(data))]), []))
    assert max(map(len, found)) < zipped.PIECE_BYTES + (1 << 20) + 4096
    with zipfile.ZipFile(io.BytesIO(b"".join(found))) as archive:
        assert archive.read("x") == b"".join(data)
