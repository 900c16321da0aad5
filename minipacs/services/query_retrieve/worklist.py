"""C-FIND of the Modality Worklist: an answer for each scheduled procedure step (PS3.4 K)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.data_set.decode import DataSet
from minipacs.dicom.data_set.values import MutableValues, Values, encode, items, text, vr_of
from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET_FROM_UTC
from minipacs.dicom.tables.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.dicom.workflow.worklist import REQUEST_KEYS, STEP_KEYS, STEP_SEQUENCE, WorklistKey
from minipacs.errors import Failure, Kind
from minipacs.index.workflow.worklist import Step
from minipacs.services.auditing import refusals_told
from minipacs.services.data_sets import read_identifier
from minipacs.services.environment import Request
from minipacs.services.query_retrieve.pending import allowance_of, answer_matches

_NEVER_MATCHED = frozenset({SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET_FROM_UTC})


@dataclass(frozen=True, slots=True)
class Asked:
    """What an identifier asks for: keys to match, and how many are not supported for it."""

    keys: tuple[tuple[WorklistKey, str], ...]
    unsupported: int


def find(request: Request) -> CommandSet:
    """Answer with a pending response for each step that matches, then with the final one."""
    with refusals_told(request):
        return _find(request)


def _find(request: Request) -> CommandSet:
    identifier = read_identifier(request)
    asked = read_keys(identifier)
    request.log.update(unsupported_keys=asked.unsupported or None)
    request.note("query", {key.keyword: value for key, value in asked.keys})
    state = request.environment.archive.index.worklist.folder_state()
    if state.fault:
        raise Failure(Kind.BUSY, f"worklist source is not available: {state.fault}")
    return answer_matches(request, _answers(request, identifier, asked), unsupported=asked.unsupported)


def read_keys(identifier: DataSet) -> Asked:
    """Sort the elements of an identifier. Raises Failure INVALID for a sequence with more than one item.

    Not supported are keys outside the model, and values for attributes that are only returned.
    """
    parts = [(identifier, REQUEST_KEYS)]
    step = _key_item(identifier, STEP_SEQUENCE)
    if step is not None:
        parts.append((step, STEP_KEYS))
    keys: list[tuple[WorklistKey, str]] = []
    unsupported = 0
    for part, known in parts:
        for tag in part.elements:
            if tag in _NEVER_MATCHED or tag == STEP_SEQUENCE:
                continue
            key = known.get(tag)
            if key is not None and key.matched:
                keys.append((key, part.text(tag)))
            elif key is None or _has_value(part, tag):
                unsupported += 1
    return Asked(tuple(keys), unsupported)


def _key_item(identifier: DataSet, tag: int) -> DataSet | None:
    """Give the one item of a sequence key, None if it has none, or one that asks for nothing (PS3.4 C.2.2.2.6)."""
    found = identifier.items(tag)
    if len(found) > 1:
        raise Failure(Kind.INVALID, "a sequence key has more than one item", (tag,))
    return found[0] if found and found[0].elements else None


def _has_value(identifier: DataSet, tag: int) -> bool:
    item = _key_item(identifier, tag)
    if item is not None:
        return any(_has_value(item, inner) for inner in item.elements)
    return bool(identifier.text(tag).strip("*"))


def _answers(request: Request, identifier: DataSet, asked: Asked) -> Iterator[bytes]:
    """Give the identifier of each match. Raises QueryCancelled; Failure TOO_MANY if they are more than they may be."""
    implicit = request.message.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    worklist, most = request.environment.archive.index.worklist, request.environment.query.max_matches
    allowance = allowance_of(request)
    if most and worklist.count(asked.keys, most + 1, allowance=allowance) > most:
        raise Failure(Kind.TOO_MANY, f"more than {most} matches")
    for step in worklist.find(asked.keys, allowance=allowance):
        yield encode(answer(identifier, step), identifier.charsets, implicit=implicit)


def answer(identifier: DataSet, step: Step) -> Values:
    """Give what of a step was asked for: attributes without a value with zero length, an empty sequence key whole."""
    found = _chosen(identifier, step.values, REQUEST_KEYS)
    if STEP_SEQUENCE in identifier.elements:
        asked = _key_item(identifier, STEP_SEQUENCE)
        found[STEP_SEQUENCE] = (_chosen(asked, step.step, STEP_KEYS) if asked is not None else step.step,)
    return found


def _chosen(asked: DataSet, values: Values, known: Mapping[int, WorklistKey] | None) -> MutableValues:
    """Pick what is asked for out of values; below sequences of the model whatever the dictionary knows."""
    found: MutableValues = {}
    for tag in asked.elements:
        vr = vr_of(tag)
        if (known is not None and tag not in known) or not vr or tag == SPECIFIC_CHARACTER_SET:
            continue
        if vr != "SQ":
            found[tag] = text(values, tag)
            continue
        inner = _key_item(asked, tag)
        within = items(values, tag)
        found[tag] = within if inner is None else tuple(_chosen(inner, item, None) for item in within)
    return found
