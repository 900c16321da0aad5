"""The data sets of DIMSE-N requests: read as values (PS3.7 10.1)."""

from minipacs.dicom.data_set.identifier import decode_identifier
from minipacs.dicom.data_set.values import MutableValues, read
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.text.charset import terms
from minipacs.errors import Failure, Kind
from minipacs.services.environment import Request

MAX_DATA_SET_BYTES = 16 << 20
"""Some 100 000 references to objects."""


def read_values(request: Request) -> tuple[MutableValues, tuple[int, ...]]:
    """Read the data set of a request, and the tags of those elements that cannot be kept.

    Raises Failure if it cannot be read, its character set is unknown, or it is too large.
    """
    if not request.message.command.has_data_set:
        return {}, ()
    data = request.message.read(MAX_DATA_SET_BYTES)
    if data is None:
        raise Failure(Kind.TOO_LARGE, f"data set is larger than {MAX_DATA_SET_BYTES} bytes")
    transfer_syntax = TRANSFER_SYNTAXES[request.message.context.transfer_syntax]
    return read(decode_identifier(data, transfer_syntax, terms(request.charset), MAX_DATA_SET_BYTES))
