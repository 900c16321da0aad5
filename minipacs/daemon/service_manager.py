"""What systemd gives a service and is told by it: sockets, readiness, the watchdog (sd_listen_fds(3), sd_notify(3))."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

from minipacs.errors import MinipacsError

FIRST_FD = 3
MAX_SOCKETS = 64


def inherited_sockets() -> list[tuple[str, socket.socket]]:
    """Return the listening sockets that were opened for us, with their names. Raises MinipacsError for other ones.

    What tells of them leaves the environment, so that no child mistakes them for its own.
    """
    pid, count, names = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    if int(count) > MAX_SOCKETS:
        raise MinipacsError(f"LISTEN_FDS={count}: at most {MAX_SOCKETS} sockets can be passed")
    given = names.split(":") if names else []
    return list(_sockets(int(count), given))


def _sockets(count: int, names: list[str]) -> Iterator[tuple[str, socket.socket]]:
    for i in range(count):
        try:
            sock = socket.socket(fileno=FIRST_FD + i)
        except OSError as error:
            raise MinipacsError(f"descriptor {FIRST_FD + i} of LISTEN_FDS is no socket: {error.strerror}") from None
        is_listening = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or not is_listening:
            raise MinipacsError(f"descriptor {FIRST_FD + i} of LISTEN_FDS is no listening TCP socket")
        sock.set_inheritable(inheritable=False)
        sock.settimeout(0)
        yield (names[i] if i < len(names) else ""), sock


class ServiceManager:
    """Who is told how the service does, if anybody wants to know."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        pid, usec = (os.environ.pop(f"WATCHDOG_{name}", "") for name in ("PID", "USEC"))
        is_for_us = pid in ("", str(os.getpid())) and usec.isdecimal() and self._address
        self.watchdog_s: float | None = int(usec) / 1e6 if is_for_us and int(usec) else None
        """The service is restarted if `alive` is not called for so long; None: it is not watched."""

    def ready(self, status: str) -> None:
        """Tell that associations are accepted."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Tell what is going on."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """Tell that the configuration is being read again; `ready` follows."""
        self._send("RELOADING=1\nSTATUS=reloading")

    def stopping(self, status: str) -> None:
        """Tell that the service is about to end."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(0)
            sock.sendto(text.encode(), address)
