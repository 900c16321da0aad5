"""SOP classes that the archive serves (PS3.4 B.5, C.6, PS3.6 A)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from minipacs.dicom.tables.attributes import LEVELS, Level
from minipacs.dicom.tables.dictionary import UIDS

VERIFICATION = "1.2.840.10008.1.1"
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

Model = Literal["PATIENT", "STUDY", "PATIENT_STUDY_ONLY"]
Operation = Literal["find", "move", "get"]

LEVELS_OF: Mapping[Model, tuple[Level, ...]] = MappingProxyType(
    {"PATIENT": LEVELS, "STUDY": LEVELS[1:], "PATIENT_STUDY_ONLY": LEVELS[:2]}
)
"""The levels of an information model, from the top (PS3.4 C.6.1.1, C.6.2.1, C.6.3.1)."""

_OUTSIDE_STUDIES = frozenset(
    {
        MEDIA_STORAGE_DIRECTORY,
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.1.20.2",  # Storage Commitment Pull Model
        "1.2.840.10008.5.1.4.1.1.200.1",  # CT Defined Procedure Protocol
        "1.2.840.10008.5.1.4.1.1.200.3",  # Protocol Approval
        "1.2.840.10008.5.1.4.1.1.200.7",  # XA Defined Procedure Protocol
        "1.2.840.10008.5.1.4.1.1.201.1",  # Inventory
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol
        "1.2.840.10008.5.1.4.39.1",  # Color Palette
        "1.2.840.10008.5.1.4.43.1",  # Generic Implant Template
        "1.2.840.10008.5.1.4.44.1",  # Implant Assembly Template
        "1.2.840.10008.5.1.4.45.1",  # Implant Template Group
    }
)

_NEWER_THAN_PYDICOM = {
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}


def _storage() -> dict[str, str]:
    named = {uid: name for uid, (name, kind, *_) in UIDS.items() if kind == "SOP Class" and "Storage" in name}
    return {uid: name for uid, name in (_NEWER_THAN_PYDICOM | named).items() if uid not in _OUTSIDE_STUDIES}


STORAGE: Mapping[str, str] = MappingProxyType(_storage())
"""Name of every storage SOP class whose objects belong to a study, retired ones included, by UID."""


@dataclass(frozen=True, slots=True)
class QueryRetrieveClass:
    """A Query/Retrieve SOP class: an operation in an information model (PS3.4 C.6)."""

    uid: str
    model: Model
    operation: Operation


_MODELS: tuple[tuple[int, Model], ...] = ((1, "PATIENT"), (2, "STUDY"), (3, "PATIENT_STUDY_ONLY"))
_OPERATIONS: tuple[tuple[int, Operation], ...] = ((1, "find"), (2, "move"), (3, "get"))

QUERY_RETRIEVE: Mapping[str, QueryRetrieveClass] = MappingProxyType(
    {
        uid: QueryRetrieveClass(uid, model, operation)
        for m, model in _MODELS
        for o, operation in _OPERATIONS
        for uid in (f"1.2.840.10008.5.1.4.1.2.{m}.{o}",)
    }
)
"""The three models of Query/Retrieve, three operations each, by UID."""

MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
PERFORMED_STEP = "1.2.840.10008.3.1.2.3.3"
PERFORMED_STEP_RETRIEVE = "1.2.840.10008.3.1.2.3.4"
INSTANCE_AVAILABILITY = "1.2.840.10008.5.1.4.33"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The one well-known SOP Instance of Storage Commitment (PS3.4 J.3.5)."""
