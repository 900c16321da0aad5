"""Worklist files: what is read of them, and a folder that is watched."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from minipacs.dicom.data_set.values import items, text
from minipacs.dicom.workflow.worklist import BY_KEYWORD, STEP_SEQUENCE
from minipacs.index import Index
from minipacs.jobs import worklist_folder
from minipacs.jobs.worklist_folder import BadWorklistFile, WatchedFolder, forget_folder, read_worklist_file
from tests.support.modality import dataset, request
from tests.support.objects import encode

STEP_ID = BY_KEYWORD["ScheduledProcedureStepID"]
NAME = BY_KEYWORD["PatientName"].tag


def save(path: Path, syntax: str = ExplicitVRLittleEndian, **values: object) -> Path:
    """Write a `.wl` file as dcmtk's dump2dcm does."""
    ds = dataset(request(**values))
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_dicom_file_is_read(tmp_path: Path, syntax: str):
    (found,) = read_worklist_file(save(tmp_path / "a.wl", syntax, PatientName="Müller^A"))
    assert text(found, NAME) == "Müller^A"
    assert text(items(found, STEP_SEQUENCE)[0], STEP_ID.tag) == "S1"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_data_set_alone_is_read(tmp_path: Path, syntax: str):
    path = tmp_path / "a.wl"
    path.write_bytes(encode(dataset(request()), syntax))
    assert text(read_worklist_file(path)[0], NAME) == "Doe^Jane"


