"""The data sets of requests: identifiers of C-FIND, C-MOVE and C-GET, values of DIMSE-N (PS3.4 C.4, PS3.7 10.1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from minipacs.dicom.data_set.decode import MAX_IDENTIFIER_BYTES, DataSet, decode_data_set
from minipacs.dicom.data_set.values import MutableValues, read
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.text.charset import terms
from minipacs.errors import DataSetError, Failure, Kind
from minipacs.net.association import Message
from minipacs.services.environment import Request

MAX_DATA_SET_BYTES = 16 << 20
"""Some 100 000 references to objects."""
MAX_ELEMENTS = 400_000
"""Those references, each an item with two elements, and what is beside them."""
LARGE_BYTES = 1 << 20
MAX_LARGE_AT_ONCE = 4
"""Data sets over `LARGE_BYTES` that a process reads at once: each takes up to 16 MiB as sent, and 100 as read."""

_large = BoundedSemaphore(MAX_LARGE_AT_ONCE)


def read_identifier(request: Request) -> DataSet:
    """Read and decode a request's identifier. Raises Failure, AssociationEnded."""
    if not request.message.command.has_data_set:
        raise DataSetError("no identifier")
    data = request.message.read(MAX_IDENTIFIER_BYTES)
    if data is None:
        raise Failure(Kind.TOO_LARGE, f"identifier is larger than {MAX_IDENTIFIER_BYTES} bytes")
    request.identifier = data
    charsets = terms(request.charset)
    return decode_data_set(data, TRANSFER_SYNTAXES[request.message.context.transfer_syntax], charsets)


def read_values(request: Request) -> tuple[MutableValues, tuple[int, ...]]:
    """Read the data set of a request, and the tags of those elements that cannot be kept.

    Raises Failure if it cannot be read, its character set is unknown, or it, or all that are read now, are too large.
    """
    if not request.message.command.has_data_set:
        return {}, ()
    with _whole(request.message) as data:
        transfer_syntax = TRANSFER_SYNTAXES[request.message.context.transfer_syntax]
        charsets = terms(request.charset)
        return read(decode_data_set(data, transfer_syntax, charsets, MAX_DATA_SET_BYTES, MAX_ELEMENTS))


@contextmanager
def _whole(message: Message) -> Iterator[bytes]:
    """Lend a data set as a whole, one of a bounded number if it is large. Raises Failure, AssociationEnded."""
    found = bytearray()
    is_large = False
    try:
        for piece in message.fragments():
            found += piece
            if len(found) > MAX_DATA_SET_BYTES:
                raise Failure(Kind.TOO_LARGE, f"data set is larger than {MAX_DATA_SET_BYTES} bytes")
            if len(found) > LARGE_BYTES and not is_large:
                is_large = _large.acquire(blocking=False)
                if not is_large:
                    raise Failure(Kind.BUSY, f"{MAX_LARGE_AT_ONCE} other large data sets are being read")
        yield bytes(found)
    finally:
        if is_large:
            _large.release()
