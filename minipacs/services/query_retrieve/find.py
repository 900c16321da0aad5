"""C-FIND: from an identifier to a query, and from each row straight to a pending response (PS3.4 C.4.1)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.data_set.decode import DataSet
from minipacs.dicom.data_set.encode import ResponseEncoder
from minipacs.dicom.data_set.values import MutableValues, encode
from minipacs.dicom.matching.zones import ZONE, is_offset
from minipacs.dicom.tables.attributes import (
    LEFT_OUT_IF_EMPTY,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
)
from minipacs.dicom.tables.sop_classes import QUERY_RETRIEVE
from minipacs.dicom.tables.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.errors import Failure, Kind
from minipacs.index import Query
from minipacs.services.auditing import refusals_told
from minipacs.services.data_sets import read_identifier
from minipacs.services.environment import Request
from minipacs.services.query_retrieve.pending import allowance_of, answer_matches
from minipacs.services.query_retrieve.query_keys import Asked, check_hierarchy, read_keys

Row = tuple[str, ...]
Encoder = Callable[[Row], bytes]
"""Writes a row of the index as the identifier of an answer."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What SOP Class Extended Negotiation agreed on (PS3.4 C.5.1.1)."""

    relational: bool
    combined: bool
    fuzzy: bool
    zone: bool

    @classmethod
    def read(cls, extended: bytes) -> "Negotiated":
        """Read the application information that was accepted; bytes that are absent grant nothing."""
        return cls(*(extended[i : i + 1] == b"\1" for i in range(4)))


def find(request: Request) -> CommandSet:
    """Answer with a pending response for each match, then with the final one."""
    with refusals_told(request):
        return _find(request)


def _find(request: Request) -> CommandSet:
    identifier = read_identifier(request)
    model = QUERY_RETRIEVE[request.message.context.abstract_syntax].model
    asked = read_keys(identifier, model, request.environment.archive.index.keys)
    request.log.update(level=asked.level, unsupported_keys=asked.unsupported or None)
    request.note("query", {attribute.keyword: value for attribute, value in asked.keys})
    negotiated = Negotiated.read(request.message.context.extended)
    if not (request.environment.query.relational or negotiated.relational):
        check_hierarchy(asked, model)
    return answer_matches(request, _answers(request, identifier, asked, negotiated), unsupported=asked.unsupported)


def _answers(request: Request, identifier: DataSet, asked: Asked, negotiated: Negotiated) -> Iterator[bytes]:
    """Give the identifier of each match. Raises QueryCancelled; Failure TOO_MANY if they are more than they may be."""
    policy, index = request.environment.query, request.environment.archive.index
    query = Query(
        asked.level,
        asked.keys,
        tuple(asked.returned.values()),
        match_unknown=policy.match_unknown,
        fuzzy=negotiated.fuzzy,
        combined=negotiated.combined,
        offset=_offset(asked) if negotiated.zone else "",
    )
    allowance = allowance_of(request)
    most = policy.max_matches
    if most and index.count(query, most + 1, allowance=allowance) > most:
        raise Failure(Kind.TOO_MANY, f"more than {most} matches")
    yield from map(_encoder(request, identifier, asked), index.find(query, allowance=allowance))


def _offset(asked: Asked) -> str:
    """Return the offset of the zone in which dates and times are meant, "" for that of each object (PS3.4 C.2.2.2)."""
    if asked.offset and not is_offset(asked.offset):
        raise Failure(Kind.INVALID, "no Timezone Offset From UTC", (ZONE.tag,))
    return "" if asked.level == "PATIENT" else asked.offset


def _encoder(request: Request, identifier: DataSet, asked: Asked) -> Encoder:
    """Prepare what writes rows: with what is the same in every answer, and fast unless there are sequences."""
    fixed = [(QUERY_RETRIEVE_LEVEL, "CS", asked.level), (RETRIEVE_AE_TITLE, "AE", request.environment.ae_title)]
    fixed += [(tag, "LO", creator) for tag, creator in asked.creators.items()]
    constant = tuple(value for _, _, value in fixed)
    elements = [*((tag, a.vr) for tag, a in asked.returned.items()), *((tag, vr) for tag, vr, _ in fixed)]
    implicit = request.message.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    if any(vr == "SQ" for _, vr in elements):
        keys = {a.tag: items.from_text(text) for a, text in asked.keys if a.vr == "SQ"}
        vrs = dict(elements)

        def encode_items(row: Row) -> bytes:
            values: MutableValues = dict(zip(vrs, (*row, *constant), strict=True))
            for tag, key in keys.items():
                values[tag] = items.pick(items.from_text(str(values[tag])), key)
            for tag in LEFT_OUT_IF_EMPTY & values.keys():
                if not values[tag]:
                    del values[tag]
            return encode(values, identifier.charsets, implicit=implicit, vrs=vrs)

        return encode_items
    order = sorted(range(len(elements)), key=lambda i: elements[i])
    ordered = [elements[i] for i in order]
    encoder = ResponseEncoder(ordered, identifier.charsets, implicit=implicit, left_out_if_empty=LEFT_OUT_IF_EMPTY)

    def encode_row(row: Row) -> bytes:
        values = (*row, *constant)
        return encoder.encode([values[i] for i in order])

    return encode_row
