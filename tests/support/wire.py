"""Bytes on a socket: PDUs made by hand, for what no well-behaved client does."""

import secrets
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import PATIENCE_S

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
FIRST_FREE_PORT = 12_000
_MARKS: list[socket.socket] = []
"""Names of sockets that tell tests in other processes which ports are taken, as long as this process lives."""
P_DATA_TF = 4
RELEASE_RQ = b"\x05\0\0\0\0\x04\0\0\0\0"
RELEASE_RP = b"\x06\0\0\0\0\x04\0\0\0\0"


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def context(context_id: int, abstract: str, *syntaxes: str) -> bytes:
    inner = item(0x30, abstract.encode()) + b"".join(item(0x40, s.encode()) for s in syntaxes or (IMPLICIT,))
    return item(0x20, struct.pack(">B3x", context_id) + inner)


def user_information(max_pdu: int = 16384, *more: bytes) -> bytes:
    return item(0x50, item(0x51, struct.pack(">L", max_pdu)) + item(0x52, b"1.2.3.4") + b"".join(more))


def role(uid: str, scu: int, scp: int) -> bytes:
    return item(0x54, struct.pack(">H", len(uid)) + uid.encode() + bytes((scu, scp)))


def associate_rq(
    contexts: list[bytes] | None = None,
    *,
    called: bytes = b"MINIPACS",
    calling: bytes = b"TEST",
    version: int = 1,
    application: str = "1.2.840.10008.3.1.1.1",
    more: bytes = b"",
    user: bytes | None = None,
) -> bytes:
    body = struct.pack(">HH16s16s32x", version, 0, called.ljust(16), calling.ljust(16))
    body += item(0x10, application.encode())
    body += b"".join(contexts if contexts is not None else [context(1, VERIFICATION)])
    body += more + (user_information() if user is None else user)
    return b"\x01\0" + struct.pack(">L", len(body)) + body


def element(tag: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def us(tag: int, value: int) -> bytes:
    return element(tag, struct.pack("<H", value))


def identity(kind: int, primary: bytes, secondary: bytes = b"", wants: int = 1) -> bytes:
    """Make a User Identity sub-item."""
    sizes = struct.pack(">H", len(primary)) + primary + struct.pack(">H", len(secondary)) + secondary
    return item(0x58, bytes((kind, wants)) + sizes)


def command(command_field: int, sop_class: str, message_id: int = 1, *, data: bool = False, more: bytes = b"") -> bytes:
    """Make a request's command set; `more` holds further elements, above (0000,0800)."""
    body = element(0x2, sop_class.encode()) + us(0x100, command_field) + us(0x110, message_id)
    body += us(0x700, 0) if command_field not in (0x30,) else b""
    body += us(0x800, 1 if data else 0x101) + more
    return element(0, struct.pack("<L", len(body))) + body


def cancel(message_id: int) -> bytes:
    body = us(0x100, 0xFFF) + us(0x120, message_id) + us(0x800, 0x101)
    return element(0, struct.pack("<L", len(body))) + body


def store_rq(sop_class: str, sop_instance: str, message_id: int = 1, more: bytes = b"") -> bytes:
    return command(1, sop_class, message_id, data=True, more=element(0x1000, sop_instance.encode()) + more)


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">LBB", len(data) + 2, context_id, control) + data


def p_data(*pdvs: bytes) -> bytes:
    body = b"".join(pdvs)
    return b"\x04\0" + struct.pack(">L", len(body)) + body


def message(context_id: int, command_set: bytes, data: bytes | None = None) -> bytes:
    """Frame a message in the usual way: one PDU for the command set, one for the data set."""
    out = p_data(pdv(context_id, 3, command_set))
    return out if data is None else out + p_data(pdv(context_id, 2, data))


@dataclass
class Response:
    """A message as received; `elements` are the command set's raw values by tag."""

    context_id: int
    elements: dict[int, bytes] = field(default_factory=dict)
    data: bytes = b""

    def us(self, tag: int) -> int:
        return int.from_bytes(self.elements[tag], "little")

    @property
    def status(self) -> int:
        return self.us(0x900)

    @property
    def comment(self) -> str:
        return self.elements.get(0x902, b"").decode().strip()

    @property
    def offending(self) -> list[int]:
        raw = self.elements.get(0x901, b"")
        halves = struct.unpack(f"<{len(raw) // 2}H", raw)
        return [a << 16 | b for a, b in zip(halves[::2], halves[1::2], strict=True)]


