"""Storage commitments: a durable queue of what was asked, what was found, and who still has to be told.

A report is written once and never changed. A row is dealt with by whoever holds its lease.
"""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from peewee import fn

from minipacs.dicom.data_set.json_values import dumps, loads
from minipacs.dicom.data_set.values import Values
from minipacs.errors import Failure, Kind
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.database import Database
from minipacs.index.engine.writer import Change
from minipacs.index.workflow.models import Commitment

MAX_OPEN = 10_000
"""Commitments asked for and not yet acknowledged; beyond: refused."""

ASKED, READY, ACKNOWLEDGED, EXPIRED = "asked", "ready", "acknowledged", "expired"
_OPEN = (ASKED, READY)

References = Sequence[tuple[str, str]]
"""Pairs of SOP Class and SOP Instance UID."""


class Pending(NamedTuple):
    """One commitment; times are in seconds since 1970. `bell` is that of the association it was asked on, `was_rung`
    tells whether that has been left some time to answer.
    """

    id: int
    ae_title: str
    called_ae_title: str
    transaction_uid: str
    bell: str
    was_rung: bool
    asked_at: float
    attempts: int


_FIELDS = tuple(getattr(Commitment, name) for name in Pending._fields)


class Commitments:
    """The commitments of an index; safe to use from any thread.

    Calls raise Failure as those of `Reader` and `Writer` do.
    """

    def __init__(self, database: Database, change: Change) -> None:
        self._database = database
        self._change = change

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

        Another one under a Transaction UID that is still open gets the report `conflict`. Returns "new", "repeated"
        or "conflicting". Raises Failure BUSY if too many are open.
        """
        request = json.dumps(sorted(objects))
        now = time.time()

        def work(connection: Connection) -> str:
            same = Commitment.ae_title == ae_title, Commitment.transaction_uid == transaction_uid
            known = self._fetch(
                connection,
                Commitment.select(Commitment.id, Commitment.request).where(*same, Commitment.state.in_(_OPEN)),
            )
            for row_id, earlier in known:
                if earlier == request:
                    update = Commitment.update(bell=bell, was_rung=False, due_at=now).where(Commitment.id == row_id)
                    connection.execute(*self._database.compile(update))
                    return "repeated"
            ((count,),) = self._fetch(
                connection, Commitment.select(fn.COUNT(Commitment.id)).where(Commitment.state.in_(_OPEN))
            )
            if count >= MAX_OPEN:
                raise Failure(Kind.BUSY, f"more than {MAX_OPEN} commitments are open")
            row = Commitment.insert(
                ae_title=ae_title,
                called_ae_title=called_ae_title,
                transaction_uid=transaction_uid,
                request=request,
                report=dumps(conflict) if known else "",
                state=READY if known else ASKED,
                bell=bell,
                asked_at=now,
                due_at=now,
            )
            connection.execute(*self._database.compile(row))
            return "conflicting" if known else "new"

        return self._change(work)

    def next_asked(self) -> tuple[Pending, References] | None:
        """Return the commitment that has waited longest for its objects to be read."""
        select = Commitment.select(*_FIELDS, Commitment.request).where(Commitment.state == ASKED)
        for *row, request in self._read(select.order_by(Commitment.id).limit(1)):
            return Pending(*row), [(sop_class, instance) for sop_class, instance in json.loads(request)]
        return None

    def report(self, row_id: int, report: Values) -> None:
        """Write down what was found, once and for all; the peer is to be told now."""
        update = Commitment.update(report=dumps(report), state=READY, due_at=time.time())
        self._update(update.where(Commitment.id == row_id, Commitment.state == ASKED))

    def rung(self, row_id: int, due_at: float) -> None:
        """Leave it until `due_at` to the association that was rung for."""
        self._update(Commitment.update(was_rung=True, due_at=due_at).where(Commitment.id == row_id))

    def due(self) -> list[Pending]:
        """List those whose peer is to be told now, and is not being told."""
        now = time.time()
        where = Commitment.state == READY, Commitment.due_at <= now, Commitment.leased_until <= now
        return [
            Pending(*row) for row in self._read(Commitment.select(*_FIELDS).where(*where).order_by(Commitment.due_at))
        ]

    def at_bell(self, bell: str, ae_title: str) -> list[Pending]:
        """List those whose peer waits on the association with this bell: an address may have had another before."""
        where = Commitment.state == READY, Commitment.bell == bell, Commitment.ae_title == ae_title
        return [Pending(*row) for row in self._read(Commitment.select(*_FIELDS).where(*where).order_by(Commitment.id))]

    def next_due_at(self) -> float | None:
        """Return when the next peer is to be told."""
        later = fn.MAX(Commitment.due_at, Commitment.leased_until)
        ((found,),) = self._read(Commitment.select(fn.MIN(later)).where(Commitment.state == READY))
        return None if found is None else float(found)

    def claim(self, row_id: int, lease_s: float) -> Values | None:
        """Take the lease of a report; returns it, or None if somebody else tells the peer, or it was told."""
        now = time.time()

        def work(connection: Connection) -> Values | None:
            free = Commitment.id == row_id, Commitment.state == READY, Commitment.leased_until <= now
            found = self._fetch(connection, Commitment.select(Commitment.report).where(*free))
            if not found:
                return None
            update = Commitment.update(leased_until=now + lease_s).where(Commitment.id == row_id)
            connection.execute(*self._database.compile(update))
            return loads(found[0][0])

        return self._change(work)

    def acknowledge(self, row_id: int) -> None:
        """Close a commitment whose peer was told."""
        self._update(Commitment.update(state=ACKNOWLEDGED, leased_until=0).where(Commitment.id == row_id))

    def expire(self, row_id: int) -> None:
        """Give a commitment up."""
        self._update(Commitment.update(state=EXPIRED, leased_until=0).where(Commitment.id == row_id))

    def postpone(self, row_id: int, due_at: float, fault: str) -> None:
        """Let go of a report that could not be given, to be tried again; the bell is not rung again."""
        update = Commitment.update(
            due_at=due_at, leased_until=0, attempts=Commitment.attempts + 1, last_fault=fault, bell=""
        )
        self._update(update.where(Commitment.id == row_id, Commitment.state == READY))

    def start(self, keep_s: float) -> None:
        """End the leases of processes that are gone, and forget what was closed more than `keep_s` ago."""
        self._update(Commitment.update(leased_until=0, bell="").where(Commitment.state.in_(_OPEN)))
        old = Commitment.asked_at < time.time() - keep_s
        self._update(Commitment.delete().where(old, Commitment.state.not_in(_OPEN)))

    def _update(self, query: Any) -> None:
        self._change(lambda connection: connection.execute(*self._database.compile(query)))

    def _fetch(self, connection: Connection, query: Any) -> list[tuple[Any, ...]]:
        return connection.execute(*self._database.compile(query)).fetchall()

    def _read(self, query: Any) -> list[tuple[Any, ...]]:
        with self._database.errors(), self._database.reader() as connection:
            return self._fetch(connection, query)
