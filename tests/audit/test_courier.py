"""From the spool to its sinks: nothing lost, in order, one slow sink hurting no other."""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from minipacs.audit import courier as courier_module
from minipacs.audit.courier import Courier
from minipacs.audit.sinks import FileSink, Sink, UdpSink, rotated
from minipacs.audit.spool import Record, SpoolWriter, segments


class Collector:
    """A sink in memory that can be away."""

    def __init__(self, name: str = "syslog") -> None:
        self.name = name
        self.taken: list[bytes] = []
        self.away = False
        self.changed = threading.Condition()
        self.is_closed = False

    def take(self, records: Sequence[Record]) -> None:
        with self.changed:
            if self.away:
                raise ConnectionRefusedError(111, "Connection refused")
            self.taken += [record.payload for record in records]
            self.changed.notify_all()

    def close(self) -> None:
        self.is_closed = True

    def wait_for(self, count: int) -> list[bytes]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.taken) >= count, 30)
            return list(self.taken)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audit").mkdir()
    return tmp_path / "audit"


@pytest.fixture
def start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Courier]]:
    monkeypatch.setattr(courier_module, "TICK_S", 0.02)
    monkeypatch.setattr(courier_module, "FIRST_PAUSE_S", 0.02)
    running: list[Courier] = []

    def start_(*sinks: Sink) -> Courier:
        courier = Courier(folder, sinks)
        running.append(courier)
        courier.start()
        return courier

    yield start_
    for courier in running:
        courier.close()


def test_every_sink_gets_everything_in_order_and_segments_go(folder: Path, start: Callable[..., Courier], monkeypatch):
    monkeypatch.setattr("minipacs.audit.spool.MAX_SEGMENT_BYTES", 500)
    writer, one, two = SpoolWriter(folder, 10**8), Collector("file"), Collector("syslog")
    courier = start(one, two)
    wanted = [b"%d" % number * 10 for number in range(300)]
    for payload in wanted:
        writer.append(payload, 5)
    assert one.wait_for(300) == two.wait_for(300) == wanted
    writer.close()
    courier.close()
    assert segments(folder) == []
    assert one.is_closed
    assert two.is_closed


def test_a_sink_that_is_away_holds_up_no_other_and_misses_nothing(folder: Path, start: Callable[..., Courier]):
    writer, one, two = SpoolWriter(folder, 10**8), Collector("file"), Collector("syslog")
    two.away = True
    courier = start(one, two)
    for number in range(100):
        writer.append(b"%d" % number, 5)
    one.wait_for(100)
    assert segments(folder)
    two.away = False
    assert two.wait_for(100) == [b"%d" % number for number in range(100)]
    courier.close()
    assert courier.waiting() == 0


def test_what_was_not_delivered_comes_after_a_restart(folder: Path, start: Callable[..., Courier]):
    writer, away = SpoolWriter(folder, 10**8), Collector()
    away.away = True
    courier = start(away)
    for number in range(10):
        writer.append(b"%d" % number, 5)
    courier.close()
    writer.close()
    assert away.taken == []
    back = Collector()
    start(back)
    assert back.wait_for(10) == [b"%d" % number for number in range(10)]


def test_a_start_without_news_sends_nothing_again(folder: Path, start: Callable[..., Courier]):
    writer, first, second = SpoolWriter(folder, 10**8), Collector(), Collector()
    courier = start(first)
    writer.append(b"1", 5)
    first.wait_for(1)
    courier.close()
    start(second)
    writer.append(b"2", 5)
    assert second.wait_for(1) == [b"2"]


def record(payload: bytes) -> Record:
    return Record(1, 5, payload)


def test_the_file_has_a_line_each_and_is_for_owner_and_group(tmp_path: Path):
    sink = FileSink(tmp_path / "audit.log", 0)
    sink.take([record(b"<a/>"), record(b"<b/>")])
    sink.take([record(b"<c/>")])
    path = tmp_path / "audit.log"
    assert path.read_bytes() == b"<a/>\n<b/>\n<c/>\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_logrotate_took_away_is_made_anew(tmp_path: Path):
    sink, path = FileSink(tmp_path / "audit.log", 0), tmp_path / "audit.log"
    sink.take([record(b"1")])
    path.rename(tmp_path / "audit.log.1")
    sink.take([record(b"2")])
    assert path.read_bytes() == b"2\n"


def test_a_new_day_begins_a_new_file_and_old_ones_go(tmp_path: Path):
    sink, path = FileSink(tmp_path / "audit.log", 7), tmp_path / "audit.log"
    now = datetime.now(UTC)

    def days_ago(days: int) -> str:
        return f"{now - timedelta(days=days):%Y-%m-%d}"

    for days in (6, 8):
        (tmp_path / f"audit.log.{days_ago(days)}").write_text("old\n")
    (tmp_path / "audit.log.note").write_text("not ours\n")
    path.write_text("yesterday\n")
    yesterday = (now - timedelta(days=1)).timestamp()
    os.utime(path, (yesterday, yesterday))
    sink.take([record(b"today")])
    assert path.read_text() == "today\n"
    assert [p.name for p in rotated(path)] == [f"audit.log.{days_ago(6)}", f"audit.log.{days_ago(1)}"]
    assert (tmp_path / f"audit.log.{days_ago(1)}").read_text() == "yesterday\n"
    assert (tmp_path / "audit.log.note").exists()


def test_a_full_disk_leaves_no_half_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sink, path = FileSink(tmp_path / "audit.log", 0), tmp_path / "audit.log"
    sink.take([record(b"1")])
    real = os.write
    calls: list[int] = []

    def write(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(fd, bytes(data)[:5])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        sink.take([record(b"2" * 100)])
    assert path.read_bytes() == b"1\n"


def test_a_datagram_is_one_message_of_syslog():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(10)
        UdpSink("127.0.0.1", collector.getsockname()[1]).take([Record(1_700_000_000_000_000_000, 4, b"<a/>")])
        message = collector.recv(65536)
    header, _, payload = message.partition(b"\xef\xbb\xbf")
    assert payload == b"<a/>"
    priority, at, host, name, pid, kind, structured = header.decode().split()
    assert (priority, at, name, kind, structured) == (
        "<84>1",
        "2023-11-14T22:13:20.000Z",
        "minipacs",
        "IHE+RFC-3881",
        "-",
    )
    assert host
    assert pid == str(os.getpid())
