import errno
import os
import zipfile
from pathlib import Path

import pytest

from minipacs.archive.media.importing import import_source, sources
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.errors import system_user
from minipacs.index import Outcome
from tests.support.objects import ct, data_set_of, encode, save
from tests.support.storing import incoming, published, quarantined
from tests.support.wire import CT, EXPLICIT

CLASSES = frozenset({CT})
PDF = "1.2.840.10008.5.1.4.1.1.104.1"


@pytest.fixture
def folder(archive):
    return archive.tree.layout.root


@pytest.fixture
def store(archive):
    """Import paths; give outcome or reason by the source's name."""

    def run(*paths):
        found = [import_source(archive, source, CLASSES) for source in sources(paths)]
        return {item.source.name: item.outcome or item.reason for item in found}

    return run


def refusal(result):
    (reason,) = result.values()
    assert isinstance(reason, str)
    return reason


def test_a_file_is_stored_with_its_data_set_unchanged(store, folder, tmp_path):
    path = save(ct(), tmp_path / "a.dcm")
    assert store(path) == {str(path): Outcome.ADDED}
    assert data_set_of(published(folder)[0]) == data_set_of(path)
    assert store(path) == {str(path): Outcome.SAME}


def test_x4_the_preamble_of_the_source_is_not_kept(store, folder, tmp_path):
    path = save(ct(), tmp_path / "a.dcm")
    raw = path.read_bytes()
    polyglot = tmp_path / "polyglot.dcm"
    polyglot.write_bytes(b"MZ\x90\0".ljust(128, b"\xcc") + raw[128:])
    assert store(path, polyglot) == {str(path): Outcome.ADDED, str(polyglot): Outcome.SAME}
    (kept,) = published(folder)
    assert kept.read_bytes()[:128] == bytes(128)


def test_folders_are_walked_in_order_and_links_out_of_them_are_not_followed(store, tmp_path):
    outside = tmp_path / "outside"
    save(ct(), outside / "x.dcm")
    tree = tmp_path / "tree"
    expected = [save(ct(), tree / name) for name in ("b.dcm", "a/2.dcm", "a/1.dcm", "c/d/e/3.dcm")]
    (tree / "link").symlink_to(outside, target_is_directory=True)
    found = store(tree)
    assert set(found.values()) == {Outcome.ADDED}
    assert list(found) == [str(expected[i]) for i in (0, 2, 1, 3)]


def test_the_members_of_a_zip_archive_are_stored(store, folder, tmp_path):
    files = [save(ct(), tmp_path / f"{i}.dcm") for i in range(3)]
    path = tmp_path / "disc.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"DICOM/{file.name}")
        archive.writestr("README.TXT", "no object" * 50)
        archive.mkdir("EMPTY")
    found = store(path)
    assert found.pop(f"{path}:README.TXT").startswith("not a DICOM file")
    assert found == {f"{path}:DICOM/{i}.dcm": Outcome.ADDED for i in range(3)}
    assert {data_set_of(p) for p in published(folder)} == {data_set_of(p) for p in files}


def test_the_paths_of_zip_members_are_names_only(store, folder, tmp_path):
    file = save(ct(), tmp_path / "a.dcm")
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(file, "../../../outside.dcm")
    assert list(store(path).values()) == [Outcome.ADDED]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dcm", "archive", "evil.zip"]


