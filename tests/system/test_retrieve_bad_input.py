"""Destinations, requestors and files that fail: exact counts, exact lists, no hang, nothing left behind."""

import os
import socket
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from minipacs.archive.reader import BUFFER_BYTES
from minipacs.scu.tally import MAX_LOGGED_FAILURES
from tests.support.elements import fragments
from tests.support.objects import ct, encode, study
from tests.support.receiver import Call, Received, Receiver, only
from tests.support.retriever import REMAINING, Retriever, get, identifier, move
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, IMPLICIT, STUDY_GET, Wire, free_port

SHORT = "[timeouts]\ndimse = 0.5\nacse = 0.5\nconnect = 1\n"
ABORT = b"\x07\0\0\0\0\x04\0\0\0\0"
REJECT = b"\x03\0\0\0\0\x04\0\1\1\7"
J2K = "1.2.840.10008.1.2.4.90"


def fill(server: Server, instances: list[Dataset]) -> list[str]:
    with Sender(server.port, *{(ds.SOPClassUID, EXPLICIT): None for ds in instances}) as sender:
        assert [sender.store(ds).status for ds in instances] == [0] * len(instances)
    return [ds.SOPInstanceUID for ds in instances]


def file_of(server: Server, sop_instance_uid: str) -> Path:
    """Find the file of an instance."""
    (found,) = [path for path in server.objects() if sop_instance_uid.encode() in path.read_bytes()]
    return found


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def held(server: Server) -> tuple[int, int]:
    """Count threads and descriptors, once there is what stays: connections to the index."""
    assert get(server.port, level="STUDY", study="1.2.3").final.status == 0
    server.until(lambda: server.metric("minipacs_associations_active") == 0)
    return server.threads(), server.open_files()


def test_m2_an_unknown_destination_is_a801_before_anything(server: Server) -> None:
    instances = study()
    fill(server, instances)
    for title in ("NOWHERE", "", "receiver"):
        result = move(server.port, "STUDY", title, study=instances[0].StudyInstanceUID)
        assert (result.final.status, result.pending) == (0xA801, [])
        assert result.final.comment


def test_m2_spaces_around_a_title_do_not_count(start_server: Callable[..., Server]) -> None:
    with Receiver() as receiver:
        server = start_server(more=receiver.peer())
        instances = study()
        fill(server, instances)
        assert move(server.port, "STUDY", "  RECEIVER ", study=instances[0].StudyInstanceUID).counts == (1, 0, 0)


def test_m3_a_closed_port_fails_everything(start_server: Callable[..., Server]) -> None:
    port = free_port()
    server = start_server(more=f'[[peer]]\ntitle = "RECEIVER"\nhost = "127.0.0.1"\nport = {port}\n')
    instances = study(instances=3)
    uids = fill(server, instances)
    result = move(server.port, "STUDY", study=instances[0].StudyInstanceUID)
    assert (result.final.status, result.counts) == (0xA702, (0, 3, 0))
    assert sorted(result.failed_uids) == sorted(uids)
    assert "cannot connect" in result.final.comment


def rejecting(wire: Wire, call: Call) -> bool:
    wire.send(REJECT)
    return False


def aborting(wire: Wire, call: Call) -> bool:
    wire.send(ABORT)
    return False


def hanging_up(wire: Wire, call: Call) -> bool:
    return False


def stalling(wire: Wire, call: Call) -> bool:
    wire.closed()  # says nothing until the other side has enough of it
    return False


def babbling(wire: Wire, call: Call) -> bool:
    wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    return False


@pytest.mark.parametrize(
    ("behaviour", "comment"),
    [
        (rejecting, "rejected: called AE title not recognized (1/1/7)"),
        (aborting, "aborted"),
        (hanging_up, "closed by the peer"),
        (stalling, "no answer within 0.5 s"),
        (babbling, "unknown type 48H"),
    ],
)
def test_m3_a_destination_without_an_association_fails_everything(
    start_server: Callable[..., Server], behaviour: Callable[[Wire, Call], bool], comment: str
) -> None:
    with Receiver(on_associate=behaviour) as receiver:
        server = start_server(more=SHORT + receiver.peer(), ae="workers = 1")
        instances = study(instances=3)
        uids = fill(server, instances)
        before = held(server)
        result = move(server.port, "STUDY", study=instances[0].StudyInstanceUID)
        assert len(receiver.calls) == 1, "asked once"
    assert (result.final.status, result.counts) == (0xA702, (0, 3, 0))
    assert sorted(result.failed_uids) == sorted(uids)
    assert comment in result.final.comment
    server.until(lambda: (server.threads(), server.open_files()) == before)


def abort_second(wire: Wire, received: Received, number: int) -> int | None:
    if number == 1:
        wire.send(ABORT)
        return None
    return 0


def close_second(wire: Wire, received: Received, number: int) -> int | None:
    return 0 if number == 0 else None


