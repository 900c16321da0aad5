"""What handlers of requests are given: the archive, who may what, and the request at hand."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from starlette.responses import Response

from minipacs.archive.archive import Archive
from minipacs.dicom.tables.sop_classes import STORAGE
from minipacs.index import StoredInstance
from minipacs.web.access import Caller, Origin, Places, WebAccess, headers_of
from minipacs.web.answers import Refusal
from minipacs.web.auditing import Trail
from minipacs.web.folder import Folder
from minipacs.web.frame import ClientGone, Receive, Scope
from minipacs.web.representations import accept
from minipacs.web.representations.accept import Choice, Offer
from minipacs.web.representations.metadata_cache import MetadataCache

MAX_PARAMETERS = 1000
MAX_LIMIT = 1_000_000_000
"""Of numbers in a query."""
MAX_SOURCE_CHARS = 16
DICOM_WEB = "/dicom-web"

_NOT_OF_AE_TITLES = re.compile(r"[^ -\[\]-~]")

PATH_KEYS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}
"""Variable parts of paths that are unique keys, the outermost first."""


@dataclass(frozen=True)
class Environment:
    """What all requests have in common.

    `max_results` 0 means no limit; `storage_classes` are those that are taken; `page` is None if none is to be served,
    `ohif` is that viewer if it was installed. `destinations` are the peers that one can send to; `checks` looks at the
    whole installation and gives severity, subject and detail of what it finds.
    """

    archive: Archive
    ae_title: str
    access: WebAccess
    places: Places
    trail: Trail
    metadata: MetadataCache
    max_results: int = 0
    match_unknown: bool = False
    wake_jobs: Callable[[], None] = lambda: None
    storage_classes: Set[str] = frozenset(STORAGE)
    page: Folder | None = None
    ohif: Folder | None = None
    destinations: Sequence[str] = ()
    checks: Callable[[], Sequence[tuple[str, str, str]]] = tuple


@dataclass
class Ask:
    """One request: who asks for what, and how the answer may look.

    `path` are the variable parts of its path, `parameters` the pairs of its query, decoded; `warnings` go into the
    answer's header (PS3.18 8.3.4.2).
    """

    environment: Environment
    scope: Scope
    receive: Receive
    caller: Caller
    origin: Origin
    path: Mapping[str, str]
    parameters: Sequence[tuple[str, str]]
    warnings: list[str] = field(default_factory=list)
    found: Sequence[StoredInstance] = ()

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the header fields, names in lower case."""
        return headers_of(self.scope)

    @property
    def id(self) -> str:
        """Return what the log calls this request."""
        return str(self.scope["state"]["id"])

    @property
    def log(self) -> dict[str, object]:
        """Return what the log's line of this request says beside the rest."""
        found: dict[str, object] = self.scope["state"].setdefault("log", {})
        return found

    @property
    def source(self) -> str:
        """Return who asks, in the letters of an AE title: as whoever an object or a request came from is kept."""
        return _NOT_OF_AE_TITLES.sub("?", self.caller.name or self.caller.address)[:MAX_SOURCE_CHARS].strip()

    @property
    def service(self) -> str:
        """Return the root of the DICOMweb resources."""
        return f"{self.origin.url}{DICOM_WEB}"

    def parameter(self, name: str) -> str | None:
        """Return the one value of a parameter, None if it is absent. Raises Refusal 400 if there are several.

        Commas in it separate its parts, however they were written: browsers and viewers escape them.
        """
        values = [value for found, value in self.parameters if found.lower() == name]
        if len(values) > 1:
            raise Refusal(400, f"the parameter {name} may be there once")
        return plain(values[0]) if values else None

    def number(self, name: str) -> int | None:
        """Return a parameter that is a number, None if it is absent. Raises Refusal 400."""
        text = self.parameter(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= MAX_LIMIT):
            raise Refusal(400, f"{name} is a whole number, 0 or more")
        return int(text)

    def page(self, usual: int, most: int, least: int = 0) -> tuple[int, int]:
        """Return `limit`, or what is usual, and `offset`, or 0. Raises Refusal 400 for a limit out of its bounds."""
        limit = self.number("limit")
        limit = usual if limit is None else limit
        if not least <= limit <= most:
            raise Refusal(400, f"limit is from {least} to {most}")
        return limit, self.number("offset") or 0

    def switch(self, name: str, *, default: bool = False) -> bool:
        """Return a parameter that is true or false. Raises Refusal 400."""
        text = self.parameter(name)
        if text is not None and text.lower() not in ("true", "false"):
            raise Refusal(400, f"{name} is true or false")
        return default if text is None else text.lower() == "true"

    def choose(self, offers: Sequence[Offer]) -> Choice:
        """Choose how to answer. Raises Refusal 406 with what there is, 400 for wishes that exclude each other."""
        if any(map(accept.is_mixed, (self.headers.get("accept", ""), self.parameter("accept") or ""))):
            raise Refusal(400, "either DICOM or renderings of it are asked for, not both in one list")
        found = accept.choose(offers, self.headers.get("accept"), self.parameter("accept"))
        if found is None:
            named = (f'multipart/related; type="{o.media_type}"' if o.is_multipart else o.media_type for o in offers)
            raise Refusal(406, f"this can be had as {', '.join(named)}")
        return found

    async def body(self) -> AsyncIterator[bytes]:
        """Give the body as it comes. Raises Refusal 408, ClientGone."""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def whole_body(self, most_bytes: int) -> bytes:
        """Read a small body. Raises Refusal 413."""
        found = bytearray()
        async for piece in self.body():
            found += piece
            if len(found) > most_bytes:
                raise Refusal(413, f"the body may have {most_bytes} bytes")
        return bytes(found)


Handler = Callable[[Ask], Awaitable[Response]]


def read_query(query: bytes) -> list[tuple[str, str]]:
    """Decode the pairs of a query; a comma that was written as %2C stays that way, since bare ones separate values.

    Raises Refusal 400.
    """
    pairs = [pair for pair in query.split(b"&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise Refusal(400, f"a query may have {MAX_PARAMETERS} parameters")
    found: list[tuple[str, str]] = []
    for pair in pairs:
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        if name:
            found.append((_text(name), _text(value)))
    return found


def _text(raw: bytes) -> str:
    try:
        text = unquote_to_bytes(raw.replace(b"%2C", b"%252C").replace(b"%2c", b"%252C")).decode()
    except UnicodeDecodeError:
        raise Refusal(400, "the query must be UTF-8 behind its percent signs") from None
    if "\0" in text:
        raise Refusal(400, "the query holds a NUL")
    return text


def plain(text: str) -> str:
    """Give a value of which a comma is part."""
    return text.replace("%2C", ",")
