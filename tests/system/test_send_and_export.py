"""`minipacs send` and `minipacs export`, on a stored mix of what pydicom ships."""

import errno
import hashlib
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.fileset import FileSet

from minipacs.archive.media import exporting
from tests.support import dcmtk
from tests.support.objects import ct, data_set_of, encode, study
from tests.support.receiver import Receiver, only
from tests.support.sender import Sender
from tests.support.server import Server, run
from tests.support.wire import EXPLICIT, IMPLICIT

SHIPPED = Path(pydicom.__file__).parent / "data"
FILES = SHIPPED / "test_files"
MIX = [
    SHIPPED / "charset_files" / "chrH31.dcm",
    FILES / "CT_small.dcm",
    FILES / "MR_small_jp2klossless.dcm",
    FILES / "liver_1frame.dcm",
    FILES / "test-SR.dcm",
    FILES / "waveform_ecg.dcm",
]


@pytest.fixture
def archive(server: Server) -> Server:
    """Hold two studies of one patient, one of another, and a mix of objects."""
    instances = [*study(series=2, instances=2), *study(instances=1), *study(instances=1, PatientID="P2")]
    with Sender(server.port) as sender:
        assert [sender.store(ds).status for ds in instances] == [0] * 6
    run("import", *MIX, config=server.config)
    return server


def config_with(server: Server, receiver: Receiver, more: str = "") -> Path:
    path = server.folder / "with-peer.toml"
    path.write_text(server.config.read_text() + receiver.peer(more=more))
    return path


def test_send_delivers_what_matches(archive: Server) -> None:
    with Receiver() as receiver:
        config = config_with(archive, receiver)
        done = run("send", "RECEIVER", "PatientID=P1", config=config)
        assert done.stdout == "5 sent, 0 failed\n"
        (call,) = receiver.settled()
        assert call.end == "released"
        assert len({r.sop_instance_uid for r in call.received}) == 5
        assert not {0x1030, 0x1031} & call.received[0].request.elements.keys(), "nobody asked for it by C-MOVE"
        assert run("send", "RECEIVER", "PatientID=NOBODY", config=config).stdout == "nothing matches\n"
        assert run("send", "RECEIVER", "Modality=ECG", config=config).stdout == "1 sent, 0 failed\n"
    assert receiver.received[-1].data == data_set_of(FILES / "waveform_ecg.dcm")


def test_send_decodes_where_it_must(archive: Server) -> None:
    with Receiver(only(IMPLICIT)) as receiver:
        done = run("send", "RECEIVER", "Modality=MR", config=config_with(archive, receiver))
        assert done.stdout == "1 sent, 0 failed\n"
    assert receiver.received[0].transfer_syntax == IMPLICIT


def test_send_tells_what_failed(archive: Server) -> None:
    with Receiver(answer=lambda wire, received, number: (0, 0xA700, 0xB000)[number % 3]) as receiver:
        config = config_with(archive, receiver)
        done = run("send", "RECEIVER", "PatientID=P1", config=config, check=False)
        assert (done.returncode, done.stdout) == (1, "3 sent, 1 of them with a warning, 2 failed\n")
        assert receiver.received[1].sop_instance_uid in done.stderr
        assert "A700" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["NOBODY", "PatientID=P1"], 1, "no [[peer]] is called"),
        (["RECEIVER"], 2, "Missing argument"),
        (["RECEIVER", "Nonsense=1"], 2, "is no key"),
        (["RECEIVER", "PatientID"], 2, "KEY=VALUE"),
    ],
)
def test_send_says_what_is_wrong_with_its_arguments(archive: Server, words: list[str], status: int, said: str) -> None:
    with Receiver() as receiver:
        done = run("send", *words, config=config_with(archive, receiver), check=False)
        assert not receiver.calls
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)
    assert said in done.stderr


