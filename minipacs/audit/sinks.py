"""Where audit messages go: a file with a line each, and a collector of syslog (PS3.15 A.6, A.7; RFC 5424 to 5426).

A sink takes records in order and says how many of them it has for good. It may block for a while: the courier gives
each a thread of its own.
"""

import fcntl
import logging
import os
import socket
import ssl
import struct
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from minipacs.audit.spool import Record

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 30.0
CONFIRM_TIMEOUT_S = 10.0
CONFIRM_POLL_S = 0.02
UNSURE_S = 3.0
"""What was sent this shortly before a connection broke without a word is sent again: twice is better than never."""
MAX_UNSURE_RECORDS = 4096
MAX_DATAGRAM_BYTES = 65000
LONG_DATAGRAM_BYTES = 1400

_FACILITY = 10
_BOM = b"\xef\xbb\xbf"


class Sink(Protocol):
    """Something that keeps or carries audit messages."""

    name: str

    def take(self, records: Sequence[Record]) -> None:
        """Return when the sink has all of `records` for good.

        Raises OSError, ValueError and MinipacsError; then all of them are to come again.
        """
        ...

    def close(self) -> None:
        """End it in an orderly way."""
        ...


class FileSink:
    """A file with a message a line, for its owner and group alone; safe with logrotate.

    On the first message of a new day (UTC) what is there moves to `NAME.YYYY-MM-DD`; such files older than `keep_days`
    go, with 0 none does.
    """

    name = "file"

    def __init__(self, path: Path, keep_days: int) -> None:
        self._path = path
        self._keep_days = keep_days

    def take(self, records: Sequence[Record]) -> None:
        """Append the messages and sync the file."""
        if not records:
            return
        self._rotate(datetime.now(UTC))
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            start = os.fstat(fd).st_size
            data = memoryview(b"".join(record.payload + b"\n" for record in records))
            try:
                while data:
                    data = data[os.write(fd, data) :]
                os.fsync(fd)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, start)  # no half of a line; the whole comes again
                raise
        finally:
            os.close(fd)

    def close(self) -> None:
        """Nothing is open between calls."""

    def _rotate(self, now: datetime) -> None:
        try:
            written = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return
        if written.date() >= now.date():
            return
        target = self._path.with_name(f"{self._path.name}.{written:%Y-%m-%d}")
        number = 0
        while target.exists():
            number += 1
            target = self._path.with_name(f"{self._path.name}.{written:%Y-%m-%d}.{number}")
        self._path.rename(target)
        if self._keep_days:
            self._forget((now - timedelta(days=self._keep_days)).date().isoformat())

    def _forget(self, before: str) -> None:
        for path in rotated(self._path):
            if path.name[len(self._path.name) + 1 :][:10] < before:
                path.unlink(missing_ok=True)
                logger.info("old audit file removed", extra={"fields": {"file": path.name}})


def rotated(path: Path) -> list[Path]:
    """List the files of earlier days beside the one at `path`, oldest first."""
    found = path.parent.glob(f"{path.name}.[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*")
    return sorted(found, key=lambda p: (p.name[: len(path.name) + 11], len(p.name), p.name))


class Framer:
    """Writes records as syslog messages of this host and process (RFC 5424 6)."""

    def __init__(self) -> None:
        host = "".join(c for c in socket.gethostname() if "!" <= c <= "~") or "-"
        # MSGID: IHE ITI-20 demands it, PS3.15 A.6 leaves it open.
        self._origin = f" {host[:255]} minipacs {os.getpid()} IHE+RFC-3881 - ".encode()

    def __call__(self, record: Record) -> bytes:
        """Give the whole message."""
        at = datetime.fromtimestamp(record.at_ns / 1e9, UTC).isoformat(timespec="milliseconds")
        priority = f"<{_FACILITY * 8 + record.severity}>1 {at.removesuffix('+00:00')}Z"
        return priority.encode() + self._origin + _BOM + record.payload


