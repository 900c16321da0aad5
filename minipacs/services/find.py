"""C-FIND: from an identifier to a query, and from each row straight to a pending response (PS3.4 C.4.1)."""

from collections.abc import Iterator
from dataclasses import dataclass

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
from minipacs.index import AVAILABILITY, Query, QueryCancelled
from minipacs.services.environment import Request
from minipacs.services.identifiers import levels_of, read_identifier, read_level

MAX_BATCH_BYTES = 64 << 10
"""Responses gathered for one write. Between writes a C-CANCEL is looked for."""
FIRST_BATCH_BYTES = 1
"""The first response goes out alone, at once."""

_TIMEZONE_OFFSET = 0x00080201
_NEVER_MATCHED = frozenset(
    {SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY, _TIMEZONE_OFFSET}
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
    try:
        status = statuses.SUCCESS
        matches = 0
        for matches in _answer(request, identifier, asked):
            request.log["matches"] = matches
    except QueryCancelled:
        status = statuses.CANCEL
    request.log["matches"] = matches
    final = request.response(status)
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


def _answer(request: Request, identifier: Identifier, asked: Asked) -> Iterator[int]:
    """Send the pending responses, many in a write; yields the number sent so far. Raises QueryCancelled."""
    association, context = request.association, request.message.context
    status = statuses.PENDING_UNSUPPORTED_KEYS if asked.unsupported else statuses.PENDING
    fixed = ((QUERY_RETRIEVE_LEVEL, "CS", asked.level), (RETRIEVE_AE_TITLE, "AE", request.environment.ae_title))
    constant = tuple(value for _, _, value in fixed)
    elements = [*((a.tag, a.vr) for a in asked.returned), *((tag, vr) for tag, vr, _ in fixed)]
    order = sorted(range(len(elements)), key=lambda i: elements[i])
    implicit = context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    encoder = ResponseEncoder([elements[i] for i in order], identifier.charsets, implicit=implicit)
    pending = association.encode(context.context_id, request.response(status, has_data_set=True))

    def cancelled() -> bool:
        return association.cancelled(request.message_id)

    batch: list[bytes] = []
    size, limit, sent = 0, FIRST_BATCH_BYTES, 0
    rows = request.environment.archive.index.find(Query(asked.level, asked.keys, asked.returned), cancelled=cancelled)
    for row in rows:
        values = (*row, *constant)
        batch += pending
        batch += association.encode_data(context.context_id, encoder.encode([values[i] for i in order]))
        size += len(batch[-1])
        sent += 1
        if size >= limit:
            association.send_all(batch)
            batch, size, limit = [], 0, MAX_BATCH_BYTES
            yield sent
            if cancelled():
                raise QueryCancelled
    if batch:
        association.send_all(batch)
        yield sent
