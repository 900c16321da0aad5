"""Commands in the audit trail, and the trail read back."""

import json
import socket
from pathlib import Path

import pytest

from tests.support.objects import save, study
from tests.support.server import run
from tests.system.test_audit import Told

SCHEDULED = ("Modality=CT", "ScheduledStationAETitle=CT1")


class Site:
    """A configuration with a trail, without a daemon: all stays in the spool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "minipacs.toml"
        self.config.write_text('[storage]\npath = "data"\nmin_free_bytes = 0\n[audit]\nfile = "audit.log"\n')

    def run(self, *words: object, **how: object) -> str:
        return run(*words, config=self.config, **how).stdout

    def trail(self, *events: str) -> list[dict[str, object]]:
        shown = json.loads(run("audit", "show", "--config", self.config, "--json").stdout)
        return [row for row in shown if row["event"] in events]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_life_of_a_study_on_the_command_line(site: Site):
    objects = study(instances=2, PatientID="P1")
    uid = objects[0].StudyInstanceUID
    for number, ds in enumerate(objects):
        save(ds, site.folder / "in" / f"{number}.dcm")
    site.run("import", site.folder / "in")
    site.run("find", "PatientID=P1")
    site.run("export", "--to", site.folder / "out", "PatientID=P1")
    site.run("delete", "--yes", f"SOPInstanceUID={objects[0].SOPInstanceUID}")
    site.run("delete", "--yes", "PatientID=P1")
    came, asked, went, part, whole = site.trail(
        "Import", "Query", "Export", "DICOM Instances Accessed", "DICOM Study Deleted"
    )
    host = socket.gethostname()
    assert (came["action"], came["objects"]) == ("C", f"{uid} P1")
    assert came["who"].split()[1] == f"file://{host}{site.folder}/in"
    assert asked["event"] == "Query"
    assert (went["objects"], went["who"].split()[1]) == (f"{uid} P1", f"file://{host}{site.folder}/out")
    assert [(row["action"], row["objects"]) for row in (part, whole)] == [("D", f"{uid} P1")] * 2


def test_who_became_another_user_is_told(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.folder.joinpath("data").mkdir()
    monkeypatch.setenv("SUDO_USER", "anna")
    site.run("passwd", "bert", input="a passcode\na passcode\n")
    [row] = site.trail("Security Alert")
    assert row["type"] == "User Security Attributes Changed"
    assert "anna as " in row["who"]
    assert row["description"].startswith("user bert added")


def test_damage_is_told_with_the_worst_outcome(site: Site):
    [ds] = study()
    save(ds, site.folder / "in" / "1.dcm")
    site.run("import", site.folder / "in")
    [path] = site.folder.glob("data/objects/*/*.dcm")
    path.chmod(0o640)
    path.write_bytes(b"damaged")
    site.run("verify", check=False)
    [row] = site.trail("Security Alert")
    assert (row["outcome"], row["objects"]) == (12, f"sha256:{path.stem}")


def test_the_trail_is_shown_as_a_table_and_from_a_time_on(site: Site):
    site.run("import", site.config, check=False)
    table = run("audit", "show", "--config", site.config, "--columns", "event,who").stdout.splitlines()
    assert table[0].split() == ["event", "who"]
    assert "Audit Log Used" in table[-1]
    later = json.loads(run("audit", "show", "--config", site.config, "--json", "--since", "2099-01-01").stdout)
    assert later == []
    assert run("audit", "show", "--config", site.config, "--since", "yesterday", check=False).returncode == 2


def test_every_message_of_commands_is_valid(site: Site):
    from minipacs.audit.spool import SpoolReader

    [ds] = study()
    save(ds, site.folder / "in" / "1.dcm")
    site.run("import", site.folder / "in")
    values = ("PatientName=Doe^J", "PatientID=P1", "Modality=CT", "ScheduledStationAETitle=CT1")
    run("worklist", "add", "--config", site.config, *values)
    run("worklist", "remove", "--config", site.config, "1")
    records = SpoolReader(site.folder / "data" / "audit", "test").read(100)
    found = [Told(record.payload) for record in records]
    assert [(one.event, one.action) for one in found] == [("110107", "C"), ("110111", "C"), ("110111", "D")]


def test_who_looks_at_patients_is_told_by_which_command(site: Site):
    from base64 import b64decode

    from minipacs.audit.spool import SpoolReader

    [ds] = study(PatientID="P1")
    save(ds, site.folder / "in" / "1.dcm")
    site.run("import", site.folder / "in")
    run("worklist", "add", "--config", site.config, "PatientName=Doe^J", "PatientID=P1", *SCHEDULED)
    looks: list[tuple[str, ...]] = [
        ("find", "--level", "study", "PatientID=P1"),
        ("conflicts",),
        ("worklist", "list", "--all", "PatientID=P1"),
        ("worklist", "show", "1"),
        ("procedure-steps", "list", "--status", "completed"),
        ("amendments", "list"),
    ]
    for words in looks:
        run(*words, "--config", site.config)
    site.run("correct", "--dry-run", "PatientID=P1", "--set", "PatientName=Doe^K")
    site.run("delete", "PatientID=P1", input="n\n", check=False)
    site.run("backup", site.folder / "index.db")
    found = [Told(record.payload) for record in SpoolReader(site.folder / "data" / "audit", "test").read(100)][2:]
    asked = [b64decode(one.root.findtext(".//ParticipantObjectQuery")).decode() for one in found[:-1]]
    assert asked == [*map(" ".join, looks), "correct PatientID=P1", "delete PatientID=P1"]
    went = found[-1]
    assert (went.event, went.objects) == ("110106", ["<none>"])
    assert went.description == "the index, of 1 patients and 1 studies"
    assert ("file://" + socket.gethostname() + str(site.folder / "index.db")) in [
        p.get("UserID") for p in went.root.findall("ActiveParticipant")
    ]
