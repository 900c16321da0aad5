"""Answers made in threads: small ones whole, long ones in batches; the source is closed, whatever happens."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from minipacs.web import streaming
from minipacs.web.frame import ClientGone
from minipacs.web.streaming import streamed


class Source:
    """Pieces that tell when they are closed."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.is_closed = False
        self.threads: set[int] = set()
        self.pieces = self._give(pieces, error)

    def _give(self, pieces: tuple[bytes, ...], error: Exception | None) -> Iterator[bytes]:
        try:
            for piece in pieces:
                self.threads.add(threading.get_ident())
                yield piece
            if error is not None:
                raise error
        finally:
            self.is_closed = True


def ask(source: Source, *, method: str = "GET", leaves: bool = False) -> list[dict[str, Any]]:
    """Have an answer sent; give what was."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if leaves and sent:
            return {"type": "http.disconnect"}
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    async def run() -> None:
        response = await streamed(source.pieces, media_type="text/plain")
        await response({"type": "http", "method": method}, receive, send)

    asyncio.run(run())
    return sent


def body(sent: list[dict[str, Any]]) -> bytes:
    return b"".join(message.get("body", b"") for message in sent)


def test_what_is_small_has_a_length():
    source = Source(b"ab", b"c")
    sent = ask(source)
    assert body(sent) == b"abc"
    assert (b"content-length", b"3") in sent[0]["headers"]
    assert source.is_closed


def test_what_is_large_has_a_length_too_and_is_not_copied():
    large = bytes(streaming.JOINED_BYTES)
    source = Source(b"head", b"more", large, b"end")
    sent = ask(source)
    assert (b"content-length", str(len(large) + 11).encode()) in sent[0]["headers"]
    assert [message.get("body", b"")[:8] for message in sent[1:]] == [b"headmore", bytes(8), b"end", b""]
    assert any(message.get("body") is large for message in sent)
    assert source.is_closed


def test_what_is_long_comes_in_batches_and_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "BATCH_BYTES", 2)
    source = Source(*(bytes([n]) for n in range(9)))
    sent = ask(source)
    assert body(sent) == bytes(range(9))
    assert b"content-length" not in dict(sent[0]["headers"])
    assert source.is_closed
    assert threading.get_ident() not in source.threads


def test_what_fails_first_is_raised_before_anything_is_sent():
    source = Source(error=ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        ask(source)
    assert source.is_closed


def test_what_fails_later_is_raised_in_the_middle(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "BATCH_BYTES", 1)
    source = Source(b"a", b"b", error=ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        ask(source)
    assert source.is_closed


def test_nothing_more_is_made_for_a_client_that_has_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "BATCH_BYTES", 1)
    source = Source(*[b"x"] * 1000)
    with pytest.raises(ClientGone):
        ask(source, leaves=True)
    assert source.is_closed


def test_a_head_costs_no_more_than_a_batch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "BATCH_BYTES", 1)
    source = Source(*[b"x"] * 1000)
    sent = ask(source, method="HEAD")
    assert body(sent) == b""
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert source.is_closed
