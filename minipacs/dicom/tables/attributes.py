"""The key table: every attribute the archive indexes, matches and returns (PS3.4 C.6.1.1, C.6.2.1).

One row an attribute. The index takes its columns from here, C-FIND its keys, the header scan its tags.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

Level = Literal["PATIENT", "STUDY", "SERIES", "IMAGE"]
KeyType = Literal["U", "R", "O"]
"""Unique, required or optional key at its level."""

LEVELS: tuple[Level, ...] = ("PATIENT", "STUDY", "SERIES", "IMAGE")


class Key(Protocol):
    """What matching has to know of an attribute, of whatever information model."""

    @property
    def keyword(self) -> str:
        """The keyword of PS3.6."""

    @property
    def tag(self) -> int:
        """The tag."""

    @property
    def vr(self) -> str:
        """The value representation."""

    @property
    def multi(self) -> bool:
        """Whether it may have several values, any of which matches."""

    @property
    def computed(self) -> bool:
        """Whether it is counted or gathered, not read from objects."""

    @property
    def column(self) -> str:
        """The name of its column."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute at the level of the information model where it lives.

    `multi` tells that its value multiplicity may exceed one: any value matches, all are returned (PS3.4 C.2.2.3).
    `computed` ones are not read from objects: they are counts, lists over lower levels, or facts of this archive.
    Those without a `column` are too rare to have a place in every row: sequences, and extended keys. A private one has
    a `creator`; its `tag` leaves out the block, which is another in each data set.
    """

    keyword: str
    tag: int
    vr: str
    level: Level
    key: KeyType = "O"
    column: str = ""
    multi: bool = False
    computed: bool = False
    creator: str = ""

    def __hash__(self) -> int:
        return self.tag


def column_name(keyword: str) -> str:
    """Spell a keyword in snake case, with runs of capitals as one word (`SOPInstanceUID`: `sop_instance_uid`)."""
    out = ""
    for i, c in enumerate(keyword):
        starts_word = c.isupper() and (
            keyword[i - 1 : i].islower() or (keyword[i - 1 : i] and keyword[i + 1 : i + 2].islower())
        )
        plural_of_capitals = keyword[i : i + 2] in ("Ds", "Hs") and not keyword[i + 2 : i + 3].islower()
        out += ("_" if i and starts_word and not plural_of_capitals else "") + c.lower()
    return out


_ROWS: tuple[tuple[Level, tuple[tuple[str, int, str, str], ...]], ...] = (
    (
        "PATIENT",
        (
            ("PatientID", 0x00100020, "LO", "U"),
            ("PatientName", 0x00100010, "PN", "R"),
            ("IssuerOfPatientID", 0x00100021, "LO", "O"),
            ("PatientBirthDate", 0x00100030, "DA", "O"),
            ("PatientBirthTime", 0x00100032, "TM", "O"),
            ("PatientSex", 0x00100040, "CS", "O"),
            ("OtherPatientIDs", 0x00101000, "LO", "Om"),
            ("OtherPatientNames", 0x00101001, "PN", "Om"),
            ("EthnicGroup", 0x00102160, "SH", "O"),
            ("PatientComments", 0x00104000, "LT", "O"),
            ("NumberOfPatientRelatedStudies", 0x00201200, "IS", "Oc"),
            ("NumberOfPatientRelatedSeries", 0x00201202, "IS", "Oc"),
            ("NumberOfPatientRelatedInstances", 0x00201204, "IS", "Oc"),
        ),
    ),
    (
        "STUDY",
        (
            ("StudyInstanceUID", 0x0020000D, "UI", "U"),
            ("StudyDate", 0x00080020, "DA", "R"),
            ("StudyTime", 0x00080030, "TM", "R"),
            ("AccessionNumber", 0x00080050, "SH", "R"),
            ("StudyID", 0x00200010, "SH", "R"),
            ("ReferringPhysicianName", 0x00080090, "PN", "O"),
            ("StudyDescription", 0x00081030, "LO", "O"),
            ("PhysiciansOfRecord", 0x00081048, "PN", "Om"),
            ("NameOfPhysiciansReadingStudy", 0x00081060, "PN", "Om"),
            ("AdmittingDiagnosesDescription", 0x00081080, "LO", "Om"),
            ("InstitutionName", 0x00080080, "LO", "O"),
            ("PatientAge", 0x00101010, "AS", "O"),
            ("PatientSize", 0x00101020, "DS", "O"),
            ("PatientWeight", 0x00101030, "DS", "O"),
            ("Occupation", 0x00102180, "SH", "O"),
            ("AdditionalPatientHistory", 0x001021B0, "LT", "O"),
            ("TimezoneOffsetFromUTC", 0x00080201, "SH", "O"),
            ("ModalitiesInStudy", 0x00080061, "CS", "Omc"),
            ("SOPClassesInStudy", 0x00080062, "UI", "Omc"),
            ("NumberOfStudyRelatedSeries", 0x00201206, "IS", "Oc"),
            ("NumberOfStudyRelatedInstances", 0x00201208, "IS", "Oc"),
        ),
    ),
    (
        "SERIES",
        (
            ("SeriesInstanceUID", 0x0020000E, "UI", "U"),
            ("Modality", 0x00080060, "CS", "R"),
            ("SeriesNumber", 0x00200011, "IS", "R"),
            ("SeriesDescription", 0x0008103E, "LO", "O"),
            ("SeriesDate", 0x00080021, "DA", "O"),
            ("SeriesTime", 0x00080031, "TM", "O"),
            ("BodyPartExamined", 0x00180015, "CS", "O"),
            ("Laterality", 0x00200060, "CS", "O"),
            ("ProtocolName", 0x00181030, "LO", "O"),
            ("PerformingPhysicianName", 0x00081050, "PN", "Om"),
            ("OperatorsName", 0x00081070, "PN", "Om"),
            ("Manufacturer", 0x00080070, "LO", "O"),
            ("ManufacturerModelName", 0x00081090, "LO", "O"),
            ("StationName", 0x00081010, "SH", "O"),
            ("InstitutionalDepartmentName", 0x00081040, "LO", "O"),
            ("FrameOfReferenceUID", 0x00200052, "UI", "O"),
            ("PerformedProcedureStepStartDate", 0x00400244, "DA", "O"),
            ("PerformedProcedureStepStartTime", 0x00400245, "TM", "O"),
            ("PerformedProcedureStepID", 0x00400253, "SH", "O"),
            ("PerformedProcedureStepDescription", 0x00400254, "LO", "O"),
            ("NumberOfSeriesRelatedInstances", 0x00201209, "IS", "Oc"),
        ),
    ),
    (
        "IMAGE",
        (
            ("SOPInstanceUID", 0x00080018, "UI", "U"),
            ("InstanceNumber", 0x00200013, "IS", "R"),
            ("SOPClassUID", 0x00080016, "UI", "O"),
            ("ImageType", 0x00080008, "CS", "Om"),
            ("InstanceCreationDate", 0x00080012, "DA", "O"),
            ("InstanceCreationTime", 0x00080013, "TM", "O"),
            ("ContentDate", 0x00080023, "DA", "O"),
            ("ContentTime", 0x00080033, "TM", "O"),
            ("AcquisitionDate", 0x00080022, "DA", "O"),
            ("AcquisitionTime", 0x00080032, "TM", "O"),
            ("AcquisitionDateTime", 0x0008002A, "DT", "O"),
            ("AcquisitionNumber", 0x00200012, "IS", "O"),
            ("NumberOfFrames", 0x00280008, "IS", "O"),
            ("Rows", 0x00280010, "US", "O"),
            ("Columns", 0x00280011, "US", "O"),
            ("BitsAllocated", 0x00280100, "US", "O"),
            ("PhotometricInterpretation", 0x00280004, "CS", "O"),
            ("SamplesPerPixel", 0x00280002, "US", "O"),
            ("ContentLabel", 0x00700080, "CS", "O"),
            ("ContentDescription", 0x00700081, "LO", "O"),
            ("PresentationCreationDate", 0x00700082, "DA", "O"),
            ("PresentationCreationTime", 0x00700083, "TM", "O"),
            ("ContentCreatorName", 0x00700084, "PN", "O"),
            ("CompletionFlag", 0x0040A491, "CS", "O"),
            ("VerificationFlag", 0x0040A493, "CS", "O"),
        ),
    ),
)

_KEY_TYPES: dict[str, KeyType] = {"U": "U", "R": "R", "O": "O"}


def _attributes() -> tuple[Attribute, ...]:
    return tuple(
        Attribute(
            *(keyword, tag, vr, level, _KEY_TYPES[flags[0]], column_name(keyword)),
            multi="m" in flags,
            computed="c" in flags,
        )
        for level, rows in _ROWS
        for keyword, tag, vr, flags in rows
    )


ATTRIBUTES: tuple[Attribute, ...] = _attributes()
"""Every attribute of the four levels, in the order of the table."""

_SEQUENCE_ROWS: tuple[tuple[Level, str, int], ...] = (
    ("PATIENT", "IssuerOfPatientIDQualifiersSequence", 0x00100024),
    ("PATIENT", "OtherPatientIDsSequence", 0x00101002),
    ("STUDY", "IssuerOfAccessionNumberSequence", 0x00080051),
    ("STUDY", "ProcedureCodeSequence", 0x00081032),
    ("STUDY", "ReferencedStudySequence", 0x00081110),
    ("SERIES", "RequestAttributesSequence", 0x00400275),
    ("SERIES", "ReferencedPerformedProcedureStepSequence", 0x00081111),
    ("SERIES", "PerformedProtocolCodeSequence", 0x00400260),
    ("IMAGE", "ConceptNameCodeSequence", 0x0040A043),
    ("IMAGE", "ContentTemplateSequence", 0x0040A504),
    ("IMAGE", "VerifyingObserverSequence", 0x0040A073),
    ("IMAGE", "ReferencedRequestSequence", 0x0040A370),
)

SEQUENCES: tuple[Attribute, ...] = tuple(Attribute(keyword, tag, "SQ", level) for level, keyword, tag in _SEQUENCE_ROWS)
"""Sequence keys: every attribute of text or numbers within their items is one (PS3.4 C.2.2.2.6)."""

SPECIFIC_CHARACTER_SET = 0x00080005
QUERY_RETRIEVE_LEVEL = 0x00080052
RETRIEVE_AE_TITLE = 0x00080054
INSTANCE_AVAILABILITY = 0x00080056
TIMEZONE_OFFSET_FROM_UTC = 0x00080201

BY_KEYWORD = MappingProxyType({a.keyword: a for a in ATTRIBUTES})
UNIQUE_KEY = MappingProxyType({a.level: a for a in ATTRIBUTES if a.key == "U"})
