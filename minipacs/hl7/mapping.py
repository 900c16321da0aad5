"""THE table from messages to attributes (IHE RAD TF-2 4.4.4.1, 4.13.4.1, TF-2x B); the documentation prints it.

A row names an attribute, where its value is taken from, in order of preference, and what makes a value of the field. In
paths `OBR-4.5` is a component, from which the conversion counts; `PID>NTE-3` is of the notes that follow a PID.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from minipacs.dicom.data_set.values import MutableValues
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.hl7 import conversions as to
from minipacs.hl7.conversions import Convert, Value
from minipacs.hl7.faults import Refused
from minipacs.hl7.segments import NOTHING, Field, Segment

Context = Mapping[str, Segment]
"""The segments that one attribute may be taken from, by name; notes by `PID>NTE` and `OBR>NTE`."""

_PATH = re.compile(r"([A-Z][A-Z0-9]{2}(?:>NTE)?)-(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Path:
    """A place in a message."""

    segment: str
    field: int
    component: int

    @classmethod
    def read(cls, text: str) -> "Path":
        """Read `SEG-FIELD` or `SEG-FIELD.COMPONENT`."""
        found = _PATH.fullmatch(text)
        if found is None:
            raise ValueError(f"{text} is no place in a message")
        return cls(found[1], int(found[2]), int(found[3] or 1))

    def of(self, context: Context) -> Field:
        """Return the field, its components numbered from the one that is named."""
        segment = context.get(self.segment)
        return segment.field(self.field).at(self.component) if segment else NOTHING

    @property
    def location(self) -> str:
        """Return it as ERR-2 has it: segment, its number, field."""
        return f"{self.segment.rpartition('>')[2]}^1^{self.field}"

    def __str__(self) -> str:
        return f"{self.segment}-{self.field}" + (f".{self.component}" if self.component > 1 else "")


@dataclass(frozen=True, slots=True)
class Row:
    """An attribute: where orders in ORM and OMG have it, where OMI has it (nothing: the same), what makes a value."""

    keyword: str
    orm: tuple[Path, ...]
    omi: tuple[Path, ...]
    convert: Convert
    remark: str

    @property
    def tag(self) -> int:
        """The tag of the attribute."""
        return tag_named(self.keyword)

    def value(self, context: Context, *, is_omi: bool) -> Value:
        """Give the value of the first place that has one. Raises Refused, with the place."""
        for path in self.omi if is_omi else self.orm:
            try:
                found = self.convert(path.of(context))
            except Refused as fault:
                raise Refused(fault.condition, f"{self.keyword}: {fault}", path.location) from fault
            if found:
                return found
        return ""


def _row(keyword: str, orm: str, convert: Convert, omi: str | None = None, remark: str = "") -> Row:
    places = [tuple(map(Path.read, text.split())) for text in (orm, orm if omi is None else omi)]
    return Row(keyword, places[0], places[1], convert, remark)


PATIENT = (
    _row("PatientName", "PID-5", to.patient_name, remark="the repetitions by XPN-8: alphabetic, ideographic, phonetic"),
    _row("PatientBirthDate", "PID-7", to.date),
    _row("PatientSex", "PID-8", to.sex, remark="M, F, O; A and N are O; others are left empty"),
    _row("PatientMotherBirthName", "PID-6", to.person),
    _row("PatientAddress", "PID-11", to.address),
    _row("PatientTelephoneNumbers", "PID-13 PID-14", to.words(16)),
    _row("PatientComments", "PID>NTE-3", to.lines),
)
"""What a PID tells of a patient, beside its identifiers (`patient.identity`)."""

VISIT = (
    _row("PregnancyStatus", "PV1-15", to.pregnancy, remark="B6: 3, definitely pregnant"),
    _row("PatientState", "OBR-12", to.words()),
    _row("MedicalAlerts", "OBR-13", to.words()),
    _row("Allergies", "AL1-3.2 AL1-3", to.words()),
    _row("ConfidentialityConstraintOnPatientDataDescription", "PV1-16 ORC-28", to.words()),
    _row("AdmissionID", "PV1-19 PID-18", to.identifier(64)),
    _row("IssuerOfAdmissionIDSequence", "PV1-19.4 PID-18.4", to.issuer_within),
    _row("CurrentPatientLocation", "PV1-3", to.location),
    _row("ReferringPhysicianName", "PV1-8.2", to.person),
)
"""What is known of the patient's stay."""

