"""Rows of an older release get what it did not keep, from their files."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from minipacs.archive.archive import Archive
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.index import Query
from minipacs.jobs import unread as unread_module
from minipacs.jobs.unread import IDLE_S, Unread
from tests.support.objects import ct
from tests.support.storing import published, put

OLDER = """
UPDATE instance SET heading_id = NULL;
DELETE FROM heading;
UPDATE study SET patient_name = 'First^Name', compared_patient_name = 'first^name';
DELETE FROM conflict;
"""
"""Leaves rows as the migration of an older index does."""


def names(archive: Archive) -> list[str]:
    return sorted(name for (name,) in archive.index.find(Query("STUDY", [], [BY_KEYWORD["PatientName"]])))


@pytest.fixture
def archive(open_archive: Callable[..., Archive], tmp_path: Path) -> Archive:
    """An archive of one patient whose three studies bear other names, as an older release left it."""
    opened = open_archive()
    for name in ("First^Name", "Second^Name", "Third^Name"):
        study = ct(PatientName=name)
        put(opened, study)
        put(opened, ct(PatientName=name, StudyInstanceUID=study.StudyInstanceUID))
    opened.close()
    with closing(sqlite3.connect(tmp_path / "archive" / "index.db")) as connection:
        connection.executescript(OLDER)
    return open_archive()


def test_the_first_object_of_each_study_is_read_before_all_others(
    archive: Archive, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(unread_module, "BATCH_FILES", 3)
    job = Unread(archive, lambda: False)
    assert names(archive) == ["First^Name"] * 3
    job.work()
    assert names(archive) == ["First^Name", "Second^Name", "Third^Name"]
    assert archive.index.unread_count() == 3
    job.work()
    assert archive.index.unread_count() == 0
    assert job.work() == IDLE_S
    assert [c.keyword for c in archive.index.conflicts()] == ["PatientName"]
    (done,) = [r for r in caplog.records if r.message == "files of an older release are read"]
    assert done.fields == {"files": 6, "unreadable": 0}
    caplog.clear()
    assert job.work() == IDLE_S
    assert caplog.records == []


def test_a_missing_file_is_not_waited_for(archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    published(tmp_path / "archive")[0].unlink()
    job = Unread(archive, lambda: False)
    while job.work() != IDLE_S:
        pass
    assert archive.index.unread_count() == 0
    assert len([r for r in caplog.records if r.message == "attributes not read from a file"]) == 1


def test_a_damaged_file_gives_no_name_though_its_size_is_right(archive: Archive, tmp_path: Path):
    for path in published(tmp_path / "archive"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(b"Third^Name", b"Wrong^Name"))
    job = Unread(archive, lambda: False)
    while job.work() != IDLE_S:
        pass
    assert names(archive) == ["First^Name", "First^Name", "Second^Name"]
    assert archive.index.unread_count() == 0


def test_what_comes_meanwhile_is_filed_where_it_says(archive: Archive):
    put(archive, ct(PatientName="Fourth^Name"))
    assert names(archive) == ["First^Name", "First^Name", "First^Name", "Fourth^Name"]
    job = Unread(archive, lambda: False)
    while job.work() != IDLE_S:
        pass
    assert names(archive) == ["First^Name", "Fourth^Name", "Second^Name", "Third^Name"]


def test_it_leaves_off_when_told(archive: Archive):
    Unread(archive, lambda: True).work()
    assert archive.index.unread_count() == 6
