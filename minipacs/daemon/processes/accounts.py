"""Accounts of associations on their way from the workers, which do not wait for it, to the table in the index."""

import logging
import os
import select
import socket
import threading
from contextlib import suppress
from dataclasses import replace

from minipacs.archive.ports import Catalogue
from minipacs.errors import MinipacsError
from minipacs.net.account import packed
from minipacs.net.explanation import Explanation

logger = logging.getLogger(__name__)

BUFFER_BYTES = 1 << 20
"""Accounts on their way, as far as the system allows; what finds no room is dropped."""
MAX_ACCOUNT_BYTES = 8 << 10
"""An account, compressed; one that is larger is kept without its contexts. With all that are kept: 80 MB at most."""
MAX_BATCH = 256


def channel() -> tuple[socket.socket, socket.socket]:
    """Make the way, before the fork: the workers' end and the jobs process's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for sock in (ours, theirs):
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return ours, theirs


def send(sock: socket.socket, told: Explanation) -> None:
    """Send an account, if there is room for it; from any thread."""
    document = packed(told)
    if len(document) > MAX_ACCOUNT_BYTES:
        document = packed(replace(told, contexts=[]))
    try:
        sock.send(told.association_id.encode() + b"\0" + document)
    except OSError as error:
        fields = {"association": told.association_id, "reason": error.strerror}
        logger.warning("account of an association dropped", extra={"fields": fields})


class Keeper:
    """A thread that puts accounts into the table, as many in a commit as have come meanwhile; until `close`."""

    def __init__(self, sock: socket.socket, index: Catalogue) -> None:
        self._sock = sock
        self._index = index
        self._closing = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="accounts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Keep what has been sent, and end."""
        os.eventfd_write(self._closing, 1)
        self._thread.join()
        os.close(self._closing)

    def is_alive(self) -> bool:
        """Tell whether accounts are kept."""
        return self._thread.is_alive()

    def _run(self) -> None:
        poll = select.poll()
        for fd in (self._sock.fileno(), self._closing):
            poll.register(fd, select.POLLIN)
        is_over = False
        while not is_over:
            is_over = self._closing in [fd for fd, _ in poll.poll()]
            while batch := self._received():
                self._keep(batch)

    def _keep(self, batch: list[tuple[str, bytes]]) -> None:
        """Put accounts into the table; whatever goes wrong with these, the next ones are kept."""
        try:
            self._index.associations.add(batch)
        except MinipacsError as error:
            fields = {"accounts": len(batch), "reason": str(error)}
            logger.warning("accounts of associations dropped", extra={"fields": fields})
        except Exception:
            logger.exception("accounts of associations dropped", extra={"fields": {"accounts": len(batch)}})

    def _received(self) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        with suppress(BlockingIOError):
            while len(found) < MAX_BATCH and (message := self._sock.recv(2 * MAX_ACCOUNT_BYTES)):
                association_id, _, document = message.partition(b"\0")
                found.append((association_id.decode("utf-8", "replace"), document))
        return found
