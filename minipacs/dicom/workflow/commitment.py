"""Storage Commitment: what a request names, and what an event says of it (PS3.4 J.3)."""

from collections.abc import Iterable, Sequence

from minipacs.dicom.data_set.values import MutableValues, Values, items, text
from minipacs.dicom.tables.uids import is_uid
from minipacs.errors import Failure, Kind

MAX_OBJECTS = 100_000
"""Of one request."""

ALL_SAFE, SOME_FAILED = 1, 2
"""Event types (PS3.4 J.3.3.1)."""

TRANSACTION_UID, _RETRIEVE_AE_TITLE = 0x00081195, 0x00080054
_REFERENCED, _FAILED = 0x00081199, 0x00081198
_SOP_CLASS_UID, _SOP_INSTANCE_UID, _FAILURE_REASON = 0x00081150, 0x00081155, 0x00081197

References = Sequence[tuple[str, str]]
"""Pairs of SOP Class and SOP Instance UID."""


def asked(values: Values) -> tuple[str, References]:
    """Return the Transaction UID of a request and what it is about. Raises Failure (PS3.4 J.3.2.1)."""
    for tag, name in ((TRANSACTION_UID, "Transaction UID"), (_REFERENCED, "Referenced SOP Sequence")):
        if tag not in values:
            raise Failure(Kind.MISSING, f"{name} is missing", (tag,))
        if not values[tag]:
            raise Failure(Kind.EMPTY, f"{name} is empty", (tag,))
    transaction_uid = text(values, TRANSACTION_UID)
    objects = [(text(item, _SOP_CLASS_UID), text(item, _SOP_INSTANCE_UID)) for item in items(values, _REFERENCED)]
    if not is_uid(transaction_uid):
        raise Failure(Kind.INVALID, "Transaction UID is malformed", (TRANSACTION_UID,))
    if not all(is_uid(uid) for pair in objects for uid in pair):
        raise Failure(Kind.INVALID, "a reference lacks a UID", (_REFERENCED,))
    if len({instance for _, instance in objects}) < len(objects):
        raise Failure(Kind.INVALID, "an instance comes twice", (_REFERENCED,))
    if len(objects) > MAX_OBJECTS:
        raise Failure(Kind.TOO_MANY, f"more than {MAX_OBJECTS} objects")
    return transaction_uid, objects


def report(ae_title: str, transaction_uid: str, found: Iterable[tuple[str, str, int]]) -> Values:
    """Make an event's data set of SOP class, instance and failure reason of each object, 0 for one that is safe."""
    safe: list[Values] = []
    failed: list[Values] = []
    for sop_class_uid, sop_instance_uid, reason in found:
        item: MutableValues = {_SOP_CLASS_UID: sop_class_uid, _SOP_INSTANCE_UID: sop_instance_uid}
        if reason:
            failed.append({**item, _FAILURE_REASON: str(reason)})
        else:
            safe.append(item)
    made: MutableValues = {TRANSACTION_UID: transaction_uid, _RETRIEVE_AE_TITLE: ae_title}
    if safe:
        made[_REFERENCED] = tuple(safe)
    if failed:
        made[_FAILED] = tuple(failed)
    return made


def safe(event: Values) -> set[str]:
    """Return the SOP Instance UIDs of what an event says to be safe."""
    return {text(item, _SOP_INSTANCE_UID) for item in items(event, _REFERENCED)}


def event_type(event: Values) -> int:
    """Return the Event Type ID that goes with an event's data set."""
    return SOME_FAILED if _FAILED in event else ALL_SAFE
