"""What members of the archive's group may do: they can read its files, and write none."""

import json
import os
from pathlib import Path

import pytest

from tests.support.objects import ct
from tests.support.other_user import GROUP, NOBODY, run_as
from tests.support.storing import put

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
READING = [
    ["stats"],
    ["conflicts"],
    ["associations"],
    ["quarantine", "list"],
    ["worklist", "list"],
    ["procedure-steps", "list"],
    ["commitments", "list"],
    ["export", "--to", "out", "PatientID=P1"],
    ["backup", "copy"],
    ["verify"],
]
"""Commands that change nothing of the archive."""


@pytest.fixture(params=["beside a daemon", "while nobody has it open"])
def archive_of_others(request, open_to_all, open_archive) -> Path:
    """Give the configuration of an archive of another user's, whose group may read it: files 0640, folders 0750."""
    data, config = open_to_all / "data", open_to_all / "minipacs.toml"
    config.write_text(f'[storage]\npath = "{data}"\nmin_free_bytes = 0\n')
    before = os.umask(0o027)
    try:
        archive = open_archive(data)
        put(archive, ct(PatientID="P1"))
        if request.param != "beside a daemon":
            archive.close()
    finally:
        os.umask(before)
    for path in (data, *data.rglob("*")):
        os.chown(path, NOBODY, GROUP)
    return config


def test_members_of_the_archives_group_may_look(archive_of_others, open_to_all, monkeypatch):
    """And are told in a line that they may not write."""
    config, mine = archive_of_others, open_to_all / "mine"
    mine.mkdir()
    os.chown(mine, NOBODY - 1, GROUP)
    monkeypatch.chdir(mine)
    found = run_as(NOBODY - 1, config, "find", "--csv", "--columns", "PatientID")
    assert (found.returncode, found.stdout) == (0, "PatientID\nP1\n"), found.stderr
    refused = run_as(NOBODY - 1, config, "delete", "--yes", "PatientID=P1")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert refused.stderr.startswith("minipacs: ")
    done = [run_as(NOBODY - 1, config, *words) for words in READING]
    assert not [(each.args[4:], each.stdout, each.stderr) for each in done if each.returncode]


def test_with_an_audit_trail_they_may_not_look_untold(archive_of_others):
    config = archive_of_others
    spool = config.parent / "data" / "audit"
    spool.mkdir(mode=0o750)
    os.chown(spool, NOBODY, GROUP)
    with config.open("a") as file:
        file.write('[audit]\nfile = "audit.log"\n')
    for words in (["find", "PatientID=P1"], ["export", "--to", "out", "PatientID=P1"]):
        refused = run_as(NOBODY - 1, config, *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            f"minipacs: cannot use the folder of audit messages {spool}: Permission denied (as the user 65533); with "
            "[audit] on, root and the owner of that folder do this, whom sudo names in the trail\n"
        )
    assert run_as(0, config, "find", "PatientID=P1").returncode == 0


def test_root_who_has_not_logged_in_is_named_and_not_the_owner(open_to_all):
    """Such as a command of cron: it becomes the owner of the storage folder before it does anything."""
    config = open_to_all / "minipacs.toml"
    config.write_text(f'[storage]\npath = "{open_to_all}/data"\nmin_free_bytes = 0\n[audit]\nfile = "audit.log"\n')
    (open_to_all / "data").mkdir()
    os.chown(open_to_all / "data", NOBODY, GROUP)
    assert run_as(0, config, "find", "PatientID=P1").returncode == 1  # there is none yet
    assert run_as(0, config, "import", config).returncode == 1
    assert run_as(0, config, "find", "PatientID=P1").returncode == 0
    shown = json.loads(run_as(0, config, "audit", "show", "--json").stdout)
    [asked] = [row for row in shown if row["event"] == "Query"]
    assert " as nobody@" in asked["who"]  # root, or who became root
