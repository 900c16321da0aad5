"""Messages of HL7 that came, with what each was answered: kept for a while, to be looked at and to be done again."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from peewee import ColumnBase

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.paging import Place, beyond, pages
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.workflow.models import Hl7Message

REPEATED_WITHIN_S = 86400.0
"""The same message again within a day is one whose answer was lost."""
FORGOTTEN_A_COMMIT = 500


class Received(NamedTuple):
    """A message and its answer, as bytes; `code` and `condition` are MSA-1 and ERR-3 of that, `words` say why.

    `received_at` is in seconds since 1970. `digest` is that of the message.
    """

    received_at: float
    sender: str
    address: str
    control_id: str
    kind: str
    code: str
    condition: int
    words: str
    digest: str
    message: bytes = b""
    answer: bytes = b""


class Kept(NamedTuple):
    """One that is kept, by the number of its row."""

    id: int
    received: Received


_FIELDS = tuple(getattr(Hl7Message, name) for name in Received._fields)
_BRIEF = _FIELDS[:-2]
"""All but the bytes."""


class Hl7Messages:
    """The messages of an index; safe to use from any thread. Calls raise Failure."""

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change

    def add(self, received: Received) -> None:
        """Keep a message."""
        self._change(lambda connection: self.insert(connection, received))

    def insert(self, connection: Connection, received: Received) -> None:
        """Keep a message, within a transaction."""
        row = Hl7Message.insert(dict(zip(_FIELDS, received, strict=True)))
        connection.execute(*self._engine.compile(row))

    def answered(self, sender: str, control_id: str, digest: str) -> bytes | None:
        """Return what the same message was answered within the last day, if it was accepted."""
        since = time.time() - REPEATED_WITHIN_S
        select = Hl7Message.select(Hl7Message.answer).where(
            Hl7Message.control_id == control_id,
            Hl7Message.sender == sender,
            Hl7Message.digest == digest,
            Hl7Message.code == "AA",
            Hl7Message.received_at >= since,
        )
        rows = self._rows(select.limit(1))
        return bytes(rows[0][0]) if rows else None

    def find(self, *, code: str = "", control_id: str = "", newest_first: bool = False) -> Iterator[Kept]:
        """Give what is kept, without the bytes, in the order in which it came."""
        asked = [Hl7Message.code == code] if code else []
        asked += [Hl7Message.control_id == control_id] if control_id else []
        order = [Hl7Message.id.desc() if newest_first else Hl7Message.id]

        def read(after: Place, rows: int) -> list[tuple[Any, ...]]:
            where: list[ColumnBase] = list(asked)
            if after and newest_first:
                where.append(Hl7Message.id < after[0])
            elif after:
                where += beyond([Hl7Message.id], after)
            select = Hl7Message.select(Hl7Message.id, *_BRIEF).order_by(*order).limit(rows)
            return self._rows(select.where(*where) if where else select)

        for row_id, *values in pages(read, slice(1)):
            yield Kept(row_id, Received(*values))

    def get(self, row_id: int) -> Kept | None:
        """Look one up, whole."""
        rows = self._rows(Hl7Message.select(Hl7Message.id, *_FIELDS).where(Hl7Message.id == row_id))
        return Kept(rows[0][0], Received(*rows[0][1:])) if rows else None

    def forget(self, before: float) -> int:
        """Delete some of what came before a time; tells how many, 0 once all are gone."""
        old = Hl7Message.select(Hl7Message.id).where(Hl7Message.received_at < before).limit(FORGOTTEN_A_COMMIT)
        if not self._rows(old.limit(1)):
            return 0
        delete = Hl7Message.delete().where(Hl7Message.id.in_(old))
        return self._change(lambda connection: int(connection.execute(*self._engine.compile(delete)).rowcount))

    def _rows(self, select: Any) -> list[tuple[Any, ...]]:
        with self._engine.errors(), self._engine.reader() as connection:
            return connection.execute(*self._engine.compile(select)).fetchall()
