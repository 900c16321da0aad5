"""THE table from kinds of failure to what a sender of objects is told: the status of C-STORE, and the Failure Reason of
a store over HTTP (PS3.4 Table B.2-1, PS3.18 I.2.2)."""

from collections.abc import Mapping

from minipacs.dicom.tables import statuses
from minipacs.errors import Kind

STORE: Mapping[Kind, int] = {
    Kind.UNREADABLE: statuses.CANNOT_UNDERSTAND,
    Kind.MISSING: statuses.STORE_UID_MISSING,
    Kind.MALFORMED_UID: statuses.STORE_UID_MALFORMED,
    Kind.OTHER_PARENT: statuses.STORE_OTHER_PARENT,
    Kind.OTHER_CONTENT: statuses.STORE_OTHER_BYTES,
    Kind.WRONG_ENCODING: statuses.STORE_WRONG_ENCODING,
    Kind.TOO_LARGE: statuses.STORE_TOO_LARGE,
    Kind.WRONG_IDENTITY: statuses.DATA_SET_MISMATCH,
    Kind.UNSUPPORTED: statuses.SOP_CLASS_NOT_SUPPORTED,
    Kind.BUSY: statuses.OUT_OF_RESOURCES,
    Kind.FULL: statuses.OUT_OF_RESOURCES,
}
"""A kind that is not in here is Processing Failure."""


def failure_reason(kind: Kind) -> int:
    """Return the reason why an object was not stored."""
    return STORE.get(kind, statuses.PROCESSING_FAILURE)
