"""A collector of syslog over mutual TLS, with octet counting (RFC 5425); it can be away, and come back."""

import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.support.certificates import Pair

BOM = b"\xef\xbb\xbf"
HEADER = re.compile(rb"<8[0-7]>1 \S+ \S+ minipacs \d+ IHE\+RFC-3881 - ")


class Collector:
    """Takes messages on a port that stays the same; `messages` are those that have come whole, in their order.

    It reads nothing while it `is_deaf`.
    """

    def __init__(self, pair: Pair, ca: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._context.load_verify_locations(ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self.messages: list[bytes] = []
        self.is_deaf = False
        self.goodbyes = 0
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self.port = 0
        self.come()

    def come(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, args=(self._listener,), daemon=True)
        self._thread.start()

    def go(self) -> None:
        """Go away without a word, with whatever was not read."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections = []

    def wait_for(self, count: int, timeout_s: float = 30) -> list[bytes]:
        """Wait until so many messages have come."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.messages) >= count, timeout_s)
            assert enough, f"{len(self.messages)} of {count} messages: {self.messages[-3:]}"
            return list(self.messages)

    def wait_for_text(self, text: bytes) -> bytes:
        """Wait for a message that has a text, and return it."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(text in message for message in self.messages), 30)
            return next(message for message in self.messages if text in message)

    def wait_for_goodbye(self) -> None:
        """Wait until a connection was closed as it should be."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.goodbyes > 0, 30)

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as connection:
                self._connections.append(connection)
                while self.is_deaf and connection.fileno() >= 0:
                    time.sleep(0.02)
                rest = b""
                while piece := connection.recv(65536):
                    rest = self._take(rest + piece)
                with self._changed:
                    self.goodbyes += 1
                    self._changed.notify_all()
        except OSError:
            pass

    def _take(self, data: bytes) -> bytes:
        """Take the whole frames; give what is left."""
        with self._changed:
            while found := re.match(rb"(\d+) ", data):
                end = found.end() + int(found[1])
                if len(data) < end:
                    break
                frame, data = data[found.end() : end], data[end:]
                header, bom, payload = frame.partition(BOM)
                assert bom, frame[:200]
                assert HEADER.fullmatch(header), frame[:200]
                self.messages.append(payload)
            self._changed.notify_all()
        return data
