"""The table of SOP classes that this archive accepts, prepared once (PS3.4 A, B, C)."""

from collections.abc import Iterable, Mapping

from minipacs.dicom.tables.sop_classes import (
    MODALITY_WORKLIST,
    PERFORMED_STEP,
    PERFORMED_STEP_RETRIEVE,
    QUERY_RETRIEVE,
    STORAGE,
    STORAGE_COMMITMENT,
    VERIFICATION,
)
from minipacs.dicom.tables.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from minipacs.net.wire.negotiation import OfferedClass, Right

_MESSAGE_SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

_MESSAGE_CLASSES: Mapping[str, Right] = {
    VERIFICATION: "echo",
    MODALITY_WORKLIST: "worklist",
    PERFORMED_STEP: "mpps",
    PERFORMED_STEP_RETRIEVE: "mpps",
    STORAGE_COMMITMENT: "commit",
}
"""Classes whose messages are all that there is to negotiate, with the right that they need."""

_STORAGE_EXTENDED = bytes((2, 0, 3, 0, 0, 0))
"""Level 2 (full), signature level 3 (bit preserving), no element coercion (PS3.4 B.3.1)."""

_FIND_EXTENDED = bytes((1, 1, 1, 1, 0))
"""Relational queries, combined date-time, fuzzy names, time zones; not: enhanced multi-frame (PS3.4 C.5.1.1)."""

_RETRIEVE_EXTENDED = bytes((1, 0))
"""Relational retrieval; not: conversion of enhanced multi-frame images (PS3.4 C.5.2.1)."""


def storage_classes(more: Iterable[str] = ()) -> frozenset[str]:
    """Return the SOP classes whose objects are stored; `more` are those of the configuration."""
    return frozenset((*STORAGE, *more))


def offered_classes(more_storage_classes: Iterable[str] = ()) -> dict[str, OfferedClass]:
    """Return what is offered, by abstract syntax; `more_storage_classes` are those of the configuration."""
    found = {uid: OfferedClass(uid, right, _MESSAGE_SYNTAXES) for uid, right in _MESSAGE_CLASSES.items()}
    for uid in storage_classes(more_storage_classes):
        found[uid] = OfferedClass(
            uid,
            "store",
            tuple(TRANSFER_SYNTAXES),
            keep_proposed_order=True,
            scu=True,
            extended=_STORAGE_EXTENDED,
        )
    for uid, entry in QUERY_RETRIEVE.items():
        is_find = entry.operation == "find"
        found[uid] = OfferedClass(
            uid,
            "find" if is_find else "retrieve",
            _MESSAGE_SYNTAXES,
            extended=_FIND_EXTENDED if is_find else _RETRIEVE_EXTENDED,
            extended_flags=True,
        )
    return found
