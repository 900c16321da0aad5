"""Waiting, reading and writing on real sockets of this machine."""

import contextlib
import fcntl
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from minipacs.net.wire.transport import ConnectionLost, Patience, TimedOut, Transport, Woken
from tests.support.wire import free_port

SOON_S = 0.05
LONG_S = 30


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    with far, near:
        far.settimeout(LONG_S)
        yield near, far


def read(transport: Transport, timeout_s: float = LONG_S, **options: bool) -> bytes:
    space = bytearray(100)
    return bytes(space[: transport.receive(memoryview(space), timeout_s, **options)])


class RecordingSocket:
    """Passes everything on to a socket and keeps the options that are set."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.options: list[tuple[int, int, int]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.sock, name)

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)  # type: ignore[arg-type]
        self.sock.setsockopt(*option)


def test_nagle_is_off_and_quickack_is_asked_for_again_after_each_read(pair):
    near, far = pair
    sock = RecordingSocket(near)
    transport = Transport(sock)  # type: ignore[arg-type]
    assert sock.options == [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    for reads in range(1, 4):
        far.sendall(b"x")
        assert read(transport) == b"x"
        assert sock.options[1:] == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] * reads


def test_a_read_returns_what_is_there_and_0_without_waiting(pair):
    near, far = pair
    transport = Transport(near)
    assert transport.receive_now(memoryview(bytearray(10))) == 0
    far.sendall(b"abc")
    assert read(transport) == b"abc"


def test_a_read_ends_at_its_limit(pair):
    transport = Transport(pair[0])
    with pytest.raises(TimedOut):
        read(transport, SOON_S)


def test_a_closed_and_a_reset_connection_are_lost(pair):
    near, far = pair
    transport = Transport(near)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    with pytest.raises(ConnectionLost, match="reset"):
        read(transport)
    with pytest.raises(ConnectionLost):
        transport.send([b"x"], LONG_S)


def test_an_orderly_close_is_lost_too(pair):
    transport = Transport(pair[0])
    pair[1].close()
    with pytest.raises(ConnectionLost, match="closed by the peer"):
        read(transport)


def test_only_a_wait_that_asks_for_it_is_woken(pair):
    wake_fd = os.eventfd(1)
    transport = Transport(pair[0], wake_fd)
    with pytest.raises(TimedOut):
        read(transport, SOON_S)
    with pytest.raises(Woken):
        read(transport, wakeable=True)
    pair[1].sendall(b"x")
    assert read(transport, wakeable=True) == b"x", "what the peer sent comes first"
    os.close(wake_fd)


def test_many_buffers_larger_than_the_system_takes_arrive_in_order(pair):
    near, far = pair
    buffers = [bytes([i % 251]) * (i * 37 % 4000) for i in range(3000)]
    found = bytearray()

    def receive() -> None:
        while data := far.recv(1 << 16):
            found.extend(data)

    reader = threading.Thread(target=receive)
    reader.start()
    transport = Transport(near)
    transport.send(buffers, LONG_S)
    transport.close()
    reader.join(LONG_S)
    assert bytes(found) == b"".join(buffers)


def test_a_peer_that_takes_nothing_ends_a_write_at_its_limit(pair):
    transport = Transport(pair[0])
    with pytest.raises(TimedOut):
        transport.send([bytes(64 << 20)], SOON_S)


def test_descriptors_above_1023_work(pair):
    near, far = pair
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1500
    assert hard == resource.RLIM_INFINITY or hard > wanted, "the hard limit of open files is too low for this test"
    if soft != resource.RLIM_INFINITY and soft <= wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + 100, hard))
    with socket.socket(fileno=fcntl.fcntl(near, fcntl.F_DUPFD_CLOEXEC, wanted)) as high:
        transport = Transport(high)
        assert transport.fileno() >= wanted
        timer = threading.Timer(SOON_S, far.sendall, [b"late"])
        timer.start()
        assert read(transport) == b"late"
        timer.join()


class Companion:
    """Wants to be attended to `times` times, whenever `fd` is readable and every `interval_s`; counts the calls."""

    def __init__(self, fd: int, times: int, interval_s: float = float("inf")) -> None:
        self.fd, self.times, self.interval_s = fd, times, interval_s
        self.attended = self.asked = 0
        self.due = time.monotonic() + interval_s

    def fileno(self) -> int:
        return self.fd if self.attended < self.times else -1

    def due_in_s(self) -> float:
        self.asked += 1
        return self.due - time.monotonic() if self.attended < self.times else float("inf")

    def attend(self) -> None:
        self.attended += 1
        self.due = time.monotonic() + self.interval_s


def test_a_companion_is_attended_to_while_the_peer_is_waited_for(pair):
    readable = os.eventfd(1)
    transport = Transport(pair[0])
    companion = transport.companion = Companion(readable, times=3)
    with pytest.raises(TimedOut):
        read(transport, SOON_S)
    assert companion.attended == 3
    os.close(readable)


def test_a_companion_that_is_content_is_not_waited_for_any_more(pair):
    """The descriptor of a requestor that has gone stays readable: the wait must not spin on it."""
    readable = os.eventfd(1)
    transport = Transport(pair[0])
    companion = transport.companion = Companion(readable, times=1)
    with pytest.raises(TimedOut):
        read(transport, SOON_S)
    assert companion.asked < 10
    os.close(readable)


def test_a_companion_is_attended_to_when_it_is_due(pair):
    transport = Transport(pair[0])
    companion = transport.companion = Companion(-1, times=2, interval_s=SOON_S / 10)
    with pytest.raises(TimedOut):
        read(transport, 10 * SOON_S)
    assert companion.attended == 2


def test_what_a_companion_raises_ends_the_wait(pair):
    readable = os.eventfd(1)
    transport = Transport(pair[0])
    companion = transport.companion = Companion(readable, times=1)
    companion.attend = lambda: (_ for _ in ()).throw(KeyError("gone"))  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        read(transport)
    os.close(readable)


def test_a16_lingering_waits_for_the_peer_to_close_and_drops_what_it_sends(pair):
    near, far = pair
    transport = Transport(near)
    far.sendall(bytes(100_000))
    closer = threading.Thread(target=lambda: (far.recv(1), far.close()))
    closer.start()
    transport.linger(LONG_S)
    closer.join(LONG_S)
    assert transport.fileno() == -1


def test_a16_lingering_ends_for_a_peer_that_does_not_close(pair):
    transport = Transport(pair[0])
    transport.linger(SOON_S)
    assert transport.fileno() == -1


def test_a16_lingering_ends_for_a_peer_that_never_stops_sending(pair):
    near, far = pair
    transport = Transport(near)

    def flood() -> None:
        try:
            while True:
                far.sendall(bytes(1 << 16))
        except OSError:
            pass

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    transport.linger(4 * SOON_S)
    assert transport.fileno() == -1
    sender.join(LONG_S)


def test_an_interrupted_wait_is_a_lost_connection(pair):
    transport = Transport(pair[0])
    threading.Timer(SOON_S, transport.interrupt).start()
    with pytest.raises(ConnectionLost):
        read(transport)


def test_a_wait_for_a_past_deadline_is_over_at_once(pair):
    with pytest.raises(TimedOut):
        Transport(pair[0]).wait(select.POLLIN, time.monotonic())


def test_connecting_to_nobody_fails():
    with pytest.raises(OSError, match="refused"):
        Transport.connect("127.0.0.1", free_port(), LONG_S)


def reading_slowly(far: socket.socket, bytes_a_step: int, step_s: float, stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not stop.wait(step_s) and far.recv(bytes_a_step):
            pass


def test_a_receiver_that_reads_slowly_but_steadily_is_waited_for(pair):
    """The kernel says that it takes more only when a third of its buffer is free."""
    near, far = pair
    stop = threading.Event()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reading = threading.Thread(target=reading_slowly, args=(far, 20_000, 0.002, stop))
    reading.start()
    transport = Transport(near)
    try:
        transport.send([bytes(150_000)], 0.3)
        patience = Patience(transport, 0.3)
        while transport.unsent_bytes() and patience.left_s() > 0:
            with pytest.raises(TimedOut):
                transport.wait(select.POLLIN, time.monotonic() + patience.left_s())
        assert transport.unsent_bytes() == 0
    finally:
        stop.set()
        near.close()
        reading.join()


def test_a_receiver_that_reads_hardly_at_all_is_not(pair):
    near, far = pair
    stop = threading.Event()
    reading = threading.Thread(target=reading_slowly, args=(far, 1, 0.02, stop))
    reading.start()
    try:
        with pytest.raises(TimedOut):
            Transport(near).send([bytes(64 << 20)], 0.3)
    finally:
        stop.set()
        near.close()
        reading.join()
