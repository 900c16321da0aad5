"""What a page for operations needs and no standard has: statistics, associations, quarantine, conflicts, health."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime

from starlette.responses import Response

from minipacs import __version__
from minipacs.archive.archive import Archive
from minipacs.archive.care.disagreements import document_of
from minipacs.index.ledger.associations import MAX_KEPT
from minipacs.net import account
from minipacs.web.accept import Offer
from minipacs.web.answers import Refusal
from minipacs.web.environment import Ask

USUAL_ROWS = 100
MAX_ROWS = 1000
"""Of one answer."""

_JSON = Offer("application/json")


async def statistics(ask: Ask) -> Response:
    """Tell how much there is."""
    return await _answer(ask, _statistics)


async def conflicts(ask: Ask) -> Response:
    """Tell what differs between objects that should agree."""
    most, offset = ask.page(USUAL_ROWS, MAX_ROWS)
    return await _answer(
        ask, lambda archive: [_timed(document_of(found)) for found in list(archive.index.conflicts())[offset:][:most]]
    )


async def quarantine(ask: Ask) -> Response:
    """List the files that were set aside, the oldest first."""
    most, offset = ask.page(USUAL_ROWS, MAX_ROWS)
    return await _answer(ask, lambda archive: _quarantine(archive)[offset : offset + most])


async def associations(ask: Ask) -> Response:
    """List the last associations, the latest first."""
    most, offset = ask.page(USUAL_ROWS, MAX_ROWS)
    if offset + most > MAX_KEPT:
        raise Refusal(400, f"the last {MAX_KEPT} associations are kept")
    return await _answer(
        ask,
        lambda archive: [
            _association(document) for document in archive.index.associations.last(offset + most)[offset:]
        ],
    )


async def association(ask: Ask) -> Response:
    """Tell all of one: each context that was proposed, its answer, and which setting would accept it."""
    found = await asyncio.to_thread(ask.environment.archive.index.associations.get, ask.path["association"])
    if found is None:
        raise Refusal(404, f"no such association is among the last {MAX_KEPT}")
    return await _answer(ask, lambda archive: _association(found))


async def health(ask: Ask) -> Response:
    """Tell whether objects can be stored now: 200, or 503 and why not."""
    shortage = await asyncio.to_thread(ask.environment.archive.shortage)
    document = {"status": "failing" if shortage else "ok", "reason": shortage, "version": __version__}
    return await _answer(ask, lambda archive: document, 503 if shortage else 200)


async def _answer(ask: Ask, make: Callable[[Archive], object], status: int = 200) -> Response:
    ask.choose([_JSON])
    found = await asyncio.to_thread(make, ask.environment.archive)
    document = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
    return Response(document, status, media_type=_JSON.media_type, headers={"Cache-Control": "no-store"})


def _statistics(archive: Archive) -> dict[str, object]:
    figures = archive.figures()
    found = {field.name: getattr(figures, field.name) for field in fields(figures)}
    found["by_modality"] = dict(figures.by_modality)
    return found


def _quarantine(archive: Archive) -> list[dict[str, object]]:
    return [
        {"digest": f.digest, "since": _time(f.since), "size_bytes": f.size_bytes, "reason": f.reason}
        for f in archive.tree.quarantine.files()
    ]


def _association(document: bytes) -> dict[str, object]:
    return _timed(account.described(account.unpacked(document)), "began_at")


def _timed(found: dict[str, object], name: str = "found_at") -> dict[str, object]:
    return {**found, name: _time(float(str(found[name])))}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
