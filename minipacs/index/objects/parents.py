"""The series, study and patient rows above an instance: found or made, counted and totalled."""

from dataclasses import dataclass
from typing import Any

from peewee import JOIN, SQL, Field, Model

from minipacs.dicom.tables.attributes import BY_KEYWORD, Level
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine
from minipacs.index.objects.conflicts import ConflictRows
from minipacs.index.objects.headings import ObjectRows, compared_person, join_sorted, value_of
from minipacs.index.objects.models import (
    COLUMNS,
    LEVEL_COLUMNS,
    PERSON,
    PERSON_OF_HEADING,
    PERSON_OF_STUDY,
    Heading,
    ModalityTotal,
    Patient,
    Series,
    Study,
    columns_within,
)
from minipacs.index.objects.rare import RareValues

UPPER_LEVELS: tuple[Level, ...] = ("SERIES", "STUDY", "PATIENT")
"""Levels whose rows exist for the sake of the instances below them, from the bottom up."""

_OF_HEADING = (Heading.study, Heading.series, Heading.digest, Heading.document, Heading.received)
_IDENTITY = ("StudyInstanceUID", "PatientID", "IssuerOfPatientID")
"""What a study is known by, in the order of `ObjectRows.path`."""


@dataclass(slots=True)
class Parents:
    """The rows above one instance, and what a new instance may have to change about them.

    `person` are the values of PERSON that the study has. What is `new` is not counted yet.
    """

    series_id: int
    study_id: int
    patient_id: int
    heading_id: int
    modality: str
    modalities: str
    sop_classes: str
    person: tuple[str, ...]
    new_series: int = 0
    new_studies: int = 0
    new_patients: int = 0
    has_new_heading: bool = False


