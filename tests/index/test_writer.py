"""The writer: one commit for all that queue together, each caller its own answer, whatever happens to the others."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from minipacs.dicom.tables.keys import STANDARD_KEYS
from minipacs.errors import Failure, Kind, OutcomeUnknown
from minipacs.index import Index, Outcome
from minipacs.index.engine import writer as writer_module
from minipacs.index.engine.database import Database
from minipacs.index.engine.files import CLOSED
from minipacs.index.schema import open_database
from tests.index.conftest import Files

DEADLINE_S = 60

ADDING = """
import sys
from pathlib import Path
from minipacs.index import Index
from tests.index.conftest import Files
files = Files()
index = Index.open(Path(sys.argv[1]))
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
    database = open_database(tmp_path / "index.db", STANDARD_KEYS, sync="always", read_only=False)
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


def test_who_has_the_turn_is_not_kept_by_those_who_come_after(index: Index):
    queue = index._writer._queue = Queue()
    came = queue.entered
    done_by: list[int] = []
    callers: list[threading.Thread] = []

    def work(_: object) -> None:
        done_by.append(threading.get_ident())
        if not callers:
            assert came.acquire(blocking=False), "that is us"
        if len(callers) < 20:
            callers.append(threading.Thread(target=index._change, args=(work,)))
            callers[-1].start()
            assert came.acquire(timeout=DEADLINE_S)

    index._change(work)
    for caller in callers:
        caller.join(DEADLINE_S)
    assert len(done_by) == 21
    assert done_by.count(threading.get_ident()) == 1


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

    monkeypatch.setattr(index._objects, "remove", fail)
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
    monkeypatch.setattr(writer_module, "_LINE_WAIT_S", 0.05)
    with ThreadPoolExecutor(1) as pool, index._writer._turn:
        error = pool.submit(index.add, files.record("2"), "replace").exception(DEADLINE_S)
    assert isinstance(error, Failure)
    assert (error.kind, str(error)) == (Kind.BUSY, "index busy")
    index.add(files.record("3"), "replace")
    assert index.instance("2") is None
    assert index.instance("3") is not None


def test_a_lock_of_another_process_without_end_is_waited_for_once(
    index: Index, files: Files, other: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer_module, "_LINE_WAIT_S", 0.05)
    with ThreadPoolExecutor(4) as pool, other.exclusive():
        errors = [pool.submit(adding(index, files, str(i))).exception(DEADLINE_S) for i in range(4)]
    assert [str(error) for error in errors] == ["index busy"] * 4
    index.add(files.record("9"), "replace")
    assert [index.instance(str(i)) for i in range(4)] == [None] * 4


def test_a_lock_of_another_program_is_waited_for_once(
    index: Index, files: Files, tmp_path: Path, together: Callable[..., list[Future[Any]]]
):
    index._writer._connection.execute("PRAGMA busy_timeout = 10")
    begun: list[str] = []
    index._writer._connection.set_trace_callback(
        lambda statement: begun.append(statement) if statement.startswith("BEGIN") else None
    )
    with closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None)) as program:
        program.execute("BEGIN IMMEDIATE")
        errors = [future.exception() for future in together(*(adding(index, files, str(i)) for i in range(8)))]
        program.execute("ROLLBACK")
    assert [str(error) for error in errors] == ["index busy"] * 8
    assert len(begun) == 1
    assert index.add(files.record("9"), "replace").outcome is Outcome.ADDED


def test_who_counts_commits_harms_no_change(
    open_index: Callable[..., Index], files: Files, caplog: pytest.LogCaptureFixture
):
    def fail(instances: int) -> None:
        raise ZeroDivisionError

    index = open_index(on_commit=fail)
    with ThreadPoolExecutor(3) as pool:
        queue = index._writer._queue = Queue()
        with index._writer._turn:
            work = [pool.submit(adding(index, files, uid)) for uid in "123"]
            for _ in work:
                assert queue.entered.acquire(timeout=DEADLINE_S)
        assert [change.result(DEADLINE_S).outcome for change in work] == [Outcome.ADDED] * 3
    assert "commit not counted" in caplog.text


class FailingDisk:
    """The connection of a writer whose next commits fail at the log's sync; `told` are its statements."""

    def __init__(self, connection: sqlite3.Connection, failures: int) -> None:
        self._connection = connection
        self.failures = failures
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        self.told.append(statement)
        if statement == "COMMIT" and self.failures:
            self.failures -= 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._connection.execute(statement, parameters)


@pytest.fixture
def failing(index: Index) -> Callable[[int], FailingDisk]:
    """Let so many commits of an index fail from now on."""

    def failing_(failures: int) -> FailingDisk:
        disk = index._writer._connection = FailingDisk(index._writer._connection, failures)  # type: ignore[assignment]
        return disk

    return failing_


def test_a_commit_that_fails_once_is_made_again_and_durably(
    index: Index, files: Files, failing: Callable[[int], FailingDisk]
):
    disk = failing(1)
    assert index.add(files.record("1"), "replace").outcome is Outcome.ADDED
    assert index.instance("1") is not None
    assert [s for s in disk.told if s.startswith(("PRAGMA synchronous", "COMMIT"))] == [
        "COMMIT",
        "PRAGMA synchronous = FULL",
        "COMMIT",
    ]


def test_a_commit_that_goes_on_failing_has_an_unknown_outcome(
    index: Index, files: Files, failing: Callable[[int], FailingDisk]
):
    disk = failing(2)
    with pytest.raises(OutcomeUnknown, match="outcome unknown") as refused:
        index.add(files.record("1"), "replace")
    assert refused.value.temporary
    assert index.instance("1") is None
    assert not disk.in_transaction
    assert index.add(files.record("1"), "replace").outcome is Outcome.ADDED


def test_of_a_group_only_what_goes_on_failing_has_an_unknown_outcome(
    index: Index, files: Files, failing: Callable[[int], FailingDisk], together: Callable[..., list[Future[Any]]]
):
    failing(2)
    found = together(*(adding(index, files, uid) for uid in "123"))
    errors = [future.exception() for future in found]
    assert sum(isinstance(error, OutcomeUnknown) for error in errors) == 1
    assert [future.result().outcome for future in found if not future.exception()] == [Outcome.ADDED] * 2


def test_what_cannot_be_undone_does_not_hide_what_went_wrong(
    index: Index, files: Files, monkeypatch: pytest.MonkeyPatch
):
    class Stuck(FailingDisk):
        def execute(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
            if statement == "ROLLBACK":
                super().execute(statement)
                raise sqlite3.OperationalError("cannot rollback - no transaction is active")
            return super().execute(statement, parameters)

    def fail(uids: list[str]) -> list[str]:
        raise ZeroDivisionError

    index._writer._connection = Stuck(index._writer._connection, 0)  # type: ignore[assignment]
    monkeypatch.setattr(index._objects, "remove", fail)
    with pytest.raises(ZeroDivisionError):
        index.remove(["1"])
    assert index.add(files.record("1"), "replace").outcome is Outcome.ADDED


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
    assert synced(lambda: index.add(other, "replace", recoverable=True)), "recovery would finish its removal"
    assert not synced(lambda: index.add(files.record("3"), "replace", recoverable=True))
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
    assert (tmp_path / "index.db-wal").read_bytes() == CLOSED
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
