"""The server with clients that send too much, too slowly, or nothing at all."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minipacs.web import server as server_module
from minipacs.web.server import MAX_HEAD_BYTES, BoundedProtocol, WebServer


async def app(scope: Any, receive: Any, send: Any) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def connect() -> Iterator[Callable[[], socket.socket]]:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = WebServer(app, [listener], 5)
    thread = threading.Thread(target=server.run_until_left)
    thread.start()
    opened: list[socket.socket] = []

    def connect_() -> socket.socket:
        sock = socket.create_connection(address, 10)
        opened.append(sock)
        return sock

    yield connect_
    for sock in opened:
        sock.close()
    server.leave()
    thread.join(20)
    assert not thread.is_alive()
    assert BoundedProtocol._by_address == {}


def answer(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            break
        data += more
    return data


def ends(sock: socket.socket) -> bool:
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_requests_one_after_another_on_one_connection(connect: Callable[[], socket.socket]):
    sock = connect()
    for size in (0, 10, 100_000):
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        assert answer(sock).endswith(b"%d" % size)


def test_a_head_has_a_size(connect: Callable[[], socket.socket]):
    sock = connect()
    sock.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1))
    assert answer(sock).startswith(b"HTTP/1.1 431")
    assert ends(sock)


def test_a_body_may_be_longer_than_a_head(connect: Callable[[], socket.socket]):
    sock = connect()
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (4 * MAX_HEAD_BYTES))
    sock.sendall(b"x" * 4 * MAX_HEAD_BYTES)
    assert answer(sock).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX"])
def test_a_head_has_a_time(connect: Callable[[], socket.socket], sent: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_module, "HEAD_TIMEOUT_S", 0.05)
    sock = connect()
    sock.sendall(sent)
    assert answer(sock).startswith(b"HTTP/1.1 408" if sent else b"")
    assert ends(sock)


def test_the_second_head_has_a_time_too(connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_module, "HEAD_TIMEOUT_S", 0.3)
    sock = connect()
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer(sock).startswith(b"HTTP/1.1 200")
    sock.sendall(b"GET / HTTP/1.1\r\nX")
    assert answer(sock).startswith(b"HTTP/1.1 408")


def test_one_address_has_so_many_connections(connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS_OF_ADDRESS", 3)
    socks = [connect() for _ in range(3)]
    for sock in socks:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(sock).startswith(b"HTTP/1.1 200")
    assert answer(connect()).startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize(
    "sent", [b"\0" * 100, b"HELLO\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"x" * 600]
)
def test_what_is_no_request_is_told_so(connect: Callable[[], socket.socket], sent: bytes):
    sock = connect()
    sock.sendall(sent)
    assert answer(sock).startswith(b"HTTP/1.1 400")
    assert ends(sock)