class ParentRows:
    """Finds, makes and counts the rows above instances, on the connection of the writer."""

    def __init__(self, engine: Engine, connection: Connection, conflicts: ConflictRows) -> None:
        self._execute = connection.execute
        self._rare = RareValues(engine, connection)
        self._conflicts = conflicts
        compile_ = engine.compile
        modality, series_uid = COLUMNS["Modality"].value, COLUMNS["SeriesInstanceUID"].value
        lists = COLUMNS["ModalitiesInStudy"].value, COLUMNS["SOPClassesInStudy"].value
        of_study = (*lists, *PERSON_OF_STUDY.values())
        is_study = [_in_study(keyword) == "" for keyword in _IDENTITY]
        like_ours = (Heading.series == Series.id) & (Heading.digest == b"")
        self._select_parents, _ = compile_(
            Study.select(Series.id, Study.id, Study.parent, Heading.id, modality, *of_study)
            .join(Series)
            .join(Heading, JOIN.LEFT_OUTER, on=like_ours)
            .where(*is_study, series_uid == "")
        )
        self._select_study, _ = compile_(Study.select(Study.id, Study.parent, *of_study).where(*is_study))
        identity = (COLUMNS["PatientID"].value, COLUMNS["IssuerOfPatientID"].value, Patient.only_study_uid)
        of_patient = [COLUMNS[keyword].value for keyword in PERSON]
        self._select_patient, _ = compile_(Patient.select(Patient.id, *of_patient).where(*(f == "" for f in identity)))
        self._set_variants, _ = compile_(Patient.update({Patient.has_variants: SQL("1")}).where(Patient.id == 0))
        self._insert_patient = engine.insert([Patient.only_study_uid, *_row_fields("PATIENT")])
        self._insert_study = engine.insert([Study.parent, *lists, *PERSON_OF_STUDY.values(), *_row_fields("STUDY")])
        self._insert_series = engine.insert([Series.parent, *_row_fields("SERIES")])
        self._insert_heading = engine.insert([*_OF_HEADING, *PERSON_OF_HEADING.values()])
        self._count_in_series = _increments(engine, Series, "NumberOfSeriesRelatedInstances")
        self._count_in_study = _increments(engine, Study, "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
        self._count_in_patient = _increments(
            engine,
            Patient,
            "NumberOfPatientRelatedStudies",
            "NumberOfPatientRelatedSeries",
            "NumberOfPatientRelatedInstances",
        )
        self._list_in_study = engine.update(lists)
        totals = (ModalityTotal.series, ModalityTotal.instances, ModalityTotal.size_bytes)
        self._add_to_total, _ = compile_(
            ModalityTotal.update({f: f + 0 for f in totals}).where(ModalityTotal.modality == "")
        )
        self._insert_total, _ = compile_(
            ModalityTotal.insert_many([("", 0, 0, 0)], fields=[ModalityTotal.modality, *totals])
        )

    def place(self, objects: ObjectRows, size_bytes: int) -> Parents:
        """Find or make the rows for a new instance and count it in."""
        parents = self.find_or_make(objects)
        execute = self._execute
        execute(self._count_in_series, (1, parents.series_id))
        execute(self._count_in_study, (parents.new_series, 1, parents.study_id))
        execute(self._count_in_patient, (parents.new_studies, parents.new_series, 1, parents.patient_id))
        sop_class = value_of(objects, "SOPClassUID")
        modalities, sop_classes = parents.modalities.split("\\"), parents.sop_classes.split("\\")
        if sop_class not in sop_classes or parents.modality not in modalities:
            lists = join_sorted([*modalities, parents.modality]), join_sorted([*sop_classes, sop_class])
            execute(self._list_in_study, (*lists, parents.study_id))
        self.total(parents.modality, series=parents.new_series, instances=1, size_bytes=size_bytes)
        return parents

    def find_or_make(self, objects: ObjectRows) -> Parents:
        """Find or make the rows above an instance with its heading; what is new is not counted."""
        row = self._execute(self._select_parents, (objects.heading.digest, *objects.path)).fetchone()
        if row is not None:
            series_id, study_id, patient_id, heading_id, modality, modalities, sop_classes, *person = row
            parents = Parents(
                series_id, study_id, patient_id, heading_id or 0, modality, modalities, sop_classes, tuple(person)
            )
        else:
            parents = self._make(objects)
        if not parents.heading_id:
            self._add_heading(parents, objects)
        return parents

    def total(self, modality: str, *, series: int = 0, instances: int = 0, size_bytes: int = 0) -> None:
        """Add to the totals of a modality."""
        if not self._execute(self._add_to_total, (series, instances, size_bytes, modality)).rowcount:
            self._execute(self._insert_total, (modality, series, instances, size_bytes))

    def _make(self, objects: ObjectRows) -> Parents:
        """Make a series, and what is missing above it."""
        row = self._execute(self._select_study, objects.path[:3]).fetchone()
        modality = value_of(objects, "Modality")
        if row is not None:
            study_id, patient_id, modalities, sop_classes, *person = row
            parents = Parents(0, study_id, patient_id, 0, modality, modalities, sop_classes, tuple(person), 1)
        else:
            sop_class = value_of(objects, "SOPClassUID")
            parents = Parents(0, 0, 0, 0, modality, modality, sop_class, objects.person, 1, 1)
            self._make_study(parents, objects)
        attributes = objects["SERIES"]
        derived = LEVEL_COLUMNS["SERIES"].derived(attributes)
        parents.series_id = self._insert(self._insert_series, (parents.study_id, *attributes, *derived))
        self._rare.add("SERIES", parents.series_id, objects.rare)
        study_uid, patient_id, _, series_uid = objects.path
        self._conflicts.check_names(
            series_uid, study_uid if parents.new_studies else "", patient_id if parents.new_patients else ""
        )
        return parents

    def _make_study(self, parents: Parents, objects: ObjectRows) -> None:
        study_uid, patient_id, issuer, _ = objects.path
        only_study_uid = "" if patient_id else study_uid
        attributes, person = objects["PATIENT"], [value_of(objects, keyword) for keyword in PERSON]
        row = self._execute(self._select_patient, (patient_id, issuer, only_study_uid)).fetchone()
        if row is not None:
            parents.patient_id, *known = row
        else:
            derived = LEVEL_COLUMNS["PATIENT"].derived(attributes)
            parents.patient_id = self._insert(self._insert_patient, (only_study_uid, *attributes, *derived))
            self._rare.add("PATIENT", parents.patient_id, objects.rare)
            parents.new_patients, known = 1, person
        of_study = objects["STUDY"]
        lists = parents.modalities, parents.sop_classes
        derived = LEVEL_COLUMNS["STUDY"].derived(of_study)
        parents.study_id = self._insert(
            self._insert_study, (parents.patient_id, *lists, *parents.person, *of_study, *derived)
        )
        self._rare.add("STUDY", parents.study_id, objects.rare)
        if known != person:
            self._execute(self._set_variants, (parents.patient_id,))
            if _may_conflict(compared_person(known), parents.person):
                self._conflicts.check_patient(parents.patient_id)

    def _add_heading(self, parents: Parents, objects: ObjectRows) -> None:
        person = parents.person if parents.new_studies else objects.person
        parents.has_new_heading = True
        heading = objects.heading
        row = parents.study_id, parents.series_id, heading.digest, heading.document, heading.received, *person
        parents.heading_id = self._insert(self._insert_heading, row)
        if _may_conflict(parents.person, person):
            self._conflicts.check_study(parents.study_id)

    def _insert(self, statement: str, row: tuple[Any, ...]) -> int:
        ((row_id,),) = self._execute(statement, row).fetchall()
        return int(row_id)


def _may_conflict(known: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Tell whether new values of PERSON may be at odds with those of the first object, or of others."""
    return any(value not in ("", first) for first, value in zip(known, new, strict=True))


def _in_study(keyword: str) -> Field:
    field: Field = columns_within(BY_KEYWORD[keyword], "STUDY").value
    return field


def _row_fields(level: Level) -> list[Field]:
    columns = LEVEL_COLUMNS[level]
    return [*columns.attribute_fields, *columns.derived_fields]


def _increments(engine: Engine, model: type[Model], *keywords: str) -> str:
    """Write an UPDATE that adds its parameters to counts, for the row whose id is the last one."""
    counts = [COLUMNS[keyword].value for keyword in keywords]
    statement, _ = engine.compile(model.update({f: f + 0 for f in counts}).where(model._meta.primary_key == 0))
    return statement
