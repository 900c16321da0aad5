"""A connected socket with deadlines: the one place where an association waits (PS3.8 9.1).

Only the thread that owns a transport reads and writes it. Nothing sleeps: every wait is one `poll()` that ends at
the nearest deadline, so descriptors above 1023 work and an idle association costs nothing.
"""

import contextlib
import errno
import fcntl
import os
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Sequence
from typing import Protocol

from minipacs.net.wire.bell import Bell
from minipacs.net.wire.channel import MAX_BUFFERS_A_WRITE, Channel, PlainChannel, TlsChannel
from minipacs.net.wire.channel import ConnectionLost as ConnectionLost
from minipacs.net.wire.names import NAMES

_INT = struct.Struct("i")
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
MIN_RATE_BYTES_S = 1024
"""What a peer has to send or take while it is waited for: slower than any line, too fast to hold a place by."""


class TimedOut(Exception):
    """The peer did not do what was waited for within the limit."""


class Woken(Exception):
    """The wake descriptor became readable: the process is shutting down."""


class Rung(Exception):
    """The transport's `bell` was rung: somebody has something for this association."""

    def __init__(self, bell: Bell) -> None:
        super().__init__()
        self.bell = bell


class Companion(Protocol):
    """Somebody to attend to while waiting for the peer: the requestor of a C-MOVE while its destination is slow."""

    def fileno(self) -> int:
        """Return the descriptor that tells of something to attend to, or -1 for none."""

    def due_in_s(self) -> float:
        """Return the seconds until it wants to be attended to anyway."""

    def attend(self) -> None:
        """Do what is due; never waits long. Its exceptions end the wait."""


