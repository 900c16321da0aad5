"""THE table from kinds of failure to the statuses of DIMSE: what a peer is answered if an operation fails (PS3.7 C)."""

from collections.abc import Mapping
from dataclasses import dataclass

from minipacs.dicom.data_set.command_set import MAX_COMMENT_LENGTH, CommandField, CommandSet
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.failure_reasons import STORE
from minipacs.dicom.tables.tags import tag_text
from minipacs.errors import Failure, Kind

MAY_NO_LONGER_BE_UPDATED = 0xA710
"""Error ID of an N-SET after the final state (PS3.4 F.7.2.2.4)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a failure is told. `is_ours` tells that somebody here can do something about it."""

    status: int
    comment: str
    offending_elements: tuple[int, ...] = ()
    attributes: tuple[int, ...] = ()
    error_id: int | None = None
    is_ours: bool = False

    def put_into(self, response: CommandSet) -> None:
        """Make a response say it; the comment is cut at what an LO holds."""
        response.status = self.status
        response.error_comment = self.comment[:MAX_COMMENT_LENGTH]
        response.offending_elements = self.offending_elements
        response.attribute_identifier_list = self.attributes
        response.error_id = self.error_id


_FIND: Mapping[Kind, int] = {
    Kind.UNREADABLE: statuses.IDENTIFIER_UNREADABLE,
    Kind.UNKNOWN_CHARSET: statuses.IDENTIFIER_UNREADABLE,
    Kind.TOO_LARGE: statuses.IDENTIFIER_UNREADABLE,
    Kind.INVALID: statuses.DATA_SET_MISMATCH,
    Kind.TOO_MANY: statuses.OUT_OF_RESOURCES,
    Kind.BUSY: statuses.OUT_OF_RESOURCES,
    Kind.FULL: statuses.OUT_OF_RESOURCES,
    Kind.BROKEN: statuses.QUERY_FAILED,
}
"""PS3.4 Table C.4-1."""

_RETRIEVE: Mapping[Kind, int] = {
    **_FIND,
    Kind.NOT_FOUND: statuses.MOVE_DESTINATION_UNKNOWN,
    Kind.TOO_MANY: statuses.UNABLE_TO_COUNT_MATCHES,
    Kind.BUSY: statuses.UNABLE_TO_COUNT_MATCHES,
    Kind.FULL: statuses.UNABLE_TO_COUNT_MATCHES,
}
"""PS3.4 Tables C.4-2 and C.4-3."""

_NORMALIZED: Mapping[Kind, int] = {
    Kind.UNKNOWN_CHARSET: statuses.INVALID_ATTRIBUTE_VALUE,
    Kind.NOT_FOUND: statuses.NO_SUCH_SOP_INSTANCE,
    Kind.TOO_LARGE: statuses.RESOURCE_LIMITATION,
    Kind.TOO_MANY: statuses.RESOURCE_LIMITATION,
    Kind.BUSY: statuses.RESOURCE_LIMITATION,
    Kind.FULL: statuses.RESOURCE_LIMITATION,
}
"""PS3.7 10.1."""

_STEP: Mapping[Kind, int] = {
    **_NORMALIZED,
    Kind.MISSING: statuses.MISSING_ATTRIBUTE,
    Kind.EMPTY: statuses.MISSING_ATTRIBUTE_VALUE,
    Kind.INVALID: statuses.INVALID_ATTRIBUTE_VALUE,
    Kind.NOT_SETTABLE: statuses.NO_SUCH_ATTRIBUTE,
    Kind.MALFORMED_UID: statuses.INVALID_SOP_INSTANCE,
    Kind.OTHER_CLASS: statuses.CLASS_INSTANCE_CONFLICT,
    Kind.EXISTS: statuses.DUPLICATE_SOP_INSTANCE,
}
"""PS3.4 F.7.2."""

_ACTION: Mapping[Kind, int] = {
    **_NORMALIZED,
    Kind.MISSING: statuses.NO_SUCH_ARGUMENT,
    Kind.EMPTY: statuses.INVALID_ARGUMENT_VALUE,
    Kind.INVALID: statuses.INVALID_ARGUMENT_VALUE,
    Kind.UNSUPPORTED: statuses.NO_SUCH_ACTION,
}
"""PS3.4 J.3.2."""

_STATUSES: Mapping[int, Mapping[Kind, int]] = {
    CommandField.C_STORE_RQ: STORE,
    CommandField.C_FIND_RQ: _FIND,
    CommandField.C_MOVE_RQ: _RETRIEVE,
    CommandField.C_GET_RQ: _RETRIEVE,
    CommandField.N_CREATE_RQ: _STEP,
    CommandField.N_SET_RQ: _STEP,
    CommandField.N_GET_RQ: _STEP,
    CommandField.N_ACTION_RQ: _ACTION,
}
"""By command field; a kind that is not in a service's table is Processing Failure there."""

_ERROR_IDS = {Kind.FINAL: MAY_NO_LONGER_BE_UPDATED}

_OURS = frozenset({Kind.BUSY, Kind.FULL, Kind.BROKEN, Kind.TOO_MANY})

_WITH_ATTRIBUTES = frozenset(
    {
        statuses.NO_SUCH_ATTRIBUTE,
        statuses.INVALID_ATTRIBUTE_VALUE,
        statuses.MISSING_ATTRIBUTE,
        statuses.MISSING_ATTRIBUTE_VALUE,
    }
)
"""Statuses that come with an Attribute Identifier List instead of Offending Elements (PS3.7 C.5)."""

_WITH_WORDS_ONLY = frozenset({statuses.NO_SUCH_ARGUMENT, statuses.INVALID_ARGUMENT_VALUE})
"""Statuses that have no field for tags: the comment names them."""


def answer(failure: Failure, command_field: int) -> Answer:
    """Say how the request with this command field is answered if it fails so."""
    status = _STATUSES.get(command_field, {}).get(failure.kind, statuses.PROCESSING_FAILURE)
    words, tags = str(failure), failure.tags
    if status in _WITH_WORDS_ONLY:
        words, tags = " ".join([words, *map(tag_text, tags)]), ()
    return Answer(
        status,
        words,
        offending_elements=() if status in _WITH_ATTRIBUTES else tags,
        attributes=tags if status in _WITH_ATTRIBUTES else (),
        error_id=_ERROR_IDS.get(failure.kind),
        is_ours=failure.kind in _OURS,
    )