def test_send_to_a_closed_port_fails_in_a_line(archive: Server) -> None:
    with Receiver() as receiver:
        config = config_with(archive, receiver)
    done = run("send", "RECEIVER", "PatientID=P1", config=config, check=False)
    assert done.returncode == 1
    assert "cannot connect" in done.stderr.splitlines()[-1]
    assert "0 of 5 sent" in done.stderr


def digests(files: list[bytes]) -> set[str]:
    return {hashlib.sha256(data).hexdigest() for data in files}


def stored(server: Server) -> set[str]:
    return {path.stem for path in server.objects()}


def test_export_writes_the_stored_files_into_folders(archive: Server, tmp_path: Path) -> None:
    done = run("export", "--to", tmp_path / "out", "PatientID=P1", config=archive.config)
    assert done.stdout == "5 exported, 0 failed\n"
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert digests([path.read_bytes() for path in files]) < stored(archive)
    assert len(files) == 5
    for path in files:
        ds = pydicom.dcmread(path)
        patient, study_folder, series_folder, name = path.relative_to(tmp_path / "out").parts
        assert patient == "P1"
        assert ds.StudyInstanceUID in study_folder
        assert ds.SeriesInstanceUID in series_folder
        assert ds.SOPInstanceUID in name
    again = run("export", "--to", tmp_path / "out", "PatientID=P1", config=archive.config)
    assert again.stdout == done.stdout
    assert files == sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())


