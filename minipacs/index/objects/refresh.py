"""After instances went or changed: rows above them vanish, are recounted, or taken anew from their first instance."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from peewee import SQL, Case, Select, fn

from minipacs.dicom.tables.attributes import Level
from minipacs.dicom.tables.keys import KeyTable
from minipacs.errors import MinipacsError
from minipacs.index.engine.database import Connection, Database
from minipacs.index.objects.models import (
    COLUMNS,
    LEVEL_COLUMNS,
    LEVEL_MODELS,
    ONLINE,
    UNAVAILABLE_INSTANCES,
    Instance,
    Series,
    Study,
)
from minipacs.index.objects.parents import UPPER_LEVELS, ObjectRows, ParentRows, join_sorted, object_rows, value_of
from minipacs.index.objects.rare import RareValues

logger = logging.getLogger(__name__)

Reread = Callable[[str, str], Mapping[str, str]]
"""Gives the values, by keyword, of the file with this digest, sent by this AE title; may raise if it cannot be read."""

_IDENTITY = frozenset({"PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID"})
_COUNTS: Mapping[Level, Sequence[str]] = {
    "SERIES": ["NumberOfSeriesRelatedInstances"],
    "STUDY": ["NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"],
    "PATIENT": [
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    ],
}


class _LevelStatements:
    """The SQL for the rows of one level; where one row is meant, its id is the last parameter."""

    def __init__(self, database: Database, level: Level) -> None:
        columns, model = LEVEL_COLUMNS[level], LEVEL_MODELS[level]
        key, counts = model._meta.primary_key, [COLUMNS[keyword].value for keyword in _COUNTS[level]]
        kept = [i for i, keyword in enumerate(columns.keywords) if keyword not in _IDENTITY]
        fields = [*(columns.attribute_fields[i] for i in kept), *columns.derived_fields]
        self.taken = tuple(kept)
        self.take = database.update(fields)
        self.first = database.compile(_first_instance(level))[0]
        self.count = database.compile(_count_below(level))[0]
        self.set_counts = database.update([*counts, UNAVAILABLE_INSTANCES[level]])
        self.delete = database.compile(model.delete().where(key == 0))[0]


def _first_instance(level: Level) -> Select:
    if level == "SERIES":
        return Instance.select(fn.MIN(Instance.id)).where(Instance.parent == 0)
    of_series = Instance.select(fn.MIN(Instance.id)).where(Instance.parent == Series.id)
    if level == "STUDY":
        return Series.select(fn.MIN(of_series)).where(Series.parent == 0)
    return Series.select(fn.MIN(of_series)).join(Study).where(Study.parent == 0)


def _count_below(level: Level) -> Select:
    if level == "SERIES":
        unavailable = Case(None, [(Instance.availability == SQL(f"'{ONLINE}'"), SQL("0"))], SQL("1"))
        return Instance.select(fn.COUNT(Instance.id), fn.SUM(unavailable)).where(Instance.parent == 0)
    child, lower = (Series, _COUNTS["SERIES"]) if level == "STUDY" else (Study, _COUNTS["STUDY"])
    summed = [*(COLUMNS[keyword].value for keyword in lower), child.unavailable_instances]
    return child.select(fn.COUNT(child.id), *(fn.SUM(f) for f in summed)).where(child.parent == 0)


class Refresh:
    """One change at a time: `touch` what it may concern before it is made, then `run` after.

    A row whose first instance is another one than before, or one of those that `know` was told of, takes its
    attributes and its parent from it; `reread` gives those of an instance that is only known from its file. If that
    fails, the row stays as it is and a warning is logged.
    """

    def __init__(
        self, database: Database, connection: Connection, parents: ParentRows, keys: KeyTable, reread: Reread
    ) -> None:
        self._execute = connection.execute
        self._rare = RareValues(database, connection)
        self._keys = keys
        self._parents = parents
        self._reread = reread
        self._statements = {level: _LevelStatements(database, level) for level in UPPER_LEVELS}
        compile_ = database.compile
        self._select_file, _ = compile_(
            Instance.select(Instance.digest, Instance.source_ae_title).where(Instance.id == 0)
        )
        modality, sop_class = COLUMNS["Modality"].value, COLUMNS["SOPClassUID"].value
        self._select_series, _ = compile_(Series.select(Series.parent, modality).where(Series.id == 0))
        self._select_patient, _ = compile_(Study.select(Study.parent).where(Study.id == 0))
        self._sum_sizes, _ = compile_(Instance.select(fn.SUM(Instance.size_bytes)).where(Instance.parent == 0))
        self._select_modalities, _ = compile_(Series.select(modality).distinct().where(Series.parent == 0))
        self._select_sop_classes, _ = compile_(
            Instance.select(sop_class).distinct().join(Series).where(Series.parent == 0)
        )
        self._set_lists = database.update([COLUMNS["ModalitiesInStudy"].value, COLUMNS["SOPClassesInStudy"].value])
        self._move_series = database.update([Series.parent])
        self._move_study = database.update([Study.parent])
        self.clear()

    def clear(self) -> None:
        """Forget a change that failed."""
        self._firsts: dict[Level, dict[int, int | None]] = {level: {} for level in UPPER_LEVELS}
        self._known: dict[int, ObjectRows | None] = {}

    def touch(self, series_id: int, study_id: int, patient_id: int) -> None:
        """Note the rows above an instance, as they are now."""
        self._touch("SERIES", series_id)
        self._touch("STUDY", study_id)
        self._touch("PATIENT", patient_id)

    def know(self, instance_id: int, objects: ObjectRows) -> None:
        """Tell what an instance says now."""
        self._known[instance_id] = objects

    def is_first(self, instance_id: int, series_id: int) -> bool:
        """Tell whether an instance is the first of its series; the first of a study or patient always is."""
        return self._first("SERIES", series_id) == instance_id

    def run(self) -> None:
        """Put the touched rows right, from the bottom up."""
        for level in UPPER_LEVELS:
            for row_id, before in list(self._firsts[level].items()):
                first = self._first(level, row_id)
                if first is None:
                    self._remove(level, row_id)
                    continue
                if first != before or first in self._known:
                    self._take(level, row_id, first)
                self._count(level, row_id)
        self.clear()

    def _touch(self, level: Level, row_id: int) -> None:
        if row_id not in self._firsts[level]:
            self._firsts[level][row_id] = self._first(level, row_id)

    def _one(self, statement: str, row_id: int) -> Any:
        return self._execute(statement, (row_id,)).fetchone()

    def _first(self, level: Level, row_id: int) -> int | None:
        (first,) = self._one(self._statements[level].first, row_id)
        return None if first is None else int(first)

    def _remove(self, level: Level, row_id: int) -> None:
        if level == "SERIES":
            _, modality = self._one(self._select_series, row_id)
            self._parents.total(modality, series=-1)
        self._execute(self._statements[level].delete, (row_id,))

    def _take(self, level: Level, row_id: int, first: int) -> None:
        if first not in self._known:
            self._known[first] = self._read(first)
        objects = self._known[first]
        if objects is None:
            return
        if level == "SERIES":
            self._take_series(row_id, objects)
        elif level == "STUDY":
            self._take_study(row_id, objects)
        statements, attributes = self._statements[level], objects[level]
        derived = LEVEL_COLUMNS[level].derived(attributes)
        self._execute(statements.take, (*(attributes[i] for i in statements.taken), *derived, row_id))
        self._rare.replace(level, row_id, objects.rare)

    def _take_series(self, series_id: int, objects: ObjectRows) -> None:
        """Move a series to the study, and its totals to the modality, that its first instance names."""
        old_study_id, old_modality = self._one(self._select_series, series_id)
        modality = value_of(objects, "Modality")
        if modality != old_modality:
            (size_bytes,) = self._one(self._sum_sizes, series_id)
            count, _ = self._one(self._statements["SERIES"].count, series_id)
            self._parents.total(old_modality, series=-1, instances=-count, size_bytes=-size_bytes)
            self._parents.total(modality, series=1, instances=count, size_bytes=size_bytes)
        study_id, _ = self._parents.study(objects)
        if study_id != old_study_id:
            (patient_id,) = self._one(self._select_patient, study_id)
            self._touch("STUDY", study_id)
            self._touch("PATIENT", patient_id)
            self._execute(self._move_series, (study_id, series_id))

    def _take_study(self, study_id: int, objects: ObjectRows) -> None:
        (old_patient_id,) = self._one(self._select_patient, study_id)
        patient_id = self._parents.patient(objects)
        if patient_id != old_patient_id:
            self._touch("PATIENT", patient_id)
            self._execute(self._move_study, (patient_id, study_id))

    def _count(self, level: Level, row_id: int) -> None:
        statements = self._statements[level]
        counts = self._one(statements.count, row_id)
        self._execute(statements.set_counts, (*counts, row_id))
        if level == "STUDY":
            modalities, sop_classes = (
                join_sorted([value for (value,) in self._execute(select, (row_id,))])
                for select in (self._select_modalities, self._select_sop_classes)
            )
            self._execute(self._set_lists, (modalities, sop_classes, row_id))

    def _read(self, instance_id: int) -> ObjectRows | None:
        digest, source_ae_title = self._one(self._select_file, instance_id)
        try:
            objects = object_rows(self._reread(digest, source_ae_title), self._keys)
            if not value_of(objects, "StudyInstanceUID"):
                raise MinipacsError("no Study Instance UID")
        except (MinipacsError, OSError) as error:
            logger.warning("attributes not taken anew", extra={"fields": {"digest": digest, "reason": str(error)}})
            return None
        return objects
