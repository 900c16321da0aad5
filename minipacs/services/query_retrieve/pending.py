"""Pending responses with identifiers: many in a write, with a look for a C-CANCEL between writes (PS3.4 C.4.1)."""

from collections.abc import Iterable, Iterator

from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.tables.statuses import CANCEL, PENDING, PENDING_UNSUPPORTED_KEYS, SUCCESS
from minipacs.index import Allowance, QueryCancelled
from minipacs.services.auditing import tell_query
from minipacs.services.environment import Request

MAX_BATCH_BYTES = 64 << 10
"""Responses gathered for one write. Between writes a C-CANCEL is looked for."""
FIRST_BATCH_BYTES = 1
"""The first response goes out alone, at once."""


def allowance_of(request: Request) -> Allowance:
    """Make what a query of this request may take of the index, in the share of its peer, or of its address."""
    caller = request.caller
    return Allowance(caller.address if caller.peer is None else caller.label, request.cancelled)


def send_pending(request: Request, status: int, identifiers: Iterable[bytes]) -> Iterator[int]:
    """Send a pending response with each identifier; yields the number sent so far.

    Raises QueryCancelled, AssociationEnded.
    """
    association, context_id = request.association, request.message.context.context_id
    pending = association.encode(context_id, request.response(status, has_data_set=True))
    batch: list[bytes] = []
    size, limit, sent = 0, FIRST_BATCH_BYTES, 0
    for identifier in identifiers:
        batch += pending
        batch += association.encode_data(context_id, identifier)
        size += len(identifier)
        sent += 1
        if size >= limit:
            association.send_all(batch)
            batch, size, limit = [], 0, MAX_BATCH_BYTES
            yield sent
            if request.cancelled():
                raise QueryCancelled("query cancelled")
    if batch:
        association.send_all(batch)
        yield sent


def answer_matches(request: Request, identifiers: Iterable[bytes], *, unsupported: int) -> CommandSet:
    """Send all matches, then the final response, which is returned. The log is told of their number.

    `unsupported` is the number of keys that were passed over. A query that is cancelled meanwhile ends with FE00.
    """
    tell_query(request)
    request.log["matches"] = 0
    final = request.response(SUCCESS)
    try:
        for matches in send_pending(request, PENDING_UNSUPPORTED_KEYS if unsupported else PENDING, identifiers):
            request.log["matches"] = matches
    except QueryCancelled:
        final.status = CANCEL
    request.respond(final)
    return final
