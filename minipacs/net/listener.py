"""Listening sockets, and a thread for each connection they accept."""

import errno
import logging
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from minipacs.errors import MinipacsError
from minipacs.net.summed_log import SummedLog
from minipacs.net.wire.transport import Transport

if TYPE_CHECKING:
    from minipacs.net.acceptor import Acceptor  # with pynetdicom, which who looks at ports does not need

logger = logging.getLogger(__name__)

BACKLOG = 512
MAX_PENDING_CONNECTIONS = 128
"""Connections beyond the limit of associations that are being read, rejected or closed.

For one more, the one gives way that has said nothing for longest, of the address that has most of such; so nobody who
only holds connections open can keep others out.
"""
MAX_CLOSING_CONNECTIONS = 128
"""Those that have given way and are not closed yet; beyond, a new one is closed unread."""
SHUTDOWN_GRACE_S = 5.0
"""How long a running operation may go on when the time to drain is over, before its connection is cut."""
PRIVILEGED_PORT = (
    "the service may not open ports below 1024; let systemd do it: systemctl enable --now minipacs.socket "
    "(ListenStream= says which)"
)
"""What to do where a port is for the system alone."""
_MAPPED = "::ffff:"
_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


def bind(addresses: Sequence[str], port: int, *, shared: bool = False) -> list[socket.socket]:
    """Open listening sockets on one port; 0 takes a free one, the same for all. Raises MinipacsError.

    With `shared`, an address may be there several times: the system spreads connections over its sockets.
    """
    sockets: list[socket.socket] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sockets.append(sock)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            sock.listen(BACKLOG)
        except OSError as error:
            for opened in sockets:
                opened.close()
            hint = f": {PRIVILEGED_PORT}" if error.errno == errno.EACCES else ""
            raise MinipacsError(f"cannot listen on {address} port {port}: {error.strerror}{hint}") from error
        sock.settimeout(0)
        port = sock.getsockname()[1]
    return sockets


def address_of(sock: socket.socket) -> str:
    """Return where a socket listens, as `address:port`."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown_address(address: str) -> str:
    """Return an address as people write it: one of IPv4 that came through an IPv6 socket as what it is."""
    return address.removeprefix(_MAPPED) if address.startswith(_MAPPED) and "." in address else address


@dataclass(slots=True)
class _Connection:
    """One that is open; `has_given_way` once it was cut to make room."""

    transport: Transport
    address: str
    has_given_way: bool = False

    @property
    def is_silent(self) -> bool:
        """Tell whether nobody would miss it: its peer has not said who it is."""
        return not self.transport.is_named and not self.has_given_way


class Listener:
    """Accepts connections from `sockets`, non-blocking ones, when told to; each is served in a thread by `acceptor`.

    Those of `encrypted` speak TLS. `ended_fd` becomes readable when a connection has ended after `close` or `watch`.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        acceptor: "Acceptor",
        max_associations: int,
        encrypted: Mapping[socket.socket, ssl.SSLContext] = MappingProxyType({}),
    ) -> None:
        self.sockets = {sock.fileno(): sock for sock in (*sockets, *encrypted)}
        self._encrypted = encrypted
        self.ended_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._acceptor = acceptor
        self._max_connections = max_associations + MAX_PENDING_CONNECTIONS
        self._stop_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._connections: dict[threading.Thread, _Connection] = {}
        self._log = SummedLog(logger)
        self._lock = threading.Lock()
        self._is_watched = False
        self._reserve: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._connections)

    def watch(self) -> None:
        """Tell of connections that end from now on."""
        self._is_watched = True

    def close(self) -> None:
        """Leave new connections to other processes; those accepted go on."""
        self.watch()
        for sock in self.sockets.values():
            sock.close()
        self.sockets = {}

    def end(self) -> None:
        """Abort idle associations; running operations get `SHUTDOWN_GRACE_S`, then their connections are cut."""
        self.close()
        os.eventfd_write(self._stop_fd, 1)
        self._join(SHUTDOWN_GRACE_S)
        with self._lock:
            for open_ in self._connections.values():
                open_.transport.interrupt()
        self._join(SHUTDOWN_GRACE_S)

    def accept(self, fd: int) -> None:
        """Accept a connection from one of `sockets`, unless another process was quicker."""
        sock = self.sockets[fd]
        try:
            connection, name = sock.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                self._turn_away(sock)
            return
        address = shown_address(str(name[0]))
        if not self._has_room(address):
            self._log.warn("too many connections: one closed", address, {})
            connection.close()
            return
        try:
            transport = Transport(connection, self._stop_fd)
            if sock in self._encrypted:
                transport.secure(self._encrypted[sock])
        except OSError:  # reset before it was accepted, by a port scanner
            connection.close()
            return
        thread = threading.Thread(target=self._serve, args=(transport, address), daemon=True)
        with self._lock:
            self._connections[thread] = _Connection(transport, address)
        try:
            thread.start()
        except RuntimeError as error:  # the system's limit of threads or memory
            logger.error("out of threads: connection closed", extra={"fields": {"reason": str(error)}})
            with self._lock:
                del self._connections[thread]
            transport.close()

    def tell(self) -> None:
        """Write what the log was spared; to be called now and then."""
        self._log.tell()
        self._acceptor.summed.tell()
        self._acceptor.alerts.tell()

    def _has_room(self, address: str) -> bool:
        """Make room for one more connection, if need be and one can give way; the new one counts for its address."""
        with self._lock:
            excess = len(self._connections) - self._max_connections
            if excess < 0:
                return True
            silent = [open_ for open_ in self._connections.values() if open_.is_silent]
            if not silent or excess >= MAX_CLOSING_CONNECTIONS:
                return False
            crowd = Counter(open_.address for open_ in silent)
            crowd[address] += address in crowd
            most, _ = crowd.most_common(1)[0]
            victim = next(open_ for open_ in silent if open_.address == most)  # the first has waited longest
            victim.has_given_way = True
            victim.transport.interrupt()
        self._log.warn("too many connections: a silent one closed", victim.address, {})
        return True

    def _turn_away(self, sock: socket.socket) -> None:
        """Close a connection that there is no descriptor for: left in the backlog it would keep `poll` returning."""
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        with suppress(OSError):  # another thread may be quicker to take the descriptor, here and below
            sock.accept()[0].close()
            logger.error("out of file descriptors: connection closed")
        with suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _serve(self, transport: Transport, address: str) -> None:
        try:
            self._acceptor.run(transport, address)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]
            if self._is_watched:
                os.eventfd_write(self.ended_fd, 1)

    def _join(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._lock:
            threads = list(self._connections)
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
