"""Messages of an established association, with the peer's bytes made by hand."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from minipacs.dicom.data_set.command_set import CommandField, CommandSet, encode
from minipacs.net.association import (
    MAX_EMPTY_FRAGMENTS,
    MAX_QUEUED_BYTES,
    MAX_QUEUED_MESSAGES,
    Association,
    Timeouts,
)
from minipacs.net.ending import AssociationEnded
from minipacs.net.wire import stream
from minipacs.net.wire.negotiation import PresentationContext
from minipacs.net.wire.stream import PduReader
from minipacs.net.wire.transport import Transport
from tests.support.wire import (
    CT,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    Wire,
    cancel,
    command,
    message,
    p_data,
    pdv,
    store_rq,
)

ECHO = command(0x30, VERIFICATION)


def pieces(data: bytes) -> Iterator[memoryview]:
    """Give data in pieces of even size, but for the last."""
    for begin in range(0, len(data), 600):
        yield memoryview(data)[begin : begin + 600]


def failing(data: bytes = b"") -> Iterator[memoryview]:
    """Give data, and then fail as a disk does."""
    yield from pieces(data)
    raise OSError(5, "bad sector")


def response_to(message_id: int) -> bytes:
    return encode(CommandSet(command_field=0x8001, message_id_being_responded_to=message_id, status=0))


DEFAULTS = Timeouts()
SHORT = Timeouts(acse=0.1, dimse=0.1, idle=0.2)


class Ends:
    """Our end, established, and the peer's."""

    def __init__(self, timeouts: Timeouts = DEFAULTS, max_pdu_bytes: int = 16384):
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.peer = Wire(server.getsockname()[1])
            near, _ = server.accept()
        contexts = {1: PresentationContext(1, VERIFICATION, IMPLICIT), 3: PresentationContext(3, CT, EXPLICIT)}
        self.ours = Association(Transport(near), PduReader(), contexts, max_pdu_bytes, timeouts)

    def ended(self, data: bytes) -> AssociationEnded:
        """Let the peer send `data`, at most one message, and serve it: the association must end."""
        if data:
            self.peer.send(data)
        try:
            self.ours.request()
            self.ours.request()
        except AssociationEnded as ended:
            return ended
        raise AssertionError("still there")

    def queue(self, data: bytes) -> None:
        """Let the peer send `data` while a response is waited for."""
        response = CommandSet(command_field=0x8001, message_id_being_responded_to=99, status=0)
        self.peer.send(data + message(3, encode(response)))
        assert self.ours.response(99, 30) is not None


@pytest.fixture
def ends() -> Iterator[Ends]:
    found = Ends()
    yield found
    found.ours.close()
    found.peer.socket.close()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a8_fragments_of_any_size_make_the_same_message(ends, size):
    command_set, data = store_rq(CT, "1.2.3"), bytes(range(256)) * 3
    pieces = [command_set[i : i + size] for i in range(0, len(command_set), size)]
    sent = [p_data(pdv(3, 3 if i == len(pieces) - 1 else 1, piece)) for i, piece in enumerate(pieces)]
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    sent.append(p_data(*(pdv(3, 2 if i == len(pieces) - 1 else 0, piece) for i, piece in enumerate(pieces))))
    ends.peer.send(b"".join(sent))
    found = ends.ours.request()
    assert found.command.affected_sop_instance_uid == "1.2.3"
    assert found.context.context_id == 3
    assert found.read(10_000) == data


def test_a8_command_and_data_of_a_message_share_a_pdu(ends):
    ends.peer.send(p_data(pdv(3, 3, store_rq(CT, "1.2.3")), pdv(3, 0, b"ab"), pdv(3, 2, b"cd"), pdv(1, 3, ECHO)))
    assert ends.ours.request().read(10) == b"abcd"
    assert ends.ours.request().command.command_field == CommandField.C_ECHO_RQ


@pytest.mark.parametrize("max_pdu_bytes", [16, 17, 100, 4096])
def test_a8_nothing_longer_than_the_peer_takes_is_sent(max_pdu_bytes):
    ends = Ends(max_pdu_bytes=max_pdu_bytes)
    data = bytes(range(250)) * 10
    rq = CommandSet(command_field=1, message_id=1, affected_sop_class_uid=CT, has_data_set=True)
    ends.ours.send(3, rq, data)
    ends.ours.send_pieces(3, rq, pieces(data), len(data))
    ends.ours.close()
    received = b""
    while more := ends.peer.socket.recv(1 << 16):
        received += more
    found = {True: b"", False: b""}
    while received:
        length = struct.unpack_from(">L", received, 2)[0]
        assert length <= max_pdu_bytes
        found[bool(received[11] & 1)] += received[12 : 6 + length]
        received = received[6 + length :]
    assert found == {True: encode(rq) * 2, False: data * 2}


