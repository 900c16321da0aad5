"""Reading the index: queries answered page by page, lists for retrieval, look-ups, statistics.

Each page is a read of its own on a borrowed connection: nothing is held while the caller deals with the rows.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, NamedTuple

from peewee import JOIN, SQL, Field, Select, fn

from minipacs.dicom.matching.zones import Adjustment
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.errors import Failure, Kind
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.paging import MAX_PAGE_ROWS, Place, beyond, pages
from minipacs.index.engine.port import Engine
from minipacs.index.engine.readers import Allowance
from minipacs.index.ledger.models import Change
from minipacs.index.objects.conditions import MAX_SQL_VALUES
from minipacs.index.objects.conflicts import Disagreement, disagreements
from minipacs.index.objects.growth import Day, growth
from minipacs.index.objects.models import (
    COLUMNS,
    COMPRESSIBLE,
    LEVEL_MODELS,
    ONLINE,
    UNREAD,
    Conflict,
    Heading,
    Instance,
    ModalityTotal,
    Patient,
    Series,
    Study,
    columns_within,
)
from minipacs.index.objects.ordering import Order, find_ordered
from minipacs.index.objects.selection import Query, Selection, selections

DIGESTS_PAGE_ROWS = 10_000
EVENTS_PAGE_ROWS = 10_000
COMPRESSIBLE_PAGE_ROWS = 100
PICKED_PAGE_ROWS = 100
_SUBJECT = ("StudyInstanceUID", "AccessionNumber", "PatientID", "IssuerOfPatientID", "PatientName")
_BEYOND = "g"
"""Sorts after every digit of a digest."""
MAX_LISTED = 250_000
"""Instances of one list, which takes some 100 MB then."""


class StoredInstance(NamedTuple):
    """What it takes to send one instance. For `received_digest` see `models.Instance`; `received_at`: since 1970."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    availability: str
    received_digest: str = ""
    received_at: float = 0.0


class Subject(NamedTuple):
    """Whom and what an instance is about."""

    study_instance_uid: str
    accession_number: str
    patient_id: str
    issuer: str
    patient_name: str


class StoredFile(NamedTuple):
    """What a row has of its file; only the row knows when it came, in seconds since 1970, from whom, and as what."""

    digest: str
    size_bytes: int
    received_at: float
    source: str
    availability: str
    received_digest: str = ""


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