def stall_second(wire: Wire, received: Received, number: int) -> int | None:
    if number == 1:
        wire.closed()
        return None
    return 0


@pytest.mark.parametrize(
    ("behaviour", "comment"), [(abort_second, "aborted"), (close_second, "lost"), (stall_second, "timeout")]
)
def test_m3_a_destination_that_ends_in_the_middle_fails_what_it_did_not_answer_for(
    start_server: Callable[..., Server], behaviour: Callable[[Wire, Received, int], int | None], comment: str
) -> None:
    with Receiver(answer=behaviour) as receiver:
        server = start_server(more=SHORT + receiver.peer(), ae="workers = 1")
        instances = study(instances=4)
        uids = fill(server, instances)
        before = held(server)
        with Retriever(server.port) as wire:
            result = wire.run("STUDY", study=instances[0].StudyInstanceUID)
            assert wire.run("STUDY", study="1.2.3").final.status == 0, "usable afterwards"
            wire.release()
    done = receiver.received[0].sop_instance_uid
    assert (result.final.status, result.counts) == (0xB000, (1, 3, 0))
    assert sorted(result.failed_uids) == sorted(set(uids) - {done})
    assert comment in result.final.comment
    server.until(lambda: (server.threads(), server.open_files()) == before)


def test_m13_nothing_goes_on_when_the_requestor_is_gone(start_server: Callable[..., Server]) -> None:
    retrievers: list[Retriever] = []

    def vanishing(wire: Wire, received: Received, number: int) -> int:
        if number == 1:
            retrievers[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            retrievers[0].socket.close()
        return 0

    with Receiver(answer=vanishing) as receiver:
        server = start_server(more=receiver.peer(), ae="workers = 1")
        instances = study(instances=30)
        fill(server, instances)
        before = held(server)
        retrievers.append(Retriever(server.port))
        retrievers[0].start(identifier("STUDY", study=instances[0].StudyInstanceUID))
        line = server.wait_for(lambda line: line.get("event") == "C-MOVE" and line["total"] == 30)
        (call,) = receiver.settled()
    assert call.end == "released", "no orphan association"
    assert 2 <= len(call.received) <= 4
    assert (line["completed"], line["failed"], line["total"]) == (len(call.received), 0, 30)
    server.until(lambda: (server.threads(), server.open_files()) == before)


def test_a_c_get_whose_requestor_stops_answering_is_aborted(start_server: Callable[..., Server]) -> None:
    server = start_server(more=SHORT, ae="workers = 1")
    instances = study(instances=3)
    fill(server, instances)
    before = held(server)
    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT)) as wire:
        wire.start(identifier("STUDY", study=instances[0].StudyInstanceUID))
        kinds = []
        while not kinds or kinds[-1] == 4:
            kinds.append(wire.pdu()[0])
        assert kinds[-1] == 7
    line = server.wait_for(lambda line: line.get("event") == "C-GET" and line["total"] == 3)
    assert (line["completed"], line["failed"], line["total"]) == (0, 0, 3)
    assert "status" not in line
    server.until(lambda: (server.threads(), server.open_files()) == before)


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    overwrite(path, path.read_bytes()[:-2])


def lengthened(path: Path) -> None:
    overwrite(path, path.read_bytes() + b"\0\0")


def damaged(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    overwrite(path, bytes(raw))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (missing, "cannot be opened"),
        (truncated, "bytes, not"),
        (lengthened, "bytes, not"),
        (damaged, "damaged: its digest differs"),
    ],
)
def test_a_file_that_is_missing_or_damaged_is_failed_and_never_sent(
    start_server: Callable[..., Server], harm: Callable[[Path], None], reason: str, large: bool
) -> None:
    with Receiver() as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=3, rows=900 if large else 16)
        assert (len(instances[0].PixelData) > BUFFER_BYTES) == large
        uids = fill(server, instances)
        harm(file_of(server, uids[1]))
        moved = move(server.port, "STUDY", study=instances[0].StudyInstanceUID)
        fetched = get(server.port, (CT, EXPLICIT), level="STUDY", study=instances[0].StudyInstanceUID)
        sent = [[r.sop_instance_uid for r in found] for found in (receiver.received, fetched.received)]
    assert sent == [[uids[0], uids[2]]] * 2
    for result in (moved, fetched):
        assert (result.final.status, result.counts) == (0xB000, (2, 1, 0))
        assert result.failed_uids == [uids[1]]
        assert reason in result.final.comment
    assert [line["sop_instance_uid"] for line in server.events("sub-operation failed")] == [uids[1]] * 2


def test_all_files_missing_is_a702(server: Server) -> None:
    instances = study(instances=2)
    uids = fill(server, instances)
    for path in server.objects():
        path.unlink()
    result = get(server.port, (CT, EXPLICIT), level="STUDY", study=instances[0].StudyInstanceUID)
    assert (result.final.status, result.counts) == (0xA702, (0, 2, 0))
    assert sorted(result.failed_uids) == sorted(uids)


