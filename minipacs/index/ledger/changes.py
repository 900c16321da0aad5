"""Every change of what the archive holds, as an event: a row written in the transaction that makes the change.

Rules:
- *must*: a number is given once. New rows of instances may be lost with the power, and so are their events; recovery
  makes both again, with other numbers. So numbers come from blocks that are reserved durably before the first of them
  is given, and after an end that may have lost some the next block is begun.
- *must*: who reads up to a number misses nothing below it: numbers are given under the lock of the writers, so they are
  committed in their order.
- The same event may be told twice, under two numbers, but none is left out.
"""

import time
from itertools import takewhile
from typing import Literal, NamedTuple

from peewee import Select, fn

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Dialect, Transaction
from minipacs.index.ledger import settings
from minipacs.index.ledger.models import Change

Action = Literal["create", "update", "delete", "complete", "dead"]
"""What happened to an instance; or that a study is complete, whose events name no series and no instance; or that a
route gave up to send what is named: then `source` is to whom, and `reason` the route."""
Completion = Literal["mpps", "commitment", "count", "quiet"]
"""Why a study is: performed steps, storage commitment, the counts that its objects give, or nothing came."""
Reason = (
    Literal["", "replaced", "moved", "compressed", "corrected", "merged", "expired"]
    | Literal["unavailable", "available", "reindexed"]
    | Completion
)
"""Why: another file; another study or series (the instance is deleted there, created here); the same image in another
file; an amendment of it, or a merge of its patient, or either taken back; its retention is over; its file missing or
damaged, or whole again; found otherwise when the index was rebuilt."""


class Uids(NamedTuple):
    """Which instance an event is about."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str


BLOCK = 10_000
"""Numbers that are reserved at once."""
MAX_READ = 10_000
"""Events that are read at once."""

FORGOTTEN_A_COMMIT = 1000
"""Events that are forgotten at once."""

_RESERVED, _FORGOTTEN = "changes_reserved", "changes_forgotten"


class Event(NamedTuple):
    """One change; `at` is in seconds since 1970, `source` whoever the object came from, "" if nobody sent one."""

    seq: int
    at: float
    action: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    digest: str
    source: str
    reason: str


_FIELDS = tuple(getattr(Change, name) for name in Event._fields)
_OF_INSTANCES = Change.action.not_in(("complete", "dead"))


class Changes:
    """Writes events within the transactions of a writer."""

    def __init__(self, dialect: Dialect, transaction: Transaction) -> None:
        self._dialect = dialect
        self._transaction = transaction
        self._insert = dialect.insert(_FIELDS[1:])
        self._reserved = 0

    def add(self, action: Action, uids: Uids, digest: str, source: str = "", reason: Reason = "") -> None:
        """Write down what happens to an instance."""
        self._add(action, uids, digest, source, reason)

    def add_dead(self, uids: Uids, route: str, destination: str) -> None:
        """Write down that a route gave up to take something somewhere."""
        self._add("dead", uids, "", destination, route)

    def _add(self, action: Action, uids: Uids, digest: str, source: str, reason: str) -> None:
        row = time.time(), action, *uids, digest, source, reason
        ((seq,),) = self._transaction.execute(self._insert, row).fetchall()
        if seq <= self._reserved:
            return
        reserved = _reserved(self._dialect, self._transaction)
        if seq <= reserved:
            self._reserved = reserved
        else:  # not remembered before it is read again: this transaction may be undone
            _reserve(self._dialect, self._transaction, seq + BLOCK)
            self._transaction.must_be_durable = True


class Untold(Changes):
    """Tells nobody: of an index whose rows are to take the place of another's."""

    def _add(self, action: Action, uids: Uids, digest: str, source: str, reason: str) -> None:
        """Do nothing."""


def add_all(dialect: Dialect, connection: Connection, rows: Select) -> None:
    """Write many events at once, in a transaction that is made durable; `rows` selects all fields but the number."""
    connection.execute(*dialect.compile(Change.insert_from(rows, _FIELDS[1:])))
    begin(dialect, connection)


def begin(dialect: Dialect, connection: Connection) -> None:
    """Have numbers reserved, in a transaction that is made durable: the first of all, or more than were used."""
    ((last,),) = connection.execute(*dialect.compile(Change.select(fn.COALESCE(fn.MAX(Change.seq), 0)))).fetchall()
    if last >= _reserved(dialect, connection):
        _reserve(dialect, connection, last + BLOCK)


def skip(dialect: Dialect, connection: Connection) -> None:
    """Give none of the numbers that are reserved, in a transaction that is made durable: some may be known and lost."""
    reserved = _reserved(dialect, connection)
    dialect.skip_numbers(connection, Change.seq, reserved)
    _reserve(dialect, connection, reserved + BLOCK)


def after(since: int, limit: int) -> Select:
    """Compose the SELECT of the events after a number, in their order."""
    return Change.select(*_FIELDS).where(Change.seq > since).order_by(Change.seq).limit(min(limit, MAX_READ))


def forget(dialect: Dialect, connection: Connection, before: float) -> int:
    """Delete some of the oldest events, of before a time; tells how many, 0 once all are gone."""
    oldest = Change.select(Change.seq, Change.at).order_by(Change.seq).limit(FORGOTTEN_A_COMMIT)
    rows = connection.execute(*dialect.compile(oldest)).fetchall()
    old = list(takewhile(lambda row: row[1] < before, rows))
    if old:
        last_seq = int(old[-1][0])
        connection.execute(*dialect.compile(Change.delete().where(Change.seq <= last_seq)))
        settings.write(dialect, connection, _FORGOTTEN, str(last_seq))
    return len(old)


def forgotten(dialect: Dialect, connection: Connection) -> int:
    """Return the number of the last event that was forgotten, 0 for none."""
    return int(settings.read(dialect, connection, _FORGOTTEN) or 0)


def between(start: float | None, end: float | None, offset: int, limit: int) -> Select:
    """Compose the SELECT of the events of instances from `start` to before `end`, since 1970, from an offset on."""
    bounds = [_OF_INSTANCES] + [Change.at >= start] * (start is not None) + [Change.at < end] * (end is not None)
    select = Change.select(*_FIELDS).order_by(Change.seq).limit(min(limit, MAX_READ)).offset(offset)
    return select.where(*bounds)


def last() -> Select:
    """Compose the SELECT of the last event of an instance."""
    return Change.select(*_FIELDS).where(_OF_INSTANCES).order_by(Change.seq.desc()).limit(1)


def _reserved(dialect: Dialect, connection: Connection) -> int:
    return int(settings.read(dialect, connection, _RESERVED) or 0)


def _reserve(dialect: Dialect, connection: Connection, number: int) -> None:
    settings.write(dialect, connection, _RESERVED, str(number))
