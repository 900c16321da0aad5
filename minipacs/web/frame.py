"""What every request passes through: it gets an id, bounds, an answer if it fails, and a line in the log.

A plain ASGI application around another. Handlers raise `Refusal` or `Failure`; anything else is a fault of ours, told
to the client by its id alone. An answer that fails once it has begun is cut: the server closes the connection before
the answer's end, so that no client takes it for whole.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from minipacs.errors import Failure, Kind
from minipacs.web.answers import Refusal, document, refusal_of

logger = logging.getLogger(__name__)

MAX_TARGET_BYTES = 8192
BODY_TIMEOUT_S = 60.0
"""For the next bytes of a body."""
MIN_BODY_BYTES_S = 256
"""In a second of waiting, once a body has been waited for so long: who sends a byte now and then is given up, too."""
SEND_TIMEOUT_S = 60.0
"""For a client to make room for the next bytes of an answer."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
}
"""On every answer that does not say otherwise: what is stored here may hold pages with scripts."""
_ENCODED = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Observe = Callable[[str, int, float, int, int], None]
"""Counts a request: its route, status, duration in seconds, bytes received, bytes sent."""

UNROUTED = "other"
"""The route of what has none, in metrics."""


class ClientGone(Exception):
    """The client has closed the connection, or takes nothing any more: nobody is left to answer."""


class Frame:
    """Around `app`; `observe` hears of each request when it has ended.

    The scope's `state` gets `id`; whoever handles the request puts its `route`, a template, and `user` there, and what
    else the log should say into `log`.
    """

    def __init__(self, app: App, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        try:
            if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
                raise Refusal(414, f"the target of a request may have {MAX_TARGET_BYTES} bytes")
            await self._app(scope, exchange.receive, exchange.send)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Failure as failure:
            if failure.kind is Kind.BROKEN:
                logger.error("request failed", extra={"fields": {"id": exchange.id, "reason": str(failure)}})
            await exchange.refuse(refusal_of(failure))
        except ClientGone:
            exchange.is_cut = True
        except Exception:
            logger.exception("request failed", extra={"fields": {"id": exchange.id}})
            await exchange.refuse(Refusal(500, "this is a fault of the archive; its log has the id"))
        finally:
            self._end(exchange)
        if exchange.is_cut:
            raise ClientGone

    def _end(self, exchange: "Exchange") -> None:
        duration_s = time.monotonic() - exchange.began_at
        state = exchange.scope["state"]
        route = state.get("route", UNROUTED)
        self._observe(route, exchange.status, duration_s, exchange.received_bytes, exchange.sent_bytes)
        fields = {
            "id": exchange.id,
            "client": (exchange.scope.get("client") or ("",))[0],
            "user": state.get("user", ""),
            "method": exchange.scope["method"],
            "route": route,
            "status": exchange.status,
            "received_bytes": exchange.received_bytes,
            "sent_bytes": exchange.sent_bytes,
            "duration_ms": round(duration_s * 1000, 1),
            **state.get("log", {}),
            **({"cut": "yes"} if exchange.is_cut else {}),
        }
        logger.info("HTTP", extra={"fields": {name: value for name, value in fields.items() if value != ""}})


class Exchange:
    """One request and its answer on their way: counted, bounded in time, with the headers that every answer has."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.id = secrets.token_hex(6)
        self.began_at = time.monotonic()
        self.status = 0
        self.received_bytes = self.sent_bytes = 0
        self.is_cut = False
        self._waited_s = 0.0
        self._has_whole_body = False
        self._receive = receive
        self._send = send
        scope.setdefault("state", {})["id"] = self.id

    async def receive(self) -> Message:
        """Receive what comes next; a client that sends its body too slowly is given up.

        Behind the body, where only the end of the connection can come, nothing limits the time.
        """
        if self._has_whole_body:
            return await self._receive()
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(408, f"no byte of the body for {BODY_TIMEOUT_S:g} s") from None
        self._waited_s += time.monotonic() - began_at
        self.received_bytes += len(message.get("body", b""))
        self._has_whole_body = not message.get("more_body")
        if self._waited_s > BODY_TIMEOUT_S and self.received_bytes < self._waited_s * MIN_BODY_BYTES_S:
            raise Refusal(408, f"the body comes at less than {MIN_BODY_BYTES_S} bytes a second")
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer; a client that takes nothing is given up."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = list(message.get("headers", ()))
            names = {name.lower() for name, _ in told}
            own = [header for header in _ENCODED if header[0] not in names]
            message["headers"] = [*told, *own, (b"x-request-id", self.id.encode())]
        else:
            self.sent_bytes += len(message.get("body", b""))
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._send(message)
        except TimeoutError:
            raise ClientGone from None

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error, or cut the answer that has begun."""
        if self.status:
            self.is_cut = True
            return
        body = document(refusal, self.id)
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            **refusal.headers,
            **({"Connection": "close"} if self._is_kept_waiting() else {}),
        }
        encoded = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": encoded})
        is_head = self.scope["method"] == "HEAD"
        await self.send({"type": "http.response.body", "body": b"" if is_head else body})

    def _is_kept_waiting(self) -> bool:
        """Tell whether the client waits for leave to send its body, which then does not come (RFC 9110 10.1.1)."""
        expects = any(name == b"expect" for name, _ in self.scope["headers"])
        return expects and not self.received_bytes and not self._has_whole_body