class Reader:
    """Answers questions; safe to use from any thread.

    Every call may raise Failure: BUSY, INVALID for a key that cannot be understood, BROKEN for other faults of the
    database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        columns = (
            COLUMNS["SOPClassUID"].value,
            COLUMNS["SOPInstanceUID"].value,
            Instance.transfer_syntax_uid,
            Instance.digest,
            Instance.size_bytes,
            Instance.availability,
            Instance.received_digest,
            Instance.received_at,
        )
        self._stored = columns
        uid = COLUMNS["SOPInstanceUID"].value
        self._select_instance, _ = engine.compile(Instance.select(*columns).where(uid == ""))
        self._select_uid, _ = engine.compile(Instance.select(uid).where(Instance.digest == ""))
        of_instance = Heading.select(Heading.document).join(Instance, on=(Instance.heading == Heading.id))
        self._select_heading, _ = engine.compile(of_instance.where(uid == ""))
        files = Instance.select(*(getattr(Instance, name) for name in StoredFile._fields))
        self._select_file, _ = engine.compile(files.where(uid == ""))
        self._select_digest, _ = engine.compile(Instance.select(Instance.id).where(Instance.digest == ""))

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
            select = self._retrieval({**dict(others), listed: values[i : i + MAX_SQL_VALUES]})
            with self._reading(allowance) as connection:
                for study_id, series_id, number, row_id, sop_class, uid, syntax, *rest in connection.execute(
                    *self._engine.compile(select.limit(MAX_LISTED - len(found) + 1))
                ):
                    shared = same.setdefault(sop_class, sop_class), uid, same.setdefault(syntax, syntax)
                    found.append(((study_id, series_id, _number(number), row_id), StoredInstance(*shared, *rest)))
            if len(found) > MAX_LISTED:
                raise Failure(Kind.TOO_MANY, f"more than {MAX_LISTED} instances")
        found.sort(key=lambda pair: pair[0])
        return [instance for _, instance in found]

    def _retrieval(self, keys: Mapping[str, Sequence[str]]) -> Select:
        order = Study.id, Series.id, COLUMNS["InstanceNumber"].value, Instance.id
        conditions = [columns_within(BY_KEYWORD[k], "IMAGE").value.in_(values) for k, values in keys.items()]
        select = Instance.select(*order, *self._stored).join(Series).join(Study)
        return select.where(*conditions)

    def instance(self, sop_instance_uid: str) -> StoredInstance | None:
        """Look up an instance."""
        row = self._row(self._select_instance, sop_instance_uid)
        return StoredInstance(*row) if row else None

    def subjects(self, sop_instance_uids: Sequence[str]) -> dict[str, Subject]:
        """Tell of instances whom and what they are about; those of one study have one Subject."""
        columns = [columns_within(BY_KEYWORD[keyword], "IMAGE").value for keyword in _SUBJECT]
        select = Instance.select(COLUMNS["SOPInstanceUID"].value, *columns).join(Series).join(Study)
        found: dict[str, Subject] = {}
        same: dict[Subject, Subject] = {}
        for i in range(0, len(sop_instance_uids), MAX_SQL_VALUES):
            part = select.where(COLUMNS["SOPInstanceUID"].value.in_(sop_instance_uids[i : i + MAX_SQL_VALUES]))
            for uid, *values in self._rows(part):
                subject = Subject(*values)
                found[uid] = same.setdefault(subject, subject)
        return found

    def file(self, sop_instance_uid: str) -> StoredFile | None:
        """Look up what the row of an instance has of its file."""
        row = self._row(self._select_file, sop_instance_uid)
        return StoredFile(*row) if row else None

    def heading(self, sop_instance_uid: str) -> Mapping[str, str] | None:
        """Return what an instance says itself of its patient, study and series, by keyword, without what is empty.

        None in rows of an older release until their file was read again.
        """
        row = self._row(self._select_heading, sop_instance_uid)
        return json.loads(row[0]) if row else None

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

    def last_received(self) -> dict[str, float]:
        """Tell when the last object of each AE title came, in seconds since 1970. Reads every row."""
        select = Instance.select(Instance.source, fn.MAX(Instance.received_at))
        return dict(self._rows(select.group_by(Instance.source)))

    def has_digest(self, digest: str) -> bool:
        """Tell whether a row stands for this file."""
        return self._row(self._select_digest, digest) is not None

    def uid_of(self, digest: str) -> str | None:
        """Return the SOP Instance UID of the row that stands for this file."""
        row = self._row(self._select_uid, digest)
        return str(row[0]) if row else None

    def unavailable_count(self) -> int:
        """Count the instances that cannot be retrieved, from what patients have of them."""
        ((count,),) = self._rows(Patient.select(fn.COALESCE(fn.SUM(Patient.unavailable_instances), 0)))
        return int(count)

    def digests(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Give digest and size in bytes of the files that have rows, those that begin with `prefix`, in their order."""
        select = Instance.select(Instance.digest, Instance.size_bytes)
        return self._each(select.where(_begins_with(prefix)), Instance.digest, DIGESTS_PAGE_ROWS)

    def online_digests(self, begin: str) -> Iterator[str]:
        """Give the digests of files that can be retrieved, from `begin` on in their order."""
        select = Instance.select(Instance.digest).where(Instance.digest >= begin, Instance.availability == ONLINE)
        return (digest for (digest,) in self._each(select, Instance.digest, PICKED_PAGE_ROWS))

    def files(self) -> Iterator[StoredFile]:
        """Give every file that has a row, in the order in which they were first stored."""
        select = Instance.select(Instance.id, *(getattr(Instance, name) for name in StoredFile._fields))
        return (StoredFile(*row) for _, *row in self._each(select, Instance.id, DIGESTS_PAGE_ROWS))

    def compressible(self) -> Iterator[StoredInstance]:
        """Give the instances that nobody has tried to compress, though one might, in the order of their ids."""
        select = Instance.select(Instance.id, *self._stored).where(COMPRESSIBLE, Instance.availability == ONLINE)
        return (StoredInstance(*row) for _, *row in self._each(select, Instance.id, COMPRESSIBLE_PAGE_ROWS))

    def received_last(self, seconds: float) -> Iterator[str]:
        """Give the digests of what was received in the last `seconds` up to the latest of all, the latest first.

        They are found along the events, back from the last; a file that several tell of is given as often.
        """
        latest = float("-inf")
        for _, at, received_at, digest in pages(self._last_events, slice(1), max_rows=EVENTS_PAGE_ROWS):
            latest = max(latest, received_at or latest)
            if at < latest - seconds:
                return
            if digest is not None and received_at >= latest - seconds:
                yield digest

    def _last_events(self, before: Place, rows: int) -> list[tuple[Any, ...]]:
        """Read the events before a number, back from the last, with the rows that still stand for their files."""
        select = Change.select(Change.seq, Change.at, Instance.received_at, Instance.digest)
        select = select.join(Instance, JOIN.LEFT_OUTER, on=(Instance.digest == Change.digest))
        place = beyond([Change.seq], before, descending=True)
        return self._rows((select.where(*place) if place else select).order_by(Change.seq.desc()).limit(rows))

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

    def unread_count(self) -> int:
        """Count the rows of an older release whose files are still to be read."""
        ((count,),) = self._rows(Instance.select(fn.COUNT(Instance.id)).where(UNREAD))
        return int(count)

    def unread(self, *, firsts_only: bool, limit: int) -> list[StoredFile]:
        """List rows of an older release whose files are still to be read; or those alone that speak for a study."""
        select = Instance.select(*(getattr(Instance, name) for name in StoredFile._fields)).where(UNREAD)
        if firsts_only:
            first = Instance.alias("first")
            of_series = first.select(fn.MIN(first.id)).where(first.parent == Series.id)
            select = select.where(Instance.id.in_(Series.select(fn.MIN(of_series)).group_by(Series.parent)))
        return [StoredFile(*row) for row in self._rows(select.order_by(Instance.id).limit(limit))]

    @contextmanager
    def _reading(self, allowance: Allowance | None = None) -> Iterator[Connection]:
        with self._engine.errors(), self._engine.reader(allowance) as connection:
            yield connection

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
            found = connection.execute(*self._engine.compile(part.page(after, rows))).fetchall()
        if allowance is None or part.is_exact:
            return [(part.answer(row), *row[part.place]) for row in found]
        answers = []
        with allowance.spent():
            for row in found:
                answers.append((part.answer(row), *row[part.place]))
                allowance.check_time()
        return answers

    def _each(self, select: Select, key: Field, page_rows: int) -> Iterator[Any]:
        """Give all rows of a SELECT whose first column is a key, in its order."""

        def read(after: Place, rows: int) -> list[tuple[Any, ...]]:
            place = beyond([key], after)
            return self._rows((select.where(*place) if place else select).order_by(key).limit(rows))

        return pages(read, slice(1), first_rows=page_rows, max_rows=page_rows)

    def _row(self, statement: str, key: str) -> tuple[Any, ...] | None:
        with self._reading() as connection:
            row: tuple[Any, ...] | None = connection.execute(statement, (key,)).fetchone()
            return row

    def _rows(self, select: Select) -> list[tuple[Any, ...]]:
        with self._reading() as connection:
            return connection.execute(*self._engine.compile(select)).fetchall()


def _number(text: str) -> int:
    """Read an Instance Number for sorting; what is none comes first."""
    try:
        return int(text)
    except ValueError:
        return -1


def _begins_with(prefix: str) -> Any:
    return (Instance.digest >= prefix) & (Instance.digest < prefix + _BEYOND)