class Patience:
    """How long a peer is waited for that first has to take what was sent to it.

    The time begins anew while it has taken `MIN_RATE_BYTES_S` of that.
    """

    def __init__(self, transport: "Transport", timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._unsent = transport.unsent_bytes()
        self._ends_at = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Return the seconds that are left, none once the peer took too little."""
        now = time.monotonic()
        if now >= self._ends_at:
            unsent = self._transport.unsent_bytes()
            if self._unsent - unsent > MIN_RATE_BYTES_S * self._timeout_s:
                self._unsent, self._ends_at = unsent, now + self._timeout_s
        return self._ends_at - now


class Pace:
    """How long a peer was waited for to send a message, against what has come of it; our own time does not count."""

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._bytes = 0

    def begin(self) -> None:
        """Begin with the next message."""
        self._waited_s, self._bytes = 0.0, 0

    def add(self, waited_s: float, size_bytes: int) -> None:
        """Count a wait and what came of it."""
        self._waited_s += waited_s
        self._bytes += size_bytes

    def is_too_slow(self, timeout_s: float) -> bool:
        """Tell whether it takes longer than `timeout_s` and what its bytes take at `MIN_RATE_BYTES_S`."""
        return self._waited_s > timeout_s + self._bytes / MIN_RATE_BYTES_S


class Transport:
    """A TCP connection to one peer. `wake_fd` and `bell` end a wait that asks for it, when they become readable."""

    def __init__(self, sock: socket.socket, wake_fd: int = -1) -> None:
        self.sock = sock
        self.wake_fd = wake_fd
        self.companion: Companion | None = None
        self.bell: Bell | None = None
        self._channel: Channel = PlainChannel(sock)
        self.is_named = False
        """Whether the peer has said who it is, and was let in."""
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(cls, host: str, port: int, timeout_s: float, companion: "Companion | None" = None) -> "Transport":
        """Open a connection; raises OSError, within `timeout_s` for the host's name and for each of its addresses.

        `companion` is attended to meanwhile, and afterwards.
        """
        fault = OSError("no address")
        for family, kind, protocol, _, address in _endpoints(host, port, timeout_s):
            transport = cls(socket.socket(family, kind, protocol))
            transport.companion = companion
            try:
                transport._connect(address, time.monotonic() + timeout_s)
            except OSError as error:
                transport.close()
                fault = error
            except BaseException:
                transport.close()
                raise
            else:
                return transport
        raise fault

    def _connect(self, address: object, deadline: float) -> None:
        code = self.sock.connect_ex(address)  # type: ignore[arg-type]
        if code == errno.EINPROGRESS:
            try:
                self.wait(select.POLLOUT, deadline)
            except TimedOut:
                raise TimeoutError(errno.ETIMEDOUT, "timed out") from None
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    @property
    def channel(self) -> Channel:
        """Return how bytes go over the socket."""
        return self._channel

    def secure(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """Let all bytes go through TLS: as server, or as client of `server_name`."""
        self._channel = TlsChannel(self.sock, context, server_name)

    def establish(self, deadline: float, *, wakeable: bool = False) -> None:
        """Do what has to precede all bytes: the TLS handshake, if there is TLS.

        Raises HandshakeFailed, ConnectionLost, TimedOut, and Woken if `wakeable`.
        """
        while not self._channel.establish():
            self.wait(select.POLLIN if self._channel.flush() else select.POLLOUT, deadline, wakeable=wakeable)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def receive(self, space: memoryview, timeout_s: float, *, wakeable: bool = False) -> int:
        """Read what is there into `space`, waiting for it if need be; returns its size.

        Raises TimedOut, ConnectionLost, and Woken if `wakeable`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            size = self.receive_now(space)
            if size:
                return size
            self.wait(select.POLLIN, deadline, wakeable=wakeable)

    def receive_now(self, space: memoryview) -> int:
        """Read what is there into `space`; 0 if nothing is. Raises ConnectionLost."""
        return self._channel.receive(space)

    def send(self, buffers: Sequence[bytes | memoryview], timeout_s: float) -> None:
        """Write all of `buffers`, in order. Raises ConnectionLost, TimedOut if too little is taken in `timeout_s`."""
        pending = [memoryview(buffer) for buffer in buffers if len(buffer)]
        first = 0
        while first < len(pending):
            sent = self._channel.send(pending[first : first + MAX_BUFFERS_A_WRITE])
            if not sent:
                self._wait_until_taken(timeout_s)
            while first < len(pending) and sent >= len(pending[first]):
                sent -= len(pending[first])
                first += 1
            if sent:
                pending[first] = pending[first][sent:]
        while not self._channel.flush():
            self._wait_until_taken(timeout_s)

    def _wait_until_taken(self, timeout_s: float) -> None:
        """Wait until the socket takes more; it says so only when much of its buffer is free."""
        patience = Patience(self, timeout_s)
        while True:
            try:
                self.wait(select.POLLOUT, time.monotonic() + patience.left_s())
            except TimedOut:
                if patience.left_s() <= 0:
                    raise
            else:
                return

    def unsent_bytes(self) -> int:
        """Return how much of what was sent the peer's system has not taken yet (tcp(7), SIOCOUTQ)."""
        try:
            return int(_INT.unpack(fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(_INT.size)))[0])
        except (OSError, ValueError):  # the connection is gone, or this is none of TCP
            return 0

    def wait(self, events: int, deadline: float, *, wakeable: bool = False) -> None:
        """Wait until the socket is ready for `events`, attending to the companion meanwhile.

        `deadline` is of the monotonic clock. Raises TimedOut, and Woken or Rung if `wakeable`.
        """
        if events & select.POLLIN and self._channel.holds_input:
            return
        companion = self.companion
        poll = select.poll()
        poll.register(self.sock, events)
        if wakeable and self.wake_fd >= 0:
            poll.register(self.wake_fd, select.POLLIN)
        bell = self.bell if wakeable else None
        if bell is not None:
            poll.register(bell, select.POLLIN)
        watched = -1 if companion is None else companion.fileno()
        if watched >= 0:
            poll.register(watched, select.POLLIN)
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimedOut
            wait_s = left_s if companion is None else min(left_s, max(companion.due_in_s(), 0))
            ready = dict(poll.poll(wait_s * 1000 + 1))
            if ready.get(self.sock.fileno(), 0) & (events | _GONE):
                return
            if self.wake_fd in ready:
                raise Woken
            if bell is not None and bell.fileno() in ready:
                raise Rung(bell)
            if companion is not None and (ready or companion.due_in_s() <= 0):
                companion.attend()
                if watched >= 0 and companion.fileno() < 0:
                    poll.unregister(watched)
                    watched = -1

    def linger(self, timeout_s: float) -> None:
        """Wait until the peer closes, reading and dropping what it still sends, then close (PS3.8 9.1.5, ARTIM)."""
        self._hang_up()
        deadline = time.monotonic() + timeout_s
        dropped = memoryview(bytearray(4096))
        with contextlib.suppress(ConnectionLost, TimedOut, Woken, OSError):
            self._channel.finish()
            self._channel = PlainChannel(self.sock)
            while (left_s := deadline - time.monotonic()) > 0:
                self.receive(dropped, left_s, wakeable=True)
        self.close()

    def interrupt(self) -> None:
        """End the owner's wait from another thread: it sees a lost connection."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket, and take the bell away; may be called again."""
        self.sock.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self.bell is not None:
            self.bell.close()
            self.bell = None


def _endpoints(host: str, port: int, timeout_s: float) -> list[tuple[int, int, int, str, object]]:
    """Give what a socket is made of and connected to, for each address of a host. Raises OSError."""
    found: list[tuple[int, int, int, str, object]] = []
    for address in NAMES.addresses(host, timeout_s):
        found += socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return found
