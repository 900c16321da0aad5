"""A storage SCP on raw bytes: takes what a C-MOVE sends, and misbehaves as a test wants."""

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.wire import (
    RELEASE_RP,
    Response,
    Wire,
    item,
    items_of,
    p_data,
    pdv,
    us,
    user_information,
)
from tests.support.wire import element as implicit

ACCEPT, RELEASE_RQ_TYPE = 2, 5


@dataclass
class Proposed:
    """A presentation context of an A-ASSOCIATE-RQ."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass
class Received:
    """One object as it came."""

    request: Response
    transfer_syntax: str

    @property
    def sop_instance_uid(self) -> str:
        return self.request.elements[0x1000].decode().rstrip("\0")

    @property
    def data(self) -> bytes:
        return self.request.data


@dataclass
class Call:
    """One association: its A-ASSOCIATE-RQ and what came over it; `end` tells how it ended."""

    body: bytes
    contexts: list[Proposed]
    received: list[Received] = field(default_factory=list)
    end: str = ""


Accept = Callable[[Proposed], str | None]
Answer = Callable[["Wire", Received, int], int | None]


def first(proposed: Proposed) -> str | None:
    """Accept the first transfer syntax of every context."""
    return proposed.transfer_syntaxes[0]


def only(*syntaxes: str) -> Accept:
    """Accept these transfer syntaxes alone, in this order of preference."""
    return lambda proposed: next((uid for uid in syntaxes if uid in proposed.transfer_syntaxes), None)


class Receiver:
    """Listens on `port`, or a free one. `accept` chooses a transfer syntax for each context, None refuses it.

    `answer` gets the connection, each object, and its number from 0, and returns the status; None answers nothing and
    hangs up. `on_associate` may answer an A-ASSOCIATE-RQ in its own way and return False.
    """

    def __init__(
        self,
        accept: Accept = first,
        answer: Answer = lambda wire, received, number: 0,
        *,
        max_pdu: int = 16384,
        on_associate: Callable[[Wire, Call], bool] = lambda wire, call: True,
        port: int = 0,
    ):
        self.accept, self.answer, self.max_pdu, self.on_associate = accept, answer, max_pdu, on_associate
        self.calls: list[Call] = []
        self.faults: list[BaseException] = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._wires: list[Wire] = []
        self._accepting = threading.Thread(target=self._listen, daemon=True)
        self._accepting.start()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert not self.faults, self.faults

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for wire in self._wires:
            wire.socket.close()
        for thread in [self._accepting, *self._threads]:
            thread.join(20)
            assert not thread.is_alive()

    def peer(self, title: str = "RECEIVER", more: str = "") -> str:
        """Return the lines of a configuration that make this a destination."""
        return f'[[peer]]\ntitle = "{title}"\nhost = "127.0.0.1"\nport = {self.port}\n{more}\n'

    @property
    def received(self) -> list[Received]:
        return [found for call in self.calls for found in call.received]

    def settled(self) -> list[Call]:
        """Wait until every association that began has ended, and return them."""
        for thread in list(self._threads):
            thread.join(20)
            assert not thread.is_alive()
        return self.calls

    def _listen(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            sock.settimeout(15)
            wire = Wire.__new__(Wire)
            wire.socket, wire.buffer = sock, b""
            self._wires.append(wire)
            thread = threading.Thread(target=self._serve, args=(wire,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, wire: Wire) -> None:
        call = None
        try:
            kind, body = wire.pdu()
            assert kind == 1
            call = Call(body, proposals(body))
            self.calls.append(call)
            if not self.on_associate(wire, call):
                call.end = "not associated"
                return
            results = {p.context_id: self.accept(p) for p in call.contexts}
            wire.send(associate_ac(body, results, self.max_pdu))
            self._take(wire, call, results)
        except (EOFError, OSError) as error:
            if call is not None:
                call.end = f"lost: {error}"
        except BaseException as error:  # the test's thread tells of it
            self.faults.append(error)
        finally:
            wire.socket.close()

    def _take(self, wire: Wire, call: Call, results: dict[int, str | None]) -> None:
        while True:
            found = wire.next_message()
            if isinstance(found, int):
                call.end = {5: "released", 7: "aborted"}.get(found, f"PDU {found}")
                if found == RELEASE_RQ_TYPE:
                    wire.send(RELEASE_RP)
                return
            syntax = results[found.context_id]
            assert syntax is not None, "sent in a context that was refused"
            received = Received(found, syntax)
            call.received.append(received)
            status = self.answer(wire, received, len(self.received) - 1)
            if status is None:
                call.end = "hung up"
                return
            wire.send(store_rsp(found, status))


def proposals(body: bytes) -> list[Proposed]:
    """Read the presentation contexts of an A-ASSOCIATE-RQ."""
    found = []
    for kind, data in items_of(body):
        if kind == 0x20:
            subs = [(k, v.decode().rstrip("\0")) for k, v in items_of(bytes(68) + data[4:])]
            syntaxes = tuple(v for k, v in subs if k == 0x40)
            found.append(Proposed(data[0], next(v for k, v in subs if k == 0x30), syntaxes))
    return found


def associate_ac(request: bytes, results: dict[int, str | None], max_pdu: int) -> bytes:
    """Answer a request: a context is accepted in the transfer syntax given, or refused with result 4."""
    body = request[:68] + item(0x10, b"1.2.840.10008.3.1.1.1")
    for context_id, syntax in results.items():
        inner = item(0x40, (syntax or "1.2.840.10008.1.2").encode())
        body += item(0x21, struct.pack(">BxBx", context_id, 0 if syntax else 4) + inner)
    body += user_information(max_pdu)
    return b"\x02\0" + struct.pack(">L", len(body)) + body


def store_rsp(request: Response, status: int) -> bytes:
    """Make the response to a C-STORE-RQ."""
    elements = request.elements
    body = implicit(0x2, elements[0x2]) + us(0x100, 0x8001) + us(0x120, request.us(0x110)) + us(0x800, 0x101)
    body += us(0x900, status) + implicit(0x1000, elements[0x1000])
    return p_data(pdv(request.context_id, 3, implicit(0, struct.pack("<L", len(body))) + body))
