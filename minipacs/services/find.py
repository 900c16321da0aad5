"""C-FIND: from an identifier to a query, and from each row straight to a pending response (PS3.4 C.4.1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from minipacs.dicom import statuses
from minipacs.dicom.attributes import (
    BY_TAG,
    INSTANCE_AVAILABILITY,
    LEVELS,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    SPECIFIC_CHARACTER_SET,
    UNIQUE_KEY,
    Attribute,
    Level,
)
from minipacs.dicom.command_set import CommandSet
from minipacs.dicom.identifier import Identifier, ResponseEncoder
from minipacs.dicom.sop_classes import QUERY_RETRIEVE, Model
from minipacs.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.index import AVAILABILITY, Query
from minipacs.services.environment import Request
from minipacs.services.identifiers import TIMEZONE_OFFSET, levels_of, read_identifier, read_level
from minipacs.services.pending import answer_matches, cancelled

_NEVER_MATCHED = frozenset(
    {SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY, TIMEZONE_OFFSET}
)
"""Elements of a request that say something else than what to match (PS3.4 C.2.2.2, C.4.1.1.3)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an identifier asks for: keys to match, attributes to return, and how many keys are not supported."""

    level: Level
    keys: tuple[tuple[Attribute, str], ...]
    returned: tuple[Attribute, ...]
    unsupported: int


def find(request: Request) -> CommandSet:
    """Answer with a pending response for each match, then with the final one."""
    identifier = read_identifier(request)
    model = QUERY_RETRIEVE[request.message.context.abstract_syntax].model
    asked = read_keys(identifier, model)
    request.log.update(level=asked.level, unsupported_keys=asked.unsupported or None)
    status = statuses.PENDING_UNSUPPORTED_KEYS if asked.unsupported else statuses.PENDING
    final = request.response(answer_matches(request, status, _answers(request, identifier, asked)))
    request.respond(final)
    return final


def read_keys(identifier: Identifier, model: Model) -> Asked:
    """Sort the elements of an identifier; the unique keys down to its level are returned in any case (PS3.4 C.4.1.3.1).

    Keys that are unknown, private or of a lower level are not supported: not matched, not returned, counted. Raises
    DimseError A900 for the level.
    """
    level = read_level(identifier, model)
    within = LEVELS[: LEVELS.index(level) + 1]
    keys: list[tuple[Attribute, str]] = []
    unsupported = 0
    for tag in identifier.elements:
        attribute = BY_TAG.get(tag)
        if tag in _NEVER_MATCHED:
            continue
        if attribute is None or attribute.level not in within:
            unsupported += 1
        else:
            keys.append((attribute, identifier.text(tag)))
    unique = {UNIQUE_KEY[at] for at in (*levels_of(model), "PATIENT") if at in within}
    asked = {attribute for attribute, _ in keys}
    if INSTANCE_AVAILABILITY in identifier.elements:
        asked.add(AVAILABILITY)
    return Asked(level, tuple(keys), tuple(asked | unique), unsupported)


def _answers(request: Request, identifier: Identifier, asked: Asked) -> Iterator[bytes]:
    """Give the identifier of each match. Raises QueryCancelled."""
    fixed = ((QUERY_RETRIEVE_LEVEL, "CS", asked.level), (RETRIEVE_AE_TITLE, "AE", request.environment.ae_title))
    constant = tuple(value for _, _, value in fixed)
    elements = [*((a.tag, a.vr) for a in asked.returned), *((tag, vr) for tag, vr, _ in fixed)]
    order = sorted(range(len(elements)), key=lambda i: elements[i])
    implicit = request.message.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    encoder = ResponseEncoder([elements[i] for i in order], identifier.charsets, implicit=implicit)
    query = Query(asked.level, asked.keys, asked.returned)
    for row in request.environment.archive.index.find(query, cancelled=partial(cancelled, request)):
        values = (*row, *constant)
        yield encoder.encode([values[i] for i in order])
