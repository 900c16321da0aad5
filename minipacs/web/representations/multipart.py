"""multipart/related in pieces, both ways (RFC 2046 5.1, RFC 2387, PS3.18 8.6.1.2): nothing holds more than a piece."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minipacs.errors import MinipacsError

MAX_HEAD_BYTES = 16384
"""Header fields of one part, in all."""
MAX_PARTS = 100_000
MAX_BOUNDARY_BYTES = 200
"""More than the 70 of RFC 2046 5.1.1: Orthanc sends 73."""

_CRLF = b"\r\n"
_NOT_IN_BOUNDARY = frozenset(b'\r\n"\\')


class BadMultipart(MinipacsError):
    """A body that is no multipart, or is cut short; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """The header fields of a part, names in lower case; its data follow."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartEnds:
    """All data of the part have been given."""


Event = PartBegins | PartEnds | memoryview


class Reader:
    """Takes a body in pieces of any size and gives its parts, their data as views of the pieces where that is possible.

    A view is good until the next piece. Of a part whose header cannot be read, or a body that goes on without a
    boundary, no more than the limits above is kept. After an error the reader is of no further use.
    """

    def __init__(self, boundary: bytes) -> None:
        if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES or _NOT_IN_BOUNDARY.intersection(boundary):
            raise BadMultipart(f"the boundary must have 1 to {MAX_BOUNDARY_BYTES} characters, no quotes among them")
        self._delimiter = _CRLF + b"--" + boundary
        self._rest = _CRLF  # the first boundary may stand at the very beginning
        self._advance = self._preamble
        self._parts = 0
        self.is_complete = False

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Give what the next piece of the body brings. Raises BadMultipart."""
        data = self._rest + piece if self._rest else piece
        self._rest = b""
        position = 0
        while not self.is_complete:
            event, after = self._advance(data, position)
            if event is not None:
                yield event
            if after is None:
                return
            position = after

    def finish(self) -> None:
        """Tell that the body has ended. Raises BadMultipart unless its last boundary was there."""
        if not self.is_complete:
            what = "without its closing boundary" if self._parts else "without a boundary"
            raise BadMultipart(f"the body ends {what}")

    def _preamble(self, data: bytes, position: int) -> tuple[Event | None, int | None]:
        found = data.find(self._delimiter, position)
        if found < 0:
            self._keep_end(data, position)
            return None, None
        self._advance = self._delimited
        return None, found + len(self._delimiter)

    def _delimited(self, data: bytes, position: int) -> tuple[Event | None, int | None]:
        """Look behind a boundary: two hyphens end the body, white space and a line break begin a part."""
        if data.startswith(b"--", position):
            self.is_complete = True
            return None, None
        line_end = data.find(_CRLF, position)
        if line_end < 0 and len(data) - position < MAX_HEAD_BYTES:
            self._rest = data[position:]
            return None, None
        if line_end < 0 or data[position:line_end].strip(b" \t"):
            raise BadMultipart("a boundary is followed by other text")
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadMultipart(f"more than {MAX_PARTS} parts")
        self._advance = self._head
        return None, line_end

    def _head(self, data: bytes, position: int) -> tuple[Event | None, int | None]:
        end = data.find(_CRLF + _CRLF, position)
        if end < 0 or end - position > MAX_HEAD_BYTES:
            if len(data) - position > MAX_HEAD_BYTES:
                raise BadMultipart(f"the header of part {self._parts} is longer than {MAX_HEAD_BYTES} bytes")
            self._rest = data[position:]
            return None, None
        self._advance = self._body
        return PartBegins(_fields(data[position:end])), end + len(_CRLF)

    def _body(self, data: bytes, position: int) -> tuple[Event | None, int | None]:
        """Step over the line break behind the header, unless it begins the next boundary: a part without data."""
        ahead = data[position : position + len(self._delimiter)]
        if ahead == self._delimiter:
            return self._end(position)
        if self._delimiter.startswith(ahead):
            self._rest = ahead
            return None, None
        self._advance = self._data
        return None, position + len(_CRLF)

    def _data(self, data: bytes, position: int) -> tuple[Event | None, int | None]:
        found = data.find(self._delimiter, position)
        if found == position:
            return self._end(found)
        end = found if found >= 0 else self._keep_end(data, position)
        view = memoryview(data)[position:end] if end > position else None
        return view, found if found >= 0 else None

    def _end(self, found: int) -> tuple[Event, int]:
        self._advance = self._delimited
        return PartEnds(), found + len(self._delimiter)

    def _keep_end(self, data: bytes, position: int) -> int:
        """Keep what may be the beginning of a boundary for the next piece; give where it starts."""
        at = data.find(b"\r", max(position, len(data) - len(self._delimiter) + 1))
        while at >= 0 and not self._delimiter.startswith(data[at:]):
            at = data.find(b"\r", at + 1)
        if at < 0:
            return len(data)
        self._rest = data[at:]
        return at


def _fields(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block.split(_CRLF):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found


class Writer:
    """Writes a body: for each part a head, then the caller's data; at the end `close`.

    The boundary is random, so that no data hold it.
    """

    def __init__(self, media_type: str) -> None:
        self.media_type = media_type
        self._boundary = secrets.token_hex(16)
        self.content_type = f'multipart/related; type="{media_type}"; boundary={self._boundary}'
        self._is_first = True

    def head(self, content_type: str, *, location: str = "", length: int | None = None) -> bytes:
        """Give what stands before the data of the next part."""
        lines = [f"--{self._boundary}", f"Content-Type: {content_type}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if location:
            lines.append(f"Content-Location: {location}")
        before, self._is_first = "" if self._is_first else "\r\n", False
        return (before + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def close(self) -> bytes:
        """Give what stands behind the last part."""
        return f"\r\n--{self._boundary}--\r\n".encode("latin-1")
