"""A DIMSE client that replays prepared bytes over a plain socket: figures are the server's, not the client's."""

import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_RELEASE_RQ = b"\x05\0\0\0\0\x04\0\0\0\0"
_ACCEPTED, _P_DATA = 2, 4
_C_FIND_RQ = 0x0020
_N_ACTION_RQ = 0x0130
_STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
_PENDING = (0xFF00, 0xFF01)
_NO_DATA_SET = 0x0101
_ITEM = 0xFFFEE000


class WireError(Exception):
    """The server did something else than what the work asks for."""


def associate_rq(called_ae_title: str, sop_class_uid: str) -> bytes:
    """Build an A-ASSOCIATE-RQ with one presentation context, of ID 1."""
    syntaxes = _item(0x30, sop_class_uid.encode()) + _item(0x40, _IMPLICIT_VR_LITTLE_ENDIAN.encode())
    user = _item(0x51, struct.pack(">L", 131072)) + _item(0x52, b"1.2.3.4")
    body = struct.pack(">HH16s16s32x", 1, 0, called_ae_title.encode().ljust(16), b"BENCH".ljust(16))
    body += _item(0x10, _APPLICATION_CONTEXT.encode()) + _item(0x20, b"\1\0\0\0" + syntaxes) + _item(0x50, user)
    return struct.pack(">BxL", 1, len(body)) + body


def find_rq(
    sop_class_uid: str, keys: Mapping[int, str], sequences: Mapping[int, Mapping[int, str]] | None = None
) -> bytes:
    """Build a C-FIND-RQ with `keys` by tag, and `sequences` of one item, in context 1, as two P-DATA-TF."""
    elements = {tag: value.encode() for tag, value in keys.items()}
    elements |= {tag: _element(_ITEM, _elements(item)) for tag, item in (sequences or {}).items()}
    identifier = b"".join(_element(tag, value) for tag, value in sorted(elements.items()))
    return _request({0x2: sop_class_uid, 0x100: _C_FIND_RQ, 0x110: 1, 0x700: 0, 0x800: 1}, identifier)


def commit_rq(transaction_uid: str, objects: Iterable[tuple[str, str]]) -> bytes:
    """Build the N-ACTION-RQ for pairs of SOP Class and SOP Instance UID, in context 1."""
    references = (_element(_ITEM, _elements({0x00081150: cls, 0x00081155: instance})) for cls, instance in objects)
    data_set = _element(0x00081195, transaction_uid.encode()) + _element(0x00081199, b"".join(references))
    named = {0x1001: _STORAGE_COMMITMENT_INSTANCE, 0x1008: 1}
    return _request({0x3: STORAGE_COMMITMENT, 0x100: _N_ACTION_RQ, 0x110: 1, 0x800: 1, **named}, data_set)


class Wire:
    """A connection. Raises WireError, and OSError, TimeoutError among them."""

    def __init__(self, port: int, timeout_s: float = 60) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def associate(self, request: bytes) -> None:
        self._socket.sendall(request)
        pdu_type, _ = self._pdu()
        if pdu_type != _ACCEPTED:
            raise WireError(f"association answered with a PDU of type {pdu_type}")

    def find(self, request: bytes) -> int:
        """Send a C-FIND-RQ and return the number of matches."""
        return self.find_timed(request)[1]

    def find_timed(self, request: bytes) -> tuple[float, int]:
        """Send a C-FIND-RQ; return the seconds to the first response, and the number of matches."""
        started = time.perf_counter()
        self._socket.sendall(request)
        first_s, matches = 0.0, 0
        for status in self._statuses():
            first_s = first_s or time.perf_counter() - started
            if status not in _PENDING:
                if status:
                    raise WireError(f"C-FIND ended with status {status:04X}")
                break
            matches += 1
        return first_s, matches

    def commit(self, request: bytes) -> None:
        """Send an N-ACTION-RQ and wait until it is taken in."""
        self._socket.sendall(request)
        status = next(self._statuses())
        if status:
            raise WireError(f"N-ACTION ended with status {status:04X}")

    def release(self) -> None:
        self._socket.sendall(_RELEASE_RQ)
        self._pdu()
        self.close()

    def close(self) -> None:
        self._socket.close()

    def _statuses(self) -> Iterator[int]:
        """Yield the status of each response; data sets are passed over."""
        command = b""
        while True:
            pdu_type, body = self._pdu()
            if pdu_type != _P_DATA:
                raise WireError(f"PDU of type {pdu_type} among the responses")
            position = 0
            while position < len(body):
                length, _, control = struct.unpack_from(">LBB", body, position)
                if control & 1:
                    command += body[position + 6 : position + 4 + length]
                    if control & 2:
                        yield _status(command)
                        command = b""
                position += 4 + length

    def _pdu(self) -> tuple[int, bytes]:
        self._need(6)
        size = 6 + int.from_bytes(self._buffer[2:6])
        self._need(size)
        pdu_type, body = self._buffer[0], bytes(self._buffer[6:size])
        del self._buffer[:size]
        return pdu_type, body

    def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            received = self._socket.recv(1 << 18)
            if not received:
                raise WireError("connection closed by the server")
            self._buffer += received


def _item(item_type: int, body: bytes) -> bytes:
    return struct.pack(">BxH", item_type, len(body)) + body


def _request(command: Mapping[int, str | int], data_set: bytes) -> bytes:
    """Frame a message of a command set, by tag, and a data set that fits into one PDV of the peer."""
    values = ((tag, v.encode() if isinstance(v, str) else struct.pack("<H", v)) for tag, v in command.items())
    body = b"".join(_element(tag, value) for tag, value in values)
    return _p_data(3, _element(0, struct.pack("<L", len(body))) + body) + _p_data(2, data_set)


def _elements(values: Mapping[int, str]) -> bytes:
    return b"".join(_element(tag, value.encode()) for tag, value in sorted(values.items()))


def _element(tag: int, value: bytes) -> bytes:
    value += b" " * (len(value) % 2) if tag > 0xFFFF else b"\0" * (len(value) % 2)
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def _p_data(control: int, data: bytes) -> bytes:
    return struct.pack(">BxLLBB", _P_DATA, len(data) + 6, len(data) + 2, 1, control) + data


def _status(command: bytes) -> int:
    position = 0
    while position < len(command):
        group, number, length = struct.unpack_from("<HHL", command, position)
        if (group, number) == (0x0000, 0x0900):
            return int.from_bytes(command[position + 8 : position + 10], "little")
        position += 8 + length
    raise WireError("response without a status")


def timed_finds(port: int, opening: bytes, request: bytes, repetitions: int) -> tuple[list[float], list[float], int]:
    """Ask the same again and again over one association.

    Gives the seconds to the first answer, those to the final response, and the matches of the last time.
    """
    first, whole, matches = [], [], 0
    wire = Wire(port)
    wire.associate(opening)
    for _ in range(repetitions):
        started = time.perf_counter()
        first_s, matches = wire.find_timed(request)
        whole.append(time.perf_counter() - started)
        first.append(first_s)
    wire.release()
    return first, whole, matches
