"""Modality performed procedure steps over HTTP, by the rules of N-CREATE, N-SET and N-GET (PS3.18 15, PS3.4 F)."""

import asyncio
from functools import partial

from starlette.responses import Response

from minipacs.audit.message import Action
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.tables.dictionary import tag_told
from minipacs.dicom.workflow import performed_step
from minipacs.errors import Failure, Kind
from minipacs.index.workflow.performed_steps import Changed
from minipacs.web.answers import Refusal
from minipacs.web.environment import Ask, plain
from minipacs.web.workflow.documents import answer, read_data_set


async def post(ask: Ask) -> Response:
    """Begin the step of the path, or change it if the query says `update` (PS3.18 15.4, 15.5)."""
    is_update = any(name.lower() == "update" for name, _ in ask.parameters)
    values = await read_data_set(ask)
    await asyncio.to_thread(_change if is_update else _create, ask, values)
    if is_update:
        return Response(status_code=200)
    return Response(status_code=201, headers={"Location": f"{ask.origin.url}{ask.scope['path']}"})


async def get(ask: Ask) -> Response:
    """Answer with a step: with what `includefield` lists, or all (PS3.18 15.6)."""
    values = await asyncio.to_thread(ask.environment.archive.index.performed_steps.get, ask.path["step"])
    if values is None:
        raise _unknown()
    ask.environment.trail.performed(ask.caller, ask.path["step"], values, Action.READ)
    words = [word for name, text in ask.parameters if name.lower() == "includefield" for word in plain(text).split(",")]
    if words and "all" not in words:
        asked = {tag_told(word) for word in words}
        values = {tag: value for tag, value in values.items() if tag in asked}
    return answer(ask, values)


def _create(ask: Ask, values: Values) -> None:
    uid, index = ask.path["step"], ask.environment.archive.index
    if index.instance(uid) is not None:
        raise Failure(Kind.OTHER_CLASS, "the UID is that of a stored object")
    done = index.performed_steps.create(uid, performed_step.created(values), ask.source)
    if done is None:
        raise Failure(Kind.EXISTS, "there is a step with this UID")
    _note(ask, done, Action.CREATE)


def _change(ask: Ask, values: Values) -> None:
    steps = ask.environment.archive.index.performed_steps
    done = steps.change(ask.path["step"], partial(performed_step.changed, changes=values))
    if done is None:
        raise _unknown()
    _note(ask, done, Action.UPDATE)


def _note(ask: Ask, done: Changed, action: Action) -> None:
    ask.environment.trail.performed(ask.caller, ask.path["step"], done.values, action)
    ask.log.update(step_status=performed_step.status_of(done.values), worklist_steps=done.worklist_steps)


def _unknown() -> Refusal:
    return Refusal(404, "no step has this UID")
