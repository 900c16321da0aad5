"""HTTP as a client: one request to a server that is named by its URL. It follows no redirect and uses no proxy."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from minipacs import __version__
from minipacs.errors import MinipacsError

MAX_ANSWER_BYTES = 4 << 20
"""Longer answers are refused."""
SUCCESS = range(200, 300)


class HttpFailed(MinipacsError):
    """No answer was had: the server is away, refuses the connection, breaks it off, or takes too long.

    `was_connected` tells that something may have been taken.
    """

    def __init__(self, words: str, *, was_connected: bool) -> None:
        super().__init__(words)
        self.was_connected = was_connected


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered with."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """A server that is posted to at `url`; `context` is asked for what TLS needs. Times are in seconds.

    `answer_s` is how long the whole answer may take once all was sent, `idle_s` how long nothing may be taken before.
    """

    url: str
    context: Callable[[], ssl.SSLContext]
    connect_s: float
    idle_s: float
    answer_s: float

    @property
    def label(self) -> str:
        """Return its host and port, for logs and metrics: what else a URL has may be a secret."""
        return label_of(self.url)

    def post(self, headers: Mapping[str, str], body: bytes | Iterable[bytes | memoryview], path: str = "") -> Answer:
        """Send a POST to the URL, with `path` behind its own; a body in pieces needs a Content-Length among `headers`.

        What the body raises ends it. Raises HttpFailed, MinipacsError for files of [tls] that are no good.
        """
        found = urlsplit(self.url)
        target = (found.path.rstrip("/") if path else found.path) + path or "/"
        connection = self._connection()
        try:
            connection.connect()
        except OSError as error:
            raise HttpFailed(f"{self.label}: {_words(error)}", was_connected=False) from error
        try:
            return self._ask(connection, f"{target}?{found.query}" if found.query else target, headers, body)
        except (OSError, http.client.HTTPException) as error:
            raise HttpFailed(f"{self.label}: {_words(error)}", was_connected=True) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        found = urlsplit(self.url)
        host, port = found.hostname or "", found.port
        if found.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self.connect_s, context=self.context())
        return http.client.HTTPConnection(host, port, timeout=self.connect_s)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes | memoryview],
    ) -> Answer:
        connection.sock.settimeout(self.idle_s)
        sent_to_its_end = True
        try:
            connection.request("POST", target, body, {"User-Agent": f"minipacs/{__version__}", **headers})
        except (BrokenPipeError, ConnectionResetError):  # who refuses early may have said why
            sent_to_its_end = False
        is_late = threading.Event()
        clock = threading.Timer(self.answer_s, _shut, [connection.sock, is_late])
        clock.daemon = True
        clock.start()
        try:
            response = connection.getresponse()
            answer = Answer(response.status, response.read(MAX_ANSWER_BYTES + 1))
        except (OSError, http.client.HTTPException) as error:
            if is_late.is_set():
                raise TimeoutError from error
            raise
        finally:
            clock.cancel()
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise HttpFailed(f"{self.label}: its answer has more than {MAX_ANSWER_BYTES} bytes", was_connected=True)
        if not sent_to_its_end and answer.status in SUCCESS:
            raise HttpFailed(f"{self.label}: answered before it had all", was_connected=True)
        return answer


def label_of(url: str) -> str:
    """Return the host and port of a URL."""
    found = urlsplit(url)
    host = f"[{found.hostname}]" if ":" in (found.hostname or "") else found.hostname
    return f"{host}:{found.port or (443 if found.scheme == 'https' else 80)}"


def _shut(sock: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.HTTPException):
        return "no answer of HTTP" if not isinstance(error, http.client.IncompleteRead) else "its answer ended early"
    return getattr(error, "strerror", None) or type(error).__name__
