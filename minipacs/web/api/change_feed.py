"""The change feed and the keys that were added to the table, as Microsoft's DICOM service tells them (its v2).

Not in the standard; programs that follow an archive are written for it. The events are those of `minipacs changes`.
"""

import asyncio
import json
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from starlette.responses import Response

from minipacs.archive.reader import ObjectUnreadable
from minipacs.dicom.tables.attributes import Attribute
from minipacs.index import StoredInstance
from minipacs.index.ledger.changes import Event
from minipacs.web.answers import Refusal
from minipacs.web.environment import Ask
from minipacs.web.representations.accept import Offer
from minipacs.web.representations.metadata_cache import ROOT
from minipacs.web.streaming import streamed

MAX_EVENTS = 200
USUAL_EVENTS = 100
"""Of one answer."""
MAX_TAGS = 200

_JSON = Offer("application/json")
_LEVELS = {"PATIENT": "Study", "STUDY": "Study", "SERIES": "Series", "IMAGE": "Instance"}
"""Their table has no patients."""


async def feed(ask: Ask) -> Response:
    """Answer with events, the oldest first, of a span of time if one is asked for."""
    ask.choose([_JSON])
    limit, offset = ask.page(USUAL_EVENTS, MAX_EVENTS, least=1)
    start, end = _time(ask, "starttime"), _time(ask, "endtime")
    if start is not None and end is not None and start >= end:
        raise Refusal(400, "startTime is before endTime")
    with_metadata = ask.switch("includemetadata", default=True)
    events = await asyncio.to_thread(ask.environment.archive.index.changes_between, start, end, offset, limit)
    pieces = _array(ask, events, with_metadata=with_metadata)
    return await streamed(pieces, media_type=_JSON.media_type, headers={"Cache-Control": "no-store"})


async def latest(ask: Ask) -> Response:
    """Answer with the last event; 204 if there was none."""
    ask.choose([_JSON])
    with_metadata = ask.switch("includemetadata", default=True)
    event = await asyncio.to_thread(ask.environment.archive.index.last_change)
    if event is None:
        return Response(status_code=204)
    document = await asyncio.to_thread(_entry, ask, event, with_metadata=with_metadata)
    return Response(document, media_type=_JSON.media_type, headers={"Cache-Control": "no-store"})


async def tags(ask: Ask) -> Response:
    """Answer with the keys that `index.keys` adds."""
    ask.choose([_JSON])
    limit, offset = ask.page(MAX_TAGS, MAX_TAGS, least=1)
    found = await asyncio.to_thread(_tags, ask)
    return Response(json.dumps(found[offset : offset + limit]), media_type=_JSON.media_type)


async def tag(ask: Ask) -> Response:
    """Answer with one of them, named by its tag or keyword."""
    ask.choose([_JSON])
    name = ask.path["tag"]
    for attribute, told in zip(
        ask.environment.archive.index.keys.extended, await asyncio.to_thread(_tags, ask), strict=True
    ):
        if name in (attribute.keyword, told["Path"]) or name.upper() == told["Path"]:
            return Response(json.dumps(told), media_type=_JSON.media_type)
    raise Refusal(404, "no key of this name was added: see index.keys")


def _tags(ask: Ask) -> list[dict[str, object]]:
    index = ask.environment.archive.index
    unfilled = " ".join(index.unfilled_keys())
    return [_tag(attribute, is_filled=attribute.keyword not in unfilled) for attribute in index.keys.extended]


def _tag(attribute: Attribute, *, is_filled: bool) -> dict[str, object]:
    return {
        "Path": f"{attribute.tag:08X}",
        "VR": attribute.vr,
        "PrivateCreator": attribute.creator or None,
        "Level": _LEVELS[attribute.level],
        "Status": "Ready" if is_filled else "Adding",
        "QueryStatus": "Enabled",
        "Errors": None,
        "Operation": None,
    }


def _array(ask: Ask, events: Iterable[Event], *, with_metadata: bool) -> Iterator[bytes]:
    between = b"["
    for event in events:
        yield between + _entry(ask, event, with_metadata=with_metadata)
        between = b","
    yield b"]" if between == b"," else b"[]"


def _entry(ask: Ask, event: Event, *, with_metadata: bool) -> bytes:
    """Write an event, with the metadata of the object that it left if that is still current."""
    now = ask.environment.archive.index.instance(event.sop_instance_uid)
    is_current = now is not None and event.action != "delete" and event.digest == now.digest
    state = "deleted" if now is None else "current" if is_current else "replaced"
    document = {
        "Sequence": event.seq,
        "StudyInstanceUid": event.study_uid,
        "SeriesInstanceUid": event.series_uid,
        "SopInstanceUid": event.sop_instance_uid,
        "Action": event.action,
        "Timestamp": _timestamp(event.at),
        "State": state,
    }
    metadata = _metadata(ask, event, now) if with_metadata and is_current and now is not None else b"null"
    return json.dumps(document)[:-1].encode() + b', "Metadata": ' + metadata + b"}"


def _timestamp(seconds: float) -> str:
    """Write a time, never a later one: an event is within the span that begins with its own."""
    whole = datetime.fromtimestamp(math.floor(seconds * 1000) / 1000, UTC)
    return whole.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _metadata(ask: Ask, event: Event, instance: StoredInstance) -> bytes:
    path = f"/studies/{event.study_uid}/instances/{event.sop_instance_uid}"
    try:
        return ask.environment.metadata.get(instance, path).replace(ROOT, ask.service.encode())
    except ObjectUnreadable:
        return b"null"


def _time(ask: Ask, name: str) -> float | None:
    """Read a time with its zone, in seconds since 1970. A plus sign that was not escaped came as a space."""
    text = ask.parameter(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise Refusal(400, f"{name} is a time such as 2024-01-31T12:00:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