def free_port() -> int:
    """Return a port that nobody listens on, and that neither the system nor another test gives to anybody else.

    The system gives ports of its own range to who asks for any, and to each connection.
    """
    first_of_the_system = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = secrets.randbelow(first_of_the_system - FIRST_FREE_PORT) + FIRST_FREE_PORT
        mark = socket.socket(socket.AF_UNIX)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            mark.bind(f"\0port {port} of minipacs' tests")
            _MARKS.append(mark)
            return port
        mark.close()


class Wire:
    """A connection; everything waits at most `timeout_s`."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = PATIENCE_S):
        self.socket = socket.create_connection((host, port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _need(self, size: int) -> None:
        while len(self.buffer) < size:
            more = self.socket.recv(1 << 18)
            if not more:
                raise EOFError(f"closed with {len(self.buffer)} bytes unread")
            self.buffer += more

    def pdu(self) -> tuple[int, bytes]:
        """Return the type and body of the next PDU. Raises EOFError, ConnectionResetError."""
        self._need(6)
        size = 6 + int.from_bytes(self.buffer[2:6], "big")
        self._need(size)
        kind, body = self.buffer[0], self.buffer[6:size]
        self.buffer = self.buffer[size:]
        return kind, body

    def associate(self, *contexts: bytes, **arguments: object) -> tuple[int, bytes]:
        self.send(associate_rq(list(contexts) or None, **arguments))  # type: ignore[arg-type]
        return self.pdu()

    def accepted(self, *contexts: bytes, **arguments: object) -> bytes:
        kind, body = self.associate(*contexts, **arguments)
        assert kind == 2, (kind, body)
        return body

    def response(self) -> Response:
        """Return the next message, whole."""
        found = self.next_message()
        assert isinstance(found, Response), found
        return found

    def next_message(self) -> Response | int:
        """Return the next message, whole, or the type of another PDU."""
        command_set, data, want_data = b"", [], False
        found: Response | None = None
        while True:
            kind, body = self.pdu()
            if kind != P_DATA_TF:
                return kind
            while body:
                length = int.from_bytes(body[:4], "big")
                context_id, control, piece = body[4], body[5], body[6 : 4 + length]
                assert not len(piece) % 2, "odd fragment"
                body = body[4 + length :]
                if control & 1:
                    command_set += piece
                    if control & 2:
                        found = Response(context_id, dict(parse_implicit(command_set)))
                        want_data = found.us(0x800) != 0x101
                else:
                    data.append(piece)
                    want_data = not control & 2
            if found is not None and not want_data:
                found.data = b"".join(data)
                return found

    def closed(self) -> bool:
        """Wait for the other side to close."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True

    def release(self) -> None:
        self.send(RELEASE_RQ)
        assert self.pdu()[0] == 6
        self.socket.close()


def parse_implicit(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        group, number, length = struct.unpack_from("<HHL", data, at)
        found.append((group << 16 | number, data[at + 8 : at + 8 + length]))
        at += 8 + length
    return found


def items_of(body: bytes) -> list[tuple[int, bytes]]:
    """Take the variable items of an A-ASSOCIATE PDU's body apart."""
    return list(_items(body[68:]))


def _items(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from(">BxH", data, at)
        found.append((kind, data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def sub_items(body: bytes, kind: int) -> list[bytes]:
    """Return the user information sub-items of a kind in an A-ASSOCIATE-AC body."""
    users = [data for k, data in items_of(body) if k == 0x50]
    return [data for user in users for k, data in _items(user) if k == kind]


def context_results(body: bytes) -> dict[int, tuple[int, str]]:
    """Return result and transfer syntax by presentation context ID."""
    found = {}
    for kind, data in items_of(body):
        if kind == 0x21:
            assert data[0] not in found, "answered twice"
            syntax = _items(data[4:])
            found[data[0]] = (data[2], syntax[0][1].decode().rstrip("\0") if syntax else "")
    return found