@pytest.mark.parametrize("options", [[], ["--zip"]])
def test_what_an_export_has_told_is_on_the_disk(
    archive: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    synced: list[set[str]] = []

    def sync(real: Callable[[Any], None], what: Any) -> None:
        synced.append({path.name for path in (tmp_path / "out").rglob("*") if path.is_file()})
        real(what)

    for name in ("sync_file_system", "sync_file", "sync_folder"):
        monkeypatch.setattr(exporting, name, partial(sync, getattr(exporting, name)))
    done = run("export", "--to", tmp_path / "out", *options, "PatientID=P1", config=archive.config)
    assert done.stdout == "5 exported, 0 failed\n"
    if options:
        assert synced == [{".export.zip.part"}, {"export.zip"}]
    else:
        assert [len(names) for names in synced] == [5]

    def full(what: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("sync_file_system", "sync_file"):
        monkeypatch.setattr(exporting, name, full)
    done = run("export", "--to", tmp_path / "full", *options, "PatientID=P1", config=archive.config, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No space left" in done.stderr
    assert not list((tmp_path / "full").glob("*.zip"))


def test_export_of_everything_as_a_zip_archive(archive: Server, tmp_path: Path) -> None:
    done = run("export", "--to", tmp_path / "out", "--zip", "PatientID=*", config=archive.config)
    assert done.stdout == "12 exported, 0 failed\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["export.zip"]
    with zipfile.ZipFile(tmp_path / "out" / "export.zip") as found:
        assert found.testzip() is None
        assert digests([found.read(name) for name in found.namelist()]) == stored(archive)
    done = run("export", "--to", tmp_path / "out", "--zip", "PatientID=*", config=archive.config, check=False)
    assert (done.returncode, "exists already" in done.stderr) == (1, True)


def test_export_as_a_file_set(archive: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("export", "--to", out, "--dicomdir", "PatientID=*", config=archive.config)
    assert done.stdout == "12 exported, 0 failed\n"
    found = FileSet(out / "DICOMDIR")
    assert len(found) == 12
    for instance in found:
        ds = pydicom.dcmread(instance.path)
        assert (ds.SOPInstanceUID, ds.StudyInstanceUID) == (instance.SOPInstanceUID, instance.StudyInstanceUID)
        assert ds.file_meta.TransferSyntaxUID == instance.ReferencedTransferSyntaxUIDInFile
        parts = Path(instance.path).relative_to(out).parts
        assert len(parts) == 4
        assert all(len(part) == 8 and part.isalnum() and part.isupper() for part in parts)
    assert len(found.find_values("PatientID")) == len({pydicom.dcmread(i.path).get("PatientID") for i in found})
    dumped = dcmtk.run("dcmdump", out / "DICOMDIR").stdout
    assert dumped.count("DirectoryRecordType") == dumped.count("OffsetOfReferencedLowerLevelDirectoryEntity")
    assert {"SR DOCUMENT", "WAVEFORM", "IMAGE"} <= {
        line.split("[")[1].split("]")[0] for line in dumped.splitlines() if "DirectoryRecordType" in line
    }
    (japanese,) = found.find(PatientID="H31EXAMPLE")
    assert str(japanese.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    files = [path.read_bytes() for path in out.rglob("IMG*")]
    assert digests(files) == stored(archive)
    done = run("export", "--to", out, "--dicomdir", "PatientID=*", config=archive.config, check=False)
    assert (done.returncode, "exists already" in done.stderr) == (1, True)


def test_export_as_a_file_set_in_a_zip_archive(archive: Server, tmp_path: Path) -> None:
    run("export", "--to", tmp_path, "--zip", "--dicomdir", "PatientID=P2", config=archive.config)
    with zipfile.ZipFile(tmp_path / "export.zip") as found:
        assert sorted(found.namelist()) == ["DICOMDIR", "PAT00001/STU00001/SER00001/IMG00001"]
        found.extractall(tmp_path / "unpacked")
    assert len(FileSet(tmp_path / "unpacked" / "DICOMDIR")) == 1


def test_names_from_patients_cannot_lead_out_of_the_folder(server: Server, tmp_path: Path) -> None:
    evil = ["../../evil", "..", "a/b", "/etc/x", "con\x1b[2J", "", "é" * 60, ".hidden"]
    with Sender(server.port) as sender:
        for patient in evil:
            ds = ct(PatientID=patient, SpecificCharacterSet="ISO_IR 192", Modality="C/T")
            data = encode(ds)
            assert sender.store_bytes(data, ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT).status == 0
    out = tmp_path / "deep" / "out"
    done = run("export", "--to", out, "StudyDate=20240115", config=server.config)
    assert done.stdout == f"{len(evil)} exported, 0 failed\n"
    files = [path for path in tmp_path.rglob("*.dcm") if "server" not in path.parts[len(tmp_path.parts)]]
    assert len(files) == len(evil)
    assert all(path.is_relative_to(out) and len(path.relative_to(out).parts) == 4 for path in files)
    assert all(part.isascii() and not part.startswith(".") for path in files for part in path.relative_to(out).parts)


def test_without_a_match_nothing_is_written(archive: Server, tmp_path: Path) -> None:
    done = run("export", "--to", tmp_path / "out", "--dicomdir", "PatientID=NOBODY", config=archive.config)
    assert done.stdout == "nothing matches\n"
    assert not (tmp_path / "out").exists()


def test_export_leaves_out_what_is_damaged_and_says_so(archive: Server, tmp_path: Path) -> None:
    (victim,) = [path for path in archive.objects() if pydicom.dcmread(path).PatientID == "P2"]
    raw = bytearray(victim.read_bytes())
    raw[-5] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(raw)
    for number, options in enumerate(([], ["--dicomdir"], ["--zip"])):
        out = tmp_path / str(number)
        done = run("export", "--to", out, *options, "PatientID=P*", config=archive.config, check=False)
        assert (done.returncode, done.stdout) == (1, "5 exported, 1 failed\n")
        assert "damaged" in done.stderr
    assert len(FileSet(tmp_path / "1" / "DICOMDIR")) == 5
    assert not list(tmp_path.rglob("*.part"))


def test_export_to_where_nothing_can_be_written_fails_in_a_line(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server()
    ds = ct()
    with Sender(server.port) as sender:
        assert sender.store(ds).status == 0
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "P1").write_text("in the way")
    done = run("export", "--to", blocked, "PatientID=P1", config=server.config, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "cannot write to" in done.stderr
