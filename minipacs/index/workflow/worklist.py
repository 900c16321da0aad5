"""The worklist: scheduled procedure steps, each a row, matched by the rules of C-FIND (PS3.4 K.2.2.1, K.6.1.2).

Dates and times asked for as ranges form one interval. A step without a value never matches a key that asks for one.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from peewee import ColumnBase, Field

from minipacs.dicom.data_set.json_values import dumps, loads
from minipacs.dicom.data_set.values import Values, items, text
from minipacs.dicom.matching import temporal
from minipacs.dicom.matching.attribute import Range
from minipacs.dicom.matching.conditions import Condition, Interval, KeyCondition, Semantics, conditions
from minipacs.dicom.workflow.worklist import BY_KEYWORD, MATCHED_KEYS, STEP_SEQUENCE, WorklistKey
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.paging import Place, beyond, pages
from minipacs.index.engine.port import Dialect, Engine, RunChange
from minipacs.index.engine.readers import Allowance
from minipacs.index.objects.conditions import all_of, match
from minipacs.index.workflow.models import (
    WORKLIST_COLUMNS,
    WORKLIST_TABLE,
    WorklistDocument,
    WorklistFolder,
    WorklistStep,
)

SCHEDULED, STARTED, COMPLETED, DISCONTINUED = "SCHEDULED", "STARTED", "COMPLETED", "DISCONTINUED"
"""States of a step: values of Scheduled Procedure Step Status, and the two that end it."""

HIDDEN = (STARTED, COMPLETED, DISCONTINUED)
"""Steps in these states are only answered if their status is asked for."""

_DATE = BY_KEYWORD["ScheduledProcedureStepStartDate"]
_TIME = BY_KEYWORD["ScheduledProcedureStepStartTime"]
_STATUS = BY_KEYWORD["ScheduledProcedureStepStatus"]
_STUDY = BY_KEYWORD["StudyInstanceUID"]
_STEP_ID = BY_KEYWORD["ScheduledProcedureStepID"]
_status_column = WORKLIST_COLUMNS[_STATUS.keyword].value
_FIELDS: tuple[Field, ...] = (
    WorklistStep.source,
    WorklistStep.start,
    *WORKLIST_TABLE.attribute_fields,
    *WORKLIST_TABLE.derived_fields,
)

_ORDER = (WorklistStep.start, WorklistStep.id)
_SELECT = WorklistStep.select(*_ORDER, WorklistStep.source, _status_column, WorklistDocument.document).join(
    WorklistDocument, on=WorklistDocument.step_id == WorklistStep.id
)

STEPS_A_COMMIT = 200
"""So many keep others from writing for some milliseconds only."""

Keys = Sequence[tuple[WorklistKey, str]]


class Step(NamedTuple):
    """A scheduled procedure step; `values` hold exactly one item in their Scheduled Procedure Step Sequence."""

    id: int
    source: str
    values: Values

    @property
    def step(self) -> Values:
        """Return that item."""
        return items(self.values, STEP_SEQUENCE)[0]

    def value(self, key: WorklistKey) -> str:
        """Return a value from the level where its key stands."""
        return text(self.step if key.in_step else self.values, key.tag)


class FolderState(NamedTuple):
    """How the watched folder was found: why it cannot be read, or how many of its files are broken."""

    fault: str
    broken_files: int


class Worklist:
    """The scheduled procedure steps of an index; safe to use from any thread.

    Calls raise Failure as those of `Reader` and `Writer` do.
    """

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change
        identity = WORKLIST_COLUMNS[_STUDY.keyword].value == "", WORKLIST_COLUMNS[_STEP_ID.keyword].value == ""
        compile_ = engine.compile
        self._identify, _ = compile_(WorklistStep.select(WorklistStep.id, _status_column).where(*identity))
        of_patient = _SELECT.where(WORKLIST_COLUMNS["PatientID"].value == "").order_by(*_ORDER)
        self._select_of_patient, _ = compile_(of_patient)
        self._insert, self._update = engine.insert(_FIELDS), engine.update(_FIELDS)
        self._insert_document, _ = compile_(WorklistDocument.insert(step_id=0, document=""))
        self._delete_document, _ = compile_(WorklistDocument.delete().where(WorklistDocument.step_id == 0))
        self._delete_step, _ = compile_(WorklistStep.delete().where(WorklistStep.id == 0))

    def find(self, keys: Keys, *, hidden_too: bool = False, allowance: Allowance | None = None) -> Iterator[Step]:
        """Give the steps that match, by start; those begun or over only if their status is a key, or `hidden_too`.

        Keys are checked before this returns: Failure INVALID for one that is malformed. Raises QueryCancelled as
        `allowance` does, and Failure BUSY if its time is over.
        """
        asked = conditions(keys, Semantics(combined=True), {_DATE: _TIME})
        expressions, inexact = _expressions(asked)
        if not hidden_too and not any(_STATUS in condition.attributes for condition in asked):
            expressions.append(_status_column.not_in(HIDDEN))
        steps = self._pages(expressions, allowance)
        return (step for step in steps if all(condition.matches(_Stored(step)) for condition in inexact))

    def count(self, keys: Keys, limit: int, *, allowance: Allowance | None = None) -> int:
        """Count the steps that `find` would give, up to `limit`."""
        return sum(1 for _ in islice(self.find(keys, allowance=allowance), limit))

    def step(self, step_id: int) -> Step | None:
        """Look a step up, whatever its state."""
        return next(self._pages([WorklistStep.id == step_id], None), None)

    def put(self, steps: Sequence[Values]) -> list[int]:
        """Add steps, or replace those with the same Study Instance UID and step ID; returns their ids.

        What was begun stays begun.
        """
        found: list[int] = []
        for begin in range(0, len(steps), STEPS_A_COMMIT):
            part = steps[begin : begin + STEPS_A_COMMIT]
            found += self._change(lambda connection, part=part: self.put_within(connection, part))  # type: ignore[misc]
        return found

    def put_files(self, files: Mapping[str, Sequence[Values]]) -> None:
        """Let each source have exactly these steps; one without any is forgotten."""

        def work(connection: Connection) -> None:
            for source, steps in files.items():
                kept = set(self.put_within(connection, steps, source))
                stale = WorklistStep.select(WorklistStep.id).where(WorklistStep.source == source)
                found = connection.execute(*self._engine.compile(stale)).fetchall()
                self.remove_within(connection, [row_id for (row_id,) in found if row_id not in kept])

        self._change(work)

    def remove(self, step_ids: Sequence[int]) -> None:
        """Delete steps."""
        self._change(lambda connection: self.remove_within(connection, step_ids))

    def sources(self) -> list[str]:
        """List the files that steps come from."""
        select = WorklistStep.select(WorklistStep.source).where(WorklistStep.source != "").distinct()
        return [source for (source,) in self._rows(select)]

    def folder_state(self) -> FolderState:
        """Tell how the watched folder was found last; without one there is no fault."""
        select = WorklistFolder.select(WorklistFolder.fault, WorklistFolder.broken_files)
        rows = self._rows(select)
        return FolderState(*rows[0]) if rows else FolderState("", 0)

    def watched_folder(self) -> str:
        """Return the path of the folder that is watched, "" for none."""
        rows = self._rows(WorklistFolder.select(WorklistFolder.path))
        return str(rows[0][0]) if rows else ""

    def set_folder_state(self, path: str, state: FolderState) -> None:
        """Keep how the watched folder was found; an empty path tells that none is watched."""

        def work(connection: Connection) -> None:
            connection.execute(*self._engine.compile(WorklistFolder.delete()))
            if path:
                row = WorklistFolder.insert(path=path, fault=state.fault, broken_files=state.broken_files)
                connection.execute(*self._engine.compile(row))

        self._change(work)

    def put_within(self, connection: Connection, steps: Sequence[Values], source: str = "") -> list[int]:
        """Do the same as `put` in a transaction."""
        return [self._put(connection, values, source) for values in steps]

    def read_within(self, connection: Connection, where: Sequence[ColumnBase]) -> list[tuple[Step, str]]:
        """Read steps in a transaction, each with its state."""
        select = _SELECT.where(*where).order_by(*_ORDER)
        rows = connection.execute(*self._engine.compile(select)).fetchall()
        return [(_step(*row[1:]), row[3]) for row in rows]

    def of_patient_within(self, connection: Connection, patient_id: str) -> list[tuple[Step, str]]:
        """Read the steps of a Patient ID in a transaction, each with its state."""
        rows = connection.execute(self._select_of_patient, (patient_id,)).fetchall()
        return [(_step(*row[1:]), row[3]) for row in rows]

    def _put(self, connection: Connection, values: Values, source: str) -> int:
        """Insert or update one step; returns its id."""
        new = Step(0, source, values)
        row = _columns(new)
        known = connection.execute(self._identify, (new.value(_STUDY), new.value(_STEP_ID))).fetchone()
        if known is None:
            row_id = int(connection.execute(self._insert, tuple(row.values())).fetchone()[0])
        else:
            row_id = int(known[0])
            if known[1] in HIDDEN:
                row[_status_column] = known[1]
            connection.execute(self._update, (*row.values(), row_id))
        connection.execute(self._delete_document, (row_id,))
        connection.execute(self._insert_document, (row_id, dumps(values)))
        return row_id

    def remove_within(self, connection: Connection, step_ids: Sequence[int]) -> None:
        """Delete steps in a transaction."""
        for step_id in step_ids:
            connection.execute(self._delete_step, (step_id,))
            connection.execute(self._delete_document, (step_id,))

    def _pages(self, expressions: Sequence[ColumnBase], allowance: Allowance | None) -> Iterator[Step]:
        def read(after: Place, rows: int) -> list[tuple[Any, ...]]:
            where = [*expressions, *beyond(_ORDER, after)]
            page = _SELECT.where(all_of(where)) if where else _SELECT
            return self._rows(page.order_by(*_ORDER).limit(rows), allowance)

        for _, row_id, source, status, document in pages(read, slice(2), allowance=allowance):
            yield _step(row_id, source, status, document)

    def _rows(self, select: Any, allowance: Allowance | None = None) -> list[tuple[Any, ...]]:
        with self._engine.errors(), self._engine.reader(allowance) as connection:
            return connection.execute(*self._engine.compile(select)).fetchall()


def set_state(dialect: Dialect, connection: Connection, study_uid: str, step_id: str, state: str) -> bool:
    """Change the state of a step, within a transaction; tells whether there is such a step."""
    columns = WORKLIST_COLUMNS[_STUDY.keyword].value, WORKLIST_COLUMNS[_STEP_ID.keyword].value
    update = WorklistStep.update({_status_column: state}).where(columns[0] == study_uid, columns[1] == step_id)
    return bool(connection.execute(*dialect.compile(update)).rowcount)


def _step(row_id: int, source: str, status: str, document: str) -> Step:
    values = loads(document)
    step = {**items(values, STEP_SEQUENCE)[0], _STATUS.tag: status}
    return Step(row_id, source, {**values, STEP_SEQUENCE: (step,)})


def _columns(new: Step) -> dict[Field, object]:
    """Give the columns of a step, in the order of `_FIELDS`."""
    attributes = WORKLIST_TABLE.attributes({key.keyword: new.value(key) for key in MATCHED_KEYS})
    start = temporal.date(new.value(_DATE)) + temporal.normal(new.value(_TIME), "TM")
    values = (new.source, start, *attributes, *WORKLIST_TABLE.derived(attributes))
    row: dict[Field, object] = dict(zip(_FIELDS, values, strict=True))
    row[_status_column] = row[_status_column] or SCHEDULED
    return row


class _Stored(Mapping[str, str]):
    """The values of a step by the keywords of keys."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def __getitem__(self, keyword: str) -> str:
        return self._step.value(BY_KEYWORD[keyword])

    def __iter__(self) -> Iterator[str]:
        return iter(BY_KEYWORD)

    def __len__(self) -> int:
        return len(BY_KEYWORD)


def _expressions(asked: Sequence[Condition[WorklistKey]]) -> tuple[list[ColumnBase], list[Condition[WorklistKey]]]:
    """Write conditions as SQL; the second value are those that have to be asked about what is found."""
    found: list[ColumnBase] = []
    inexact = []
    for condition in asked:
        matched = match(condition, [WORKLIST_COLUMNS[key.keyword] for key in condition.attributes])
        found += _starts(condition)
        if matched.expression is not None:
            found.append(matched.expression)
        if not matched.exact:
            inexact.append(condition)
    return found, inexact


def _starts(condition: Condition[WorklistKey]) -> Iterator[ColumnBase]:
    """Tell in which parts of their order the steps are that match a date: that has an index."""
    match condition:
        case Interval(days=days, hours=hours):
            yield WorklistStep.start.between(days.low + hours.low, days.high + hours.high)
        case KeyCondition(attribute=attribute, matching=Range(spans=(days,))) if attribute == _DATE:
            yield WorklistStep.start.between(days.low, days.high + "9" * 12)
