"""What rows say of files, for those who look after them: one by one, or all of them in an order.

Each page is a read of its own on a borrowed connection: nothing is held while the caller deals with the rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from peewee import JOIN, Field, Select, fn

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.paging import Place, beyond, pages
from minipacs.index.engine.port import Engine
from minipacs.index.engine.readers import Allowance
from minipacs.index.ledger.models import Change
from minipacs.index.objects.models import COLUMNS, COMPRESSIBLE, ONLINE, UNREAD, Instance, Patient, Series, Study

DIGESTS_PAGE_ROWS = 10_000
EVENTS_PAGE_ROWS = 10_000
COMPRESSIBLE_PAGE_ROWS = 100
PICKED_PAGE_ROWS = 100
_BEYOND = "g"
"""Sorts after every digit of a digest."""


class StoredInstance(NamedTuple):
    """What it takes to send one instance: see `models.Instance`; `received_at` is in seconds since 1970."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    availability: str
    received_digest: str = ""
    received_at: float = 0.0
    amendments: str = ""


class StoredFile(NamedTuple):
    """What a row has of its file; only the row knows when it came, in seconds since 1970, from whom, and as what."""

    digest: str
    size_bytes: int
    received_at: float
    source: str
    availability: str
    received_digest: str = ""


class Inventory:
    """Tells of the files that have rows; safe to use from any thread. Every call may raise Failure BUSY or BROKEN."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        uid = COLUMNS["SOPInstanceUID"].value
        self._stored = (
            COLUMNS["SOPClassUID"].value,
            uid,
            Instance.transfer_syntax_uid,
            Instance.digest,
            Instance.size_bytes,
            Instance.availability,
            Instance.received_digest,
            Instance.received_at,
            Instance.amendments,
        )
        self._select_instance, _ = engine.compile(Instance.select(*self._stored).where(uid == ""))
        self._select_uid, _ = engine.compile(Instance.select(uid).where(Instance.digest == ""))
        files = Instance.select(*(getattr(Instance, name) for name in StoredFile._fields))
        self._select_file, _ = engine.compile(files.where(uid == ""))
        self._select_digest, _ = engine.compile(Instance.select(Instance.id).where(Instance.digest == ""))

    def instance(self, sop_instance_uid: str) -> StoredInstance | None:
        """Look up an instance."""
        row = self._row(self._select_instance, sop_instance_uid)
        return StoredInstance(*row) if row else None

    def file(self, sop_instance_uid: str) -> StoredFile | None:
        """Look up what the row of an instance has of its file."""
        row = self._row(self._select_file, sop_instance_uid)
        return StoredFile(*row) if row else None

    def last_received(self) -> dict[str, float]:
        """Tell when the last object of each AE title came, in seconds since 1970. Reads every row."""
        select = Instance.select(Instance.source, fn.MAX(Instance.received_at))
        return dict(self._rows(select.group_by(Instance.source)))

    def received_in(self, study_instance_uids: Sequence[str]) -> dict[str, float]:
        """Tell when the last object of each of these studies came, in seconds since 1970; at most 500 studies."""
        study = COLUMNS["StudyInstanceUID"].value
        select = Instance.select(study, fn.MAX(Instance.received_at)).join(Series).join(Study)
        return dict(self._rows(select.where(study.in_(study_instance_uids)).group_by(study)))

    def kinds(self) -> dict[tuple[str, str], int]:
        """Count the instances that can be retrieved by SOP class and transfer syntax. Reads every row."""
        kind = COLUMNS["SOPClassUID"].value, Instance.transfer_syntax_uid
        select = Instance.select(*kind, fn.COUNT(Instance.id)).where(Instance.availability == ONLINE)
        return {(sop_class, syntax): count for sop_class, syntax, count in self._rows(select.group_by(*kind))}

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


def _begins_with(prefix: str) -> Any:
    return (Instance.digest >= prefix) & (Instance.digest < prefix + _BEYOND)
