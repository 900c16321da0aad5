"""The spool: order, restarts, interim records, a full spool, and what a crash leaves."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minipacs.audit import spool
from minipacs.audit.spool import SpoolReader, SpoolWriter, segments

MAX_BYTES = 100_000_000


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., SpoolWriter]:
    return lambda max_bytes=MAX_BYTES: SpoolWriter(tmp_path, max_bytes)


def payloads(reader: SpoolReader, most: int = 1000) -> list[bytes]:
    return [record.payload for record in reader.read(most)]


def test_records_of_several_writers_come_in_the_order_of_writing(tmp_path: Path, write: Callable[..., SpoolWriter]):
    one, two = write(), write()
    for number in range(100):
        assert (one if number % 3 else two).append(b"%d" % number, 5)
    assert payloads(SpoolReader(tmp_path, "file")) == [b"%d" % number for number in range(100)]


def test_a_record_waits_for_older_ones_that_are_under_way(
    tmp_path: Path, write: Callable[..., SpoolWriter], monkeypatch
):
    quick, slow, reader = write(), write(), SpoolReader(tmp_path, "sink")
    now = time.time_ns()
    monkeypatch.setattr(spool.time, "time_ns", lambda: now)
    quick.append(b"later", 5)
    assert reader.read(10, settled_s=1) == []
    monkeypatch.setattr(spool.time, "time_ns", lambda: now - 1)
    slow.append(b"earlier", 5)
    monkeypatch.setattr(spool.time, "time_ns", lambda: now + 10**9)
    assert [record.payload for record in reader.read(10, settled_s=1)] == [b"earlier", b"later"]


def test_a_clock_that_is_set_back_holds_up_nothing(tmp_path: Path, write: Callable[..., SpoolWriter], monkeypatch):
    writer, reader = write(), SpoolReader(tmp_path, "sink")
    writer.append(b"of the future", 5)
    now = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr(spool.time, "time_ns", lambda: now)
    assert [record.payload for record in reader.read(10, settled_s=1)] == [b"of the future"]


def test_a_reader_goes_on_where_it_was_after_a_restart(tmp_path: Path, write: Callable[..., SpoolWriter]):
    writer = write()
    for number in range(10):
        writer.append(b"%d" % number, 5)
    reader = SpoolReader(tmp_path, "file")
    assert len(payloads(reader, 4)) == 4
    reader.taken()
    assert len(payloads(reader, 3)) == 3  # not taken
    writer.append(b"10", 3)
    again = SpoolReader(tmp_path, "file")
    assert again.backlog() == 7
    found = again.read(1000)
    assert [record.payload for record in found] == [b"%d" % number for number in range(4, 11)]
    assert [record.severity for record in found] == [5] * 6 + [3]
    assert payloads(SpoolReader(tmp_path, "syslog")) == [b"%d" % number for number in range(11)]


def test_an_interim_record_gives_way_to_the_final_one(tmp_path: Path, write: Callable[..., SpoolWriter]):
    writer, reader = write(), SpoolReader(tmp_path, "file")
    writer.append(b"so far 1", 5, key=7, interim=True)
    writer.append(b"so far 2", 5, key=7, interim=True)
    assert payloads(reader) == []
    writer.append(b"in all", 5, key=7)
    assert payloads(reader) == [b"in all"]
    writer.close()
    assert payloads(reader) == []


@pytest.mark.parametrize("restarts", [False, True])
def test_the_last_interim_record_counts_when_its_writer_is_gone(
    tmp_path: Path, write: Callable[..., SpoolWriter], restarts: bool
):
    writer, reader = write(), SpoolReader(tmp_path, "file")
    writer.append(b"so far 1", 5, key=7, interim=True)
    writer.append(b"other", 5)
    writer.append(b"so far 2", 5, key=7, interim=True)
    assert payloads(reader) == [b"other"]
    reader.taken()
    if restarts:
        reader = SpoolReader(tmp_path, "file")
    writer.close()
    assert payloads(reader) == [b"so far 2"]
    reader.taken()
    assert payloads(reader) == []
    assert payloads(SpoolReader(tmp_path, "file")) == []


def test_a_sum_outlives_the_segment_that_it_began_in(
    tmp_path: Path, write: Callable[..., SpoolWriter], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spool, "MAX_SEGMENT_BYTES", 100)
    writer, reader = write(), SpoolReader(tmp_path, "file")
    writer.append(b"so far", 5, key=7, interim=True)
    for number in range(20):
        writer.append(b"%d" % number * 10, 5)
        assert len(payloads(reader)) == 1
    assert len(segments(tmp_path)) > 3
    writer.append(b"in all", 5, key=7)
    writer.close()
    assert payloads(reader) == [b"in all"]
    assert reader.finished() == {path.name for path in segments(tmp_path)}


def test_segments_are_finished_only_when_read_and_left(
    tmp_path: Path, write: Callable[..., SpoolWriter], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spool, "MAX_SEGMENT_BYTES", 100)
    writer, reader = write(), SpoolReader(tmp_path, "file")
    for _ in range(9):
        writer.append(b"x" * 60, 5)
    assert len(reader.read(2)) == 2
    assert reader.finished() == set()
    assert len(reader.read(100)) == 7
    first, *_, last = segments(tmp_path)
    assert first.name in reader.finished()
    assert last.name not in reader.finished()


def test_a_full_spool_keeps_what_it_has_and_counts_what_it_drops(tmp_path: Path, write: Callable[..., SpoolWriter]):
    writer = write(1000)
    results = [writer.append(b"%02d" % number * 50, 5) for number in range(20)]
    assert results.index(False) == sum(results) < 10
    assert writer.take_dropped() == 0  # there is no room yet
    assert payloads(SpoolReader(tmp_path, "file")) == [b"%02d" % number * 50 for number in range(sum(results))]


def test_what_was_dropped_is_told_once_there_is_room(tmp_path: Path, write: Callable[..., SpoolWriter], monkeypatch):
    monkeypatch.setattr(spool, "MAX_SEGMENT_BYTES", 500)
    monkeypatch.setattr(spool, "SPACE_CHECK_S", 0.0)
    writer = write(1000)
    dropped = [writer.append(b"x" * 100, 5) for _ in range(20)].count(False)
    assert dropped
    for path in segments(tmp_path):
        path.unlink()
    assert writer.take_dropped() == dropped
    assert writer.take_dropped() == 0


def test_a_spool_smaller_than_a_segment_has_room_again_once_all_is_delivered(
    tmp_path: Path, write: Callable[..., SpoolWriter], monkeypatch
):
    monkeypatch.setattr(spool, "SPACE_CHECK_S", 0.0)
    one, other, reader = write(10_000), write(10_000), SpoolReader(tmp_path, "file")
    other.append(b"sum so far", 5, key=7, interim=True)
    kept = 0
    while one.append(b"x" * 100, 5):
        kept += 1
    assert not other.append(b"y" * 100, 5)
    assert payloads(reader) == [b"x" * 100] * kept
    for name in reader.finished():
        (tmp_path / name).unlink()
    reader.forget(reader.finished())
    assert one.take_dropped() == 1
    assert other.take_dropped() == 1
    assert one.append(b"z" * 100, 5)
    assert other.append(b"whole sum", 5, key=7)
    assert payloads(reader) == [b"z" * 100, b"whole sum"]


def test_half_a_record_at_the_end_is_not_read(tmp_path: Path, write: Callable[..., SpoolWriter]):
    writer = write()
    writer.append(b"whole", 5)
    writer.append(b"half", 5)
    writer.close()
    (path,) = segments(tmp_path)
    os.truncate(path, path.stat().st_size - 1)
    reader = SpoolReader(tmp_path, "file")
    assert payloads(reader) == [b"whole"]
    assert reader.finished() == {path.name}


def test_a_record_that_rotted_ends_its_segment(tmp_path: Path, write: Callable[..., SpoolWriter]):
    writer = write()
    writer.append(b"good", 5)
    writer.append(b"evil", 5)
    writer.close()
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"evil", b"life"))
    assert payloads(SpoolReader(tmp_path, "file")) == [b"good"]


def test_the_spool_is_for_its_owner_and_group(tmp_path: Path, write: Callable[..., SpoolWriter]):
    before = os.umask(0)
    try:
        write().append(b"x", 5)
    finally:
        os.umask(before)
    (path,) = segments(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_record_costs_one_system_call_that_writes(tmp_path: Path, write, monkeypatch: pytest.MonkeyPatch):
    writer, calls = write(), []
    writer.append(b"first", 5)
    for name in ("write", "writev", "fsync", "fdatasync", "ftruncate"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (calls.append(name), real(*a))[1])
    writer.append(b"second", 5)
    assert calls == ["writev"]
