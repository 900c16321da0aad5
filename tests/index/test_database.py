import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from minipacs.dicom.text import person_name
from minipacs.errors import Failure, Kind, MinipacsError
from minipacs.index import Index, Query
from minipacs.index import schema as schema_module
from minipacs.index.engine.database import Database
from minipacs.index.engine.files import SHARED_MEMORY_BYTES
from minipacs.index.engine.schema import Migration
from minipacs.index.objects import derived as derived_module
from minipacs.index.objects import headings as headings_module
from minipacs.index.schema import SCHEMA_VERSION
from tests.index.conftest import Files

Ask = Callable[..., list[str]]


def set_version(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_schema_is_refused(open_index: Callable[..., Index], tmp_path: Path, read_only: bool):
    open_index().close()
    set_version(tmp_path / "index.db", SCHEMA_VERSION + 1)
    with pytest.raises(MinipacsError, match=f"schema {SCHEMA_VERSION + 1} of a newer release"):
        open_index(read_only=read_only)


def test_an_older_schema_is_brought_up_to_date(
    open_index: Callable[..., Index], files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    index = open_index()
    index.add(files.record("1"), "replace")
    index.close()
    monkeypatch.setattr(schema_module, "SCHEMA_VERSION", SCHEMA_VERSION + 2)
    monkeypatch.setattr(
        schema_module,
        "MIGRATIONS",
        {
            SCHEMA_VERSION: Migration(before=["CREATE TABLE later (a TEXT)", "INSERT INTO later VALUES ('one')"]),
            SCHEMA_VERSION + 1: Migration(after=["UPDATE later SET a = a || ' two'"]),
        },
    )
    with pytest.raises(MinipacsError, match="older schema"):
        open_index(read_only=True)
    index = open_index()
    assert index.instance("1") is not None
    connection = index._writer._connection
    assert connection.execute("SELECT a FROM later").fetchall() == [("one two",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 2,)
    index.close()
    assert open_index()._writer._connection.execute("SELECT a FROM later").fetchall() == [("one two",)]


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_files_are_for_owner_and_group(open_index: Callable[..., Index], tmp_path: Path, umask: int):
    before = os.umask(umask)
    try:
        open_index()
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"index.db": 0o640, "index.db-wal": 0o640, "index.db-shm": 0o640, "index.db.lock": 0o600}


def test_an_index_that_others_may_read_is_taken_from_them(open_index: Callable[..., Index], tmp_path: Path):
    open_index().close()
    (tmp_path / "index.db").chmod(0o664)
    open_index()
    assert {(tmp_path / f"index.db{end}").stat().st_mode & 0o777 for end in ("", "-wal")} == {0o660}


def test_a_failed_migration_leaves_the_file_as_it_was(
    open_index: Callable[..., Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    open_index().close()
    with monkeypatch.context() as patch:
        patch.setattr(schema_module, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
        later = Migration(before=["CREATE TABLE later (a TEXT)", "nonsense"])
        patch.setattr(schema_module, "MIGRATIONS", {SCHEMA_VERSION: later})
        with pytest.raises(MinipacsError, match="cannot be used"):
            open_index()
    connection = open_index()._writer._connection
    assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'later'").fetchall() == []


def test_folded_names_follow_the_rule_of_folding(
    open_index: Callable[..., Index], files: Files, monkeypatch: pytest.MonkeyPatch
):
    index = open_index()
    index.add(files.record("1", PatientName="Doe^John", StudyTime="10"), "replace")
    index.close()
    monkeypatch.setattr(person_name, "fold", lambda text: "other" if text else "")
    select = "SELECT patient_name, patient_name_folded, study_time_normal FROM study"
    index = open_index()
    assert index._writer._connection.execute(select).fetchall() == [("Doe^John", "doe^john", "100000000000")]
    index.close()
    monkeypatch.setattr(derived_module, "FOLD_VERSION", derived_module.FOLD_VERSION + 1)
    for _ in range(2):
        index = open_index()
        assert index._writer._connection.execute(select).fetchall() == [("Doe^John", "other", "100000000000")]
        index.close()
        monkeypatch.setattr(person_name, "fold", lambda text: "not asked again")


def test_persons_are_compared_by_the_rule_of_folding(
    open_index: Callable[..., Index], files: Files, monkeypatch: pytest.MonkeyPatch
):
    index = open_index()
    index.add(files.record("1", PatientName="Doe^John"), "replace")
    index.close()
    monkeypatch.setattr(headings_module, "fold", lambda text: "other")
    monkeypatch.setattr(derived_module, "FOLD_VERSION", derived_module.FOLD_VERSION + 1)
    index = open_index()
    with index._database.reader() as connection:
        for table in ("study", "heading"):
            assert connection.execute(f"SELECT compared_patient_name FROM {table}").fetchall() == [("other",)]


@pytest.mark.parametrize("content", [b"no database, but a text file\n" * 100, None])
def test_a_file_that_is_no_index_is_refused_with_its_name(tmp_path: Path, content: bytes | None):
    path = tmp_path / "index.db"
    path.write_bytes(content) if content else path.mkdir()
    remedy = ".*Restore it from a backup, or move it away" if content else ""
    for read_only in (False, True):
        with pytest.raises(MinipacsError, match=rf"index\.db cannot be used{remedy}"):
            Index.open(path, read_only=read_only)


def test_reading_only_needs_an_index_and_makes_nothing(open_index: Callable[..., Index], files: Files, tmp_path: Path):
    with pytest.raises(MinipacsError, match="cannot be used"):
        open_index(read_only=True)
    assert list(tmp_path.iterdir()) == []
    writing, reading = open_index(), open_index(read_only=True)
    writing.add(files.record("1"), "replace")
    assert reading.instance("1") is not None
    assert reading.statistics().instances == 1
    with pytest.raises(MinipacsError, match="reading only"):
        reading.remove(["1"])
    with reading._database.reader() as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM instance")


def test_a_path_may_have_any_letters(tmp_path: Path, files: Files):
    path = tmp_path / "a b?c#d%41é.db"
    index = Index.open(path)
    index.add(files.record("1"), "replace")
    assert index.instance("1") is not None
    index.close()
    assert path.exists()


def test_no_descriptor_stays_open(open_index: Callable[..., Index], files: Files):
    open_index().close()
    before = len(os.listdir("/proc/self/fd"))
    index = open_index()
    index.add(files.record("1"), "replace")
    assert index.has_digest("x") is False
    index.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_readers_see_the_last_commit_while_a_transaction_runs(index: Index, files: Files):
    index.add(files.record("1"), "replace")
    with index._database.transaction(index._writer._connection):
        index._writer._connection.execute("DELETE FROM instance")
        assert index.instance("1") is not None
    assert index.instance("1") is None


def test_errors_of_a_query_become_failures(index: Index):
    with index._database.reader() as connection:
        connection.execute("PRAGMA query_only = OFF")
        connection.execute("ALTER TABLE study RENAME TO lost")
    with pytest.raises(Failure) as refused:
        next(index.find(Query("STUDY", [], [])))
    assert refused.value.kind is Kind.BROKEN
    with pytest.raises(Failure) as refused:
        index.statistics()
    assert refused.value.kind is Kind.BROKEN


def test_opening_waits_while_another_process_moves_the_log(tmp_path: Path):
    path = tmp_path / "index.db"
    with (
        closing(Index.open(path)),
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        ThreadPoolExecutor(1) as executor,
    ):
        other.execute("BEGIN IMMEDIATE")
        opening = executor.submit(lambda: Index.open(path).close())
        with pytest.raises(TimeoutError):
            opening.result(0.5)
        other.execute("COMMIT")
        opening.result()


def test_a_disk_without_room_to_open_an_index_is_named(
    open_index: Callable[..., Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """SQLite tells of a shared memory that cannot be made as of a broken disk."""

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    open_index().close()
    monkeypatch.setattr(Database, "_prepare", fail)
    with pytest.raises(MinipacsError, match=r"disk I/O error$"):
        open_index()
    monkeypatch.setattr("minipacs.index.engine.files.free_bytes", lambda path: 0)
    with pytest.raises(MinipacsError, match=r"disk I/O error; its disk has 0 bytes free, make room and start again$"):
        open_index()


def test_the_shared_memory_has_its_room_and_sqlite_keeps_its_locks(open_index: Callable[..., Index], tmp_path: Path):
    index = open_index()
    found = (tmp_path / "index.db-shm").stat()
    assert found.st_blocks * 512 >= found.st_size == SHARED_MEMORY_BYTES
    program = f"import sqlite3; sqlite3.connect({str(tmp_path / 'index.db')!r}).execute('SELECT * FROM study')"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "index.db-shm").stat().st_size == SHARED_MEMORY_BYTES  # else it took itself for the first
    index.close()
