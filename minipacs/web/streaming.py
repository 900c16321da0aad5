"""Answers that are made in threads: whole if they are small, else a batch at a time while the one before is sent."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from minipacs.web.frame import ClientGone, Receive, Scope, Send

BATCH_BYTES = 1 << 20
BATCH_S = 0.005
"""Who waits for the first results of a long search gets them when so much time, or so much memory, is taken."""
JOINED_BYTES, SMALL_BYTES = 1 << 16, 1 << 12
"""An answer that is no more than the first is sent as one piece, and so are neighbours that are no more than the second
together; of what is larger no copy is made."""


@dataclass(frozen=True, slots=True)
class _Batch:
    pieces: list[bytes | memoryview]
    is_last: bool


async def streamed(
    pieces: Iterator[bytes | memoryview],
    status: int = 200,
    *,
    media_type: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make an answer of what a blocking iterator gives, which is closed in any case.

    What fails in the first batch is raised here, before anything is answered; later on the answer is cut.
    """
    return await asyncio.to_thread(begun, pieces, status, media_type=media_type, headers=headers)


def begun(
    pieces: Iterator[bytes | memoryview],
    status: int = 200,
    *,
    media_type: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Do what `streamed` does, for a thread that has other work with the same request."""
    first = _next_batch(pieces)
    if not first.is_last:
        return _Streamed(first, pieces, status, headers, media_type)
    length = sum(map(len, first.pieces))
    if length <= JOINED_BYTES:
        return Response(b"".join(first.pieces), status, headers, media_type)
    return _Streamed(first, pieces, status, {**(headers or {}), "Content-Length": str(length)}, media_type)


class _Streamed(Response):
    """The rest of an answer whose first batch is there."""

    def __init__(
        self,
        first: _Batch,
        rest: Iterator[bytes | memoryview],
        status: int,
        headers: Mapping[str, str] | None,
        media_type: str,
    ) -> None:
        self.status_code, self.media_type, self.background = status, media_type, None
        self._first, self._rest = first, rest
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises ClientGone when the client has closed the connection."""
        gone = None if self._first.is_last else asyncio.ensure_future(_hear_of_end(receive))
        following: asyncio.Future[_Batch] | None = None
        batch = self._first
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            is_head = scope["method"] == "HEAD"
            while not (batch.is_last or is_head):
                following = asyncio.ensure_future(asyncio.to_thread(_next_batch, self._rest))
                await _send_all(send, batch)
                batch, following = await following, None
                if gone is not None and gone.done():
                    raise ClientGone
            if not is_head:
                await _send_all(send, batch)
            await send({"type": "http.response.body"})
        finally:
            if gone is not None:
                gone.cancel()
            if following is not None:
                await asyncio.wait([following])
            if not batch.is_last:
                await asyncio.to_thread(_close, self._rest)


async def _send_all(send: Send, batch: _Batch) -> None:
    for piece in batch.pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _hear_of_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _next_batch(pieces: Iterator[bytes | memoryview]) -> _Batch:
    found: list[bytes | memoryview] = []
    size = 0
    ends_at = time.monotonic() + BATCH_S
    try:
        for piece in pieces:
            if found and len(found[-1]) + len(piece) <= SMALL_BYTES:
                found[-1] = b"".join((found[-1], piece))
            else:
                found.append(piece)
            size += len(piece)
            if size >= BATCH_BYTES or time.monotonic() > ends_at:
                return _Batch(found, is_last=False)
    except BaseException:
        _close(pieces)
        raise
    return _Batch(found, is_last=True)


def _close(pieces: Iterator[bytes | memoryview]) -> None:
    with contextlib.suppress(AttributeError):
        pieces.close()  # type: ignore[attr-defined]
