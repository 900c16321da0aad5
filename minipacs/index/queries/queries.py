"""Reading the index: queries answered page by page, lists for retrieval, look-ups, statistics.

Each page is a read of its own on a borrowed connection: nothing is held while the caller deals with the rows.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, NamedTuple

from peewee import SQL, fn

from minipacs.dicom.data_set.amendments import Identity
from minipacs.dicom.matching.zones import Adjustment
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.errors import Failure, Kind
from minipacs.index.engine.paging import MAX_PAGE_ROWS, Place, pages
from minipacs.index.engine.port import Engine
from minipacs.index.engine.readers import Allowance
from minipacs.index.objects.conditions import MAX_SQL_VALUES
from minipacs.index.objects.conflicts import Disagreement, disagreements
from minipacs.index.objects.models import (
    COLUMNS,
    LEVEL_MODELS,
    OF_PATIENT,
    Conflict,
    Heading,
    Instance,
    ModalityTotal,
    Patient,
    Series,
    Study,
    columns_within,
)
from minipacs.index.queries.composing import Composer
from minipacs.index.queries.inventory import Day, Inventory, StoredInstance, growth
from minipacs.index.queries.ordering import Order, find_ordered
from minipacs.index.queries.selection import Query, Selection, selections

_SUBJECT = ("StudyInstanceUID", "AccessionNumber", "PatientID", "IssuerOfPatientID", "PatientName")
_IN_STUDY = tuple(columns_within(BY_KEYWORD[keyword], "STUDY").value for keyword in ("PatientID", "IssuerOfPatientID"))
_OF_PATIENT = frozenset(attribute.keyword for attribute in OF_PATIENT)
SUBJECTS_AT_ONCE = (1, 16, 256)
"""Instances whose subjects one statement asks for: few sizes, the rest of one filled up with no UID."""
MAX_LISTED = 250_000
"""Instances of one list, which takes some 100 MB then."""


class Subject(NamedTuple):
    """Whom and what an instance is about."""

    study_instance_uid: str
    accession_number: str
    patient_id: str
    issuer: str
    patient_name: str


class SaidOfPatient(NamedTuple):
    """What objects of a study say of their patient: values by keyword."""

    study_instance_uid: str
    whose: Identity
    values: Mapping[str, str]


class Receipts(NamedTuple):
    """Of objects that belong together: when the last came, in seconds since 1970, and which AE titles sent them."""

    received_at: float
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the index holds; `by_modality` counts instances."""

    patients: int
    studies: int
    series: int
    instances: int
    stored_bytes: int
    by_modality: Mapping[str, int]


