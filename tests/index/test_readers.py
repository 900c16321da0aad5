"""What queries may take of the connections that read: a share for each who asks, and an end."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.tables.keys import STANDARD_KEYS
from minipacs.errors import Failure, Kind
from minipacs.index import Allowance, Index, Query, QueryCancelled
from minipacs.index.engine import readers as readers_module
from minipacs.index.engine.database import Database
from minipacs.index.schema import open_database
from tests.index.conftest import Files

LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500000000) SELECT COUNT(*) FROM n"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(readers_module, "MAX_READERS", 3)
    monkeypatch.setattr(readers_module, "MAX_READERS_OF_ONE", 2)
    monkeypatch.setattr(readers_module, "READER_WAIT_S", 0.01)
    opened = open_database(tmp_path / "index.db", STANDARD_KEYS, sync="always", read_only=False)
    yield opened
    opened.close()


def test_readers_are_lent_and_limited(database: Database):
    with database.reader() as first:
        with database.reader() as second, database.reader():
            assert first is not second
            with pytest.raises(Failure, match="no free reader") as refused, database.reader():
                pass
            assert refused.value.kind is Kind.BUSY
            assert refused.value.temporary
        with database.reader() as again:
            assert again is second
        database.close()
        first.execute("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError):
        first.execute("SELECT 1")


def test_one_who_asks_has_a_share_of_the_readers_only(database: Database):
    greedy, other = Allowance("GREEDY"), Allowance("OTHER")
    with database.reader(greedy):
        with database.reader(greedy):
            with pytest.raises(Failure, match="no free reader"), database.reader(greedy):
                pass
            with database.reader(other) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        with database.reader(greedy):
            pass


def test_who_waits_gets_the_reader_that_is_given_back(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers_module, "READER_WAIT_S", 60)
    got = threading.Event()

    def wait() -> None:
        with database.reader(Allowance("GREEDY")):
            got.set()

    waiting = threading.Thread(target=wait)
    with database.reader(Allowance("GREEDY")):
        with database.reader(Allowance("GREEDY")):
            waiting.start()
            assert not got.wait(0.05)
        assert got.wait(30)
    waiting.join()


def test_f20_a_long_scan_ends_when_its_time_is_over(database: Database):
    allowance = Allowance("PEER", limit_s=0.05)
    with pytest.raises(Failure, match=r"longer than 0\.05 s") as refused, database.reader(allowance) as connection:
        connection.execute(LONG).fetchone()
    assert refused.value.temporary
    with database.reader() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_time_of_all_pages_counts_but_not_that_between_them(database: Database, monkeypatch: pytest.MonkeyPatch):
    seconds = count()  # a look at the clock takes a second
    monkeypatch.setattr(readers_module.time, "monotonic", lambda: next(seconds))
    allowance = Allowance("PEER", limit_s=10)
    for _ in range(5):
        with database.reader(allowance) as connection:
            connection.execute("SELECT 1")
        for _ in range(100):
            next(seconds)
    with pytest.raises(Failure, match="longer than 10 s"), database.reader(allowance):
        pass


def test_comparing_outside_the_statement_ends_as_well(
    index: Index, files: Files, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., list[str]]
):
    for n in range(50):
        index.add(files.record(str(n), study=f"1.{n}", series=f"1.{n}.1", PatientName="Meyer^Anna"), "replace")
    query = Query("STUDY", [(BY_KEYWORD["PatientName"], "maier")], [BY_KEYWORD["StudyInstanceUID"]], fuzzy=True)
    assert len(list(index.find(query, allowance=Allowance("PEER")))) == 50
    seconds = count()
    monkeypatch.setattr(readers_module.time, "monotonic", lambda: next(seconds))
    with pytest.raises(Failure, match="longer than 20 s"):
        list(index.find(query, allowance=Allowance("PEER")))
    monkeypatch.undo()
    assert len(list(index.find(query))) == 50


def test_f20_what_nobody_waits_for_ends_between_pages(index: Index, files: Files):
    for n in range(10):
        index.add(files.record(str(n)), "replace")
    gone: list[bool] = []

    def cancelled() -> bool:
        if gone:
            raise ConnectionResetError
        return False

    rows = index.find(Query("IMAGE", [], []), allowance=Allowance("PEER", cancelled), page_rows=3)
    assert len([next(rows) for _ in range(3)]) == 3
    gone.append(True)
    with pytest.raises(ConnectionResetError):
        next(rows)
    with pytest.raises(QueryCancelled):
        list(index.find(Query("IMAGE", [], []), allowance=Allowance("PEER", lambda: True), page_rows=3))


class FailingDisk(sqlite3.Connection):
    """Says of the schema, while the disk fails, what SQLite says then: that it is damaged."""

    fails = False

    def execute(self, statement: str, *parameters: object) -> sqlite3.Cursor:  # type: ignore[override]
        if self.fails and not statement.startswith("PRAGMA"):
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        return super().execute(statement, *parameters)


def test_a_disk_that_fails_while_a_reader_is_opened_is_tried_again(
    index: Index, files: Files, monkeypatch: pytest.MonkeyPatch
):
    index.add(files.record("1"), "replace")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, factory=FailingDisk))
    monkeypatch.setattr(FailingDisk, "fails", True)
    for _ in range(2):
        with pytest.raises(Failure, match="index disk error") as refused:
            index.instance("1")
        assert refused.value.kind is Kind.BUSY
        assert refused.value.temporary
    monkeypatch.setattr(FailingDisk, "fails", False)
    assert index.instance("1") is not None