def test_a_file_of_odd_size_is_padded_since_peers_abort_on_odd_fragments(ends):
    rq = CommandSet(command_field=1, message_id=1, affected_sop_class_uid=CT, has_data_set=True)
    ends.ours.send_pieces(3, rq, pieces(b"12345"), 5)
    assert ends.peer.response().data == b"12345\0"


def test_a_file_that_cannot_be_read_leaves_the_association_usable_if_nothing_was_sent(ends):
    rq = CommandSet(command_field=1, message_id=1, affected_sop_class_uid=CT, has_data_set=True)
    with pytest.raises(OSError, match="bad sector"):
        ends.ours.send_pieces(3, rq, failing(), 10)
    ends.ours.send_pieces(3, rq, pieces(b"1234"), 4)
    assert ends.peer.response().data == b"1234"


def test_a_file_that_cannot_be_read_to_its_end_ends_the_association_and_not_the_message(ends):
    rq = CommandSet(command_field=1, message_id=1, affected_sop_class_uid=CT, has_data_set=True)
    with pytest.raises(AssociationEnded, match="bad sector") as raised:
        ends.ours.send_pieces(3, rq, failing(b"1234"), 10)
    assert (raised.value.outcome, raised.value.abort) == ("failed", (0, 0))


def test_a_response_that_came_while_a_cancel_was_looked_for_is_found(ends):
    ends.peer.send(message(1, response_to(7)) + message(1, cancel(3)))
    while not ends.ours.cancelled(3):
        pass
    found = ends.ours.response(7, 5)
    assert found is not None
    assert found.command.message_id_being_responded_to == 7
    assert ends.ours.response(7, 0) is None, "once"


def test_what_a_service_leaves_of_a_data_set_is_dropped(ends):
    ends.peer.send(message(3, store_rq(CT, "1.2.3"), bytes(100_000)) + message(1, ECHO))
    ends.ours.request()
    assert ends.ours.request().command.command_field == CommandField.C_ECHO_RQ


def test_a_data_set_over_the_limit_is_dropped_whole(ends):
    ends.peer.send(message(3, store_rq(CT, "1.2.3"), bytes(1000)) + message(1, ECHO))
    assert ends.ours.request().read(999) is None
    assert ends.ours.request().command.command_field == CommandField.C_ECHO_RQ


A_DATA_SET = message(3, store_rq(CT, "1.2.3"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x09\0\0\0\0\4\0\0\0\0", stream.UNRECOGNIZED_PDU),
        (b"\x01\0\0\0\0\4\0\0\0\0", stream.UNEXPECTED_PDU),
        (RELEASE_RP, stream.UNEXPECTED_PDU),
        (b"\x05\0\0\0\0\2\0\0", stream.INVALID_PARAMETER),
        (p_data(b"\0\0\0\1\1\3"), stream.INVALID_PARAMETER),
        (message(5, ECHO), stream.INVALID_PARAMETER),
        (message(1, ECHO[:-1]), stream.INVALID_PARAMETER),
        (message(1, b""), stream.INVALID_PARAMETER),
        (p_data(*(pdv(1, 1, bytes(16000)) for _ in range(5))), stream.INVALID_PARAMETER),
        (p_data(pdv(1, 2, b"data")), stream.UNEXPECTED_PARAMETER),
        (p_data(pdv(1, 1, ECHO), pdv(3, 3, ECHO)), stream.UNEXPECTED_PARAMETER),
        (p_data(pdv(1, 1, ECHO), pdv(1, 2, b"data")), stream.UNEXPECTED_PARAMETER),
        (A_DATA_SET + p_data(pdv(1, 2, b"data")), stream.UNEXPECTED_PARAMETER),
        (A_DATA_SET + message(3, ECHO), stream.UNEXPECTED_PARAMETER),
    ],
)
def test_a17_breaches_of_the_protocol_abort_with_their_reason(ends, data, reason):
    ended = ends.ended(data)
    assert (ended.outcome, ended.abort) == ("protocol_error", (2, reason))
    assert ended.reason
    with ThreadPoolExecutor() as pool:
        closing = pool.submit(ends.ours.end, ended)
        assert ends.peer.pdu() == (7, bytes((0, 0, 2, reason)))
        ends.peer.socket.close()
        closing.result()


