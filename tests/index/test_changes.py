"""The feed of changes: nothing left out, no number twice, in the transaction of what it tells of."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from minipacs.errors import Failure
from minipacs.index import Form, Index
from minipacs.index.ledger import changes as changes_module
from minipacs.index.ledger.changes import Event
from tests.index.conftest import Files
from tests.index.test_schema import FILES, SCHEMAS, load

JPEG_2000 = "1.2.840.10008.1.2.4.90"
DEADLINE_S = 60

Told = tuple[str, str, str, str]


def told(index: Index, since: int = 0) -> list[Told]:
    return [(e.action, e.reason, e.sop_instance_uid, e.digest) for e in index.changes(since)]


def replayed(events: list[Event]) -> dict[str, str]:
    """Give the digest of each instance, as who only reads the feed has it."""
    found: dict[str, str] = {}
    for event in events:
        if event.action == "delete":
            del found[event.sop_instance_uid]
        else:
            found[event.sop_instance_uid] = event.digest
    return found


def held(index: Index) -> dict[str, str]:
    return {str(index.uid_of(digest)): digest for digest, _ in index.digests()}


def test_every_change_is_told_once(index: Index, files: Files):
    one, other = files.record("1"), files.record("1", content="other")
    form = Form("c" * 64, 400, JPEG_2000, "MONOCHROME2")
    index.add(one, "replace")
    index.add(one, "replace")
    index.add(other, "keep")
    index.add(other, "reject")
    index.set_availability([one.digest], "UNAVAILABLE")
    index.set_availability([one.digest], "UNAVAILABLE")
    index.add(one, "replace")
    index.add(other, "replace")
    index.settle(other.digest, form)
    index.settle(form.digest, None)
    index.remove(["1", "no such"])
    assert told(index) == [
        ("create", "", "1", one.digest),
        ("update", "unavailable", "1", one.digest),
        ("update", "available", "1", one.digest),
        ("update", "replaced", "1", other.digest),
        ("update", "compressed", "1", form.digest),
        ("delete", "", "1", form.digest),
    ]
    first, *_, last = index.changes(0)
    assert (first.study_uid, first.series_uid, first.source) == ("1.1", "1.1.1", "SCU")
    assert first.at <= last.at
    assert replayed(index.changes(0)) == {}


def test_an_instance_that_moves_is_deleted_there_and_created_here(index: Index, files: Files):
    old, new = files.record("1"), files.record("1", study="2", series="2.1")
    index.add(old, "replace")
    index.add(new, "replace")
    found = [(e.action, e.reason, e.study_uid, e.series_uid, e.digest) for e in index.changes(0)]
    assert found == [
        ("create", "", "1.1", "1.1.1", old.digest),
        ("delete", "moved", "1.1", "1.1.1", old.digest),
        ("create", "moved", "2", "2.1", new.digest),
    ]
    assert replayed(index.changes(0)) == held(index)


def test_a_change_that_fails_is_not_told(index: Index, files: Files):
    known, clash = files.record("9"), files.record("8")
    object.__setattr__(clash, "digest", known.digest)
    index.add(known, "replace")
    with pytest.raises(Failure):
        index.add(clash, "replace")
    index.add(files.record("7"), "replace")
    assert [(e.seq, e.sop_instance_uid) for e in index.changes(0)] == [(1, "9"), (2, "7")]


def test_events_are_read_in_parts(index: Index, files: Files, monkeypatch: pytest.MonkeyPatch):
    for i in range(5):
        index.add(files.record(str(i)), "replace")
    assert [e.seq for e in index.changes(1, 2)] == [2, 3]
    assert index.changes(5) == []
    monkeypatch.setattr(changes_module, "MAX_READ", 3)
    assert [e.seq for e in index.changes(0, 100)] == [1, 2, 3]


ADDING = """
import sys
from pathlib import Path
from minipacs.index import Index
from tests.index.conftest import Files
from tests.index.test_schema import FILES, SCHEMAS, load
files = Files()
index = Index.open(Path(sys.argv[1]), sync="recoverable")
for i in range(int(sys.argv[3])):
    index.add(files.record(f"{sys.argv[2]}.{i}"), "replace", recoverable=True)
