"""The worklist over HTTP: scheduled procedure steps, searched for as by C-FIND (PS3.18 14.4, PS3.4 K)."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from starlette.responses import Response

from minipacs.dicom.data_set.values import MutableValues, Values
from minipacs.dicom.tables.dictionary import tag_told
from minipacs.dicom.workflow.worklist import BY_KEYWORD, REQUEST_KEYS, STEP_KEYS, STEP_SEQUENCE, WorklistKey
from minipacs.errors import Failure, Kind
from minipacs.index.workflow.worklist import Step
from minipacs.web.dicomweb.metadata import JSON, PLAIN_JSON
from minipacs.web.dicomweb.search import CONTROL, allowance_of, key_text, tell_search
from minipacs.web.environment import Ask, plain
from minipacs.web.representations.json_model import model_of_values
from minipacs.web.streaming import streamed

PIECE_BYTES = 65536

_STUDY = BY_KEYWORD["StudyInstanceUID"]
_STEP = "ScheduledProcedureStepSequence"


@dataclass
class Search:
    """What was asked for; nothing `included` is all that a step holds."""

    keys: dict[WorklistKey, str] = field(default_factory=dict)
    included: set[WorklistKey] = field(default_factory=set)
    whole_step: bool = False
    limit: int | None = None
    offset: int = 0


async def search(ask: Ask) -> Response:
    """Answer with the steps that match, by their start."""
    choice = ask.choose([JSON, PLAIN_JSON])
    asked = read(ask)
    tell_search(ask)
    steps = await asyncio.to_thread(_steps, ask, asked)
    pieces = _document(steps, asked)
    return await streamed(pieces, media_type=choice.offer.media_type, headers={"Cache-Control": "no-store"})


def read(ask: Ask) -> Search:
    """Read the parameters. Raises Refusal 400."""
    asked = Search(limit=ask.number("limit"), offset=ask.number("offset") or 0)
    if ask.switch("fuzzymatching"):
        ask.warnings.append("names are matched as they are written")
    for name, value in ask.parameters:
        if name.lower() == "includefield":
            _include(ask, asked, value)
        elif name.lower() not in CONTROL:
            key = _key(name)
            if key is None or (not key.matched and value):
                ask.warnings.append("a parameter that is not matched here was left out")
            elif key.matched:
                asked.keys[key] = key_text(value, key.vr)
    return asked


def _include(ask: Ask, asked: Search, value: str) -> None:
    for word in filter(None, (part.strip() for part in plain(value).split(","))):
        key = _key(word)
        if word.lower() == "all":
            asked.included.update(BY_KEYWORD.values())
            asked.whole_step = True
        elif word == _STEP or word == f"{STEP_SEQUENCE:08X}":
            asked.whole_step = True
        elif key is None:
            ask.warnings.append("a field that is not known was left out")
        else:
            asked.included.add(key)


def _key(name: str) -> WorklistKey | None:
    """Find a key by keyword or tag, with the sequence that it stands in or without."""
    *path, last = name.split(".")
    tag = tag_told(last)
    if tag is None or len(path) > 1 or (path and tag_told(path[0]) != STEP_SEQUENCE):
        return None
    return STEP_KEYS.get(tag) or (None if path else REQUEST_KEYS.get(tag))


def _steps(ask: Ask, asked: Search) -> Iterator[Step]:
    """Ask the index, up to the first step. Raises Failure BUSY while the source of the worklist is away."""
    worklist = ask.environment.archive.index.worklist
    state = worklist.folder_state()
    if state.fault:
        raise Failure(Kind.BUSY, f"worklist source is not available: {state.fault}")
    found = worklist.find(tuple(asked.keys.items()), allowance=allowance_of(ask))
    most = asked.limit if asked.limit is not None else ask.environment.max_results or None
    chosen = islice(found, asked.offset, None if most is None else asked.offset + most)
    first = next(chosen, None)
    return iter(()) if first is None else chain([first], chosen)


def _document(steps: Iterator[Step], asked: Search) -> Iterator[bytes]:
    write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
    piece, between = bytearray(b"["), b""
    for step in steps:
        piece += between + write(model_of_values(_chosen(step, asked))).encode("utf-8", "replace")
        between = b","
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + b"]")


def _chosen(step: Step, asked: Search) -> Values:
    """Pick what was asked for, and what was matched."""
    if not asked.included and not asked.whole_step:
        return step.values
    wanted = {*asked.included, *asked.keys, _STUDY}
    found: MutableValues = {
        key.tag: step.values.get(key.tag, () if key.vr == "SQ" else "") for key in wanted if not key.in_step
    }
    item: Values = step.step if asked.whole_step else {k.tag: step.step.get(k.tag, "") for k in wanted if k.in_step}
    if item:
        found[STEP_SEQUENCE] = (item,)
    return found
