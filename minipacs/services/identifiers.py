"""What the identifiers of C-FIND, C-MOVE and C-GET have in common: reading them, and their level (PS3.4 C.4)."""

from collections.abc import Sequence

from minipacs.dicom.data_set.identifier import MAX_IDENTIFIER_BYTES, Identifier, decode_identifier
from minipacs.dicom.tables.attributes import LEVELS, QUERY_RETRIEVE_LEVEL, Level
from minipacs.dicom.tables.sop_classes import Model
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.text.charset import terms
from minipacs.errors import DataSetError, Failure, Kind
from minipacs.services.environment import Request

_LEVELS_OF: dict[Model, tuple[Level, ...]] = {
    "PATIENT": LEVELS,
    "STUDY": LEVELS[1:],
    "PATIENT_STUDY_ONLY": LEVELS[:2],
}


def levels_of(model: Model) -> Sequence[Level]:
    """Return the levels of an information model, from the top (PS3.4 C.6.1.1, C.6.2.1, C.6.3.1)."""
    return _LEVELS_OF[model]


def read_identifier(request: Request) -> Identifier:
    """Read and decode a request's identifier. Raises Failure, AssociationEnded."""
    if not request.message.command.has_data_set:
        raise DataSetError("no identifier")
    data = request.message.read(MAX_IDENTIFIER_BYTES)
    if data is None:
        raise Failure(Kind.TOO_LARGE, f"identifier is larger than {MAX_IDENTIFIER_BYTES} bytes")
    charsets = terms(request.charset)
    return decode_identifier(data, TRANSFER_SYNTAXES[request.message.context.transfer_syntax], charsets)


def read_level(identifier: Identifier, model: Model) -> Level:
    """Return the Query/Retrieve Level. Raises Failure INVALID if it is missing or not of the model."""
    text = identifier.text(QUERY_RETRIEVE_LEVEL)
    for level in levels_of(model):
        if text == level:
            return level
    allowed = ", ".join(levels_of(model))
    comment = f"Query/Retrieve Level must be one of {allowed}"
    raise Failure(Kind.INVALID, comment, (QUERY_RETRIEVE_LEVEL,))
