"""Storage commitment over HTTP: asked for by one request, fetched by another (PS3.18 13, PS3.4 J).

The objects are read by the job that reads them for peers of DIMSE, and the report is the same; nobody is called, who
asked comes for it.
"""

import asyncio

from starlette.responses import Response

from minipacs.dicom.data_set.values import Values
from minipacs.dicom.workflow import commitment
from minipacs.index.workflow.commitments import TO_BE_FETCHED, Fetched
from minipacs.web.answers import RETRY_AFTER_S, Refusal
from minipacs.web.environment import Ask
from minipacs.web.workflow.documents import answer, read_data_set


async def ask_for(ask: Ask) -> Response:
    """Ask for the commitment of objects; the same request again gets what is known by now (PS3.18 13.4)."""
    values = await read_data_set(ask)
    values[commitment.TRANSACTION_UID] = ask.path["transaction"]
    return _told(ask, await asyncio.to_thread(_ask, ask, values))


async def result(ask: Ask) -> Response:
    """Tell what became of a request of this caller (PS3.18 13.5)."""
    found = await asyncio.to_thread(_fetch, ask)
    if found is None:
        raise Refusal(404, "there is no such transaction")
    return _told(ask, found)


def _ask(ask: Ask, values: Values) -> Fetched:
    transaction_uid, objects = commitment.asked(values)
    known = _fetch(ask)
    if known is not None and sorted(known.objects) == sorted(objects):
        return known
    commitments = ask.environment.archive.index.commitments
    if known is None:
        outcome = commitments.ask(ask.source, "", transaction_uid, objects, TO_BE_FETCHED, conflict={})
        ask.log.update(transaction_uid=transaction_uid, objects=len(objects), outcome=outcome)
        if outcome != "conflicting":
            ask.environment.wake_jobs()
            return Fetched(objects, None)
    raise Refusal(409, "this Transaction UID is that of another request")


def _fetch(ask: Ask) -> Fetched | None:
    return ask.environment.archive.index.commitments.fetch(ask.source, ask.path["transaction"])


def _told(ask: Ask, found: Fetched) -> Response:
    if found.report is not None:
        return answer(ask, found.report)
    location = f"{ask.origin.url}{ask.scope['path']}"
    return Response(status_code=202, headers={"Content-Location": location, "Retry-After": str(RETRY_AFTER_S)})
