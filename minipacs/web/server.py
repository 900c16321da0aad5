"""The HTTP server: uvicorn on sockets that are open already, with the bounds that it does not set itself."""

import asyncio
import logging
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from minipacs.net.listener import BACKLOG, shown_address
from minipacs.web.answers import Refusal, document
from minipacs.web.frame import App

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 65536
"""Request line and header fields of one request."""
HEAD_TIMEOUT_S = 30.0
"""From the beginning of a connection, or of the next request on it, to the end of its header fields."""
KEEP_ALIVE_S = 75
FIRST_REQUEST_S = 1.0
"""What a connection that is new is given to ask, when a process leaves: its request may be on the way."""
MAX_CONNECTIONS = 500
"""Of one process; who comes later is answered 503."""
MAX_CONNECTIONS_OF_ADDRESS = 200

_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


class BoundedProtocol(HttpToolsProtocol):
    """One connection: its requests begin within a time, and their heads have a size."""

    _by_address: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a client with very many connections is not let in."""
        super().connection_made(transport)
        if self.client:
            self.client = shown_address(self.client[0]), self.client[1]
        self._address = self.client[0] if self.client else ""
        self._by_address[self._address] += 1
        self._head_ends: asyncio.TimerHandle | None = None
        self._is_leaving = False
        if self._by_address[self._address] > MAX_CONNECTIONS_OF_ADDRESS:
            self._answer(503, "too many connections from this address")
        else:
            self._await_head(0)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._head_is_there()
        self._by_address[self._address] -= 1
        if not self._by_address[self._address]:
            del self._by_address[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes; a head without an end is cut off."""
        if self._head_ends is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_ends is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._answer(431, f"header fields may have {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if self._head_ends is None:
            self._await_head(1)

    def on_headers_complete(self) -> None:
        """Go on to its body; a head that came in one piece has a size, too."""
        self._head_is_there()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._answer(431, f"header fields may have {MAX_HEAD_BYTES} bytes")
            return
        super().on_headers_complete()
        if self._is_leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Leave with the request that is under way, or with the first one of a connection that is new."""
        if self.cycle is None and not self._is_leaving:
            self._is_leaving = True
            self.loop.call_later(FIRST_REQUEST_S, self.shutdown)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request."""
        self._answer(400, "this is no request of HTTP")

    def _await_head(self, seen_bytes: int) -> None:
        self._head_bytes = seen_bytes
        self._head_ends = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def _head_is_there(self) -> None:
        if self._head_ends is not None:
            self._head_ends.cancel()
            self._head_ends = None

    def _head_is_late(self) -> None:
        self._head_ends = None
        if self._head_bytes:
            self._answer(408, f"the head of a request has {HEAD_TIMEOUT_S:g} s")
        else:
            self.transport.close()

    def _answer(self, status: int, words: str) -> None:
        """Answer without the application, and close; as there, the log has the id that the client is told."""
        self._head_is_there()
        if self.transport.is_closing():
            return
        request_id = secrets.token_hex(6)
        body = document(Refusal(status, words), request_id)
        fields = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
        self.transport.write(f"HTTP/1.1 {status} \r\nx-request-id: {request_id}\r\n{fields}\r\n".encode() + body)
        logger.info("HTTP", extra={"fields": {"id": request_id, "client": self._address, "status": status}})
        self.transport.close()


class WebServer(uvicorn.Server):
    """Serves `app` on listening sockets until `leave` is called; signals are the caller's.

    `drain_s` is what requests under way are given at the end. The sockets are closed at the end.
    """

    def __init__(
        self, app: App, sockets: Sequence[socket.socket], drain_s: float, context: ssl.SSLContext | None = None
    ) -> None:
        options: dict[str, Any] = {} if context is None else {"ssl_context_factory": lambda *_: context}
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what matters is logged by us
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(drain_s),
                limit_concurrency=MAX_CONNECTIONS,
                backlog=BACKLOG,
                **options,
            )
        )
        self._sockets = list(sockets)

    def run_until_left(self) -> None:
        """Serve; returns when the last request has ended after `leave`."""
        self.run(self._sockets)

    def run_beside(self, other: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Serve, with `other` running in the same loop; it is cancelled at the end."""

        async def both() -> None:
            beside = asyncio.ensure_future(other())
            try:
                await self.serve(self._sockets)
            finally:
                beside.cancel()

        uvloop.run(both())

    def leave(self, *, at_once: bool = False) -> None:
        """Take no new connections, and end with the last request, or at once. From any thread."""
        self.should_exit = True
        self.force_exit = self.force_exit or at_once

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield
