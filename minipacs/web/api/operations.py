"""What a page for operations needs and no standard has: statistics, associations, quarantine, conflicts, health."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime

from starlette.responses import Response

from minipacs import __version__
from minipacs.archive.archive import Archive
from minipacs.archive.care.disagreements import document_of
from minipacs.index.ledger.associations import MAX_KEPT
from minipacs.index.queries.inventory import DAY_S, Day
from minipacs.net import account
from minipacs.web.answers import Refusal
from minipacs.web.api.answering import MAX_ROWS, USUAL_ROWS, answer, time_of
from minipacs.web.environment import Ask

USUAL_DAYS = 30
MAX_DAYS = 3660
"""Of growth."""


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


async def growth(ask: Ask) -> Response:
    """Tell what came on each of the last days, of what is still there."""
    days = ask.number("days")
    days = USUAL_DAYS if days is None else days
    if not 1 <= days <= MAX_DAYS:
        raise Refusal(400, f"days is from 1 to {MAX_DAYS}")
    since = (time.time() // DAY_S - days + 1) * DAY_S
    return await _answer(ask, lambda archive: [_day(found) for found in archive.index.growth(since)])


async def health(ask: Ask) -> Response:
    """Tell whether objects can be stored now: 200, or 503 and why not; and what `check` and `verify` have found."""
    shortage = await asyncio.to_thread(ask.environment.archive.shortage)
    checks = await asyncio.to_thread(ask.environment.checks)
    last = await asyncio.to_thread(ask.environment.archive.index.checks.last)
    document = {
        "status": "failing" if shortage else "ok",
        "reason": shortage,
        "version": __version__,
        "verify": {"at": time_of(last.ended_at), "findings": last.findings} if last.ended_at else None,
        "checks": [{"severity": severity, "what": what, "detail": detail} for severity, what, detail in checks],
    }
    return answer(ask, document, 503 if shortage else 200)


async def _answer(ask: Ask, make: Callable[[Archive], object]) -> Response:
    return answer(ask, await asyncio.to_thread(make, ask.environment.archive))


def _statistics(archive: Archive) -> dict[str, object]:
    figures = archive.figures()
    found = {field.name: getattr(figures, field.name) for field in fields(figures)}
    found["by_modality"] = dict(figures.by_modality)
    queues = archive.index.routed.queue, archive.index.webhooks.queue
    found["deliveries_given_up"] = sum(dead for queue in queues for _, _, dead in queue.waiting().values())
    return found


def _day(found: Day) -> dict[str, object]:
    day = datetime.fromtimestamp(found.begins_at, UTC).date().isoformat()
    return {"day": day, "instances": found.instances, "bytes": found.size_bytes}


def _quarantine(archive: Archive) -> list[dict[str, object]]:
    return [
        {"digest": f.digest, "since": time_of(f.since), "size_bytes": f.size_bytes, "reason": f.reason}
        for f in archive.tree.quarantine.files()
    ]


def _association(document: bytes) -> dict[str, object]:
    return _timed(account.described(account.unpacked(document)), "began_at")


def _timed(found: dict[str, object], name: str = "found_at") -> dict[str, object]:
    return {**found, name: time_of(float(str(found[name])))}