def test_the_dicom_json_model_is_read(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([dataset(request(PatientName="Yamada^Tarou=山田^太郎")).to_json_dict()]))
    assert text(read_worklist_file(path)[0], NAME) == "Yamada^Tarou=山田^太郎"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no DICOM file"),
        (b"\0" * 200, "lacks PatientName"),
        (b"\0" * 128 + b"DICM" + b"\2\0", "file meta"),
        (encode(dataset(request()), ExplicitVRLittleEndian)[:-3], "ends within"),
        (b"{", "JSON"),
        (b'[{"PatientNme": "X"}]', "PatientNme"),
        (b'[{"PatientName": {"a": 1}}]', "PatientName must be"),
        (b"[[]]", "must be a JSON object"),
        (b'{"PatientName": "X"}', "lacks PatientID, ScheduledStationAETitle"),
        (json.dumps(request(step={"ScheduledProcedureStepStartDate": "TODAY"})).encode(), "malformed ScheduledProc"),
        (json.dumps(request(step={"ScheduledStationAETitle": "X" * 17})).encode(), "malformed ScheduledStationAET"),
        (json.dumps(request(StudyInstanceUID="1..2")).encode(), "malformed StudyInstanceUID"),
        (b'{"RequestedProcedureCodeSequence":[' * 400 + b"]}" * 400, "nests"),
    ],
)
def test_a_broken_file_is_refused_with_a_reason(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "a.wl"
    path.write_bytes(content)
    with pytest.raises(BadWorklistFile, match=f"(?i){reason}"):
        read_worklist_file(path)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(tmp_path / "index.db")
    yield opened
    opened.close()


def listed(index: Index) -> list[str]:
    return [step.value(STEP_ID) for step in index.worklist.find([])]


def step(step_id: str) -> dict[str, object]:
    return {"step": {"ScheduledProcedureStepID": step_id}, "StudyInstanceUID": "1.2.3"}


def test_a_folder_is_followed(tmp_path: Path, index: Index):
    lists = tmp_path / "lists"
    first, second = save(lists / "a.wl", **step("A")), save(lists / "CT1" / "b.wl", **step("B"))
    (lists / "lockfile").touch()
    folder = WatchedFolder(lists, index)
    folder.scan()
    assert listed(index) == ["A", "B"]
    save(second, **step("C"))
    first.unlink()
    folder.scan()
    assert listed(index) == ["C"]


def test_what_went_while_nobody_watched_is_forgotten(tmp_path: Path, index: Index):
    path = save(tmp_path / "lists" / "a.wl", **step("A"))
    WatchedFolder(tmp_path / "lists", index).scan()
    path.unlink()
    WatchedFolder(tmp_path / "lists", index).scan()
    assert listed(index) == []


def test_a_folder_is_served_on_over_a_reload_and_refused_until_read_when_it_is_another(tmp_path: Path, index: Index):
    save(tmp_path / "a.wl")
    WatchedFolder(tmp_path, index).scan()
    WatchedFolder(tmp_path, index)
    assert index.worklist.folder_state().fault == ""
    WatchedFolder(tmp_path / "other", index)
    assert index.worklist.folder_state().fault


def test_a_broken_file_is_skipped_and_read_when_it_is_whole(tmp_path: Path, index: Index, caplog):
    whole = save(tmp_path / "lists" / "a.wl", **step("A"))
    broken = tmp_path / "lists" / "b.wl"
    broken.write_bytes(whole.read_bytes()[:-5])
    folder = WatchedFolder(tmp_path / "lists", index)
    folder.scan()
    folder.scan()
    assert listed(index) == ["A"]
    assert index.worklist.folder_state() == ("", 1)
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["worklist file skipped"]
    save(broken, **step("B"))
    folder.scan()
    assert listed(index) == ["A", "B"]
    assert index.worklist.folder_state() == ("", 0)


def test_a_folder_that_goes_is_a_fault_until_it_is_back(tmp_path: Path, index: Index):
    lists = tmp_path / "lists"
    save(lists / "a.wl", **step("A"))
    folder = WatchedFolder(lists, index)
    folder.scan()
    lists.rename(tmp_path / "away")
    folder.scan()
    assert index.worklist.folder_state().fault == "No such file or directory"
    assert listed(index) == ["A"]
    (tmp_path / "away").rename(lists)
    folder.scan()
    assert index.worklist.folder_state().fault == ""
    assert listed(index) == ["A"]


def test_without_a_folder_its_steps_go(tmp_path: Path, index: Index):
    save(tmp_path / "lists" / "a.wl", **step("A"))
    WatchedFolder(tmp_path / "lists", index).scan()
    forget_folder(index)
    assert listed(index) == []


def test_a_file_whose_name_or_text_is_no_unicode_harms_only_itself(tmp_path: Path, index: Index):
    save(tmp_path / "a.wl", **step("A"))
    (tmp_path / "b\udcff.wl").write_bytes((tmp_path / "a.wl").read_bytes())
    text_of_it = json.dumps(request(PatientName="Doe\ud800^Jane", **step("C")))
    (tmp_path / "c.wl").write_text(text_of_it)
    folder = WatchedFolder(tmp_path, index)
    folder.scan()
    assert listed(index) == ["A"]
    assert index.worklist.folder_state() == ("", 2)
    (tmp_path / "b\udcff.wl").unlink()
    save(tmp_path / "c.wl", **step("C"))
    folder.scan()
    assert listed(index) == ["A", "C"]
    assert index.worklist.folder_state() == ("", 0)


def test_links_that_lead_nowhere_or_back_are_not_followed(tmp_path: Path, index: Index):
    save(tmp_path / "a.wl", **step("A"))
    save(tmp_path / "CT1" / "b.wl", **step("B"))
    for name, target in [("round", "round"), ("round.wl", "round.wl"), ("again", "."), ("CT2", "CT1"), ("no.wl", "no")]:
        (tmp_path / name).symlink_to(target)
    WatchedFolder(tmp_path, index).scan()
    assert index.worklist.folder_state() == ("", 2)
    assert sorted(index.worklist.sources()) == [str(tmp_path / "CT1" / "b.wl"), str(tmp_path / "a.wl")]
    assert listed(index) == ["A", "B"]


def test_a_file_that_no_reader_expects_harms_only_itself(tmp_path: Path, index: Index, monkeypatch, caplog):
    def surprise(data: bytes) -> list[object]:
        raise AssertionError("a fault of ours")

    save(tmp_path / "a.wl", **step("A"))
    (tmp_path / "b.wl").write_text("{}")
    monkeypatch.setattr(worklist_folder, "_json_requests", surprise)
    WatchedFolder(tmp_path, index).scan()
    assert listed(index) == ["A"]
    assert index.worklist.folder_state() == ("", 1)
    assert "worklist file skipped" in [r.message for r in caplog.records if r.exc_info]