def test_an_abort_of_the_peer_is_not_answered(ends):
    ended = ends.ended(stream.abort_pdu(0, 0))
    assert (ended.outcome, ended.abort) == ("aborted", None)
    ends.ours.end(ended)
    assert ends.peer.closed()


def test_a_connection_closed_without_a_word_is_lost(ends):
    ends.peer.socket.shutdown(socket.SHUT_WR)
    assert ends.ended(b"").outcome == "lost"


def test_a14_a_release_is_answered(ends):
    ended = ends.ended(message(1, ECHO) + RELEASE_RQ)
    assert (ended.outcome, ended.abort) == ("released", None)
    with ThreadPoolExecutor() as pool:
        closing = pool.submit(ends.ours.end, ended)
        assert ends.peer.pdu()[0] == 6
        ends.peer.socket.close()
        closing.result()


def test_a14_our_own_release_drops_what_the_peer_still_sends(ends):
    ends.peer.send(message(1, ECHO))
    with ThreadPoolExecutor() as pool:
        releasing = pool.submit(ends.ours.release)
        assert ends.peer.pdu()[0] == 5
        ends.peer.send(message(1, ECHO) + RELEASE_RP)
        releasing.result()
    assert ends.peer.closed()


def test_a14_a_collision_of_releases_is_answered(ends):
    with ThreadPoolExecutor() as pool:
        releasing = pool.submit(ends.ours.release)
        assert ends.peer.pdu()[0] == 5
        ends.peer.send(RELEASE_RQ)
        assert ends.peer.pdu()[0] == 6
        ends.peer.send(RELEASE_RP)
        releasing.result()
    assert ends.peer.closed()


def test_a14_a_release_that_is_not_answered_ends_with_the_time_allowed():
    ends = Ends(SHORT)
    stop = threading.Event()

    def chatter() -> None:
        try:
            while not stop.is_set():
                ends.peer.send(message(1, ECHO))
        except OSError:
            pass

    talking = threading.Thread(target=chatter)
    talking.start()
    ends.ours.release()
    stop.set()
    talking.join()
    assert ends.ours.transport.fileno() == -1


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "idle for 0.2 s"),
        (message(1, ECHO), "idle for 0.2 s"),
        (b"\x04\0", "message stalled for 0.1 s"),
        (message(1, ECHO)[:-1], "message stalled for 0.1 s"),
        (p_data(pdv(1, 1, ECHO)), "message stalled for 0.1 s"),
        (A_DATA_SET, "data set stalled for 0.1 s"),
        (A_DATA_SET + p_data(pdv(3, 0, b"data")), "data set stalled for 0.1 s"),
    ],
)
def test_a19_an_idle_association_has_its_own_limit_and_a_stalled_one_the_dimse_limit(data, what):
    ended = Ends(SHORT).ended(data)
    assert (ended.outcome, ended.reason, ended.abort) == ("timeout", what, (0, 0))


def test_a_peer_that_takes_nothing_is_a_timeout():
    ends = Ends(SHORT)
    with pytest.raises(AssociationEnded, match="takes no data"):
        ends.ours.send_all([bytes(64 << 20)])


def test_a_cancel_is_found_among_what_waits_and_the_rest_is_kept(ends):
    ends.peer.send(message(1, command(0x30, VERIFICATION, 7)))
    assert ends.ours.request().command.message_id == 7
    ends.queue(message(1, command(0x30, VERIFICATION, 8)))
    assert not ends.ours.cancelled(7)
    ends.queue(message(1, cancel(9)) + message(1, cancel(7)))
    assert ends.ours.cancelled(7)
    assert not ends.ours.cancelled(7)
    assert ends.ours.request().command.message_id == 8


def test_b3_requests_that_come_meanwhile_wait_and_their_message_id_may_be_in_use(ends):
    ends.peer.send(message(1, command(0x30, VERIFICATION, 7)))
    assert not ends.ours.request().is_duplicate
    ends.queue(message(3, store_rq(CT, "1.2.3", 7), b"data") + message(1, command(0x30, VERIFICATION, 8)))
    found = ends.ours.request()
    assert (found.is_duplicate, found.read(10)) == (True, b"data")
    found = ends.ours.request()
    assert (found.is_duplicate, found.command.message_id) == (False, 8)


