"""Studies that are not to be removed: as rows, of which the documents beside the objects are the durable form.

What a study is follows from the documents alone: the last that names it tells, whatever the order they come in.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from peewee import fn

from minipacs.errors import Failure, Kind
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Dialect, Engine, RunChange
from minipacs.index.ledger.models import HeldStudy, HoldDocument

MAX_REASON_CHARS = 200
_MAX_NAMES = 500
"""Studies in one statement."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One document: from `at` on, in seconds since 1970, studies are held, or, with `releases`, held no more."""

    at: float
    by: str
    reason: str
    studies: tuple[str, ...]
    releases: bool = False

    def encode(self) -> bytes:
        """Write the document; equal ones have equal bytes."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode() + b"\n"

    @property
    def id(self) -> str:
        """Return what it is known by: the SHA-256 of the document, in hexadecimal."""
        return sha256(self.encode()).hexdigest()


def decode(document: bytes) -> Hold:
    """Read a document. Raises ValueError for what is none."""
    try:
        fields = json.loads(document)
        return Hold(
            at=float(fields["at"]),
            by=str(fields["by"]),
            reason=str(fields["reason"]),
            studies=tuple(map(str, fields["studies"])),
            releases=bool(fields["releases"]),
        )
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError("it is no document of a hold") from error


class Held(NamedTuple):
    """A study that is held: since when, in seconds since 1970, by whom and why."""

    study_uid: str
    at: float
    by: str
    reason: str


_HELD = HeldStudy.select(*(getattr(HeldStudy, name) for name in Held._fields)).where(HeldStudy.is_held)


class Holds:
    """The studies that are held; safe to use from any thread. Calls raise Failure as those of `Writer` do."""

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change

    def all(self) -> list[Held]:
        """List what is held, the oldest first."""
        return [Held(*row) for row in self._rows(_HELD.order_by(HeldStudy.at, HeldStudy.study_uid))]

    def of(self, study_instance_uids: Iterable[str]) -> Mapping[str, Held]:
        """Tell which of these studies are held, by their UIDs."""
        with self._engine.errors(), self._engine.reader() as connection:
            return _held(self._engine, connection, study_instance_uids)

    def ids(self) -> set[str]:
        """Give the ids of all documents."""
        return {row[0] for row in self._rows(HoldDocument.select(HoldDocument.id))}

    def get(self, document_id: str) -> Hold | None:
        """Look a document up."""
        rows = self._rows(HoldDocument.select(HoldDocument.document).where(HoldDocument.id == document_id))
        return decode(bytes(rows[0][0])) if rows else None

    def last_at(self) -> float:
        """Return the time of the last document, in seconds since 1970, 0 if there is none."""
        return float(self._rows(HoldDocument.select(fn.COALESCE(fn.MAX(HoldDocument.at), 0.0)))[0][0])

    def add(self, hold: Hold) -> None:
        """Keep a document that is durable, and what follows from it; may be called again."""

        def work(connection: Connection) -> None:
            document = {"id": hold.id, "at": hold.at, "document": hold.encode()}
            connection.execute(*self._engine.upsert(HoldDocument, document))
            for uid in hold.studies:
                row = {
                    "study_uid": uid,
                    "is_held": not hold.releases,
                    "at": hold.at,
                    "by": hold.by,
                    "reason": hold.reason,
                }
                later = HeldStudy.select(HeldStudy.at).where(HeldStudy.study_uid == uid, HeldStudy.at > hold.at)
                if connection.execute(*self._engine.compile(later)).fetchone() is None:
                    connection.execute(*self._engine.upsert(HeldStudy, row))

        self._change(work)

    def _rows(self, select: Any) -> list[tuple[Any, ...]]:
        with self._engine.errors(), self._engine.reader() as connection:
            return list(connection.execute(*self._engine.compile(select)))


class HoldCheck:
    """Asks within the transactions of a writer whether studies may be removed."""

    def __init__(self, dialect: Dialect, connection: Connection) -> None:
        self._dialect = dialect
        self._connection = connection
        self._any = dialect.compile(HeldStudy.select(HeldStudy.study_uid).where(HeldStudy.is_held).limit(1))

    def refuse_held(self, study_instance_uids: Iterable[str]) -> None:
        """Raise Failure HELD if one of these studies is held."""
        if self._connection.execute(*self._any).fetchone() is None:
            return
        for held in _held(self._dialect, self._connection, study_instance_uids).values():
            raise refusal(held)


def refusal(held: Held) -> Failure:
    """Say why a study is not removed."""
    return Failure(Kind.HELD, f"study {held.study_uid} is held: {held.reason}")


def _held(dialect: Dialect, connection: Connection, study_instance_uids: Iterable[str]) -> dict[str, Held]:
    uids = sorted(set(study_instance_uids))
    found: dict[str, Held] = {}
    for begin in range(0, len(uids), _MAX_NAMES):
        select = _HELD.where(HeldStudy.study_uid.in_(uids[begin : begin + _MAX_NAMES]))
        found |= {row[0]: Held(*row) for row in connection.execute(*dialect.compile(select))}
    return found
