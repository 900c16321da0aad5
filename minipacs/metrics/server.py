"""The HTTP server that answers /metrics, /healthz and /readyz."""

import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MAX_CONNECTIONS = 32
REQUEST_TIMEOUT_S = 5
"""For the next bytes of a request, or for those of an answer to be taken."""
TOTAL_TIMEOUT_S = 10.0
"""For a request and its answer in all: after that the connection is cut."""
ACCEPT_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class MetricsServer(ThreadingTCPServer):
    """Answers HTTP on a listening socket from a thread of its own until `close`, which leaves the socket open.

    `ready` gives the reason why associations are not accepted, None while they are.
    """

    daemon_threads = True
    timeout = 0

    def __init__(self, sock: socket.socket, registry: CollectorRegistry, ready: Callable[[], str | None]) -> None:
        self.address: tuple[str, int] = sock.getsockname()[:2]
        super().__init__(self.address, _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock.dup()
        self.socket.settimeout(0)
        self.registry = registry
        self.ready = ready
        self._open: dict[socket.socket, float] = {}
        self._open_lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._closing = threading.Event()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        poll.register(self._wake_fd, select.POLLIN)
        while not self._closing.is_set():
            poll.poll(self._cut_late() * 1000)
            self.handle_request()

    def _cut_late(self) -> float:
        """Cut connections that are open for too long; returns the seconds until the next may be."""
        now = time.monotonic()
        with self._open_lock:
            for connection, began in self._open.items():
                if now - began >= TOTAL_TIMEOUT_S:
                    _cut(connection)
            return (
                min((TOTAL_TIMEOUT_S - (now - began) for began in self._open.values()), default=TOTAL_TIMEOUT_S) + 0.1
            )

    def close(self) -> None:
        """Accept no more, and let answers that are under way come to their end."""
        self._closing.set()
        os.eventfd_write(self._wake_fd, 1)
        self._thread.join()
        self.server_close()
        os.close(self._wake_fd)
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        for _ in range(MAX_CONNECTIONS):
            self._places.acquire(timeout=max(deadline - time.monotonic(), 0))

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection, if no other process was quicker; while there are no descriptors for one, do not spin."""
        try:
            return super().get_request()
        except BlockingIOError:
            raise
        except OSError:
            self._closing.wait(ACCEPT_RETRY_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread while there are not too many; other connections are closed at once."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._open_lock:
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self._leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then free the place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def shutdown_request(self, request: Any) -> None:
        """End a connection: from now on nobody cuts it, since its descriptor may become another's."""
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def _leave(self, request: Any) -> None:
        with self._open_lock:
            self._open.pop(request, None)
        self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a bug; a client that went away or never spoke is not news."""
        if not isinstance(sys.exception(), OSError):
            logger.exception("metrics request failed")


def _cut(connection: socket.socket) -> None:
    """End what the owner of a connection waits for."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One request of one connection (HTTP/1.0); the base class bounds the request line and the headers."""

    server: MetricsServer
    timeout = REQUEST_TIMEOUT_S
    server_version = "minipacs"
    sys_version = ""
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def do_GET(self) -> None:
        """Answer one of the three pages."""
        page = _PAGES.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        status, content_type, body = page(self.server)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Log no request: there is one every few seconds."""


Page = tuple[HTTPStatus, str, bytes]
TEXT = "text/plain; charset=utf-8"


def _metrics_page(server: MetricsServer) -> Page:
    return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(server.registry)


def _health_page(server: MetricsServer) -> Page:
    return HTTPStatus.OK, TEXT, b"ok\n"


def _ready_page(server: MetricsServer) -> Page:
    reason = server.ready()
    return (HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK), TEXT, f"{reason or 'ready'}\n".encode()


_PAGES: Mapping[str, Callable[[MetricsServer], Page]] = {
    "/metrics": _metrics_page,
    "/healthz": _health_page,
    "/readyz": _ready_page,
}
