"""Storage commitments: what was asked, what was found, and who still has to be told.

A report is written once and never changed. Each open commitment is an item of one of two queues: of those whose objects
are to be read, then of those whose peer is to be told. Who has an item's lease deals with the commitment.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from peewee import JOIN, fn

from minipacs.dicom.data_set.json_values import dumps, loads
from minipacs.dicom.data_set.values import Values
from minipacs.errors import Failure, Kind
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger.models import QueueItem
from minipacs.index.ledger.queue import Item, Queue
from minipacs.index.workflow.models import Commitment

MAX_OPEN = 10_000
"""Commitments asked for and not yet acknowledged; beyond: refused."""
MAX_OPEN_OF_ONE = 1_000
"""Those of one peer."""
MAX_CLOSED = 10_000
"""Commitments remembered after they were acknowledged or given up; the oldest make room."""

ASKED, READY, ACKNOWLEDGED, EXPIRED = "asked", "ready", "acknowledged", "expired"
OPEN = (ASKED, READY)
STATE_WORDS: Mapping[str, str] = {ASKED: "asked", READY: "waiting", ACKNOWLEDGED: "answered", EXPIRED: "given up"}
"""What people are told: objects are being read; the peer is still to be told; it was; it cannot be."""

READING, TELLING = "commitment objects", "commitment events"
"""Names of the queues."""

TO_BE_FETCHED = "fetched"
"""In the place of a bell: whoever asked comes for the report, and nobody is to be told."""

References = Sequence[tuple[str, str]]
"""Pairs of SOP Class and SOP Instance UID."""


class Pending(NamedTuple):
    """One commitment; `asked_at` is in seconds since 1970. `bell` is that of the association it was asked on,
    `was_rung` tells whether that has been left some time to answer.
    """

    id: int
    ae_title: str
    called_ae_title: str
    transaction_uid: str
    state: str
    bell: str
    was_rung: bool
    asked_at: float


class Account(NamedTuple):
    """What a person is told of a commitment; `report` is None until the objects were read, times since 1970.

    `due_at` is None if nobody has to be told any more.
    """

    pending: Pending
    objects: References
    report: Values | None
    attempts: int
    due_at: float | None
    last_fault: str


class Fetched(NamedTuple):
    """A commitment that is fetched: what was asked for, and the report, None until the objects were read."""

    objects: References
    report: Values | None


_FIELDS = tuple(getattr(Commitment, name) for name in Pending._fields)


class Commitments:
    """The commitments of an index; safe to use from any thread.

    Calls raise Failure as those of `Reader` and `Writer` do. Those that are given an item do nothing if its lease was
    lost.
    """

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change
        self.reading = Queue(engine, change, READING)
        self.telling = Queue(engine, change, TELLING)

    def ask(
        self,
        ae_title: str,
        called_ae_title: str,
        transaction_uid: str,
        objects: References,
        bell: str,
        conflict: Values,
    ) -> str:
        """Queue a request, durably. The same request again only brings its answer forward.

        Another one under a Transaction UID that is still open gets the report `conflict`, or is not taken if it is
        TO_BE_FETCHED. Returns "new", "repeated" or "conflicting". Raises Failure TOO_MANY if too many are open, in all
        or of this peer.
        """
        request = json.dumps(sorted(objects))

        def work(connection: Connection) -> str:
            same = Commitment.ae_title == ae_title, Commitment.transaction_uid == transaction_uid
            known = self._fetch(
                connection,
                Commitment.select(Commitment.id, Commitment.request).where(*same, Commitment.state.in_(OPEN)),
            )
            for row_id, earlier in known:
                if earlier == request:
                    self._set(connection, row_id, bell=bell, was_rung=False)
                    self.telling.bring_forward(connection, str(row_id))
                    return "repeated"
            if known and bell == TO_BE_FETCHED:
                return "conflicting"
            self._check_room(connection, ae_title)
            row = Commitment.insert(
                ae_title=ae_title,
                called_ae_title=called_ae_title,
                transaction_uid=transaction_uid,
                request=request,
                report=dumps(conflict) if known else "",
                state=READY if known else ASKED,
                bell=bell,
                asked_at=time.time(),
            ).returning(Commitment.id)
            ((row_id,),) = self._fetch(connection, row)
            (self.telling if known else self.reading).put(connection, ae_title, str(row_id))
            return "conflicting" if known else "new"

        return self._change(work)

    def get(self, row_id: int) -> Pending | None:
        """Look a commitment up."""
        return next(iter(self._pending(Commitment.id == row_id)), None)

    def objects(self, row_id: int) -> References:
        """Return what was asked for."""
        ((request,),) = self._read(Commitment.select(Commitment.request).where(Commitment.id == row_id))
        return _references(request)

    def event(self, row_id: int) -> Values:
        """Return the report that is to be told."""
        ((report,),) = self._read(Commitment.select(Commitment.report).where(Commitment.id == row_id))
        return loads(report)

    def reported_since(self, at: float) -> list[tuple[str, Values]]:
        """List who asked since a time, in seconds since 1970, with the reports; without what is not read yet."""
        select = Commitment.select(Commitment.ae_title, Commitment.report)
        rows = self._read(select.where(Commitment.asked_at >= at, Commitment.report != ""))
        return [(ae_title, loads(report)) for ae_title, report in rows]

    def report(self, item: Item, report: Values) -> None:
        """Write down what was found, once and for all; the peer is to be told now, unless it comes for the report."""

        def work(connection: Connection) -> None:
            if not self.reading.done(connection, item):
                return
            row_id = int(item.key)
            ((bell,),) = self._fetch(connection, Commitment.select(Commitment.bell).where(Commitment.id == row_id))
            is_fetched = bell == TO_BE_FETCHED
            self._set(connection, row_id, report=dumps(report), state=ACKNOWLEDGED if is_fetched else READY)
            if is_fetched:
                self._forget_closed(connection)
            else:
                self.telling.put(connection, item.destination, item.key)

        self._change(work)

    def fetch(self, ae_title: str, transaction_uid: str) -> Fetched | None:
        """Give the last commitment that a client asked for by this UID, to be fetched; None if none is remembered."""
        same = Commitment.ae_title == ae_title, Commitment.transaction_uid == transaction_uid
        select = Commitment.select(Commitment.request, Commitment.report).where(*same, Commitment.bell == TO_BE_FETCHED)
        for request, report in self._read(select.order_by(Commitment.id.desc()).limit(1)):
            return Fetched(_references(request), loads(report) if report else None)
        return None

    def at_bell(self, bell: str, ae_title: str) -> list[Pending]:
        """List those whose peer waits on the association with this bell: an address may have had another before."""
        return self._pending(Commitment.state == READY, Commitment.bell == bell, Commitment.ae_title == ae_title)

    def leave_to_bell(self, item: Item, grace_s: float) -> None:
        """Leave it for so long to the association whose bell is rung."""

        def work(connection: Connection) -> None:
            if self.telling.give_back(connection, item, grace_s):
                self._set(connection, int(item.key), was_rung=True)

        self._change(work)

    def bring_forward(self, item: Item) -> None:
        """Let a peer be told now that was left to an association which is gone."""
        self._change(lambda connection: self.telling.bring_forward(connection, item.key))

    def acknowledge(self, item: Item) -> None:
        """Close a commitment whose peer was told."""

        def work(connection: Connection) -> None:
            if self.telling.done(connection, item):
                self._set(connection, int(item.key), state=ACKNOWLEDGED)
                self._forget_closed(connection)

        self._change(work)

    def expire(self, item: Item) -> None:
        """Give a commitment up."""

        def work(connection: Connection) -> None:
            if self.telling.kill(connection, item, item.last_fault):
                self._set(connection, int(item.key), state=EXPIRED)
                self._forget_closed(connection)

        self._change(work)

    def postpone(self, item: Item, delay_s: float, fault: str, *, is_away: bool = False) -> None:
        """Let go of a report that could not be given, to be tried again; the bell is not rung again.

        `is_away` tells that the peer takes no other either.
        """

        def work(connection: Connection) -> None:
            if self.telling.postpone(connection, item, delay_s, fault, all_of_destination=is_away):
                self._set(connection, int(item.key), bell="")

        self._change(work)

    def retry(self, row_id: int) -> bool:
        """Let a peer be told now, also one that was given up; False if nothing is to be told, or it is just then."""

        def work(connection: Connection) -> bool:
            if not self.telling.retry(connection, str(row_id)):
                return False
            self._set(connection, row_id, state=READY)
            return True

        return self._change(work)

    def counts(self) -> dict[str, int]:
        """Count the commitments by state."""
        select = Commitment.select(Commitment.state, fn.COUNT(Commitment.id)).group_by(Commitment.state)
        return dict(self._read(select))

    def accounts(self, row_id: int | None = None) -> list[Account]:
        """Tell all that is known, of one commitment or of all, the oldest first."""
        queued = (QueueItem.queue.in_((READING, TELLING))) & (QueueItem.key == Commitment.id.cast("TEXT"))
        told = Commitment.request, Commitment.report, QueueItem.attempts, QueueItem.due_at, QueueItem.last_fault
        select = Commitment.select(*_FIELDS, *told).join(QueueItem, JOIN.LEFT_OUTER, on=queued).order_by(Commitment.id)
        rows = self._read(select if row_id is None else select.where(Commitment.id == row_id))
        return [_account(Pending(*row[: len(_FIELDS)]), *row[len(_FIELDS) :]) for row in rows]

    def _check_room(self, connection: Connection, ae_title: str) -> None:
        for where, limit in (((Commitment.ae_title == ae_title,), MAX_OPEN_OF_ONE), ((), MAX_OPEN)):
            select = Commitment.select(fn.COUNT(Commitment.id)).where(Commitment.state.in_(OPEN), *where)
            ((count,),) = self._fetch(connection, select)
            if count >= limit:
                whose = " of this peer" if where else ""
                raise Failure(Kind.TOO_MANY, f"{count} commitments{whose} are open")

    def _forget_closed(self, connection: Connection) -> None:
        closed = Commitment.select(Commitment.id).where(Commitment.state.not_in(OPEN))
        oldest = closed.order_by(Commitment.id.desc()).offset(MAX_CLOSED).limit(MAX_CLOSED)
        gone = [row_id for (row_id,) in self._fetch(connection, oldest)]
        if gone:
            connection.execute(
                *self._engine.compile(
                    Commitment.delete().where(Commitment.id <= max(gone), Commitment.state.not_in(OPEN))
                )
            )
            self.telling.drop(connection, [str(row_id) for row_id in gone])

    def _set(self, connection: Connection, row_id: int, **values: object) -> None:
        connection.execute(*self._engine.compile(Commitment.update(**values).where(Commitment.id == row_id)))

    def _pending(self, *where: Any) -> list[Pending]:
        return [Pending(*row) for row in self._read(Commitment.select(*_FIELDS).where(*where).order_by(Commitment.id))]

    def _fetch(self, connection: Connection, query: Any) -> list[tuple[Any, ...]]:
        return connection.execute(*self._engine.compile(query)).fetchall()

    def _read(self, query: Any) -> list[tuple[Any, ...]]:
        with self._engine.errors(), self._engine.reader() as connection:
            return self._fetch(connection, query)


def _references(request: str) -> References:
    return [(sop_class, instance) for sop_class, instance in json.loads(request)]


def _account(
    pending: Pending, request: str, report: str, attempts: int | None, due_at: float | None, last_fault: str | None
) -> Account:
    is_open = pending.state in OPEN
    found = loads(report) if report else None
    return Account(pending, _references(request), found, attempts or 0, due_at if is_open else None, last_fault or "")
