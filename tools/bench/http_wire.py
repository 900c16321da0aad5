"""A client of HTTP that does little itself: prepared bytes out, the answer into one buffer, looked at afterwards."""

import re
import socket
import time
from collections.abc import Iterable, Iterator

TIMEOUT_S = 120
BUFFER_BYTES = 96 << 20
"""Room for the largest answer of a work."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class HttpError(OSError):
    """An answer that is none, or not the one that was to come."""


class Http:
    """One connection that is kept, where the server keeps it.

    `first_s` and `whole_s` tell how long the last answer took, to the first byte of its body and to the last.
    """

    def __init__(self, port: int, buffer: bytearray | None = None) -> None:
        self.port = port
        self.first_s = self.whole_s = 0.0
        self._buffer = memoryview(buffer if buffer is not None else bytearray(BUFFER_BYTES))
        self._connect()

    def get(self, path: str, accept: str = "*/*") -> memoryview:
        """Fetch what is at a path; gives the body, good until the next request."""
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: {accept}\r\n\r\n".encode())

    def post(self, path: str, content_type: str, body: Iterable[bytes], length: int | None = None) -> memoryview:
        """Send a body piece by piece, in chunks if its length is not known; gives that of the answer."""
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: application/dicom+json\r\n"
            f"Content-Type: {content_type}\r\n{framing}\r\n\r\n"
        )
        return self.ask(head.encode(), _chunked(body) if length is None else body)

    def ask(self, head: bytes, body: Iterable[bytes] = ()) -> memoryview:
        """Send a request and receive its answer to the end. Raises HttpError unless it is 200."""
        started = time.perf_counter()
        self._sock.sendall(head)
        for piece in body:
            self._sock.sendall(piece)
        received = head_bytes = 0
        while head_bytes < 4 or received == head_bytes:
            received = self._receive(received)
            head_bytes = head_bytes if head_bytes > 3 else bytes(self._buffer[:received]).find(b"\r\n\r\n") + 4
        self.first_s = time.perf_counter() - started
        told = bytes(self._buffer[:head_bytes])
        length, is_chunked = _LENGTH.search(told), bool(_CHUNKED.search(told))
        if not told.startswith(b"HTTP/1.1 200 "):
            raise HttpError(told.split(b"\r\n")[0].decode("latin-1"))
        if length:
            while received < head_bytes + int(length[1]):
                received = self._receive(received)
        elif is_chunked:
            while self._buffer[received - len(_LAST_CHUNK) : received] != _LAST_CHUNK:
                received = self._receive(received)
        else:
            while count := self._sock.recv_into(self._buffer[received:]):
                received += count
        self.whole_s = time.perf_counter() - started
        if not (length or is_chunked):
            self.close()
            self._connect()
        found = self._buffer[head_bytes:received]
        return _unchunked(found) if is_chunked else found

    def drain(self, path: str, least_bytes: int) -> None:
        """Fetch what is too large to be kept. Raises HttpError if it is not large."""
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n\r\n"
        self._sock.sendall(head.encode())
        received = 0
        while count := self._sock.recv_into(self._buffer):
            received += count
        if received < least_bytes:
            raise HttpError(f"{received} bytes are not the whole answer")

    def close(self) -> None:
        self._sock.close()

    def _connect(self) -> None:
        self._sock = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _receive(self, position: int) -> int:
        count = self._sock.recv_into(self._buffer[position:])
        if not count:
            raise HttpError("the connection ended in the middle of an answer")
        return position + count


def _chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n" % len(piece)
        yield piece
        yield b"\r\n"
    yield b"0\r\n\r\n"


def _unchunked(raw: memoryview) -> memoryview:
    """Take the chunks out of their frames, where they lie."""
    read = written = 0
    while True:
        line_end = bytes(raw[read : read + 20]).index(b"\r\n")
        size = int(bytes(raw[read : read + line_end]).split(b";")[0], 16)
        if not size:
            return raw[:written]
        read += line_end + 2
        raw[written : written + size] = raw[read : read + size]
        written, read = written + size, read + size + 2
