"""What waits to be done for others: the durable queue, and the storage commitments that were asked for."""

import asyncio
from collections.abc import Sequence

from starlette.responses import Response

from minipacs.archive.ports import Catalogue
from minipacs.index.ledger.queue import OPEN, Item, Queue
from minipacs.index.ledger.routed import ROUTES, shipment_of
from minipacs.index.workflow.commitments import STATE_WORDS, Account
from minipacs.web.answers import Refusal
from minipacs.web.api.answering import MAX_ROWS, USUAL_ROWS, answer, time_of
from minipacs.web.environment import Ask


async def listing(ask: Ask) -> Response:
    """List what waits, is being sent, is held or was given up, the oldest first; of some `queue`, in one `state`.

    Raises Refusal 400.
    """
    most, offset = ask.page(USUAL_ROWS, MAX_ROWS)
    state = ask.parameter("state")
    if state is not None and state not in OPEN:
        raise Refusal(400, f"state is one of {', '.join(OPEN)}")
    states = OPEN if state is None else (state,)
    found = await asyncio.to_thread(
        _items, ask.environment.archive.index, ask.parameter("queue"), states, offset + most
    )
    return answer(ask, [_document(queue, item) for queue, item in found[offset : offset + most]])


async def retry(ask: Ask) -> Response:
    """Let an item be tried now. Raises Refusal 404, 409."""
    index = ask.environment.archive.index
    queue, item = await _named(ask)
    if not await asyncio.to_thread(_retry, index, queue, item):
        raise Refusal(409, "it is being worked on now, or is over")
    ask.environment.wake_jobs()
    return Response(status_code=204)


async def drop(ask: Ask) -> Response:
    """Forget an item. Raises Refusal 404, 409."""
    index = ask.environment.archive.index
    queue, item = await _named(ask)
    if queue in (index.commitments.reading, index.commitments.telling):
        raise Refusal(409, "a storage commitment is answered, or given up in time: it cannot be dropped")
    await asyncio.to_thread(queue.change, lambda connection: queue.drop(connection, [item.key]))
    return Response(status_code=204)


async def commitments(ask: Ask) -> Response:
    """List the storage commitments that are known, the latest first."""
    most, offset = ask.page(USUAL_ROWS, MAX_ROWS)
    found = await asyncio.to_thread(ask.environment.archive.index.commitments.accounts)
    return answer(ask, [_account(account) for account in found[::-1][offset : offset + most]])


async def retry_commitment(ask: Ask) -> Response:
    """Let a peer be told again. Raises Refusal 404, 409."""
    commitments = ask.environment.archive.index.commitments
    row_id = _number(ask.path["item"])
    if row_id is None or await asyncio.to_thread(commitments.get, row_id) is None:
        raise Refusal(404, "there is no such commitment")
    if not await asyncio.to_thread(commitments.retry, row_id):
        raise Refusal(409, "nothing is to be told again: it was answered, is not read yet, or is being told")
    ask.environment.wake_jobs()
    return Response(status_code=204)


def _items(
    index: Catalogue, names: str | None = None, states: Sequence[str] = OPEN, most: int | None = None
) -> list[tuple[Queue, Item]]:
    """List items, all or the first, of all queues or of those of these names. Raises Refusal 400 for others."""
    sending = index.sends.queue, index.routed.queue, index.webhooks.queue
    known = {queue.name: queue for queue in (*sending, index.commitments.reading, index.commitments.telling)}
    wanted = list(known) if names is None else names.split(",")
    if not known.keys() >= set(wanted):
        raise Refusal(400, f"queue is some of {', '.join(known)}")
    found = [(known[name], item) for name in wanted for item in known[name].items(states, most=most)]
    return sorted(found, key=lambda pair: pair[1].id)


async def _named(ask: Ask) -> tuple[Queue, Item]:
    wanted = _number(ask.path["item"])
    for queue, item in await asyncio.to_thread(_items, ask.environment.archive.index):
        if item.id == wanted:
            return queue, item
    raise Refusal(404, "there is no such item, or no more")


def _retry(index: Catalogue, queue: Queue, item: Item) -> bool:
    if queue is index.commitments.telling:
        return index.commitments.retry(int(item.key))
    return queue.change(lambda connection: queue.retry(connection, item.key))


def _number(name: str) -> int | None:
    return int(name) if name.isascii() and name.isdecimal() and len(name) < 19 else None


def _document(queue: Queue, item: Item) -> dict[str, object]:
    shipment = shipment_of(item) if queue.name == ROUTES else None
    return {
        "id": item.id,
        "queue": queue.name,
        "route": shipment.route if shipment else "",
        "peer": item.destination,
        "study": shipment.study_uid if shipment else "",
        "series": shipment.series_uid if shipment else "",
        "instance": shipment.sop_instance_uid if shipment else "",
        "only": len(shipment.only) if shipment else 0,
        "state": item.state,
        "since": time_of(item.created_at),
        "next_at": time_of(item.due_at) if item.state == "waiting" else None,
        "attempts": item.attempts,
        "words": item.last_fault,
    }


def _account(account: Account) -> dict[str, object]:
    pending = account.pending
    return {
        "id": pending.id,
        "transaction": pending.transaction_uid,
        "source": pending.ae_title,
        "objects": len(account.objects),
        "state": STATE_WORDS[pending.state],
        "asked_at": time_of(pending.asked_at),
        "next_at": time_of(account.due_at),
        "attempts": account.attempts,
        "words": account.last_fault,
    }
