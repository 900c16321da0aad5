"""PDUs and PDVs: every sample whole, byte by byte and split at random gives the same messages."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipacs.net.wire import stream
from minipacs.net.wire.stream import ControlPdu, PduReader, ProtocolError


def read_all(chunks: list[bytes]) -> list[object]:
    """Feed chunks to a reader; consecutive pieces of one PDV are joined, so that results can be compared."""
    reader, found = PduReader(), []
    open_pdv: tuple[int, bool, bytes] | None = None
    for chunk in chunks:
        while chunk:
            space = reader.space()
            size = min(len(space), len(chunk))
            space[:size] = chunk[:size]
            reader.filled(size)
            chunk = chunk[size:]
            while (event := reader.next()) is not None:
                if isinstance(event, ControlPdu):
                    found.append(event)
                    continue
                data = (open_pdv[2] if open_pdv else b"") + bytes(event.data)
                open_pdv = (event.context_id, event.is_command, data)
                if event.is_last:
                    found.append(open_pdv)
                    open_pdv = None
    assert reader.is_empty
    return found


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


MESSAGES = st.lists(
    st.tuples(st.integers(1, 255), st.booleans(), st.binary(max_size=30_000), st.integers(20, 9000)), max_size=4
)


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 5000), max_size=40))
def test_framing_round_trip_at_any_split(messages, sizes):
    data, expected = b"", []
    for context_id, is_command, payload, max_pdu in messages:
        pdus = list(stream.p_data(context_id, payload, max_pdu, is_command=is_command))
        assert all(len(pdu) - 6 <= max_pdu for pdu in pdus)
        data += b"".join(pdus)
        expected.append((context_id, is_command, payload))
    data += stream.control_pdu(stream.A_RELEASE_RQ)
    expected.append(ControlPdu(stream.A_RELEASE_RQ, bytes(4)))
    assert read_all([data]) == expected
    assert read_all(split(data, sizes)) == expected


def test_byte_by_byte():
    data = b"".join(stream.p_data(3, bytes(range(100)), 30, is_command=True)) + stream.abort_pdu(2, 1)
    expected = [(3, True, bytes(range(100))), ControlPdu(stream.A_ABORT, bytes((0, 0, 2, 1)))]
    assert read_all([bytes((b,)) for b in data]) == expected


def test_a8_several_pdvs_in_a_pdu_and_empty_fragments():
    pdvs = b"".join(
        struct.pack(">LBB", len(d) + 2, 5, control) + d
        for control, d in ((1, b""), (1, b"ab"), (3, b""), (0, b"x"), (2, b"yz"))
    )
    data = b"\x04\0" + struct.pack(">L", len(pdvs)) + pdvs
    assert read_all([data]) == [(5, True, b"ab"), (5, False, b"xyz")]


def test_a_pdu_of_any_size_is_read_in_bounded_memory():
    reader, size, seen = PduReader(), 64 << 20, 0
    header = b"\x04\0" + struct.pack(">LLBB", size + 6, size + 2, 1, 2)
    space = reader.space()
    space[: len(header)] = header
    reader.filled(len(header))
    while seen < size:
        while (event := reader.next()) is not None:
            seen += len(event.data)
        space = reader.space()
        assert len(space) <= stream.BULK_BUFFER_BYTES
        reader.filled(min(len(space), size - seen))
    assert reader.next() is None or seen == size
    reader.rest()
    assert len(reader.space()) <= stream.IDLE_BUFFER_BYTES


@pytest.mark.parametrize("pdu_size", [16384, 262144, 4 << 20])
def test_bulk_data_is_read_in_large_pieces(pdu_size):
    reader, reads, spaces = PduReader(), 0, set()
    data = memoryview(stream.p_data_header(1, pdu_size - 12, is_command=False, is_last=True) + bytes(pdu_size - 12))
    sent = 0
    while sent < len(data):
        space = reader.space()
        spaces.add(id(space.obj))
        size = min(len(space), len(data) - sent)
        space[:size] = data[sent : sent + size]
        reader.filled(size)
        sent, reads = sent + size, reads + 1
        while reader.next() is not None:
            pass
    assert reads <= 2 + pdu_size // stream.BULK_BUFFER_BYTES
    assert len(spaces) <= 2, "one bulk buffer, kept until the reader rests"


def test_a_reader_is_not_empty_inside_a_pdv():
    reader = PduReader()
    header = stream.p_data_header(1, 2, is_command=False, is_last=True)
    for byte in header + b"ab":
        reader.space()[0] = byte
        reader.filled(1)
        assert not reader.is_empty
        while reader.next() is not None:
            pass
    assert reader.is_empty


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x08\0" + struct.pack(">L", 4) + bytes(4), stream.UNRECOGNIZED_PDU),
        (b"\0\0" + struct.pack(">L", 4) + bytes(4), stream.UNRECOGNIZED_PDU),
        (b"\x05\0" + struct.pack(">L", 5), stream.INVALID_PARAMETER),
        (b"\x01\0" + struct.pack(">L", stream.MAX_CONTROL_PDU_BYTES + 1), stream.INVALID_PARAMETER),
        (b"\x04\0" + struct.pack(">L", 3), stream.INVALID_PARAMETER),
        (b"\x04\0" + struct.pack(">LLBB", 6, 1, 1, 3), stream.INVALID_PARAMETER),
        (b"\x04\0" + struct.pack(">LLBB", 8, 100, 1, 3), stream.INVALID_PARAMETER),
        (b"\x04\0" + struct.pack(">LLBB", 9, 2, 1, 3) + bytes(3), stream.INVALID_PARAMETER),
    ],
)
def test_a17_impossible_pdus_are_protocol_errors(data, reason):
    with pytest.raises(ProtocolError) as raised:
        read_all([data])
    assert raised.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_a17_any_bytes_end_in_events_or_a_protocol_error(data):
    with contextlib.suppress(ProtocolError, AssertionError):
        read_all([data])


def test_a_long_control_pdu_grows_the_buffer():
    body = bytes(range(256)) * 300
    data = b"\x01\0" + struct.pack(">L", len(body)) + body
    assert read_all(split(data, [1000] * 70)) == [ControlPdu(1, body)]


def test_fragments_are_even_and_fit():
    for max_pdu in (*range(16, 60), 16384, 131072, 0):
        size = stream.fragment_size(max_pdu)
        assert size % 2 == 0
        assert size > 0
        assert not max_pdu or size + 6 <= max_pdu
