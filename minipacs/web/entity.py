"""What a client has already of a representation, and which part of it is asked for (RFC 9110 13 and 14)."""

import hashlib
import re
from collections.abc import Iterator, Sequence

from minipacs.index import StoredInstance
from minipacs.web.answers import Refusal
from minipacs.web.environment import Ask

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def etag(instances: Sequence[StoredInstance], *more: str) -> str:
    """Make an entity tag of what is stored and how it is asked for (RFC 9110 8.8.3)."""
    found = hashlib.sha256("\n".join(more).encode())
    for instance in instances:
        found.update(f"{instance.digest}{instance.amendments}\n".encode())
    return f'"{found.hexdigest()[:32]}"'


def matches(header: str, tag: str) -> bool:
    """Tell whether If-None-Match names a tag, weakly or not, or any."""
    named = [one.strip().removeprefix("W/") for one in header.split(",")]
    return tag in named or named == ["*"]


class Span:
    """What is answered of `size_bytes`: the bytes from `start` to before `end`, with its status and header fields."""

    def __init__(self, ask: Ask, size_bytes: int, tag: str) -> None:
        """Read what was asked for; several ranges get the whole (14.2). Raises Refusal 416."""
        self.start, self.end, self.status = 0, size_bytes, 200
        self.headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        found = _RANGE.fullmatch(ask.headers.get("range", "").replace(" ", ""))
        if found and ask.headers.get("if-range", tag) == tag and (found[1] or found[2]):
            self.start = int(found[1]) if found[1] else max(size_bytes - int(found[2]), 0)
            self.end = min(int(found[2]) + 1, size_bytes) if found[1] and found[2] else size_bytes
            self.status = 206
            if self.start >= self.end:
                raise Refusal(416, f"there are {size_bytes} bytes", {"Content-Range": f"bytes */{size_bytes}"})
            self.headers["Content-Range"] = f"bytes {self.start}-{self.end - 1}/{size_bytes}"
        self.headers["Content-Length"] = str(self.end - self.start)

    def cut(self, pieces: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        """Give what is answered of all the bytes."""
        position = 0
        for piece in pieces:
            first, last = max(self.start - position, 0), self.end - position
            position += len(piece)
            if first < len(piece) and last > 0:
                yield piece[first:last]
            if position >= self.end:
                return
