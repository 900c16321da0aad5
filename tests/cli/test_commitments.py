"""`minipacs commitments` and `minipacs procedure-steps`, on an archive that no daemon has."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.cli import main
from minipacs.dicom.data_set.json_values import parse

OBJECTS = [("1.2.840.10008.5.1.4.1.1.2", "1.2.3"), ("1.2.840.10008.5.1.4.1.1.2", "1.2.4")]
UID = "1.2.826.0.1.3680043.8.498.12345678901234567890123456789012345678"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give the configuration of an archive with one commitment that was given up, one that was asked, and a step."""
    archive = Archive.open(tmp_path / "var", StoragePolicy())
    commitments = archive.index.commitments
    commitments.ask("CT1", "US", "1.1", OBJECTS, "", {})
    commitments.report(commitments.reading.claim("CT1", 10), parse({"TransactionUID": "1.1"}))
    commitments.expire(commitments.telling.claim("CT1", 10))
    commitments.ask("MR1", "US", "1.2", OBJECTS[:1], "", {})
    step = {"PerformedProcedureStepStatus": "IN PROGRESS", "Modality": "CT", "PatientID": "P1", "PatientName": "Doe^J"}
    archive.index.performed_steps.create(UID, parse(step), "CT1")
    assert (archive.figures().commitments_pending, archive.figures().commitments_given_up) == (1, 1)
    archive.close()
    path = tmp_path / "minipacs.toml"
    path.write_text('[storage]\npath = "./var"\n')
    return path


def call(config: Path, *arguments: str) -> Result:
    group, command, *rest = arguments
    return CliRunner().invoke(main, [group, command, "--config", str(config), *rest])


def test_commitments_are_listed_with_what_became_of_them(config: Path):
    rows = json.loads(call(config, "commitments", "list", "--json").output)
    assert [(row["id"], row["peer"], row["objects"], row["state"]) for row in rows] == [
        (1, "CT1", 2, "given up"),
        (2, "MR1", 1, "asked"),
    ]
    assert "MR1" in call(config, "commitments", "list", "--open").output
    assert "CT1" not in call(config, "commitments", "list", "--open").output
    columns = call(config, "commitments", "list", "--csv", "--columns", "id,transaction_uid").output
    assert columns == "id,transaction_uid\n1,1.1\n2,1.2\n"


def test_a_commitment_is_shown_with_its_objects_and_answer(config: Path):
    shown = json.loads(call(config, "commitments", "show", "1").output)
    assert [found["sop_instance_uid"] for found in shown["objects"]] == ["1.2.3", "1.2.4"]
    assert shown["report"] == {"TransactionUID": "1.1"}
    assert json.loads(call(config, "commitments", "show", "2").output)["report"] is None
    missing = call(config, "commitments", "show", "3")
    assert (missing.exit_code, "no commitment has the ID 3" in missing.output) == (1, True)


def test_what_was_given_up_is_told_again(config: Path):
    assert call(config, "commitments", "retry", "1").output == "1 to be told again\n"
    assert json.loads(call(config, "commitments", "list", "--json").output)[0]["state"] == "waiting"
    refused = call(config, "commitments", "retry", "2", "9")
    assert refused.exit_code == 1
    assert "nothing to tell again for 2, 9" in refused.output


def test_procedure_steps_are_listed_and_shown(config: Path):
    listed = call(config, "procedure-steps", "list").output
    assert UID in listed
    assert "Doe^J" in listed
    assert UID not in call(config, "procedure-steps", "list", "--status", "completed").output
    assert json.loads(call(config, "procedure-steps", "show", UID).output)["Modality"] == "CT"
    assert call(config, "procedure-steps", "show", "1.2.3").exit_code == 1
