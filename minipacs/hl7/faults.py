"""Why a message is not accepted: THE table of conditions (HL7 table 0357), and what makes one of a failure."""

from collections.abc import Mapping
from types import MappingProxyType

from minipacs.errors import Failure, Kind, MinipacsError

ACCEPTED = 0
SEGMENT_SEQUENCE, MISSING, DATA_TYPE, TABLE_VALUE = 100, 101, 102, 103
MESSAGE_TYPE, EVENT, PROCESSING_ID, VERSION = 200, 201, 202, 203
UNKNOWN_KEY, DUPLICATE_KEY, LOCKED, INTERNAL = 204, 205, 206, 207

CONDITIONS: Mapping[int, str] = MappingProxyType(
    {
        ACCEPTED: "Message accepted",
        SEGMENT_SEQUENCE: "Segment sequence error",
        MISSING: "Required field missing",
        DATA_TYPE: "Data type error",
        TABLE_VALUE: "Table value not found",
        MESSAGE_TYPE: "Unsupported message type",
        EVENT: "Unsupported event code",
        PROCESSING_ID: "Unsupported processing id",
        VERSION: "Unsupported version id",
        UNKNOWN_KEY: "Unknown key identifier",
        DUPLICATE_KEY: "Duplicate key identifier",
        LOCKED: "Application record locked",
        INTERNAL: "Application internal error",
    }
)

_FAILURES: Mapping[Kind, int] = {
    Kind.MISSING: MISSING,
    Kind.EMPTY: MISSING,
    Kind.INVALID: DATA_TYPE,
    Kind.MALFORMED_UID: DATA_TYPE,
    Kind.WRONG_IDENTITY: UNKNOWN_KEY,
    Kind.NOT_FOUND: UNKNOWN_KEY,
    Kind.EXISTS: DUPLICATE_KEY,
    Kind.TOO_LARGE: DATA_TYPE,
}
"""A kind that is not here is ours, and may be over when the sender tries again."""


class Refused(MinipacsError):
    """A message that is not accepted: the condition, and where in it, as `PID^1^3`."""

    def __init__(self, condition: int, words: str, location: str = "") -> None:
        super().__init__(words)
        self.condition = condition
        self.location = location

    @classmethod
    def of(cls, failure: Failure, location: str = "") -> "Refused":
        """Say it of an operation of the archive that failed."""
        return cls(_FAILURES.get(failure.kind, INTERNAL), str(failure), location)


def acknowledgement_code(condition: int) -> str:
    """Return MSA-1: accepted, in error, or rejected, which a sender may try again (HL7 table 0008)."""
    if condition == ACCEPTED:
        return "AA"
    return "AE" if condition < MESSAGE_TYPE else "AR"
