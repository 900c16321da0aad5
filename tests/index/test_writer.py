"""The writer: one commit for all that queue together, each caller its own answer, whatever happens to the others."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from minipacs.errors import Failure, Kind
from minipacs.index import Index, Outcome
from minipacs.index import writer as writer_module
from minipacs.index.engine.database import Database
from tests.index.conftest import Files

DEADLINE_S = 60

ADDING = """
import sys
from pathlib import Path
from minipacs.index import Index
from tests.index.conftest import Files
files = Files()
index = Index.open(Path(sys.argv[1]), reread=files.read)
for i in range(int(sys.argv[3])):
    index.add(files.record(f"{sys.argv[2]}.{i}", study=f"1.{i % 7}", series=f"1.{i % 7}.1"), "replace")
    print(i, flush=True)
index.close()
"""


class Queue(deque[Any]):
    """A queue that tells of each change that enters it."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)

    def append(self, change: Any) -> None:
        super().append(change)
        self.entered.release()


@pytest.fixture
def other(tmp_path: Path, index: Index) -> Iterator[Database]:
    """Give the index as another process has it open."""
    database = Database(tmp_path / "index.db")
    yield database
    database.close()


@pytest.fixture
def together(index: Index, other: Database) -> Callable[..., list[Future[Any]]]:
    """Have calls queue up behind the lock of another process's writer; give their outcomes after it is released."""
    queue = index._writer._queue = Queue()

    def run(*calls: Callable[[], Any]) -> list[Future[Any]]:
        with ThreadPoolExecutor(len(calls)) as pool:
            with other.exclusive():
                futures = [pool.submit(call) for call in calls]
                for _ in calls:
                    assert queue.entered.acquire(timeout=DEADLINE_S)
            return futures

    return run


def adding(index: Index, files: Files, uid: str, **values: str) -> Callable[[], Any]:
    return partial(index.add, files.record(uid, **values), "replace")


def test_what_queues_together_is_one_commit(index: Index, files: Files, together: Callable[..., list[Future[Any]]]):
    statements: list[str] = []
    index._writer._connection.set_trace_callback(statements.append)
    futures = together(*(adding(index, files, str(i)) for i in range(8)))
    assert [future.result().outcome for future in futures] == [Outcome.ADDED] * 8
    assert files.commits == [8]
    assert statements.count("COMMIT") == 1


def test_a_group_has_a_limit(
    index: Index, files: Files, together: Callable[..., list[Future[Any]]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer_module, "MAX_GROUP", 3)
    together(*(adding(index, files, str(i)) for i in range(8)))
    assert files.commits == [3, 3, 2]


def test_a_failing_change_fails_alone(index: Index, files: Files, together: Callable[..., list[Future[Any]]]):
    known, clash = files.record("9"), files.record("8")
    object.__setattr__(clash, "digest", known.digest)
    index.add(known, "replace")
    first, failed, last = together(
        adding(index, files, "1"), partial(index.add, clash, "replace"), adding(index, files, "2")
    )
    error = failed.exception()
    assert isinstance(error, Failure)
    assert (error.kind, str(error)) == (Kind.BROKEN, "index error")
    assert first.result().outcome is last.result().outcome is Outcome.ADDED
    assert [index.instance(uid) is not None for uid in "1289"] == [True, True, False, True]
    assert index.statistics().instances == 3
    assert sum(files.commits) == 3


def test_a_bug_in_one_change_reaches_its_caller_only(
    index: Index, files: Files, together: Callable[..., list[Future[Any]]], monkeypatch: pytest.MonkeyPatch
):
    def fail(uids: list[str]) -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr(index._writer._rows, "remove", fail)
    added, failed = together(adding(index, files, "1"), partial(index.remove, ["1"]))
    assert added.result().outcome is Outcome.ADDED
    assert isinstance(failed.exception(), ZeroDivisionError)
    assert index.instance("1") is not None


def test_s9_a_full_disk_is_a700_and_recovers(index: Index, files: Files):
    connection = index._writer._connection
    index.add(files.record("1"), "replace")
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Failure) as refused:
        index.add(files.record("2", PatientComments="x" * 40_000, study="2", series="2", PatientID="2"), "replace")
    assert (refused.value.kind, str(refused.value)) == (Kind.FULL, "index disk full")
    assert index.instance("2") is None
    connection.execute("PRAGMA max_page_count = 1000000")
    assert index.add(files.record("2"), "replace").outcome is Outcome.ADDED
    assert index.statistics().instances == 2


def test_an_index_that_cannot_be_written_is_a700(index: Index, files: Files):
    connection = index._writer._connection
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(Failure, match="cannot be written") as refused:
        index.add(files.record("1"), "replace")
    assert refused.value.kind is Kind.BUSY
    connection.execute("PRAGMA query_only = OFF")
    assert index.add(files.record("1"), "replace").outcome is Outcome.ADDED


def test_a_change_that_waits_too_long_is_given_up_and_never_done(
    index: Index, files: Files, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer_module, "MAX_WAIT_S", 0.05)
    with ThreadPoolExecutor(1) as pool, index._writer._turn:
        error = pool.submit(index.add, files.record("2"), "replace").exception(DEADLINE_S)
    assert isinstance(error, Failure)
    assert (error.kind, str(error)) == (Kind.BUSY, "index busy")
    index.add(files.record("3"), "replace")
    assert index.instance("2") is None
    assert index.instance("3") is not None


