"""`minipacs worklist`, as a user runs it."""

import json
from pathlib import Path

import pytest

from tests.support.modality import request
from tests.support.server import run

STEP = ["PatientName=Doe^Jane", "PatientID=P1", "Modality=CT", "ScheduledStationAETitle=CT1"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a configuration with a folder of its own."""
    path = tmp_path / "minipacs.toml"
    path.write_text('[storage]\npath = "data"\n')
    return path


def worklist(config: Path, command: str, *arguments: object, check: bool = True):
    return run("worklist", command, "--config", config, *arguments, check=check)


def listed(config: Path, *arguments: object) -> list[dict]:
    return json.loads(worklist(config, "list", "--json", *arguments).stdout)


def test_a_step_is_added_listed_shown_and_removed(config: Path):
    (added,) = json.loads(worklist(config, "add", *STEP, "ScheduledProcedureStepStartDate=20240115", "--json").stdout)
    assert listed(config, "Modality=CT", "ScheduledProcedureStepStartDate=20240101-20240131") == [added]
    assert listed(config, "Modality=MR") == []
    assert json.loads(worklist(config, "show", added["id"]).stdout) == added
    assert "Doe^Jane" in worklist(config, "list").stdout
    worklist(config, "remove", added["id"])
    assert listed(config) == []


def test_the_same_step_again_replaces_it(config: Path):
    more = ["ScheduledProcedureStepID=S1", "StudyInstanceUID=1.2.3"]
    worklist(config, "add", *STEP, *more)
    worklist(config, "add", *STEP, *more, "PatientSex=F")
    (found,) = listed(config)
    assert found["PatientSex"] == "F"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["add", "PatientID=P1"], "lacks PatientName, ScheduledStationAETitle, Modality"),
        (["add", "PatientNam=X"], "PatientNam"),
        (["add", "nonsense"], "KEY=VALUE"),
        (["list", "Rows=1"], "no matching key"),
    ],
)
def test_wrong_usage_is_told(config: Path, arguments: list[str], complaint: str):
    done = worklist(config, *arguments, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["show", "remove"])
def test_an_unknown_step_is_told(config: Path, command: str):
    worklist(config, "add", *STEP)
    done = worklist(config, command, 77, check=False)
    assert (done.returncode, done.stderr) == (1, "minipacs: no step has the ID 77\n")


def test_files_are_imported_and_broken_ones_told(config: Path, tmp_path: Path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "a.json").write_text(json.dumps([request(), request(PatientID="P2")]))
    (lists / "b.wl").write_bytes(b"nonsense")
    done = worklist(config, "import", lists, check=False)
    assert done.returncode == 1
    assert done.stdout == "2 steps scheduled, 1 files refused\n"
    assert "b.wl" in done.stderr
    assert {step["PatientID"] for step in listed(config)} == {"P1", "P2"}


def test_a_step_is_edited_in_place(config: Path):
    (added,) = json.loads(worklist(config, "add", *STEP, "AccessionNumber=A1", "PatientSex=F", "--json").stdout)
    given = ["PatientName=Doe^Joan", "ScheduledProcedureStepStartDate=20301231", "PatientSex="]
    (edited,) = json.loads(worklist(config, "edit", added["id"], *given, "--json").stdout)
    assert edited["id"] == added["id"]
    assert listed(config) == [edited]
    assert (edited["PatientName"], edited["AccessionNumber"], edited["PatientSex"]) == ("Doe^Joan", "A1", "")
    (step,) = edited["ScheduledProcedureStepSequence"]
    (before,) = added["ScheduledProcedureStepSequence"]
    assert step == {**before, "ScheduledProcedureStepStartDate": "20301231"}
    assert edited["StudyInstanceUID"] == added["StudyInstanceUID"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("StudyInstanceUID=1.2", "StudyInstanceUID says which step it is"),
        ("Modality=", "the step lacks Modality"),
        ("ScheduledProcedureStepStartDate=tomorrow", "malformed ScheduledProcedureStepStartDate"),
        ("Nonsense=1", "Nonsense"),
    ],
)
def test_an_edit_that_makes_no_step_changes_nothing(config: Path, given: str, complaint: str):
    (added,) = json.loads(worklist(config, "add", *STEP, "--json").stdout)
    done = worklist(config, "edit", added["id"], given, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert listed(config) == [added]


def test_an_edit_of_no_step_is_told(config: Path):
    worklist(config, "add", *STEP)
    done = worklist(config, "edit", 77, "PatientSex=F", check=False)
    assert (done.returncode, done.stderr) == (1, "minipacs: no step has the ID 77\n")


def test_columns_of_the_worklist_are_chosen(config: Path):
    worklist(config, "add", *STEP)
    assert worklist(config, "list", "--csv", "--columns", "PatientID,Modality").stdout == "PatientID,Modality\nP1,CT\n"