REQUEST = (
    _row("AccessionNumber", "OBR-18", to.identifier(16), "IPC-1"),
    _row("IssuerOfAccessionNumberSequence", "", to.issuer, "IPC-1.2"),
    _row("RequestedProcedureID", "OBR-19", to.identifier(16), "IPC-2", "else the accession number"),
    _row("StudyInstanceUID", "ZDS-1", to.uid, "IPC-3 ZDS-1", "else that of the order, else derived"),
    _row("RequestedProcedureDescription", "OBR-44.2 OBR-4.2", to.words()),
    _row("RequestedProcedureCodeSequence", "OBR-44 OBR-4", to.code, remark="with value, meaning and scheme"),
    _row("ReasonForTheRequestedProcedure", "OBR-31.2 OBR-31", to.words()),
    _row("ReasonForRequestedProcedureCodeSequence", "OBR-31", to.code),
    _row("RequestedProcedurePriority", "TQ1-9 ORC-7.6 OBR-27.6", to.priority, "TQ1-9"),
    _row("PatientTransportArrangements", "OBR-30", to.words()),
    _row("RequestedProcedureComments", "OBR>NTE-3", to.lines),
    _row("RequestingPhysician", "OBR-16.2 ORC-12.2", to.person),
    _row("PlacerOrderNumberImagingServiceRequest", "ORC-2 OBR-2", to.identifier(64)),
    _row("OrderPlacerIdentifierSequence", "ORC-2.2 OBR-2.2", to.issuer),
    _row("FillerOrderNumberImagingServiceRequest", "ORC-3 OBR-3", to.identifier(64)),
    _row("OrderFillerIdentifierSequence", "ORC-3.2 OBR-3.2", to.issuer),
    _row("InstitutionName", "ORC-17.2 ORC-17 MSH-4", to.words()),
    _row("InstitutionCodeSequence", "ORC-17", to.code),
    _row("InstitutionAddress", "ORC-22", to.address),
)
"""What is asked for."""

STEP = (
    _row("ScheduledProcedureStepStartDate", "TQ1-7 ORC-7.4 OBR-27.4", to.start_date, "TQ1-7", "else today"),
    _row("ScheduledProcedureStepStartTime", "TQ1-7 ORC-7.4 OBR-27.4", to.start_time, "TQ1-7", "zone cut off; else now"),
    _row("ScheduledProcedureStepID", "OBR-20", to.identifier(16), "IPC-4", "else the requested procedure ID"),
    _row("Modality", "OBR-24", to.identifier(16), "IPC-5"),
    _row("ScheduledProcedureStepDescription", "OBR-4.5 OBR-4.2", to.words(), "IPC-6.5 IPC-6.2 OBR-4.5 OBR-4.2"),
    _row("ScheduledProtocolCodeSequence", "OBR-4.4 OBR-4", to.code, "IPC-6 IPC-6.4 OBR-4.4 OBR-4"),
    _row("ScheduledPerformingPhysicianName", "OBR-34", to.performer),
    _row("ScheduledStationName", "", to.many, "IPC-7"),
    _row("ScheduledProcedureStepLocation", "", to.words(16), "IPC-8"),
    _row("ScheduledStationAETitle", "ORC-18", to.titles, "IPC-9", "else the first [[station]] that fits"),
)
"""What is to be done, where and when: Scheduled Procedure Step Sequence."""


def values_of(rows: Sequence[Row], context: Context, *, is_omi: bool = False) -> MutableValues:
    """Give the attributes of rows that have a value. Raises Refused."""
    return {row.tag: value for row in rows if (value := row.value(context, is_omi=is_omi))}


def deleted(rows: Sequence[Row], context: Context) -> Iterator[int]:
    """Give the tags of what a message says there is none of."""
    return (row.tag for row in rows if any(path.of(context).is_deleted for path in row.orm))