def test_a_damaged_frame_fails_its_object_and_a_peer_that_takes_it_as_it_is_gets_it(
    start_server: Callable[..., Server],
) -> None:
    with Receiver(only(EXPLICIT)) as receiver:
        server = start_server(more=receiver.peer())
        broken = ct(PixelData=None)
        whole = ct(StudyInstanceUID=broken.StudyInstanceUID, SeriesInstanceUID=broken.SeriesInstanceUID)
        code = b"\xff\x4f\xff\x51" + bytes(200) + b"\xff\xd9"
        with Sender(server.port, (CT, EXPLICIT), (CT, J2K)) as sender:
            assert sender.store(whole).status == 0
            data = encode(broken) + fragments(code)
            assert sender.store_bytes(data, CT, broken.SOPInstanceUID, J2K).status == 0
        result = move(server.port, "STUDY", study=broken.StudyInstanceUID)
        assert [r.sop_instance_uid for r in receiver.received] == [whole.SOPInstanceUID]
        assert (result.final.status, result.counts) == (0xB000, (1, 1, 0))
        assert result.failed_uids == [broken.SOPInstanceUID]
        assert "frame 1" in result.final.comment
        fetched = get(server.port, (CT, EXPLICIT), (CT, J2K), level="STUDY", study=broken.StudyInstanceUID)
    assert fetched.counts == (2, 0, 0)
    assert data in [r.data for r in fetched.received]
    assert server.incoming() == []


def test_an_unreadable_file_is_failed(server: Server) -> None:
    instances = study(instances=2)
    uids = fill(server, instances)
    path = file_of(server, uids[0])
    size = path.stat().st_size
    path.unlink()
    os.mkdir(path)
    assert size
    result = get(server.port, (CT, EXPLICIT), level="STUDY", study=instances[0].StudyInstanceUID)
    assert (result.counts, result.failed_uids) == ((1, 1, 0), [uids[0]])


def test_m18_beyond_65535_objects_counts_saturate_and_the_transfer_goes_on(server: Server) -> None:
    total = 65_600
    (ds,) = instances = study()
    fill(server, instances)
    with sqlite3.connect(server.data / "index.db") as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(instance)")]
        changed = {"id": "id + n", "digest": "printf('%064x', n)", "sop_instance_uid": "'1.2.3.' || n"}
        values = [changed.get(column, column) for column in columns]
        connection.execute(
            f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {total - 1}) "
            f"INSERT INTO instance ({', '.join(columns)}) SELECT {', '.join(values)} FROM instance, c"
        )
    connection.close()
    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT)) as wire:
        wire.socket.settimeout(60)
        result = wire.run("STUDY", study=ds.StudyInstanceUID)
    assert [r.sop_instance_uid for r in result.received] == [ds.SOPInstanceUID]
    assert (result.final.status, result.counts) == (0xB000, (1, 0xFFFF, 0))
    assert result.failed_uids == [f"1.2.3.{n}" for n in range(1, total)]
    assert result.pending[0].us(REMAINING) == 0xFFFF
    line = server.wait_for(lambda line: line.get("event") == "C-GET")
    assert (line["completed"], line["failed"], line["total"]) == (1, total - 1, total)
    assert len(server.events("sub-operation failed")) == MAX_LOGGED_FAILURES


@pytest.mark.parametrize("operation", ["C-GET", "C-MOVE"])
def test_what_is_replaced_meanwhile_is_sent_as_it_is_now(start_server: Callable[..., Server], operation: str) -> None:
    """The list of a retrieval is frozen; what it names may be another object, in another transfer syntax, by then."""
    instances = study(instances=4)
    uids_of = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    later = [ct(rows=8, **{uid: instances[n][uid].value for uid in uids_of}) for n in (2, 3)]
    syntaxes = (EXPLICIT, IMPLICIT)

    def replace(wire: object, received: Received, number: int) -> int:
        if number == 0:
            with Sender(server.port, *((CT, syntax) for syntax in syntaxes)) as sender:
                for ds, syntax in zip(later, syntaxes, strict=True):
                    assert sender.store(ds, syntax).status == 0
        return 0

    with Receiver(answer=replace) as receiver:
        server = start_server(more=receiver.peer())
        uids = fill(server, instances)
        if operation == "C-MOVE":
            result = move(server.port, "STUDY", study=instances[0].StudyInstanceUID)
        else:
            with Retriever(server.port, STUDY_GET, (CT, EXPLICIT), answer=replace) as wire:
                result = wire.run("STUDY", study=instances[0].StudyInstanceUID)
        received = receiver.received or result.received
    assert (result.final.status, result.counts) == (0, (4, 0, 0))
    assert [r.sop_instance_uid for r in received] == uids
    assert [r.data for r in received] == [encode(ds) for ds in (*instances[:2], *later)]
