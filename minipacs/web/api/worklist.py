"""The worklist for people: its steps with their ids, added and cancelled; search by the standard is PS3.18 14.4."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice

from starlette.responses import Response

from minipacs.audit.message import Action
from minipacs.dicom.data_set.json_values import parse
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.workflow.scheduling import Unschedulable, steps_of
from minipacs.dicom.workflow.worklist import BY_KEYWORD, STEP_SEQUENCE, WorklistKey
from minipacs.index.workflow.worklist import DISCONTINUED, SCHEDULED, Step
from minipacs.web.answers import Refusal
from minipacs.web.api.answering import MAX_ROWS, USUAL_ROWS, answer, body_of
from minipacs.web.environment import Ask, plain

_STATUS = BY_KEYWORD["ScheduledProcedureStepStatus"]
_NAMES = {
    "date": "ScheduledProcedureStepStartDate",
    "station": "ScheduledStationAETitle",
    "modality": "Modality",
}
"""Short names of keys."""
_CONTROL = frozenset({"limit", "offset", "all", "accept"})


async def listing(ask: Ask) -> Response:
    """List the steps that match, by their start; with `all` also those that are begun or over."""
    most, offset = ask.page(USUAL_ROWS, MAX_ROWS)
    keys = [(_key(name), plain(value)) for name, value in ask.parameters if name not in _CONTROL]
    is_all = ask.switch("all")
    found = await asyncio.to_thread(_find, ask, keys, offset, most, is_all=is_all)
    return answer(ask, [_document(step) for step in found])


async def add(ask: Ask) -> Response:
    """Schedule a step from attributes by keyword, as `minipacs worklist add`. Raises Refusal 400."""
    given = await body_of(ask)
    now = {
        "ScheduledProcedureStepStartDate": time.strftime("%Y%m%d"),
        "ScheduledProcedureStepStartTime": time.strftime("%H%M%S"),
    }
    steps = _complete(lambda: parse({**now, **given}))
    index = ask.environment.archive.index
    (step_id,) = await asyncio.to_thread(index.worklist.put, steps)
    await asyncio.to_thread(ask.environment.trail.scheduled, ask.caller, steps, Action.CREATE)
    return answer(ask, _document(Step(step_id, "", steps[0])), 201)


async def cancel(ask: Ask) -> Response:
    """Let a step that nobody has begun be discontinued: modalities see it no more. Raises Refusal 404, 409."""
    found = await _ours(ask)
    if found.value(_STATUS) not in ("", SCHEDULED):
        raise Refusal(409, f"the step is {found.value(_STATUS).lower()}")
    item = {**found.step, _STATUS.tag: DISCONTINUED}
    values: Values = {**found.values, STEP_SEQUENCE: (item,)}
    await asyncio.to_thread(ask.environment.archive.index.worklist.put, [values])
    await asyncio.to_thread(ask.environment.trail.scheduled, ask.caller, [values], Action.UPDATE)
    return Response(status_code=204)


async def remove(ask: Ask) -> Response:
    """Remove a step. Raises Refusal 404, 409."""
    found = await _ours(ask)
    await asyncio.to_thread(ask.environment.archive.index.worklist.remove, [found.id])
    await asyncio.to_thread(ask.environment.trail.scheduled, ask.caller, [found.values], Action.DELETE)
    return Response(status_code=204)


async def _ours(ask: Ask) -> Step:
    """Find the step of the path, one that can be changed here."""
    name = ask.path["item"]
    is_number = name.isascii() and name.isdecimal() and len(name) < 19
    found = await asyncio.to_thread(ask.environment.archive.index.worklist.step, int(name)) if is_number else None
    if found is None:
        raise Refusal(404, "there is no such step")
    if found.source:
        raise Refusal(409, "the step comes from a file of the watched folder: change it there")
    return found


def _find(ask: Ask, keys: Sequence[tuple[WorklistKey, str]], offset: int, most: int, *, is_all: bool) -> list[Step]:
    found = ask.environment.archive.index.worklist.find(keys, hidden_too=is_all)
    return list(islice(found, offset, offset + most))


def _key(name: str) -> WorklistKey:
    known = BY_KEYWORD.get(_NAMES.get(name, name))
    if known is None or not known.matched:
        raise Refusal(400, "a parameter is no matching key of the worklist")
    return known


def _complete(read: Callable[[], Values]) -> list[Values]:
    try:
        found = steps_of(read())
    except Unschedulable as error:
        raise Refusal(400, f"the step {error}") from error
    except ValueError as error:
        raise Refusal(400, str(error)) from error
    if len(found) != 1:
        raise Refusal(400, "one step is scheduled at a time")
    return found


def _document(step: Step) -> dict[str, object]:
    values = {name: step.value(key) for name, key in BY_KEYWORD.items() if key.vr != "SQ"}
    return {"id": step.id, "source": step.source, "state": step.value(_STATUS) or SCHEDULED, **values}