def test_a_closed_index_refuses_changes(index: Index, files: Files):
    index.add(files.record("1"), "replace")
    index.close()
    index.close()
    with pytest.raises(Failure, match="closing") as refused:
        index.add(files.record("2"), "replace")
    assert refused.value.kind is Kind.BUSY


@pytest.mark.parametrize(("sync", "synchronous"), [("always", 2), ("batch", 1)])
def test_always_makes_each_commit_durable(open_index: Callable[..., Index], sync: str, synchronous: int):
    connection = open_index(sync=sync)._writer._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.fixture
def commits(open_index: Callable[..., Index]) -> Callable[[Index], list[int]]:
    """Give the list of an index's commits as they come: 2 for one that waits for the disk, 1 for another."""

    def commits_(index: Index) -> list[int]:
        connection = index._writer._connection
        (level,) = connection.execute("PRAGMA synchronous").fetchone()
        seen: list[int] = []

        def traced(statement: str) -> None:
            nonlocal level
            if statement.startswith("PRAGMA synchronous"):
                level = {"FULL": 2, "NORMAL": 1}[statement.split()[-1]]
            elif statement == "COMMIT":
                seen.append(level)

        connection.set_trace_callback(traced)
        return seen

    return commits_


def test_s1_only_new_rows_that_recovery_makes_again_do_not_wait_for_the_disk(
    open_index: Callable[..., Index], files: Files, commits: Callable[[Index], list[int]]
):
    index = open_index(sync="recoverable")
    seen = commits(index)
    first, other = files.record("1"), files.record("1", content="other")

    def synced(work: Callable[[], Any]) -> bool:
        seen.clear()
        work()
        (level,) = seen
        return level == 2

    assert not synced(lambda: index.add(first, "replace", recoverable=True))
    assert not synced(lambda: index.add(first, "replace", recoverable=True)), "nothing was written"
    assert synced(lambda: index.add(files.record("2"), "replace")), "its file has not all that the row has"
    assert synced(lambda: index.add(other, "replace", recoverable=True)), "recovery would take the first one"
    assert synced(lambda: index.set_availability([other.digest], "UNAVAILABLE"))
    assert synced(lambda: index.add(other, "replace", recoverable=True)), "it is available again"
    assert synced(lambda: index.settle(other.digest, None))
    assert synced(lambda: index.remove(["1"]))
    assert synced(lambda: index.associations.add([("A", b"account")]))
    assert not synced(lambda: index.add(other, "replace", recoverable=True))
    assert [index.instance(uid) is not None for uid in "12"] == [True, True]


def test_s1_a_group_waits_for_the_disk_if_one_of_it_must(
    open_index: Callable[..., Index], files: Files, commits: Callable[[Index], list[int]]
):
    index = open_index(sync="recoverable")
    index.add(files.record("1"), "replace", recoverable=True)
    seen = commits(index)
    with ThreadPoolExecutor(3) as pool:
        queue = index._writer._queue = Queue()
        with index._writer._turn:
            work = [
                pool.submit(index.add, files.record("2"), "replace", recoverable=True),
                pool.submit(index.add, files.record("1", content="other"), "replace", recoverable=True),
                pool.submit(index.add, files.record("3"), "replace", recoverable=True),
            ]
            for _ in work:
                assert queue.entered.acquire(timeout=DEADLINE_S)
        outcomes = [change.result(DEADLINE_S).outcome for change in work]
    assert outcomes == [Outcome.ADDED, Outcome.REPLACED, Outcome.ADDED]
    assert seen == [2]
    assert files.commits[-1] == 3
    found = index.statistics()
    assert (found.instances, found.by_modality) == (3, {"CT": 3})


def test_closing_syncs_what_was_not(index: Index, open_index: Callable[..., Index], tmp_path: Path, monkeypatch):
    other = open_index(sync="recoverable")
    synced: list[str] = []
    monkeypatch.setattr("os.fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    other.close()
    assert str(tmp_path / "index.db-wal") in synced


def test_sync_makes_the_log_and_its_folder_durable(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    monkeypatch.setattr("os.fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    index.sync()
    assert synced == [str(tmp_path / "index.db-wal"), str(tmp_path)]


def test_closing_moves_everything_into_the_file(index: Index, files: Files, tmp_path: Path):
    index.add(files.record("1"), "replace")
    index.close()
    assert not (tmp_path / "index.db-wal").exists()
    with sqlite3.connect(tmp_path / "index.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM instance").fetchone() == (1,)


def start_adding(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ADDING, str(path), name, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_processes_write_at_once(tmp_path: Path, open_index: Callable[..., Index]):
    writers = [start_adding(tmp_path / "index.db", name, 60) for name in "12"]
    for writer in writers:
        output, _ = writer.communicate(timeout=DEADLINE_S)
        assert (writer.returncode, len(output.split())) == (0, 60)
    found = open_index().statistics()
    assert (found.instances, found.series, found.studies, found.by_modality) == (120, 7, 7, {"CT": 120})


def test_s1_what_was_acknowledged_survives_kill_9(tmp_path: Path, open_index: Callable[..., Index]):
    writer = start_adding(tmp_path / "index.db", "1", 1_000_000)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(100)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().split()]
    writer.wait(DEADLINE_S)
    index = open_index()
    assert all(index.instance(f"1.{i}") is not None for i in acknowledged)
    found = index.statistics()
    assert found.instances == len(list(index.digests())) >= 100
