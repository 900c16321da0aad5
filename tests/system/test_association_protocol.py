"""The upper layer protocol of the real process, byte by byte: what no well-behaved client does."""

import random
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from tests.support import wire
from tests.support.objects import ct, encode
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, IMPLICIT, RELEASE_RQ, STUDY_FIND, VERIFICATION, Wire, item, p_data, pdv

ECHO = wire.message(1, wire.command(0x30, VERIFICATION))
ABORT = b"\x07\0\0\0\0\4\0\0\0\0"
LEVEL = wire.element(0x00080052, b"STUDY ")
HASTY = """
[timeouts]
acse = 0.5
dimse = 0.5
idle = 0.7
"""


@pytest.fixture(scope="module")
def hasty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run an archive that waits for nobody."""
    found = Server(tmp_path_factory.mktemp("hasty"), more=HASTY)
    yield found
    found.end()


def ended(server: Server, calling: str) -> dict[str, object]:
    return server.wait_for(lambda line: line.get("event") == "association ended" and line["calling"] == calling)


def is_alive(server: Server) -> bool:
    with Wire(server.port) as caller:
        caller.accepted()
        caller.send(ECHO)
        status = caller.response().status
        caller.release()
    return status == 0


def store(caller: Wire, data: bytes, sop_instance_uid: str) -> int:
    caller.send(wire.message(1, wire.store_rq(CT, sop_instance_uid), data))
    return caller.response().status


@pytest.fixture(scope="module")
def studies(shared_server: Server) -> int:
    """Store a few studies; returns how many."""
    count = 40
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, CT, EXPLICIT))
        for i in range(count):
            ds = ct(4, PatientID="STUDIES", StudyDescription=f"number {i} " + "x" * 40)
            assert store(caller, encode(ds), ds.SOPInstanceUID) == 0
        caller.release()
    return count


def find_all(*, description: bool = True) -> bytes:
    """Make a C-FIND for the studies of the fixture."""
    keys = LEVEL + (wire.element(0x00081030, b"") if description else b"") + wire.element(0x00100020, b"STUDIES ")
    return wire.message(1, wire.command(0x20, STUDY_FIND, data=True), keys)


def test_a7_unknown_items_are_skipped(shared_server):
    odd = item(0x9A, b"odd")
    context = item(0x20, b"\1\0\0\0" + item(0x30, VERIFICATION.encode()) + odd + item(0x40, IMPLICIT.encode()))
    with Wire(shared_server.port) as caller:
        body = caller.accepted(context, more=odd, user=wire.user_information(16384, odd, item(0x58, b"\1\0\0\1u\0\0")))
        assert wire.context_results(body) == {1: (0, IMPLICIT)}
        caller.send(ECHO)
        assert caller.response().status == 0
        caller.release()


def test_a8_an_object_in_pdvs_of_one_byte(shared_server):
    ds = ct(4)
    command_set, data = wire.store_rq(CT, ds.SOPInstanceUID), encode(ds)
    sent = b"".join(p_data(pdv(1, 1, bytes((b,)))) for b in command_set[:-1]) + p_data(pdv(1, 3, command_set[-1:]))
    sent += p_data(*(pdv(1, 0, bytes((b,))) for b in data), pdv(1, 2, b""))
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, CT, EXPLICIT))
        for begin in range(0, len(sent), 999):
            caller.send(sent[begin : begin + 999])
        assert caller.response().status == 0
        caller.release()


@pytest.mark.parametrize("max_pdu", [16, 37, 4096, 0])
def test_a8_nothing_sent_is_longer_than_the_peer_takes(shared_server, studies, max_pdu):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, STUDY_FIND), user=wire.user_information(max_pdu))
        longest, pdu = 0, caller.pdu

        def measured() -> tuple[int, bytes]:
            nonlocal longest
            kind, body = pdu()
            longest = max(longest, len(body))
            return kind, body

        caller.pdu = measured  # type: ignore[method-assign]
        caller.send(find_all())
        found = [caller.response() for _ in range(studies + 1)]
        assert [r.status for r in found] == [0xFF00] * studies + [0]
        assert {len(wire.parse_implicit(r.data)) for r in found[:-1]} >= {5}
        assert not max_pdu or longest <= max_pdu


def test_a14_a_release_right_behind_a_query_is_answered(shared_server, studies):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, STUDY_FIND), calling=b"A14")
        caller.send(find_all() + RELEASE_RQ)
        while (kind := caller.pdu()[0]) == 4:
            pass
        assert kind == 6
        assert caller.closed()
    assert ended(shared_server, "A14")["outcome"] == "released"


def test_a14_a_release_after_an_operation_is_answered(shared_server, studies):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, STUDY_FIND))
        caller.send(find_all(description=False))
        while caller.response().status:
            pass
        caller.release()


@pytest.mark.parametrize(("how", "outcome"), [("abort", "aborted"), ("close", "lost"), ("reset", "lost")])
def test_a15_a_peer_that_vanishes_in_the_middle_of_an_object_leaves_nothing(shared_server, how, outcome):
    ds = ct(200)
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(1, CT, EXPLICIT), calling=f"A15 {how}".encode())
        stored = shared_server.objects()
        caller.send(wire.message(1, wire.store_rq(CT, ds.SOPInstanceUID)) + p_data(pdv(1, 0, encode(ds)[:-1000])))
        if how == "abort":
            caller.send(ABORT)
        elif how == "reset":
            caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ended(shared_server, f"A15 {how}")["outcome"] == outcome
    assert shared_server.objects() == stored
    assert shared_server.incoming() == []
    failed = [line for line in shared_server.events("C-STORE") if line["calling"] == f"A15 {how}"]
    assert [line["ended"] for line in failed] == [outcome]


@pytest.mark.parametrize("sent", [b"", b"\x01", wire.associate_rq()[:-1]])
def test_a16_a_connection_without_a_request_is_closed(hasty_server, sent):
    with Wire(hasty_server.port) as caller:
        if sent:
            caller.send(sent)
        assert caller.closed()
    line = hasty_server.wait_for(lambda line: line["event"] == "association not established")
    assert line["reason"] == "no A-ASSOCIATE-RQ within 0.5 s"


def test_a16_a_peer_that_does_not_close_is_closed(hasty_server):
    with Wire(hasty_server.port) as caller:
        assert caller.associate(application="1.2.3")[0] == 3
        assert caller.closed()
    with Wire(hasty_server.port) as caller:
        caller.accepted()
        caller.send(RELEASE_RQ)
        assert caller.pdu()[0] == 6
        assert caller.closed()
    with Wire(hasty_server.port) as caller:
        caller.send(p_data(pdv(1, 3, b"")))
        assert caller.pdu()[0] == 7
        assert caller.closed()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x00\0\0\0\0\4\0\0\0\0", 1),
        (b"\xff\0\0\0\0\0", 1),
        (b"GET / HTTP/1.0\r\n\r\n", 1),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1),
        (ECHO, 2),
        (RELEASE_RQ, 2),
        (b"\x02" + wire.associate_rq()[1:], 2),
        (b"\x01\0\xff\xff\xff\xff", 6),
        (b"\x01\0\0\0\0\x02\0\1", 6),
        (wire.associate_rq(user=item(0x50, b"\x51\0\xff\xff")), 6),
        (wire.associate_rq([wire.context(2, VERIFICATION)]), 6),
    ],
)
def test_a17_nonsense_instead_of_a_request_is_aborted(shared_server, sent, reason):
    with Wire(shared_server.port) as caller:
        caller.send(sent)
        assert caller.pdu() == (7, bytes((0, 0, 2, reason)))
        assert caller.closed()
    assert is_alive(shared_server)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x08\0\0\0\0\4\0\0\0\0", 1),
        (wire.associate_rq(), 2),
        (b"\x06\0\0\0\0\4\0\0\0\0", 2),
        (b"\x05\0\0\0\0\1\0", 6),
        (b"\x04\0\0\0\0\1\0", 6),
        (p_data(b"\xff\xff\xff\xff\1\3"), 6),
        (wire.message(7, wire.command(0x30, VERIFICATION)), 6),
        (wire.message(1, b"\0\0\2\0\xff\xff\0\0"), 6),
        (wire.message(1, wire.element(2, VERIFICATION.encode())), 6),
        (p_data(pdv(1, 2, b"data")), 5),
        (wire.message(1, wire.store_rq(CT, "1.2.3")) + ECHO, 5),
        (b"".join(p_data(pdv(1, 1, bytes(16000))) for _ in range(5)), 6),
    ],
)
def test_a17_breaches_of_the_protocol_are_aborted_with_their_reason(shared_server, sent, reason):
    with Wire(shared_server.port) as caller:
        caller.accepted()
        caller.send(sent)
        assert caller.pdu() == (7, bytes((0, 0, 2, reason)))
        assert caller.closed()
    assert is_alive(shared_server)


def test_a17_an_abort_is_not_answered(shared_server):
    for established in (True, False):
        with Wire(shared_server.port) as caller:
            if established:
                caller.accepted(calling=b"A17 ABORT")
            caller.send(ABORT)
            assert caller.closed()
    assert ended(shared_server, "A17 ABORT")["reason"] == "by the peer, source 0 reason 0"


def test_a17_random_damage_never_harms_the_process(shared_server):
    chance = random.Random(17)
    ds = ct(4)
    request = wire.associate_rq(
        [wire.context(1, CT, EXPLICIT), wire.context(3, STUDY_FIND), wire.context(5, VERIFICATION)]
    )
    whole = request + b"".join(
        [
            wire.message(5, wire.command(0x30, VERIFICATION)),
            wire.message(1, wire.store_rq(CT, ds.SOPInstanceUID), encode(ds)),
            wire.message(3, wire.command(0x20, STUDY_FIND, data=True), LEVEL),
            RELEASE_RQ,
        ]
    )
    for n in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            damaged[chance.randrange(0 if n % 3 == 0 else len(request), len(whole))] = chance.randrange(256)
        if n % 5 == 0:
            del damaged[chance.randrange(len(request), len(whole)) :]
        with Wire(shared_server.port) as caller:
            caller.send(bytes(damaged))
            caller.socket.shutdown(socket.SHUT_WR)
            assert caller.closed()
    assert is_alive(shared_server)
    assert shared_server.incoming() == []
    assert shared_server.events("internal error") == []


def test_a19_an_idle_association_stays_for_the_configured_time(hasty_server):
    with Wire(hasty_server.port) as caller:
        caller.accepted(calling=b"A19")
        caller.send(ECHO)
        assert caller.response().status == 0
        began_s = time.monotonic()
        caller.send(ECHO)
        assert caller.response().status == 0
        assert caller.pdu() == (7, bytes(4))
        assert time.monotonic() - began_s >= 0.7
    assert ended(hasty_server, "A19")["reason"] == "idle for 0.7 s"


@pytest.mark.parametrize(
    ("name", "sent", "reason"),
    [
        ("PDU", b"\x04\0\0", "message stalled for 0.5 s"),
        ("COMMAND", p_data(pdv(1, 1, wire.store_rq(CT, "1.2.3"))), "message stalled for 0.5 s"),
        ("NO DATA", wire.message(1, wire.store_rq(CT, "1.2.3")), "data set stalled for 0.5 s"),
        ("DATA", wire.message(1, wire.store_rq(CT, "1.2.3"), bytes(5000))[:-1], "data set stalled for 0.5 s"),
    ],
)
def test_a_peer_that_stalls_in_the_middle_of_a_message_is_aborted(hasty_server, name, sent, reason):
    calling = f"STALLS {name}"
    with Wire(hasty_server.port) as caller:
        caller.accepted(wire.context(1, CT, EXPLICIT), calling=calling.encode())
        caller.send(sent)
        assert caller.pdu() == (7, bytes(4))
        assert caller.closed()
    line = ended(hasty_server, calling)
    assert (line["outcome"], line["reason"], line["level"]) == ("timeout", reason, "warning")
    assert hasty_server.incoming() == []