def test_a_dicom_file_with_a_zip_archive_behind_it_is_a_dicom_file(store, folder, tmp_path):
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x", "y")
    ds = ct(PixelData=None)
    ds.add_new(0xFFFCFFFC, "OB", inner.read_bytes().ljust(200, b"\0"))
    path = save(ds, tmp_path / "both.dcm")
    assert zipfile.is_zipfile(path)
    assert store(path) == {str(path): Outcome.ADDED}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "file ends inside its File Meta Information"),
        (b"text " * 100, "not a DICOM file"),
        (b"PK\x03\x04" + b"\0" * 400, "not a DICOM file"),
        (file_meta(CT, "1.2.3", EXPLICIT)[:250], "file ends inside its File Meta Information"),
        (file_meta(CT, "1.2.3", EXPLICIT) + encode(ct(SOPInstanceUID="1.2.3"))[:-1], "data set ends inside"),
        (file_meta(CT, "1.2.4", EXPLICIT) + encode(ct(SOPInstanceUID="1.2.3")), "SOPInstanceUID of the data"),
        (file_meta(CT, "1.2.3", "1.2.840.10008.1.2.4.94") + encode(ct(SOPInstanceUID="1.2.3")), "transfer syntax"),
        (file_meta(PDF, "1.2.3", EXPLICIT) + encode(ct(SOPInstanceUID="1.2.3")), f"SOP class {PDF} is not stored"),
        (file_meta("", "1.2.3", EXPLICIT) + encode(ct(SOPInstanceUID="1.2.3")), "SOP class missing is not stored"),
        (file_meta(CT, "1.2.x", EXPLICIT) + encode(ct()), "malformed UID"),
        (file_meta(CT, "1.2.3", EXPLICIT) + encode(ct(SOPInstanceUID="1.2.3", StudyInstanceUID=None)), "StudyInst"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_reason(store, folder, tmp_path, content, reason):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert refusal(store(path)).startswith(reason)
    assert not published(folder)
    assert not incoming(folder)
    assert not quarantined(folder)


def test_a_file_that_cannot_be_opened_is_refused_and_the_rest_goes_on(store, tmp_path):
    good = save(ct(), tmp_path / "in" / "z.dcm")
    gone = tmp_path / "in" / "a.dcm"
    gone.symlink_to(tmp_path / "nowhere")
    assert store(tmp_path / "in") == {str(gone): "No such file or directory", str(good): Outcome.ADDED}


def test_a_special_file_is_refused_and_never_waited_for(store, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert refusal(store(tmp_path / "fifo")) == "not a regular file"


def test_a_zip_archive_that_cannot_be_read_is_refused(store, folder, tmp_path):
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(save(ct(), tmp_path / "a.dcm"), "a.dcm")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    assert "CRC" in refusal(store(path))
    assert not published(folder)
    for field, bits, said in ((6, 1, "encrypted"), (8, 99, "method")):
        changed = bytearray(raw)
        for signature, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
            changed[changed.index(signature) + field + shift] |= bits
        path.write_bytes(changed)
        assert said in refusal(store(path))


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_member_harms_no_other(store, folder, tmp_path, compression):
    path = tmp_path / "disc.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.write(save(ct(), tmp_path / "a.dcm"), "a.dcm")
        archive.write(save(ct(), tmp_path / "b.dcm"), "b.dcm")
    data = bytearray(path.read_bytes())
    data[50:70] = b"\xff" * 20
    path.write_bytes(data)
    damaged, sound = store(path).values()
    assert isinstance(damaged, str)
    assert sound is Outcome.ADDED


def test_a_very_large_zip_member_is_read_in_pieces(store, folder, tmp_path, monkeypatch):
    ds = ct(rows=2048)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(save(ds, tmp_path / "a.dcm"), "a.dcm")
    sizes = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: (sizes.append(n), read(self, n))[1])
    assert list(store(path).values()) == [Outcome.ADDED]
    assert 0 < min(sizes) <= max(sizes) <= 1 << 20


def test_what_lies_in_the_storage_folder_is_refused(store, folder, tmp_path):
    store(save(ct(), tmp_path / "a.dcm"))
    (kept,) = published(folder)
    (tmp_path / "link").symlink_to(kept)
    assert store(folder / "objects", tmp_path / "link") == {
        str(kept): "lies in the storage folder",
        str(tmp_path / "link"): "lies in the storage folder",
    }


def test_a_folder_that_cannot_be_read_is_refused(store, tmp_path, monkeypatch):
    good = save(ct(), tmp_path / "in" / "a.dcm")
    closed = tmp_path / "in" / "closed"
    closed.mkdir()
    scandir = os.scandir

    def denied(path):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    found = store(tmp_path / "in")
    assert found == {str(good): Outcome.ADDED, str(closed): f"Permission denied (as the user {system_user()})"}


def test_a_path_that_does_not_exist_is_refused(store, tmp_path):
    assert refusal(store(Path(tmp_path / "nothing"))) == "No such file or directory"
