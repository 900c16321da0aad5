"""`minipacs correct` and `minipacs amendments`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread

from minipacs.cli import main
from tests.support.objects import ct, save


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "minipacs.toml"
    path.write_text(
        '[storage]\npath = "./var"\nmin_free_bytes = 0\n[audit]\nfile = "./audit.log"\n[metrics]\nbind = ""\n'
    )
    return path


def call(config: Path, *arguments: str) -> Result:
    words = list(arguments)
    at = 2 if words[0] in ("amendments", "audit") else 1
    return CliRunner().invoke(main, [*words[:at], "--config", str(config), *words[at:]])


def found(config: Path, *words: str) -> list[dict[str, str]]:
    result = call(config, "find", "--level", "study", "--json", "--columns", "PatientID,PatientName", *words)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)  # type: ignore[no-any-return]


def store(config: Path, **values: str) -> None:
    ds = ct(**values)
    result = call(config, "import", str(save(ds, config.parent / f"{ds.SOPInstanceUID}.dcm")))
    assert result.exit_code == 0, result.output


def test_a_correction_is_shown_first_made_listed_and_taken_back(config: Path) -> None:
    store(config, PatientID="P1", StudyInstanceUID="1.2.3")
    store(config, PatientID="P1", StudyInstanceUID="1.2.4")
    words = "correct", "StudyInstanceUID=1.2.3", "--set", "PatientID=P2", "--set", "PatientName=New^Name"
    assert call(config, *words, "--dry-run").exit_code == 0
    assert call(config, *words).exit_code == 1  # nobody said yes
    assert found(config, "PatientID=P2") == []
    result = call(config, *words, "--yes")
    assert result.exit_code == 0, result.output
    assert "1 instances corrected" in result.output
    assert found(config, "PatientID=P2") == [{"PatientID": "P2", "PatientName": "New^Name"}]
    assert len(found(config, "PatientID=P1")) == 1
    result = call(config, "export", "--to", str(config.parent / "out"), "StudyInstanceUID=1.2.3")
    assert result.exit_code == 0, result.output
    (path,) = (config.parent / "out").rglob("*.dcm")
    assert dcmread(path).PatientName == "New^Name"
    (row,) = json.loads(call(config, "amendments", "list", "--json").output)
    assert (row["state"], row["values"]) == ("active", {"PatientID": "P2", "PatientName": "New^Name"})
    shown = json.loads(call(config, "amendments", "show", row["id"][:12], "--json").output)
    assert [part["study_instance_uid"] for part in shown["parts"]] == ["1.2.3"]
    assert call(config, "amendments", "revoke", row["id"][:12]).exit_code == 0
    assert len(found(config, "PatientID=P1")) == 2
    (row,) = json.loads(call(config, "amendments", "list", "--json").output)
    assert row["state"] == "revoked"
    assert call(config, "amendments", "revoke", row["id"]).exit_code == 1


def test_a_series_is_corrected_by_its_own_attributes(config: Path) -> None:
    store(config, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1")
    store(config, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.2")
    assert call(config, "correct", "SeriesInstanceUID=1.2.3.1", "--set", "Laterality=L", "--yes").exit_code == 0
    result = call(config, "find", "--level", "series", "--json", "--columns", "Laterality", "StudyInstanceUID=1.2.3")
    assert sorted(row["Laterality"] for row in json.loads(result.output)) == ["", "L"]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("PatientID=*", "--set", "PatientName=A"), 2, "match everything"),
        (("PatientID=P1", "--set", "StudyInstanceUID=1.2"), 2, "cannot be amended"),
        (("PatientID=P1", "--set", "PatientBirthDate=19700230"), 2, "no such date"),
        (("SOPInstanceUID=1.2", "--set", "PatientName=A"), 2, "no key at study level"),
        (("PatientID=P1", "--set", "PatientName=A", "--set", "Laterality=L"), 2, "apart"),
        (("StudyDate=20240115", "--set", "PatientName=A"), 1, "several patients match"),
        (("PatientID=NOBODY", "--set", "PatientName=A"), 0, "nothing matches"),
    ],
)
def test_what_is_not_done_is_told_why(config: Path, words: tuple[str, ...], status: int, told: str) -> None:
    store(config, PatientID="P1")
    store(config, PatientID="P2")
    result = call(config, "correct", "--yes", *words)
    assert (result.exit_code, told in result.output) == (status, True), result.output
    assert len(found(config, "PatientName=Doe*")) == 2


def test_the_audit_trail_is_told_of_instances_and_patients(config: Path) -> None:
    store(config, PatientID="P1")
    assert call(config, "correct", "PatientID=P1", "--set", "PatientName=New^Name", "--yes").exit_code == 0
    assert call(config, "correct", "PatientID=P1", "--set", "StudyDescription=X", "--yes").exit_code == 0
    lines = call(config, "audit", "show", "--json").output
    assert lines.count("DICOM Instances Accessed") == 2
    assert lines.count("Patient Record") == 1


def test_patients_are_merged_and_unmerged(config: Path) -> None:
    store(config, PatientID="P1", PatientName="Doe^Jane")
    store(config, PatientID="P2", PatientName="Roe^Jim")
    assert "Roe^Jim" in call(config, "merge", "P1", "P2", "--dry-run").output
    assert call(config, "merge", "P1", "P2").exit_code == 1  # nobody said yes
    assert len(found(config, "PatientID=P1")) == 1
    result = call(config, "merge", "P1", "P2", "--yes")
    assert result.exit_code == 0, result.output
    assert "1 instances merged" in result.output
    assert found(config, "PatientID=P2") == [{"PatientID": "P2", "PatientName": "Roe^Jim"}] * 2
    assert "already" in call(config, "merge", "P1", "P2", "--yes").output
    refused = call(config, "merge", "P2", "P1", "--yes")
    assert (refused.exit_code, "circle" in refused.output) == (1, True)
    assert "nothing is known" in call(config, "merge", "P2", "NOBODY", "--yes").output
    (row,) = json.loads(call(config, "amendments", "list", "--json").output)
    assert (row["merged"], row["studies"], row["reason"]) == (["P1"], 0, "CORRECT")
    assert call(config, "amendments", "revoke", row["id"][:12]).exit_code == 0
    assert len(found(config, "PatientID=P1")) == 1
    trail = json.loads(call(config, "audit", "show", "--json").output)
    records = [e for e in trail if "Patient Record" in json.dumps(e)]
    assert len(records) == 4
    assert json.dumps(trail).count("DICOM Instances Accessed") == 2
    store(config, PatientID="P7", IssuerOfPatientID="A")
    assert call(config, "merge", "P7^^^A", "P2", "--yes").exit_code == 0
    assert len(found(config, "PatientID=P2")) == 2


def test_a_patient_is_corrected_on_the_worklist_too(config: Path) -> None:
    store(config, PatientID="P1", PatientName="Doe^Jane")
    step = {
        **{"PatientID": "P1", "PatientName": "Doe^Jane", "Modality": "CT", "ScheduledStationAETitle": "CT1"},
        **{"ScheduledProcedureStepStartDate": "20260101", "ScheduledProcedureStepStartTime": "1000"},
    }
    assert call(config, "correct", "PatientID=P1", "--set", "PatientName=New^Name", "--dry-run").exit_code == 0
    words = [f"{keyword}={value}" for keyword, value in step.items()]
    result = CliRunner().invoke(main, ["worklist", "add", "--config", str(config), *words])
    assert result.exit_code == 0, result.output
    assert call(config, "correct", "PatientID=P1", "--set", "PatientName=New^Name", "--yes").exit_code == 0
    listed = CliRunner().invoke(main, ["worklist", "list", "--json", "--config", str(config)]).output
    assert [row["PatientName"] for row in json.loads(listed)] == ["New^Name"]
