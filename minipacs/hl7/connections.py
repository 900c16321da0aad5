"""Connections of MLLP: message, answer, message, in a thread each, for as long as the sender keeps them (MLLP 2)."""

import logging
import select
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from minipacs.hl7.framing import Frames, FramingError, framed
from minipacs.hl7.receiver import Reply
from minipacs.net.summed_log import SummedLog
from minipacs.net.wire.addresses import Network, read_address
from minipacs.net.wire.channel import HandshakeFailed
from minipacs.net.wire.transport import ConnectionLost, TimedOut, Transport, Woken

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
MAX_IDLE_S = 86400.0
"""Senders keep connections for hours without a word."""
READ_BYTES = 65536


class Observer(Protocol):
    """Counts what was answered."""

    def hl7_message(self, kind: str, code: str, /) -> None:
        """Count one message, by its type and MSA-1."""


class Connections:
    """Serves connections, each in its own thread; what `Listener` hands them to."""

    def __init__(
        self,
        take: Callable[[bytes, str], Reply],
        hosts: Sequence[Network],
        observer: Observer,
        *,
        handshake_s: float,
        message_s: float,
    ) -> None:
        self._take = take
        self._hosts = tuple(hosts)
        self._observer = observer
        self._handshake_s = handshake_s
        self._message_s = message_s
        self._summed = SummedLog(logger)

    def tell(self) -> None:
        """Write what the log was spared."""
        self._summed.tell()

    def run(self, transport: Transport, address: str) -> None:
        """Serve one connection to its end; the transport is closed then."""
        reason = ""
        try:
            if self._is_allowed(address):
                transport.establish(time.monotonic() + self._handshake_s, wakeable=True)
                transport.is_named = True
                self._serve(transport, address)
            else:
                reason = "its address is none of hl7.hosts"
        except (FramingError, HandshakeFailed) as error:
            reason = str(error)
        except TimedOut:
            reason = "a message or handshake took too long"
        except (ConnectionLost, Woken):
            pass
        except Exception:
            logger.exception("hl7 connection failed", extra={"fields": {"address": address}})
        finally:
            transport.close()
        if reason:
            self._summed.warn("hl7 connection closed", address, {"reason": reason})

    def _is_allowed(self, address: str) -> bool:
        found = read_address(address)
        return not self._hosts or (found is not None and any(found in host for host in self._hosts))

    def _serve(self, transport: Transport, address: str) -> None:
        """Answer one message after the other. Raises what ends a connection."""
        frames = Frames()
        space = memoryview(bytearray(READ_BYTES))
        deadline = time.monotonic() + MAX_IDLE_S
        while True:
            while (message := frames.next()) is not None:
                reply = self._take(message, address)
                self._observer.hl7_message(reply.kind, reply.code)
                if reply.answer is not None:
                    transport.send([framed(reply.answer)], self._message_s)
                deadline = time.monotonic() + MAX_IDLE_S
            was_open = frames.is_open
            transport.wait(select.POLLIN, deadline, wakeable=not was_open)
            size = transport.receive_now(space)
            frames.feed(space[:size])
            if frames.is_open and not was_open:
                deadline = time.monotonic() + self._message_s
