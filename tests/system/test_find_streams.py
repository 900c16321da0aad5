"""C-FIND with answers that no buffer holds: streamed, cancelled, and nothing kept waiting (PS3.4 C.4.1)."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from minipacs.index import Index, InstanceRecord
from tests.support import dcmtk
from tests.support.finder import CANCEL, PENDING, Finder, identifier
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT

STUDIES = 4000
COMMENTS = "x" * 10_000
"""Makes an answer so long that all of them are more than the system takes for a peer that does not read."""
ANSWERS_KIB = STUDIES * len(COMMENTS) >> 10
BATCH = 500


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start an archive whose index is full; no file is asked for."""
    running = Server(tmp_path_factory.mktemp("streams"), ae="workers = 1")
    running.stop()
    index = Index.open(running.data / "index.db", sync="batch")
    for first in range(0, STUDIES, BATCH):
        records = [record(n) for n in range(first, first + BATCH)]
        index.add_all(records)
        index.set_availability([r.digest for r in records], "UNAVAILABLE")  # else the start would miss the files
    index.close()
    running.start()
    yield running
    running.end()


def record(n: int) -> InstanceRecord:
    values = {
        "PatientID": f"P{n}",
        "PatientName": f"NAME^{n}",
        "PatientComments": COMMENTS,
        "StudyInstanceUID": f"1.2.{n}",
        "SeriesInstanceUID": f"1.2.{n}.1",
    }
    return InstanceRecord(values, CT, f"1.2.{n}.1.1", EXPLICIT, f"{n:064x}", 1000, 1.7e9 + n, "TEST")


def ask_for_all(wire: Finder) -> None:
    """Send the request, and read the first answer."""
    wire.request(identifier({"QueryRetrieveLevel": "STUDY", "PatientComments": "", "PatientName": ""}))
    assert wire.response().status == PENDING


def test_f20_a_cancel_between_answers_ends_them_and_the_association_is_usable(server: Server):
    with Finder(server.port) as wire:
        ask_for_all(wire)
        wire.cancel()
        found = wire.collect()
        assert found.status == CANCEL
        assert found.final.data == b""
        assert len(found.pending) < STUDIES - 1
        assert len(wire.find("STUDY", PatientID="P7").answers) == 1


def test_f20_a_cancel_of_another_request_or_after_the_end_is_passed_over(server: Server):
    with Finder(server.port) as wire:
        assert len(wire.find("STUDY", PatientID="P7").answers) == 1
        wire.cancel()
        ask_for_all(wire)
        wire.message_id += 1
        wire.cancel()
        found = wire.collect()
        assert (found.status, len(found.pending)) == (0, STUDIES - 1)


def test_f20_findscu_cancels_after_some_answers(server: Server):
    keys = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientComments", "--cancel", "5")
    out = dcmtk.client("findscu", server.port, "-d", *keys, check=False).stdout
    assert re.search(r"DIMSE Status\s*: 0xfe00", out), out[-2000:]
    assert 5 <= out.count("Find Response:") + out.count("Received Find Response") < STUDIES


def test_f21_the_first_answer_comes_before_the_last_is_looked_for(server: Server):
    seen = len(server.lines)
    with Finder(server.port) as wire:
        ask_for_all(wire)
        assert not [line for line in server.lines[seen:] if line.get("event") == "C-FIND"]
        assert len(wire.collect().pending) == STUDIES - 1
    line = server.wait_for(lambda line: line.get("event") == "C-FIND", after=seen)
    assert (line["matches"], line["status"]) == (STUDIES, "0000")


def test_f21_no_read_transaction_is_open_while_a_peer_is_waited_for(server: Server):
    with Finder(server.port) as wire:
        ask_for_all(wire)
        with closing(sqlite3.connect(server.data / "index.db", timeout=10)) as connection:
            connection.execute("UPDATE patient SET patient_sex = 'O' WHERE patient_id = 'P0'")
            connection.commit()
            busy, log, moved = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        assert (busy, log) == (0, moved)
        assert len(wire.collect().pending) == STUDIES - 1


def test_f21_memory_stays_flat_however_many_match(server: Server):
    (worker,) = server.children("worker")
    with Finder(server.port) as wire:
        assert len(wire.find("STUDY", PatientComments="", PatientID="P1*").answers) > 1000
        before = peak_kib(worker)
        ask_for_all(wire)
        assert len(wire.collect().pending) == STUDIES - 1
    assert peak_kib(worker) - before < ANSWERS_KIB // 4


def peak_kib(pid: int) -> int:
    """Return the most memory that a process has used."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])
