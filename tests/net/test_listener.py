"""Sockets that listen, and what happens to connections there is no room for."""

import logging
import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from minipacs.errors import MinipacsError
from minipacs.net import listener
from minipacs.net.acceptor import Acceptor
from minipacs.net.association import Timeouts
from minipacs.net.listener import MAX_PENDING_CONNECTIONS, Listener, address_of, bind
from minipacs.net.wire.transport import Transport, Woken

WAIT_S = 10


class Greeter(Acceptor):
    """Greets each caller and holds on to it until it closes or the listener stops."""

    def __init__(self, *, is_named: bool = True) -> None:
        self.served = 0
        self.is_named = is_named

    def run(self, transport: Transport, address: str) -> None:
        self.served += 1
        transport.is_named = self.is_named
        try:
            transport.send([b"hello"], WAIT_S)
            transport.receive(memoryview(bytearray(1)), WAIT_S, wakeable=True)
        except Woken:
            transport.send([b"bye"], WAIT_S)
        except Exception:
            logging.getLogger(__name__).debug("gone")
        finally:
            transport.close()


class Running:
    """A listener driven by a thread, with room for so many connections."""

    def __init__(self, room: int, *, is_named: bool = True) -> None:
        sockets = bind(["127.0.0.1"], 0)
        self.listener = Listener(sockets, Greeter(is_named=is_named), room - MAX_PENDING_CONNECTIONS)
        self.port = sockets[0].getsockname()[1]
        self.stop_fd = os.eventfd(0)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        poll = select.poll()
        for fd in (*self.listener.sockets, self.stop_fd):
            poll.register(fd, select.POLLIN)
        while self.stop_fd not in (ready := [fd for fd, _ in poll.poll()]):
            for fd in ready:
                self.listener.accept(fd)
        self.listener.end()

    def call(self, address: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WAIT_S, (address, 0))

    def stop(self) -> None:
        os.eventfd_write(self.stop_fd, 1)
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


@pytest.fixture(params=[{"room": 10}])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    found = Running(**request.param)
    yield found
    found.stop()


def test_all_addresses_share_a_free_port():
    sockets = bind(["127.0.0.1", "127.0.0.2"], 0)
    assert sockets[0].getsockname()[1] == sockets[1].getsockname()[1] > 0
    assert [address_of(sock).split(":")[0] for sock in sockets] == ["127.0.0.1", "127.0.0.2"]
    for sock in sockets:
        sock.close()


def test_a_port_in_use_is_named():
    (first,) = bind(["127.0.0.1"], 0)
    port = first.getsockname()[1]
    with (
        first,
        pytest.raises(MinipacsError, match=rf"^cannot listen on 127.0.0.1 port {port}: Address already in use$"),
    ):
        bind(["127.0.0.2", "127.0.0.1"], port)
    bind(["127.0.0.2"], port)[0].close()


def test_an_address_of_another_machine_is_named():
    with pytest.raises(MinipacsError, match=r"^cannot listen on 192\.0\.2\.1 port 0: "):
        bind(["192.0.2.1"], 0)


def test_connections_are_served_side_by_side_and_told_of_the_stop(running):
    callers = [running.call() for _ in range(5)]
    assert [c.recv(10) for c in callers] == [b"hello"] * 5
    running.stop()
    assert [c.recv(10) for c in callers] == [b"bye"] * 5
    with pytest.raises(OSError, match="refused"):
        running.call()


@pytest.mark.parametrize("running", [{"room": 2}], indirect=True)
def test_a2_connections_beyond_what_is_bearable_are_closed_and_logged(running, caplog):
    first, second, third = running.call(), running.call(), running.call()
    assert third.recv(10) == b""
    assert first.recv(10) == second.recv(10) == b"hello"
    assert [r.message for r in caplog.records] == ["too many connections: one closed"]


@pytest.mark.parametrize("running", [{"room": 4, "is_named": False}], indirect=True)
def test_a2_one_more_than_is_bearable_takes_the_place_of_the_silent_one_of_the_busiest_address(running, caplog):
    first = running.call("127.0.0.3")
    crowd = [running.call("127.0.0.2") for _ in range(3)]
    assert [c.recv(10) for c in (first, *crowd)] == [b"hello"] * 4
    later = running.call("127.0.0.3")
    assert later.recv(10) == b"hello"
    assert crowd[0].recv(10) == b"", "the one that waited longest"
    again = running.call("127.0.0.2")
    assert again.recv(10) == b"hello"
    assert crowd[1].recv(10) == b""
    running.stop()
    assert [c.recv(10) for c in (first, later, crowd[2], again)] == [b"bye"] * 4
    assert {r.message for r in caplog.records} == {"too many connections: a silent one closed"}


def test_without_a_thread_a_connection_is_closed_and_the_next_one_served(running, monkeypatch, caplog):
    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(listener.threading.Thread, "start", fail)
        assert running.call().recv(10) == b""
    assert [r.message for r in caplog.records] == ["out of threads: connection closed"]
    assert running.call().recv(10) == b"hello"


def test_a_closed_listener_leaves_the_socket_to_others_and_tells_when_the_last_connection_has_ended():
    sockets = bind(["127.0.0.1"], 0)
    others = sockets[0].dup()
    found = Listener(sockets, Greeter(), 10)
    caller = socket.create_connection(sockets[0].getsockname(), WAIT_S)
    found.accept(sockets[0].fileno())
    assert caller.recv(10) == b"hello"
    found.close()
    assert (found.sockets, found.connections) == ({}, 1)
    with socket.create_connection(others.getsockname(), WAIT_S), others:
        assert others.accept()[0].close() is None
    caller.close()
    poll = select.poll()
    poll.register(found.ended_fd, select.POLLIN)
    assert poll.poll(WAIT_S * 1000)
    assert found.connections == 0


def test_a_port_for_the_system_alone_says_who_can_open_it(monkeypatch):
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listener.socket, "socket", type("Refused", (socket.socket,), {"bind": refuse}))
    with pytest.raises(MinipacsError, match=r"127.0.0.1 port 104: Permission denied: .*enable --now minipacs.socket"):
        bind(["127.0.0.1"], 104)


@pytest.mark.parametrize(
    ("address", "shown"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("::ffff:1:2", "::ffff:1:2")],
)
def test_ipv4_is_shown_as_such(address, shown):
    assert listener.shown_address(address) == shown


def test_associations_are_told_apart_also_over_restarts():
    """The system gives the numbers of processes again and again."""
    told: list[str] = []
    [sock] = bind(["127.0.0.1"], 0)
    for _ in range(2):
        acceptor = Acceptor(
            {}, None, Timeouts(1, 1, 1, 1), 0, None, None, None, lambda one: told.append(one.association_id)
        )
        for _ in range(2):
            theirs = socket.create_connection(sock.getsockname())
            theirs.sendall(b"nonsense")
            select.select([sock], [], [], WAIT_S)
            ours = sock.accept()[0]
            stop_fd = os.eventfd(0)
            acceptor.run(Transport(ours, stop_fd), "127.0.0.1")
            theirs.close()
            os.close(stop_fd)
    sock.close()
    assert len(set(told)) == 4
    assert {one.split("-")[0] for one in told} == {str(os.getpid())}