index.close()
"""


def test_a_reader_beside_many_writers_misses_nothing(open_index: Callable[..., Index], tmp_path: Path):
    index = open_index()
    command = [sys.executable, "-c", ADDING, str(tmp_path / "index.db")]
    writers = [subprocess.Popen([*command, name, "150"]) for name in "12"]
    seen: list[Event] = []
    while any(writer.poll() is None for writer in writers):
        seen += index.changes(seen[-1].seq if seen else 0, 7)
    while rest := index.changes(seen[-1].seq if seen else 0, 7):
        seen += rest
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [event.seq for event in seen] == list(range(1, 301))
    assert len({event.sop_instance_uid for event in seen}) == 300
    assert seen == index.changes(0)


def test_threads_are_told_in_the_order_of_their_commits(index: Index, files: Files):
    records = [files.record(str(i)) for i in range(60)]
    stop, seen = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            seen.extend(index.changes(seen[-1].seq if seen else 0))

    with ThreadPoolExecutor(5) as pool:
        watching = pool.submit(watch)
        list(pool.map(lambda record: index.add(record, "replace"), records))
        stop.set()
        watching.result(DEADLINE_S)
    seen += index.changes(seen[-1].seq if seen else 0)
    assert seen == index.changes(0)
    assert len(seen) == 60


def copy_of_disk(tmp_path: Path, name: str) -> Path:
    """Copy the index as it is on the disk, with its log, as a power loss would leave it."""
    there = tmp_path / name
    there.mkdir()
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"index.db{end}", there / f"index.db{end}")
    return there / "index.db"


def test_no_number_comes_twice_though_rows_are_lost(
    open_index: Callable[..., Index], files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(changes_module, "BLOCK", 10)
    index = open_index(sync="recoverable")
    given: set[int] = set()
    for lost in range(3):
        path = copy_of_disk(tmp_path, f"lost{lost}")
        for i in range(3):
            index.add(files.record(f"{lost}.{i}"), "replace", recoverable=True)
        given |= {event.seq for event in index.changes(0)}
        with closing(Index.open(path)) as again:  # the power is lost, and with it these three; but they may be known
            again.add(files.record("after"), "replace")
            (event,) = again.changes(lost * 3)
        assert event.seq == 11
    assert given == set(range(1, 10))


def test_numbers_go_on_after_all_have_closed_the_index(open_index: Callable[..., Index], files: Files, tmp_path: Path):
    for i in range(3):
        with closing(open_index(sync="recoverable")) as index:
            index.add(files.record(str(i)), "replace", recoverable=True)
            assert [event.seq for event in index.changes(0)] == list(range(1, i + 2))


def test_that_a_log_was_closed_is_forgotten_durably_before_it_is_written(
    open_index: Callable[..., Index], files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else a power loss would show a log that was closed, though commits after that were seen."""
    open_index().close()
    synced: list[tuple[str, int]] = []
    sync = os.fsync

    def traced(fd: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd).st_size))
        sync(fd)

    monkeypatch.setattr("os.fsync", traced)
    open_index()
    assert synced[0] == (str(tmp_path / "index.db-wal"), 0)


def test_a_block_is_reserved_durably_before_its_first_number_is_given(
    open_index: Callable[..., Index], files: Files, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(changes_module, "BLOCK", 3)
    index = open_index(sync="recoverable")
    levels = ["NORMAL"]
    commits: list[str] = []

    def traced(statement: str) -> None:
        if statement.startswith("PRAGMA synchronous"):
            levels.append(statement.split()[-1])
        elif statement == "COMMIT":
            commits.append(levels[-1])

    index._writer._connection.set_trace_callback(traced)
    for i in range(8):
        index.add(files.record(str(i)), "replace", recoverable=True)
    assert [e.seq for e in index.changes(0)] == list(range(1, 9))
    assert commits == ["NORMAL"] * 3 + ["FULL"] + ["NORMAL"] * 3 + ["FULL"]


def test_numbers_go_on_after_a_clean_end(open_index: Callable[..., Index], files: Files):
    for i in range(3):
        index = open_index()
        index.add(files.record(str(i)), "replace")
        index.close()
    assert [event.seq for event in open_index().changes(0)] == [1, 2, 3]


def test_numbers_go_on_beside_others_that_have_the_index_open(open_index: Callable[..., Index], files: Files):
    daemon, command = open_index(), open_index()
    daemon.add(files.record("1"), "replace")
    command.add(files.record("2"), "replace")
    command.close()
    daemon.add(files.record("3"), "replace")
    assert [event.seq for event in daemon.changes(0)] == [1, 2, 3]


def test_an_index_from_before_tells_of_what_it_holds(open_index: Callable[..., Index], files: Files, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
        connection.executescript((Path(__file__).parent / "schemas" / "5.sql").read_text())
        rows = connection.execute("SELECT sop_instance_uid, digest FROM instance ORDER BY id").fetchall()
    index = open_index()
    index.add(files.record("3"), "replace")
    events = index.changes(0)
    assert [(e.action, e.sop_instance_uid, e.digest) for e in events[:-1]] == [("create", *row) for row in rows]
    assert replayed(events) == held(index)


def test_an_index_that_was_rebuilt_tells_what_is_otherwise(open_index: Callable[..., Index], files: Files):
    index = open_index()
    same, gone, other = files.record("1"), files.record("2"), files.record("3")
    for record in (same, gone, other):
        index.add(record, "replace")
    since = index.changes(0)[-1].seq
    with index.fresh() as fresh:
        for record in (same, files.record("3", content="other"), files.record("4")):
            fresh.add(record, "replace")
        assert fresh.changes(0) == []
        index.take_over(fresh, lambda: None)
    assert [(e.action, e.reason, e.sop_instance_uid) for e in index.changes(since)] == [
        ("delete", "reindexed", "2"),
        ("create", "reindexed", "4"),
        ("update", "reindexed", "3"),
    ]
    assert replayed(index.changes(0)) == held(index)


def test_what_is_filed_elsewhere_after_an_update_is_told(
    open_index: Callable[..., Index], files: Files, tmp_path: Path
):
    load(tmp_path / "index.db", SCHEMAS / "4.sql")
    index = open_index()
    since = index.changes(0)[-1].seq
    values = {index.instance(file["uid"]).digest: files.record(**file).values for file in FILES}
    index.fill(values)
    assert [(e.action, e.reason, e.study_uid, e.sop_instance_uid) for e in index.changes(since)] == [
        ("delete", "moved", "1.1", "1.3.1.1"),
        ("create", "moved", "1.3", "1.3.1.1"),
    ]
    assert replayed(index.changes(0)) == held(index)