def test_b3_16_requests_may_wait_and_no_more(ends):
    ends.peer.send(message(1, ECHO))
    ends.ours.request()
    ends.queue(b"".join(message(1, command(0x30, VERIFICATION, i)) for i in range(MAX_QUEUED_MESSAGES)))
    with pytest.raises(AssociationEnded) as raised:
        ends.queue(message(1, ECHO))
    assert raised.value.abort == (2, 0)


def test_b3_more_data_than_may_wait_aborts(ends):
    ends.peer.send(message(1, ECHO))
    ends.ours.request()
    ends.queue(message(3, store_rq(CT, "1.2.3"), b"12"))
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(ends.peer.send, message(3, store_rq(CT, "1.2.4"), bytes(MAX_QUEUED_BYTES - 1)))
        with pytest.raises(AssociationEnded) as raised:
            ends.ours.response(1, 10)
        sending.result()
    assert raised.value.abort == (2, 0)


def test_a_response_is_told_from_requests_that_come_before_it(ends):
    response = CommandSet(command_field=0x8001, message_id_being_responded_to=5, status=0)
    ends.peer.send(message(1, ECHO) + message(3, encode(response)))
    found = ends.ours.response(5, 10)
    assert found is not None
    assert found.command.status == 0
    assert ends.ours.request().command.command_field == CommandField.C_ECHO_RQ
    assert ends.ours.response(5, 0.01) is None


def trickle(ends: Ends, data: bytes, stop: threading.Event) -> None:
    """Send a byte at a time, each well within the limit for the next one."""
    try:
        for byte in data:
            if stop.wait(SHORT.dimse / 5):
                return
            ends.peer.send(bytes((byte,)))
    except OSError:
        pass


@pytest.mark.parametrize("begun", [b"", A_DATA_SET], ids=["command set", "data set"])
def test_a19_a_message_that_comes_a_byte_at_a_time_has_a_time_for_the_whole_of_it(begun):
    ends = Ends(SHORT)
    stop = threading.Event()
    ends.peer.send(begun)
    rest = p_data(pdv(3, 0, bytes(400))) if begun else message(1, ECHO)
    sending = threading.Thread(target=trickle, args=(ends, rest, stop))
    sending.start()
    began = time.monotonic()
    try:
        ended = ends.ended(b"")
    finally:
        stop.set()
        sending.join()
    assert (ended.outcome, ended.abort) == ("timeout", (0, 0))
    assert "slower than" in ended.reason
    assert time.monotonic() - began < 10


def test_a_data_set_that_takes_us_long_is_no_fault_of_its_sender():
    ends = Ends(SHORT)
    ends.peer.send(message(3, store_rq(CT, "1.2.3"), b"ab"))
    found = ends.ours.request()
    time.sleep(2 * SHORT.dimse)
    assert found.read(10) == b"ab"


def test_b3_empty_fragments_are_not_taken_without_end(ends):
    ends.peer.send(message(1, ECHO))
    ends.ours.request()
    head = p_data(pdv(3, 3, store_rq(CT, "1.2.3")))
    empty = p_data(*[pdv(3, 0, b"")] * (MAX_EMPTY_FRAGMENTS // 2))
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(ends.peer.send, head + empty * 3)
        with pytest.raises(AssociationEnded, match="empty") as raised:
            ends.ours.response(1, 10)
        sending.result()
    assert raised.value.abort == (2, 0)


def test_b3_what_waits_in_many_small_pieces_is_added_up_once(ends):
    """The sum of all pieces was made anew for each: minutes for a megabyte in pieces of two bytes."""
    ends.peer.send(message(1, ECHO))
    ends.ours.request()
    small = p_data(*[pdv(3, 0, b"ab")] * 10_000)
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(
            ends.peer.send, p_data(pdv(3, 3, store_rq(CT, "1.2.3"))) + small * 20 + p_data(pdv(3, 2, b""))
        )
        assert ends.ours.response(1, 0.5) is None
        sending.result()
    found = ends.ours.request()
    assert len(found.queued) == 400_000
    assert found.read(1 << 20) == b"ab" * 200_000
