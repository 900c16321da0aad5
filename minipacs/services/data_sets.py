"""The data sets of DIMSE-N requests: read as values (PS3.7 10.1)."""

from minipacs.dicom.data_set.identifier import decode_identifier
from minipacs.dicom.data_set.values import MutableValues, read
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.text.charset import terms
from minipacs.errors import DimseError
from minipacs.services.environment import Request

MAX_DATA_SET_BYTES = 16 << 20
"""Some 100 000 references to objects."""


def read_values(request: Request) -> tuple[MutableValues, tuple[int, ...]]:
    """Read the data set of a request, and the tags of those elements that cannot be kept.

    Raises DimseError: 0110 if it cannot be read, 0106 if its character set is unknown, 0213 if it is too large.
    """
    if not request.message.command.has_data_set:
        return {}, ()
    data = request.message.read(MAX_DATA_SET_BYTES)
    if data is None:
        raise DimseError(statuses.RESOURCE_LIMITATION, f"data set is larger than {MAX_DATA_SET_BYTES} bytes")
    transfer_syntax = TRANSFER_SYNTAXES[request.message.context.transfer_syntax]
    try:
        return read(decode_identifier(data, transfer_syntax, terms(request.charset), MAX_DATA_SET_BYTES))
    except DimseError as error:
        comment = error.comment.replace("Identifier", "Data set")
        if SPECIFIC_CHARACTER_SET in error.offending_elements:
            status, attributes = statuses.INVALID_ATTRIBUTE_VALUE, error.offending_elements
            raise DimseError(status, comment, attributes=attributes) from error
        raise DimseError(statuses.PROCESSING_FAILURE, comment) from error
