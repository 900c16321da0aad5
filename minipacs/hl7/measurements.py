"""How heavy and tall a patient is: observations of an order (IHE RAD TF-2 4.4.4.1.2.5; LOINC)."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType

from minipacs.dicom.data_set.values import MutableValues
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.hl7.segments import Segment

_OBSERVED: Mapping[str, str] = MappingProxyType(
    {
        "BODY WEIGHT": "PatientWeight",
        "29463-7": "PatientWeight",
        "BODY HEIGHT": "PatientSize",
        "8302-2": "PatientSize",
    }
)
"""By OBX-3, its code or its name."""

_UNITS: Mapping[str, Mapping[str, Decimal]] = MappingProxyType(
    {
        "PatientWeight": {"KG": Decimal(1), "G": Decimal("0.001")},
        "PatientSize": {"M": Decimal(1), "CM": Decimal("0.01")},
    }
)
"""What a unit is, in kilograms or metres."""

MAX_DS_LENGTH = 16


def measured(segments: Iterable[Segment]) -> MutableValues:
    """Give weight and size of the OBX segments that tell them in a unit that is known."""
    found: MutableValues = {}
    for obx in segments:
        keyword = _OBSERVED.get(obx.text(3).upper()) or _OBSERVED.get(obx.text(3, 2).upper(), "")
        factor = _UNITS.get(keyword, {}).get(obx.text(6).upper())
        value = _number(obx.text(5))
        if factor is None or value is None:
            continue
        text = f"{(value * factor).normalize():f}"
        if len(text) <= MAX_DS_LENGTH:
            found.setdefault(tag_named(keyword), text)
    return found


def _number(text: str) -> Decimal | None:
    """Read a number that a body can have."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and 0 < value < 1_000_000 else None
