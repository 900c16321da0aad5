"""A server of HTTP that keeps what it is sent, and answers as a test wants."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.body.splitlines()]


class Listener:
    """Listens on a free port; `answer` gets each request and its number from 0, and returns the status.

    None hangs up. `body` is what answers have.
    """

    def __init__(self, answer: Callable[[Posted, int], int | None] = lambda posted, number: 200, body: bytes = b""):
        self.posted: list[Posted] = []
        self._came = threading.Condition()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body_ = self.rfile.read(int(self.headers["Content-Length"]))
                posted = Posted(self.path, {k.lower(): v for k, v in self.headers.items()}, body_)
                with listener._came:
                    number = len(listener.posted)
                    listener.posted.append(posted)
                    listener._came.notify_all()
                status = answer(posted, number)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def lines(self) -> list[dict[str, object]]:
        """Return the lines of all bodies."""
        return [line for posted in list(self.posted) for line in posted.lines]

    def wait(self, matches: Callable[[], object], timeout_s: float = 40) -> None:
        """Wait until something is so; it is looked at after each request."""
        with self._came:
            assert self._came.wait_for(matches, timeout_s), [posted.body for posted in self.posted]
