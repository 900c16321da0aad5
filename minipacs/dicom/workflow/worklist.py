"""THE table of the Modality Worklist: what a scheduled procedure step holds, and how it is asked for (PS3.4 K.6.1.2).

One row an attribute. The index takes the columns of the matching keys from here, the worklist its return keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from minipacs.dicom.data_set.values import vr_of
from minipacs.dicom.tables.attributes import column_name
from minipacs.dicom.tables.dictionary import tag_named

ReturnType = Literal["1", "1C", "2", "2C", "3"]

STEP_SEQUENCE = 0x00400100
"""Scheduled Procedure Step Sequence: one item in an answer, since each step is an answer of its own."""


@dataclass(frozen=True, slots=True)
class WorklistKey:
    """An attribute of the worklist model; `in_step` tells that it stands within the Scheduled Procedure Step Sequence.

    `matched` keys can be asked for by value, the others are only returned. `multi` ones match if any value does.
    """

    keyword: str
    tag: int
    vr: str
    return_type: ReturnType
    column: str
    in_step: bool
    matched: bool
    multi: bool
    computed: bool = False


_STEP = (
    ("ScheduledStationAETitle", "1", "R+"),
    ("ScheduledProcedureStepStartDate", "1", "R"),
    ("ScheduledProcedureStepStartTime", "1", "R"),
    ("Modality", "1", "R"),
    ("ScheduledPerformingPhysicianName", "2", "R"),
    ("ScheduledProcedureStepDescription", "1C", "O"),
    ("ScheduledStationName", "2", "O+"),
    ("ScheduledProcedureStepLocation", "2", "O"),
    ("ScheduledProtocolCodeSequence", "1C", ""),
    ("PreMedication", "2C", ""),
    ("ScheduledProcedureStepID", "1", "O"),
    ("RequestedContrastAgent", "2C", ""),
    ("ScheduledProcedureStepStatus", "3", "O"),
    ("ScheduledProcedureStepEndDate", "3", ""),
    ("ScheduledProcedureStepEndTime", "3", ""),
    ("ScheduledPerformingPhysicianIdentificationSequence", "3", ""),
    ("CommentsOnTheScheduledProcedureStep", "3", ""),
    ("ScheduledSpecimenSequence", "3", ""),
)

_REQUEST = (
    ("RequestedProcedureID", "1", "O"),
    ("RequestedProcedureDescription", "1C", "O"),
    ("RequestedProcedureCodeSequence", "1C", ""),
    ("StudyInstanceUID", "1", "O"),
    ("StudyDate", "3", ""),
    ("StudyTime", "3", ""),
    ("ReferencedStudySequence", "2", ""),
    ("RequestedProcedurePriority", "2", "O"),
    ("PatientTransportArrangements", "2", ""),
    ("ReasonForTheRequestedProcedure", "3", ""),
    ("ReasonForRequestedProcedureCodeSequence", "3", ""),
    ("RequestedProcedureComments", "3", ""),
    ("NamesOfIntendedRecipientsOfResults", "3", ""),
    ("AccessionNumber", "2", "O"),
    ("IssuerOfAccessionNumberSequence", "3", ""),
    ("RequestingPhysician", "2", "O"),
    ("ReferringPhysicianName", "2", "O"),
    ("RequestingService", "3", ""),
    ("ImagingServiceRequestComments", "3", ""),
    ("PlacerOrderNumberImagingServiceRequest", "3", ""),
    ("FillerOrderNumberImagingServiceRequest", "3", ""),
    ("OrderPlacerIdentifierSequence", "3", ""),
    ("OrderFillerIdentifierSequence", "3", ""),
    ("AdmissionID", "2", "O"),
    ("IssuerOfAdmissionIDSequence", "3", ""),
    ("CurrentPatientLocation", "2", "O"),
    ("ReferencedPatientSequence", "2", ""),
    ("InstitutionName", "3", ""),
    ("InstitutionAddress", "3", ""),
    ("PatientName", "1", "R"),
    ("PatientID", "1", "R"),
    ("IssuerOfPatientID", "3", "O"),
    ("OtherPatientIDs", "3", ""),
    ("OtherPatientIDsSequence", "3", ""),
    ("OtherPatientNames", "3", ""),
    ("PatientBirthDate", "2", "O"),
    ("PatientBirthTime", "3", ""),
    ("PatientSex", "2", "O"),
    ("PatientAge", "3", ""),
    ("PatientSize", "3", ""),
    ("PatientWeight", "2", ""),
    ("EthnicGroup", "3", ""),
    ("PatientComments", "3", ""),
    ("PatientAddress", "3", ""),
    ("PatientTelephoneNumbers", "3", ""),
    ("Occupation", "3", ""),
    ("ConfidentialityConstraintOnPatientDataDescription", "2", ""),
    ("PatientState", "2", ""),
    ("PregnancyStatus", "2", ""),
    ("MedicalAlerts", "2", ""),
    ("Allergies", "2", ""),
    ("SpecialNeeds", "2", ""),
    ("SmokingStatus", "3", ""),
    ("AdditionalPatientHistory", "3", ""),
    ("LastMenstrualDate", "3", ""),
)
"""Keyword; type as a return key; R or O for a required or optional matching key, + if it may have several values."""


def _key(keyword: str, return_type: ReturnType, matching: str, *, in_step: bool) -> WorklistKey:
    tag = tag_named(keyword)
    return WorklistKey(
        *(keyword, tag, vr_of(tag), return_type, column_name(keyword)),
        in_step=in_step,
        matched=bool(matching),
        multi="+" in matching,
    )


WORKLIST_KEYS: tuple[WorklistKey, ...] = tuple(
    _key(keyword, return_type, matching, in_step=in_step)  # type: ignore[arg-type]  # the rows hold no other types
    for in_step, rows in ((True, _STEP), (False, _REQUEST))
    for keyword, return_type, matching in rows
)
"""Every attribute of the model."""

MATCHED_KEYS = tuple(key for key in WORKLIST_KEYS if key.matched)

STEP_KEYS: Mapping[int, WorklistKey] = MappingProxyType({key.tag: key for key in WORKLIST_KEYS if key.in_step})
REQUEST_KEYS: Mapping[int, WorklistKey] = MappingProxyType({key.tag: key for key in WORKLIST_KEYS if not key.in_step})
BY_KEYWORD: Mapping[str, WorklistKey] = MappingProxyType({key.keyword: key for key in WORKLIST_KEYS})
