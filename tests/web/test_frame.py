"""What becomes of requests that fail, before their answer has begun and after; what is logged and counted."""

import asyncio
import json
import logging
from typing import Any

import pytest

from minipacs.errors import Failure, Kind
from minipacs.web import frame
from minipacs.web.answers import STATUSES, Refusal
from minipacs.web.frame import MAX_TARGET_BYTES, ClientGone, Frame


class Client:
    """A client in memory: what it sends, what it got."""

    def __init__(self, app: Any, method: str = "GET", path: str = "/x", query: bytes = b"", body: bytes = b"") -> None:
        self.sent: list[dict[str, Any]] = []
        self.observed: list[tuple[Any, ...]] = []
        self.is_cut = False
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [],
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        async def run() -> None:
            await Frame(app, lambda *what: self.observed.append(what))(scope, receive, send)

        try:
            asyncio.run(run())
        except ClientGone:
            self.is_cut = True
        self.status = self.sent[0]["status"] if self.sent else 0
        self.headers = {k.decode(): v.decode() for k, v in (self.sent[0]["headers"] if self.sent else [])}
        self.body = b"".join(message.get("body", b"") for message in self.sent)


def failing(error: Exception, *, begun: bool = False) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["route"] = "/x"
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    return app


def test_a_good_answer_has_an_id_and_the_headers_of_all(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] |= {"route": "/x", "user": "anna"}
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": message["body"] * 2})

    client = Client(app, body=b"12345", query=b"PatientName=Doe")
    assert (client.status, client.body) == (200, b"1234512345")
    assert client.headers["x-content-type-options"] == "nosniff"
    (record,) = caplog.records
    fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
    assert fields["id"] == client.headers["x-request-id"]
    assert (fields["user"], fields["route"], fields["sent_bytes"], fields["received_bytes"]) == ("anna", "/x", 10, 5)
    assert "Doe" not in str(fields)
    ((route, status, _, received, sent),) = client.observed
    assert (route, status, received, sent) == ("/x", 200, 5, 10)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_failure_has_its_status(kind: Kind):
    client = Client(failing(Failure(kind, "words")))
    assert client.status == STATUSES[kind]
    assert json.loads(client.body)["details"] == "words"
    assert json.loads(client.body)["id"] == client.headers["x-request-id"]
    assert ("retry-after" in client.headers) == (client.status in (503, 507))


def test_a_refusal_says_what_is_allowed_and_keeps_its_headers():
    client = Client(failing(Refusal(405, "only GET", {"Allow": "GET"})))
    assert (client.status, client.headers["allow"]) == (405, "GET")


def test_a_fault_of_ours_is_told_by_its_id_alone(caplog: pytest.LogCaptureFixture):
    client = Client(failing(RuntimeError("secret")))
    assert client.status == 500
    assert b"secret" not in client.body
    failed = next(record for record in caplog.records if record.exc_info)
    assert failed.fields["id"] == json.loads(client.body)["id"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [Failure(Kind.BROKEN, "x"), Refusal(404, "x"), RuntimeError("x"), ClientGone()])
def test_an_answer_that_fails_once_begun_is_cut(error: Exception):
    client = Client(failing(error, begun=True))
    assert client.is_cut
    assert client.status == 200
    assert client.body == b""


def test_head_has_no_body():
    client = Client(failing(Refusal(404, "x")), method="HEAD")
    assert client.body == b""
    assert int(client.headers["content-length"]) > 0


def test_a_target_that_is_too_long():
    assert Client(failing(RuntimeError()), query=b"x" * MAX_TARGET_BYTES).status == 414


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frame, "BODY_TIMEOUT_S", 0.01)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def never() -> Any:
            await asyncio.Event().wait()

        await frame.Exchange(scope, never, send).receive()

    assert Client(app).status == 408


def test_a_body_that_comes_in_drops_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frame, "BODY_TIMEOUT_S", 0.01)
    monkeypatch.setattr(frame, "MIN_BODY_BYTES_S", 1_000_000_000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def drop() -> Any:
            await asyncio.sleep(0.001)
            return {"type": "http.request", "body": b"x", "more_body": True}

        exchange = frame.Exchange(scope, drop, send)
        for _ in range(1000):
            await exchange.receive()

    assert Client(app).status == 408


def test_an_answer_may_take_its_time(monkeypatch: pytest.MonkeyPatch):
    """Behind the body nothing is to come: who waits for the connection's end does not end the answer."""
    monkeypatch.setattr(frame, "BODY_TIMEOUT_S", 0.01)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def next_message() -> Any:
            for message in messages:
                return message
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        exchange = frame.Exchange(scope, next_message, send)
        await exchange.receive()
        assert (await exchange.receive())["type"] == "http.disconnect"
        await exchange.send({"type": "http.response.start", "status": 200})

    assert Client(app).status == 200


def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frame, "SEND_TIMEOUT_S", 0.01)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def never(message: Any) -> None:
            await asyncio.Event().wait()

        exchange = frame.Exchange(scope, receive, never)
        await exchange.send({"type": "http.response.start", "status": 200})

    assert Client(app).is_cut
