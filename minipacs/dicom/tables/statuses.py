"""DIMSE status codes that minipacs sends (PS3.7 C, PS3.4 B.2.3, C.4).

The Cxxx codes below are this implementation's sub-codes; the conformance statement lists them.
"""

SUCCESS = 0x0000
PENDING = 0xFF00
PENDING_UNSUPPORTED_KEYS = 0xFF01
PENDING_STATUSES = (PENDING, PENDING_UNSUPPORTED_KEYS)
CANCEL = 0xFE00

SUB_OPERATIONS_WITH_FAILURES = 0xB000

NO_SUCH_ATTRIBUTE = 0x0105
INVALID_ATTRIBUTE_VALUE = 0x0106
ATTRIBUTE_LIST_ERROR = 0x0107
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
NO_SUCH_ARGUMENT = 0x0114
INVALID_ARGUMENT_VALUE = 0x0115
INVALID_SOP_INSTANCE = 0x0117
NO_SUCH_SOP_CLASS = 0x0118
CLASS_INSTANCE_CONFLICT = 0x0119
MISSING_ATTRIBUTE = 0x0120
MISSING_ATTRIBUTE_VALUE = 0x0121
SOP_CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION = 0x0123
DUPLICATE_TRANSACTION = 0x0131
DUPLICATE_INVOCATION = 0x0210
UNRECOGNIZED_OPERATION = 0x0211
MISTYPED_ARGUMENT = 0x0212
RESOURCE_LIMITATION = 0x0213

OUT_OF_RESOURCES = 0xA700
UNABLE_TO_COUNT_MATCHES = 0xA701
UNABLE_TO_PERFORM_SUB_OPERATIONS = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
DATA_SET_MISMATCH = 0xA900

CANNOT_UNDERSTAND = 0xC000
STORE_UID_MISSING = 0xC001
STORE_UID_MALFORMED = 0xC002
STORE_OTHER_PARENT = 0xC003
STORE_OTHER_BYTES = 0xC004
STORE_WRONG_ENCODING = 0xC005
STORE_TOO_LARGE = 0xC006
IDENTIFIER_UNREADABLE = 0xC001
QUERY_FAILED = 0xC002

WARNINGS = frozenset({0x0001, 0x0107, 0x0116})


def is_warning(status: int) -> bool:
    """Tell whether a final status reports a completed operation with a reservation (PS3.7 C.3)."""
    return status in WARNINGS or status >> 12 == 0xB


def is_permanent(status: int) -> bool:
    """Tell of a failure of C-STORE whether the same object would be refused again (PS3.4 B.2.3, PS3.7 C).

    That is so if it does not fit its class, cannot be understood, or its class is not supported.
    """
    return status >> 8 == 0xA9 or status >> 12 == 0xC or status == SOP_CLASS_NOT_SUPPORTED


def category(status: int) -> str:
    """Name the class of a final status: success, warning, cancel or failure."""
    if status == SUCCESS:
        return "success"
    if status == CANCEL:
        return "cancel"
    return "warning" if is_warning(status) else "failure"
