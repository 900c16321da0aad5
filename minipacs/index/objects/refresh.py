"""After instances went or changed: rows above them vanish, are recounted, or taken anew from their first instance.

What they are taken from are headings: rows, never files.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from peewee import SQL, Case, Select, fn

from minipacs.dicom.tables.attributes import BY_KEYWORD, UNIQUE_KEY, Level
from minipacs.dicom.tables.keys import KeyTable
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine
from minipacs.index.objects.conditions import any_of
from minipacs.index.objects.conflicts import ConflictRows
from minipacs.index.objects.headings import ObjectRows, join_sorted, rows_above, value_of
from minipacs.index.objects.models import (
    COLUMNS,
    LEVEL_COLUMNS,
    LEVEL_MODELS,
    ONLINE,
    PERSON,
    PERSON_OF_STUDY,
    UNAVAILABLE_INSTANCES,
    Heading,
    Instance,
    Patient,
    Series,
    Study,
    columns_within,
)
from minipacs.index.objects.parents import UPPER_LEVELS, ParentRows
from minipacs.index.objects.rare import RareValues

_IDENTITY = frozenset({"PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID"})
"""What never changes in a row: it decides what is filed under it."""

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

    def __init__(self, engine: Engine, level: Level) -> None:
        columns, model = LEVEL_COLUMNS[level], LEVEL_MODELS[level]
        key, counts = model._meta.primary_key, [COLUMNS[keyword].value for keyword in _COUNTS[level]]
        kept = [i for i, keyword in enumerate(columns.keywords) if keyword not in _IDENTITY]
        person = PERSON_OF_STUDY.values() if level == "STUDY" else ()
        self.taken = tuple(kept)
        self.take = engine.update([*(columns.attribute_fields[i] for i in kept), *columns.derived_fields, *person])
        self.first = engine.compile(_first_instance(level))[0]
        self.count = engine.compile(_count_below(level))[0]
        self.set_counts = engine.update([*counts, UNAVAILABLE_INSTANCES[level]])
        self.name = engine.compile(model.select(COLUMNS[UNIQUE_KEY[level].keyword].value).where(key == 0))[0]
        self.delete = engine.compile(model.delete().where(key == 0))[0]


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

    A row whose first instance is another one than before, or one that `mark` was told of, takes its attributes from
    that one's heading. It stays as it is while there is none: in an index of an older release.
    """

    def __init__(
        self, engine: Engine, connection: Connection, parents: ParentRows, conflicts: ConflictRows, keys: KeyTable
    ) -> None:
        self._execute = connection.execute
        self._rare = RareValues(engine, connection)
        self._keys = keys
        self._parents = parents
        self._conflicts = conflicts
        self._statements = {level: _LevelStatements(engine, level) for level in UPPER_LEVELS}
        compile_ = engine.compile
        of_instance = Heading.select(Heading.document).join(Instance, on=(Instance.heading == Heading.id))
        self._select_heading, _ = compile_(of_instance.where(Instance.id == 0))
        used = Instance.select(Instance.heading).where(Instance.parent == 0, Instance.heading.is_null(is_null=False))
        unused = (Heading.series == 0) & Heading.id.not_in(used)
        self._drop_headings, _ = compile_(Heading.delete().where(unused))
        modality, sop_class = COLUMNS["Modality"].value, COLUMNS["SOPClassUID"].value
        self._select_modality, _ = compile_(Series.select(modality).where(Series.id == 0))
        self._sum_sizes, _ = compile_(Instance.select(fn.SUM(Instance.size_bytes)).where(Instance.parent == 0))
        self._select_modalities, _ = compile_(Series.select(modality).distinct().where(Series.parent == 0))
        self._select_sop_classes, _ = compile_(
            Instance.select(sop_class).distinct().join(Series).where(Series.parent == 0)
        )
        self._set_lists = engine.update([COLUMNS["ModalitiesInStudy"].value, COLUMNS["SOPClassesInStudy"].value])
        self._set_variants, _ = compile_(
            Patient.update({Patient.has_variants: fn.EXISTS(_variants())}).where(Patient.id == 0)
        )
        self.clear()

    def clear(self) -> None:
        """Forget a change that failed."""
        self._firsts: dict[Level, dict[int, int | None]] = {level: {} for level in UPPER_LEVELS}
        self._marked: set[int] = set()
        self._conflicts.clear()

    def touch(self, series_id: int, study_id: int, patient_id: int) -> None:
        """Note the rows above an instance, as they are now."""
        self._touch("SERIES", series_id)
        self._touch("STUDY", study_id)
        self._touch("PATIENT", patient_id)

    def mark(self, instance_id: int) -> None:
        """Tell that an instance has another heading now."""
        self._marked.add(instance_id)

    def is_first(self, instance_id: int, series_id: int) -> bool:
        """Tell whether an instance is the first of its series; the first of a study or patient always is."""
        return self._first("SERIES", series_id) == instance_id

    def run(self) -> None:
        """Put the touched rows right, from the bottom up."""
        for level in UPPER_LEVELS:
            for row_id, before in self._firsts[level].items():
                first = self._first(level, row_id)
                if first is None:
                    self._remove(level, row_id)
                    continue
                if first != before or first in self._marked:
                    self._take(level, row_id, first)
                self._count(level, row_id)
                self._compare(level, row_id)
        self._conflicts.tell()
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
            (modality,) = self._one(self._select_modality, row_id)
            self._parents.total(modality, series=-1)
        else:
            self._conflicts.forget_person(level, row_id)
        (name,) = self._one(self._statements[level].name, row_id)
        self._execute(self._statements[level].delete, (row_id,))
        self._conflicts.recheck_name(level, name)

    def _take(self, level: Level, row_id: int, first: int) -> None:
        row = self._one(self._select_heading, first)
        if row is None:
            return
        objects = rows_above(row[0], self._keys)
        if level == "SERIES":
            self._move_totals(row_id, objects)
        statements, attributes = self._statements[level], objects[level]
        derived = LEVEL_COLUMNS[level].derived(attributes)
        person = objects.person if level == "STUDY" else ()
        self._execute(statements.take, (*(attributes[i] for i in statements.taken), *derived, *person, row_id))
        self._rare.replace(level, row_id, objects.rare)

    def _move_totals(self, series_id: int, objects: ObjectRows) -> None:
        """Move what a series counts to the modality that its first instance names."""
        (old,) = self._one(self._select_modality, series_id)
        modality = value_of(objects, "Modality")
        if modality != old:
            (size_bytes,) = self._one(self._sum_sizes, series_id)
            count, _ = self._one(self._statements["SERIES"].count, series_id)
            self._parents.total(old, series=-1, instances=-count, size_bytes=-size_bytes)
            self._parents.total(modality, series=1, instances=count, size_bytes=size_bytes)

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

    def _compare(self, level: Level, row_id: int) -> None:
        """See what is at odds below a row, or no more."""
        if level == "SERIES":
            self._execute(self._drop_headings, (row_id, row_id))
        elif level == "STUDY":
            self._conflicts.check_study(row_id)
        else:
            self._execute(self._set_variants, (row_id,))
            self._conflicts.check_patient(row_id)


def _variants() -> Select:
    """Select the studies of a patient that call it otherwise than its own row does."""
    others = [columns_within(BY_KEYWORD[k], "STUDY").value != COLUMNS[k].value for k in PERSON]
    return Study.select(SQL("1")).where(Study.parent == Patient.id, any_of(others))