class Reader(Inventory):
    """Answers questions; safe to use from any thread.

    Every call may raise Failure: BUSY, INVALID for a key that cannot be understood, BROKEN for other faults of the
    database.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        of_instance = Heading.select(Heading.document, Heading.received).join(
            Instance, on=(Instance.heading == Heading.id)
        )
        uid = COLUMNS["SOPInstanceUID"].value
        self._select_heading, _ = engine.compile(of_instance.where(uid == ""))
        patient_of_study, issuer = _IN_STUDY
        said = Study.select(COLUMNS["StudyInstanceUID"].value, issuer, Heading.document)
        said = said.join(Heading, on=(Heading.study == Study.id)).where(patient_of_study == "").order_by(Study.id)
        self._select_said, _ = engine.compile(said)
        self._composer = Composer(engine.compile)
        self._retrievals: dict[tuple[str, ...], str] = {}
        self._select_subjects: dict[int, str] = {}

    def find(
        self, query: Query, *, allowance: Allowance | None = None, page_rows: int = MAX_PAGE_ROWS
    ) -> Iterator[tuple[str, ...]]:
        """Give the rows that match, each with the texts of `query.returns`, in no promised order.

        What changes meanwhile is seen as before or as after. Keys are checked before this returns; the iterator raises
        QueryCancelled as `allowance` does between pages, and Failure BUSY if its time is over.
        """
        if query.offset:
            adjustment = Adjustment(query.returns, query.offset)
            query = replace(query, returns=adjustment.attributes)
        parts = selections(query)
        rows = self._find(chain([next(parts)], parts), allowance, page_rows)
        return map(adjustment, rows) if query.offset else rows

    def find_ordered(
        self,
        query: Query,
        order: Sequence[Order] = (),
        *,
        offset: int = 0,
        limit: int | None = None,
        allowance: Allowance | None = None,
    ) -> Iterator[tuple[str, ...]]:
        """Give a part of the rows that match, in an order, see `ordering.find_ordered`."""
        return find_ordered(partial(self.find, allowance=allowance), query, order, offset, limit)

    def count(self, query: Query, limit: int, *, allowance: Allowance | None = None) -> int:
        """Count the rows that match, up to `limit`; without keys the database counts them."""
        if not query.conditions():
            ((count,),) = self._rows(LEVEL_MODELS[query.level].select(fn.COUNT(SQL("1"))))
            return min(int(count), limit)
        return sum(1 for _ in islice(self.find(replace(query, returns=()), allowance=allowance), limit))

    def instances(
        self, keys: Mapping[str, Sequence[str]], *, allowance: Allowance | None = None
    ) -> list[StoredInstance]:
        """List every instance that the values of unique keys, by keyword, lead to; the last key may hold many.

        Ordered by study and series as first stored, then by Instance Number. A list that is frozen: what is stored
        or removed meanwhile does not change it. Raises Failure TOO_MANY beyond MAX_LISTED, BUSY as `find` does.
        """
        *others, (listed, found_values) = keys.items()
        values = list(dict.fromkeys(found_values))
        found: list[tuple[tuple[int, int, int, int], StoredInstance]] = []
        same: dict[str, str] = {}
        for i in range(0, len(values), MAX_SQL_VALUES):
            statement = self._retrieval({**dict(others), listed: values[i : i + MAX_SQL_VALUES]})
            with self._reading(allowance) as connection:
                for study_id, series_id, number, row_id, sop_class, uid, syntax, *rest in connection.execute(
                    *statement
                ):
                    shared = same.setdefault(sop_class, sop_class), uid, same.setdefault(syntax, syntax)
                    found.append(((study_id, series_id, _number(number), row_id), StoredInstance(*shared, *rest)))
            if len(found) > MAX_LISTED:
                raise Failure(Kind.TOO_MANY, f"more than {MAX_LISTED} instances")
        found.sort(key=lambda pair: pair[0])
        return [instance for _, instance in found]

    def _retrieval(self, keys: Mapping[str, Sequence[str]]) -> tuple[str, list[Any]]:
        """Compose the SELECT of a list; one that has a value for each key is written once, since viewers ask often."""
        parameters = [*chain.from_iterable(keys.values()), MAX_LISTED + 1]
        if is_common := all(len(values) == 1 for values in keys.values()):
            written = self._retrievals.get(tuple(keys))
            if written is not None:
                return written, parameters
        order = Study.id, Series.id, COLUMNS["InstanceNumber"].value, Instance.id
        conditions = [columns_within(BY_KEYWORD[k], "IMAGE").value.in_(values) for k, values in keys.items()]
        select = Instance.select(*order, *self._stored).join(Series).join(Study)
        written, parameters = self._engine.compile(select.where(*conditions).limit(MAX_LISTED + 1))
        if is_common:
            self._retrievals[tuple(keys)] = written
        return written, parameters

    def subjects(self, sop_instance_uids: Sequence[str]) -> dict[str, Subject]:
        """Tell of instances whom and what they are about; those of one study have one Subject."""
        found: dict[str, Subject] = {}
        same: dict[Subject, Subject] = {}
        most = SUBJECTS_AT_ONCE[-1]
        for i in range(0, len(sop_instance_uids), most):
            part = sop_instance_uids[i : i + most]
            size = next(size for size in SUBJECTS_AT_ONCE if size >= len(part))
            with self._reading() as connection:
                rows = connection.execute(
                    self._subjects_statement(size), [*part, *[""] * (size - len(part))]
                ).fetchall()
            for uid, *values in rows:
                subject = Subject(*values)
                found[uid] = same.setdefault(subject, subject)
        return found

    def _subjects_statement(self, size: int) -> str:
        """Return what asks for so many UIDs: to write it takes longer than to run it, so it is kept."""
        if size not in self._select_subjects:
            uid = COLUMNS["SOPInstanceUID"].value
            columns = [columns_within(BY_KEYWORD[keyword], "IMAGE").value for keyword in _SUBJECT]
            select = Instance.select(uid, *columns).join(Series).join(Study).where(uid.in_([""] * size))
            self._select_subjects[size], _ = self._engine.compile(select)
        return self._select_subjects[size]

    def said_of_patient(self, patient_id: str) -> list[SaidOfPatient]:
        """Tell what objects with a Patient ID say of whoever has it, each study in each way once.

        Of a study of an older release whose files were not read yet there is nothing.
        """
        with self._engine.errors(), self._engine.reader() as connection:
            rows = connection.execute(self._select_said, (patient_id,)).fetchall()
        found = {}
        for uid, whose, document in rows:
            said = {k: v for k, v in json.loads(document).items() if k in _OF_PATIENT}
            found[uid, tuple(said.items())] = SaidOfPatient(uid, Identity(patient_id, whose), said)
        return list(found.values())

    def heading(self, sop_instance_uid: str) -> Mapping[str, str] | None:
        """Return what an instance says itself of its patient, study and series, by keyword, without what is empty.

        None in rows of an older release until their file was read again.
        """
        row = self._row(self._select_heading, sop_instance_uid)
        return json.loads(row[1] or row[0]) if row else None

    def receipts(self, keyword: str, uids: Sequence[str]) -> dict[str, Receipts]:
        """Tell when and from whom the objects came that these values of a unique key lead to."""
        found: dict[str, Receipts] = {}
        uid, source = COLUMNS[keyword].value, Instance.source
        select = Instance.select(uid, source, fn.MAX(Instance.received_at)).join(Series).join(Study)
        for i in range(0, len(uids), MAX_SQL_VALUES):
            part = select.where(uid.in_(uids[i : i + MAX_SQL_VALUES])).group_by(uid, source).order_by(uid, source)
            for value, title, received_at in self._rows(part):
                before = found.get(value, Receipts(0.0, ()))
                found[value] = Receipts(max(before.received_at, received_at), (*before.sources, title))
        return found

    def statistics(self) -> Statistics:
        """Count what there is, from totals kept with every change and the short tables: cheap at any size."""
        totals = self._rows(
            ModalityTotal.select(
                ModalityTotal.modality, ModalityTotal.series, ModalityTotal.instances, ModalityTotal.size_bytes
            ).where(ModalityTotal.instances > 0)
        )
        ((patients,),) = self._rows(Patient.select(fn.COUNT(Patient.id)))
        ((studies,),) = self._rows(Study.select(fn.COUNT(Study.id)))
        return Statistics(
            patients,
            studies,
            series=sum(series for _, series, _, _ in totals),
            instances=sum(instances for _, _, instances, _ in totals),
            stored_bytes=sum(size_bytes for _, _, _, size_bytes in totals),
            by_modality=MappingProxyType({modality: instances for modality, _, instances, _ in totals}),
        )

    def growth(self, since: float) -> list[Day]:
        """Count what came from a time on, in seconds since 1970, by days, of what is still there."""
        return growth(self._rows, since)

    def has_several_issuers(self, patient_id: str) -> bool:
        """Tell whether a Patient ID alone may mean several patients."""
        select = Patient.select(Patient.id).where(COLUMNS["PatientID"].value == patient_id).limit(2)
        return len(self._rows(select)) > 1

    def conflicts(self) -> Iterator[Disagreement]:
        """Give what differs between objects that should agree, see `conflicts`."""
        return disagreements(self._rows)

    def conflict_count(self) -> int:
        """Count them: cheap at any size that people could still deal with."""
        ((count,),) = self._rows(Conflict.select(fn.COUNT(SQL("*"))))
        return int(count)

    def _find(
        self, parts: Iterable[Selection], allowance: Allowance | None, page_rows: int
    ) -> Iterator[tuple[str, ...]]:
        for part in parts:
            read = partial(self._page, part, allowance)
            for row in pages(read, slice(1, None), max_rows=page_rows, allowance=allowance):
                if row[0] is not None:
                    yield row[0]

    def _page(self, part: Selection, allowance: Allowance | None, after: Place, rows: int) -> list[tuple[Any, ...]]:
        """Read rows, each as what it answers, None if it does not match after all, and its place."""
        with self._reading(allowance) as connection:
            found = connection.execute(*self._composer.page(part, after, rows)).fetchall()
        if allowance is None or part.is_exact:
            return [(part.answer(row), *row[part.place]) for row in found]
        answers = []
        with allowance.spent():
            for row in found:
                answers.append((part.answer(row), *row[part.place]))
                allowance.check_time()
        return answers


def _number(text: str) -> int:
    """Read an Instance Number for sorting; what is none comes first."""
    try:
        return int(text)
    except ValueError:
        return -1
