"""The series, study and patient rows above an instance: found or made, counted and totalled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from peewee import Field, Model

from minipacs.dicom.tables.attributes import Level
from minipacs.dicom.tables.keys import KeyTable
from minipacs.index.engine.database import Connection, Database
from minipacs.index.objects.models import COLUMNS, LEVEL_COLUMNS, ModalityTotal, Patient, Series, Study
from minipacs.index.objects.rare import RareRows, RareValues, rare_rows

UPPER_LEVELS: tuple[Level, ...] = ("SERIES", "STUDY", "PATIENT")
"""Levels whose rows exist for the sake of the instances below them, from the bottom up."""


@dataclass(frozen=True, slots=True)
class ObjectRows:
    """The attributes of one object by level: those with a column in the order of LEVEL_COLUMNS, and the others."""

    columns: Mapping[Level, tuple[str, ...]]
    rare: RareRows

    def __getitem__(self, level: Level) -> tuple[str, ...]:
        return self.columns[level]


def object_rows(values: Mapping[str, str], keys: KeyTable) -> ObjectRows:
    """Sort the values of an object, by keyword, into rows."""
    columns = {level: columns.attributes(values) for level, columns in LEVEL_COLUMNS.items()}
    return ObjectRows(columns, rare_rows(values, keys))


_PLACES = {
    keyword: (level, i) for level, columns in LEVEL_COLUMNS.items() for i, keyword in enumerate(columns.keywords)
}


def value_of(objects: ObjectRows, keyword: str) -> str:
    """Pick one attribute."""
    level, i = _PLACES[keyword]
    return objects[level][i]


def join_sorted(values: Sequence[str]) -> str:
    """Join values, sorted, each once, leaving out empty ones."""
    return "\\".join(sorted({value for value in values if value}))


class Parents(NamedTuple):
    """The rows above one instance; `attributes` are theirs, in the order of UPPER_LEVELS."""

    series_id: int
    study_id: int
    patient_id: int
    modalities: str
    sop_classes: str
    attributes: tuple[str, ...]
    new_series: int
    new_studies: int


class ParentRows:
    """Finds, makes and counts the rows above instances, on the connection of the writer."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._execute = connection.execute
        self._rare = RareValues(database, connection)
        modalities, sop_classes = COLUMNS["ModalitiesInStudy"].value, COLUMNS["SOPClassesInStudy"].value
        upper = [f for level in UPPER_LEVELS for f in LEVEL_COLUMNS[level].attribute_fields]
        self._select_parents, _ = database.compile(
            Series.select(Series.id, Study.id, Patient.id, modalities, sop_classes, *upper)
            .join(Study)
            .join(Patient)
            .where(COLUMNS["SeriesInstanceUID"].value == "")
        )
        self._select_study, _ = database.compile(Study.select(Study.id).where(COLUMNS["StudyInstanceUID"].value == ""))
        identity = (COLUMNS["PatientID"].value, COLUMNS["IssuerOfPatientID"].value, Patient.only_study_uid)
        self._select_patient, _ = database.compile(Patient.select(Patient.id).where(*(f == "" for f in identity)))
        self._insert_series = database.insert([Series.parent, *_row_fields("SERIES")])
        self._insert_study = database.insert([Study.parent, *_row_fields("STUDY")])
        self._insert_patient = database.insert([Patient.only_study_uid, *_row_fields("PATIENT")])
        self._count_in_series = _increments(database, Series, "NumberOfSeriesRelatedInstances")
        self._count_in_study = _increments(
            database, Study, "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"
        )
        self._count_in_patient = _increments(
            database,
            Patient,
            "NumberOfPatientRelatedStudies",
            "NumberOfPatientRelatedSeries",
            "NumberOfPatientRelatedInstances",
        )
        self._list_in_study = database.update([modalities, sop_classes])
        totals = (ModalityTotal.series, ModalityTotal.instances, ModalityTotal.size_bytes)
        self._add_to_total, _ = database.compile(
            ModalityTotal.update({f: f + 0 for f in totals}).where(ModalityTotal.modality == "")
        )
        self._insert_total, _ = database.compile(
            ModalityTotal.insert_many([("", 0, 0, 0)], fields=[ModalityTotal.modality, *totals])
        )

    def place(self, objects: ObjectRows, size_bytes: int) -> Parents:
        """Find or make the rows for a new instance and count it in."""
        parents = self._find(value_of(objects, "SeriesInstanceUID")) or self._make(objects)
        execute = self._execute
        execute(self._count_in_series, (1, parents.series_id))
        execute(self._count_in_study, (parents.new_series, 1, parents.study_id))
        execute(self._count_in_patient, (parents.new_studies, parents.new_series, 1, parents.patient_id))
        modality, sop_class = parents.attributes[_MODALITY], value_of(objects, "SOPClassUID")
        modalities, sop_classes = parents.modalities.split("\\"), parents.sop_classes.split("\\")
        if sop_class not in sop_classes or modality not in modalities:
            lists = join_sorted([*modalities, modality]), join_sorted([*sop_classes, sop_class])
            execute(self._list_in_study, (*lists, parents.study_id))
        self.total(modality, series=parents.new_series, instances=1, size_bytes=size_bytes)
        return parents

    def study(self, objects: ObjectRows) -> tuple[int, bool]:
        """Find the study that an object names, or make it, uncounted; True if made."""
        row = self._execute(self._select_study, (value_of(objects, "StudyInstanceUID"),)).fetchone()
        if row:
            return row[0], False
        attributes = objects["STUDY"]
        derived = LEVEL_COLUMNS["STUDY"].derived(attributes)
        study_id = self._insert(self._insert_study, (self.patient(objects), *attributes, *derived))
        self._rare.add("STUDY", study_id, objects.rare)
        return study_id, True

    def patient(self, objects: ObjectRows) -> int:
        """Find the patient that an object names, or make it, uncounted: one a study if there is no Patient ID."""
        attributes = objects["PATIENT"]
        patient_id = value_of(objects, "PatientID")
        issuer = value_of(objects, "IssuerOfPatientID")
        only_study_uid = "" if patient_id else value_of(objects, "StudyInstanceUID")
        row = self._execute(self._select_patient, (patient_id, issuer, only_study_uid)).fetchone()
        if row:
            return int(row[0])
        derived = LEVEL_COLUMNS["PATIENT"].derived(attributes)
        row_id = self._insert(self._insert_patient, (only_study_uid, *attributes, *derived))
        self._rare.add("PATIENT", row_id, objects.rare)
        return row_id

    def total(self, modality: str, *, series: int = 0, instances: int = 0, size_bytes: int = 0) -> None:
        """Add to the totals of a modality."""
        if not self._execute(self._add_to_total, (series, instances, size_bytes, modality)).rowcount:
            self._execute(self._insert_total, (modality, series, instances, size_bytes))

    def _find(self, series_uid: str, new_series: int = 0, new_studies: int = 0) -> Parents | None:
        row = self._execute(self._select_parents, (series_uid,)).fetchone()
        if row is None:
            return None
        series_id, study_id, patient_id, modalities, sop_classes, *_ = row
        return Parents(series_id, study_id, patient_id, modalities, sop_classes, row[5:], new_series, new_studies)

    def _make(self, objects: ObjectRows) -> Parents:
        study_id, made = self.study(objects)
        attributes = objects["SERIES"]
        derived = LEVEL_COLUMNS["SERIES"].derived(attributes)
        series_id = self._insert(self._insert_series, (study_id, *attributes, *derived))
        self._rare.add("SERIES", series_id, objects.rare)
        found = self._find(value_of(objects, "SeriesInstanceUID"), 1, int(made))
        assert found is not None  # noqa: S101  just inserted
        return found

    def _insert(self, statement: str, row: tuple[Any, ...]) -> int:
        ((row_id,),) = self._execute(statement, row).fetchall()
        return int(row_id)


_MODALITY = LEVEL_COLUMNS["SERIES"].keywords.index("Modality")


def _row_fields(level: Level) -> list[Field]:
    columns = LEVEL_COLUMNS[level]
    return [*columns.attribute_fields, *columns.derived_fields]


def _increments(database: Database, model: type[Model], *keywords: str) -> str:
    """Write an UPDATE that adds its parameters to counts, for the row whose id is the last one."""
    counts = [COLUMNS[keyword].value for keyword in keywords]
    statement, _ = database.compile(model.update({f: f + 0 for f in counts}).where(model._meta.primary_key == 0))
    return statement
