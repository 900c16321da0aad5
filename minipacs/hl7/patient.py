"""Whose message it is: the identifiers of a PID (IHE RAD TF-2 4.1.4.1.2.3; PS3.3 C.2.2)."""

from collections.abc import Sequence

from minipacs.dicom.data_set.values import MutableValues, Values
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.hl7 import conversions as to
from minipacs.hl7.faults import MISSING, Refused
from minipacs.hl7.segments import Field, Segment

MAX_OTHER_IDS = 20

PATIENT_ID, ISSUER = tag_named("PatientID"), tag_named("IssuerOfPatientID")
_QUALIFIERS = tag_named("IssuerOfPatientIDQualifiersSequence")
_TYPE, _OTHERS = tag_named("TypeOfPatientID"), tag_named("OtherPatientIDsSequence")
_UNIVERSAL, _UNIVERSAL_TYPE = tag_named("UniversalEntityID"), tag_named("UniversalEntityIDType")
_patient_id, _issuer = to.identifier(64), to.identifier(64)


def identity(segment: Segment, number: int, authority: str) -> MutableValues:
    """Give the attributes of the identifiers in a field: the one of `authority`, else the first, is the Patient ID.

    Raises Refused.
    """
    location = f"{segment.name}^1^{number}"
    try:
        found = [_one(each) for each in segment.field(number).repetitions() if each.text()]
    except Refused as fault:
        raise Refused(fault.condition, str(fault), location) from fault
    if not found:
        raise Refused(MISSING, "no patient identifier", location)
    chosen = next((each for each in found if authority and each.get(ISSUER) == authority), found[0])
    others = tuple(each for each in found if each is not chosen)[:MAX_OTHER_IDS]
    return {**chosen, **({_OTHERS: _as_others(others)} if others else {})}


def _one(field: Field) -> MutableValues:
    values: MutableValues = {PATIENT_ID: _patient_id(field)}
    if field.text(4):
        values[ISSUER] = str(_issuer(field.at(4)))
    universal, kind = field.text(4, 2), field.text(4, 3)
    if universal and kind:
        values[_QUALIFIERS] = ({_UNIVERSAL: universal, _UNIVERSAL_TYPE: kind},)
    return values


def _as_others(others: Sequence[Values]) -> tuple[Values, ...]:
    return tuple({**values, _TYPE: "TEXT"} for values in others)