class UdpSink:
    """A collector that takes datagrams: nothing tells whether they arrive (RFC 5426)."""

    name = "syslog"

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._frame = Framer()
        self._warned = False

    def take(self, records: Sequence[Record]) -> None:
        """Send a datagram for each record; one that fits into none is told in the log."""
        if not records:
            return
        family, kind, protocol, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as sock:
            for record in records:
                message = self._frame(record)
                if len(message) > LONG_DATAGRAM_BYTES and not self._warned:
                    self._warned = True
                    fields = {"bytes": len(message), "remedy": 'audit.syslog = "tls://..."'}
                    logger.warning("audit messages longer than a datagram carries safely", extra={"fields": fields})
                sock.sendto(message[:MAX_DATAGRAM_BYTES], address)

    def close(self) -> None:
        """Nothing is open between calls."""


class TlsSink:
    """A collector that takes a stream over TLS, each message with its length before it (RFC 5425).

    Syslog acknowledges nothing. A message counts as taken when the collector's kernel has all of it and the connection
    stands; what went out shortly before a connection broke without close_notify is sent again.
    """

    name = "syslog"

    def __init__(self, host: str, port: int, context: Callable[[], ssl.SSLContext]) -> None:
        self._address = host, port
        self._context = context
        self._frame = Framer()
        self._connection: ssl.SSLSocket | None = None
        self._recent: deque[tuple[float, Record]] = deque(maxlen=MAX_UNSURE_RECORDS)
        self._again: list[Record] = []

    def take(self, records: Sequence[Record]) -> None:
        """Send records and wait until they are out; without any, see whether the connection still stands."""
        if self._connection is not None and not self._stands(self._connection):
            self._drop()
        if not records:
            return
        if self._connection is None:
            self._connection = self._connect()
        told = [*self._again, *records]
        try:
            for record in told:
                message = self._frame(record)
                self._connection.sendall(b"%d %b" % (len(message), message))
            self._confirm(self._connection)
        except OSError:
            self._drop()
            raise
        self._again = []
        sent_at = time.monotonic()
        self._recent.extend((sent_at, record) for record in told)

    def close(self) -> None:
        """Say goodbye: with a bare close collectors lose what came last."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with connection, suppress(OSError):
            connection.settimeout(CONFIRM_TIMEOUT_S)
            connection.unwrap().close()

    def _connect(self) -> ssl.SSLSocket:
        context = self._context()
        plain = socket.create_connection(self._address, CONNECT_TIMEOUT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection = context.wrap_socket(plain, server_hostname=self._address[0], suppress_ragged_eofs=False)
        except (OSError, ValueError):
            plain.close()
            raise
        connection.settimeout(SEND_TIMEOUT_S)
        return connection

    def _stands(self, connection: ssl.SSLSocket) -> bool:
        """Tell whether the connection is open; it brings nothing but its end and what TLS itself has to say."""
        connection.settimeout(0)
        try:
            if not connection.recv(1):
                self._recent.clear()  # it said goodbye: it has read everything before
            return False
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except OSError:
            return False
        finally:
            connection.settimeout(SEND_TIMEOUT_S)

    def _confirm(self, connection: ssl.SSLSocket) -> None:
        """Wait until the other kernel has everything. Raises OSError if the connection is over or time runs out."""
        ends_at = time.monotonic() + CONFIRM_TIMEOUT_S
        while True:
            (waiting,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))
            if not self._stands(connection):
                raise ConnectionResetError("the collector closed the connection")
            if not waiting:
                return
            if time.monotonic() >= ends_at:
                raise TimeoutError("the collector does not read")
            time.sleep(CONFIRM_POLL_S)

    def _drop(self) -> None:
        """Leave a connection that has broken; what may have been lost with it is to go over the next one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        now = time.monotonic()
        self._again += [record for at, record in self._recent if now - at < UNSURE_S]
        self._recent.clear()
