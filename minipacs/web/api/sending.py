"""Sending studies and series to peers: orders that the jobs process works on (`jobs/sending.py`)."""

import asyncio

from starlette.responses import Response

from minipacs.dicom.tables.uids import is_uid
from minipacs.index.ledger.sends import Order, Send
from minipacs.web.answers import Refusal
from minipacs.web.api.answering import MAX_ROWS, USUAL_ROWS, answer, asked, time_of
from minipacs.web.environment import Ask


async def peers(ask: Ask) -> Response:
    """List the peers that one can send to."""
    return answer(ask, [{"title": title, "kind": "dimse"} for title in ask.environment.destinations])


async def order(ask: Ask) -> Response:
    """Order that a study or a series be sent. Raises Refusal 400, 404."""
    body = await asked(ask, peer=str, study=str, series=str)
    peer, study, series = (str(body.get(name) or "") for name in ("peer", "study", "series"))
    if peer not in ask.environment.destinations:
        raise Refusal(400, "peer is the title of a [[peer]] that has a host")
    if not is_uid(study) or (series and not is_uid(series)):
        raise Refusal(400, "study, and perhaps series, are UIDs")
    return answer(ask, _document(await asyncio.to_thread(_order, ask, peer, study, series)), 202)


async def listing(ask: Ask) -> Response:
    """List the orders, the latest first."""
    most, offset = ask.page(USUAL_ROWS, MAX_ROWS)
    found = await asyncio.to_thread(ask.environment.archive.index.sends.last)
    return answer(ask, [_document(send) for send in found[offset : offset + most]])


async def show(ask: Ask) -> Response:
    """Tell how far an order is. Raises Refusal 404."""
    found = await asyncio.to_thread(ask.environment.archive.index.sends.get, ask.path["send"])
    if found is None:
        raise _unknown()
    return answer(ask, _document(found))


async def drop(ask: Ask) -> Response:
    """Call an order off, or forget one that is over. Raises Refusal 403 for another one's, 404."""
    sends = ask.environment.archive.index.sends
    found = await asyncio.to_thread(sends.get, ask.path["send"])
    if found is None:
        raise _unknown()
    if found.order.by != ask.caller.name and "admin" not in ask.caller.rights:
        raise Refusal(403, "somebody else has ordered this: to call it off needs the right admin")
    await asyncio.to_thread(sends.drop, found.id)
    return Response(status_code=204)


def _order(ask: Ask, peer: str, study: str, series: str) -> Send:
    archive = ask.environment.archive
    wanted = Order(study, series, ask.caller.name, ask.caller.address)
    total = len(archive.index.instances(wanted.keys))
    if not total:
        raise Refusal(404, "nothing of this is stored")
    made = archive.index.sends.ask(peer, Order(study, series, ask.caller.name, ask.caller.address, total))
    ask.environment.wake_jobs()
    return made


def _unknown() -> Refusal:
    return Refusal(404, "there is no such order, or no more")


def _document(send: Send) -> dict[str, object]:
    found = send.order
    return {
        "id": send.id,
        "peer": send.peer,
        "study": found.study_instance_uid,
        "series": found.series_instance_uid,
        "by": found.by,
        "at": time_of(send.asked_at),
        "state": send.state,
        "total": found.total,
        "completed": found.completed,
        "warned": found.warned,
        "failed": found.failed,
        "words": found.words,
    }
