"""Whose message it is, and what it says of that patient (IHE RAD TF-2 4.1, 4.12; PS3.3 C.2.2)."""

from collections.abc import Sequence
from typing import NamedTuple

from minipacs.archive.care.patients import PERSON, Person
from minipacs.dicom.data_set.amendments import Identity
from minipacs.dicom.data_set.values import MutableValues, Values, text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.hl7 import conversions as to
from minipacs.hl7 import mapping
from minipacs.hl7.faults import DUPLICATE_KEY, MISSING, SEGMENT_SEQUENCE, Refused
from minipacs.hl7.message import Message
from minipacs.hl7.segments import Field, Segment

MAX_OTHER_IDS = 20

PATIENT_ID, ISSUER = tag_named("PatientID"), tag_named("IssuerOfPatientID")
_QUALIFIERS = tag_named("IssuerOfPatientIDQualifiersSequence")
_TYPE, _OTHERS = tag_named("TypeOfPatientID"), tag_named("OtherPatientIDsSequence")
_UNIVERSAL, _UNIVERSAL_TYPE = tag_named("UniversalEntityID"), tag_named("UniversalEntityIDType")
_NAME = tag_named("PatientName")
_patient_id, _issuer = to.identifier(64), to.identifier(64)


class Told(NamedTuple):
    """What a message says of a patient: as objects are told, and all else by tag; "" for what there is none of."""

    person: Person
    more: Values


class Merged(NamedTuple):
    """One patient who is another from now on."""

    prior: Identity
    survivor: Told


def read_patient(message: Message, authority: str) -> Told:
    """Read whom a message is about. Raises Refused."""
    context: dict[str, Segment] = {}
    for segment in message.segments:
        if segment.name == "PID":
            context.setdefault("PID", segment)
        elif segment.name == "NTE" and "PID" in context:
            context.setdefault("PID>NTE", segment)
    return _told(context, authority)


def read_merges(message: Message, authority: str) -> list[Merged]:
    """Read who is whom from now on: each MRG is about the PID before it. Raises Refused."""
    found: list[Merged] = []
    pid: Segment | None = None
    for segment in message.segments:
        if segment.name == "PID":
            pid = segment
        elif segment.name == "MRG":
            if pid is None:
                raise Refused(SEGMENT_SEQUENCE, "an MRG without a PID before it", "PID^1")
            found.append(Merged(whose(identity(segment, 1, authority)), _told({"PID": pid}, authority)))
            pid = None
    if not found:
        raise Refused(SEGMENT_SEQUENCE, "no MRG segment", "MRG^1")
    named = [one for merged in found for one in (merged.prior, merged.survivor.person.whose)]
    if len(set(named)) < len(named) and len(found) > 1:
        raise Refused(DUPLICATE_KEY, "one patient in several merges of a message", "MRG^1^1")
    return found


def whose(values: Values) -> Identity:
    """Return the identity among values."""
    return Identity(text(values, PATIENT_ID), text(values, ISSUER))


def told(values: Values) -> Told:
    """Sort what is said of a patient."""
    of_person = {tag_named(keyword): keyword for keyword in PERSON}
    person = {keyword: text(values, tag) for tag, keyword in of_person.items() if tag in values}
    not_more = (*of_person, PATIENT_ID, ISSUER)
    more = {tag: value for tag, value in values.items() if tag not in not_more and isinstance(value, str)}
    return Told(Person(whose(values), person), more)


def _told(context: mapping.Context, authority: str) -> Told:
    if "PID" not in context:
        raise Refused(SEGMENT_SEQUENCE, "no PID segment", "PID^1")
    deleted = dict.fromkeys(mapping.deleted(mapping.PATIENT, context), "")
    if _NAME in deleted:
        raise Refused(MISSING, "a patient has a name", "PID^1^5")
    values = mapping.values_of(mapping.PATIENT, context)
    return told({**identity(context["PID"], 3, authority), **deleted, **values})


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
