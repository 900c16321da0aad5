"""Studies that retention rules removed: which, by which rule, and their files that can be had back for a time."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from peewee import fn

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger.models import ExpiredFile, Tombstone

MAX_FILES = 500
"""Files that are listed, or forgotten, at once."""


class Buried(NamedTuple):
    """A study that a rule removed, times in seconds since 1970; `removed_at` is 0 while its files can be had back."""

    study_uid: str
    rule: str
    expired_at: float
    instances: int
    removed_at: float


_FIELDS = tuple(getattr(Tombstone, name) for name in Buried._fields)


class Expired:
    """What retention removed; safe to use from any thread. Calls raise Failure as those of `Writer` do."""

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change

    def all(self) -> list[Buried]:
        """List every study, the first that went first."""
        return [Buried(*row) for row in self._rows(Tombstone.select(*_FIELDS).order_by(Tombstone.expired_at))]

    def get(self, study_uid: str) -> Buried | None:
        """Look a study up."""
        rows = self._rows(Tombstone.select(*_FIELDS).where(Tombstone.study_uid == study_uid))
        return Buried(*rows[0]) if rows else None

    def count(self, rule: str, since: float) -> int:
        """Count the studies that a rule removed since a time."""
        counted = Tombstone.select(fn.COUNT(Tombstone.study_uid))
        return int(self._rows(counted.where(Tombstone.rule == rule, Tombstone.expired_at >= since))[0][0])

    def files(self) -> int:
        """Count the files that can be had back."""
        return int(self._rows(ExpiredFile.select(fn.COUNT(ExpiredFile.digest)))[0][0])

    def has(self, digest: str) -> bool:
        """Tell whether a file is known here."""
        return bool(self._rows(ExpiredFile.select(ExpiredFile.digest).where(ExpiredFile.digest == digest)))

    def files_of(self, study_uid: str) -> list[str]:
        """Give the digests of a study's files that can be had back."""
        return [
            row[0]
            for row in self._rows(ExpiredFile.select(ExpiredFile.digest).where(ExpiredFile.study_uid == study_uid))
        ]

    def due(self, day: int) -> list[str]:
        """Give digests of files whose time of grace is over on a day, the first MAX_FILES."""
        select = ExpiredFile.select(ExpiredFile.digest).where(ExpiredFile.purge_day <= day)
        return [row[0] for row in self._rows(select.order_by(ExpiredFile.purge_day).limit(MAX_FILES))]

    def bury(self, connection: Connection, study_uid: str, rule: str, purge_day: int, digests: Sequence[str]) -> None:
        """Note in a transaction that these files of a study went by a rule."""
        known = Tombstone.select(Tombstone.instances).where(Tombstone.study_uid == study_uid, Tombstone.removed_at == 0)
        row = connection.execute(*self._engine.compile(known)).fetchone()
        stone = {
            "study_uid": study_uid,
            "rule": rule,
            "expired_at": time.time(),
            "instances": len(digests) + (row[0] if row else 0),
            "removed_at": 0,
        }
        connection.execute(*self._engine.upsert(Tombstone, stone))
        for digest in digests:
            file = {"digest": digest, "study_uid": study_uid, "purge_day": purge_day}
            connection.execute(*self._engine.upsert(ExpiredFile, file))

    def adopt(self, study_uid: str, rule: str, purge_day: int, digest: str) -> None:
        """Note a file that the index did not know of."""
        self._change(lambda connection: self.bury(connection, study_uid, rule, purge_day, [digest]))

    def forget(self, digests: Sequence[str]) -> None:
        """Note that files are no longer kept, and of which studies nothing is any more."""
        is_gone = ExpiredFile.digest.in_(digests)
        left = ExpiredFile.select(ExpiredFile.digest).where(ExpiredFile.study_uid == Tombstone.study_uid)

        def work(connection: Connection) -> None:
            select = ExpiredFile.select(ExpiredFile.study_uid).where(is_gone).distinct()
            studies = [row[0] for row in connection.execute(*self._engine.compile(select)).fetchall()]
            connection.execute(*self._engine.compile(ExpiredFile.delete().where(is_gone)))
            empty = Tombstone.study_uid.in_(studies) & ~fn.EXISTS(left)
            update = Tombstone.update({Tombstone.removed_at: time.time()}).where(empty)
            connection.execute(*self._engine.compile(update))

        self._change(work)

    def raise_up(self, study_uid: str) -> None:
        """Note that a study is stored again, and was not removed after all."""
        delete = Tombstone.delete().where(Tombstone.study_uid == study_uid)
        self._change(lambda connection: connection.execute(*self._engine.compile(delete)))

    def _rows(self, select: Any) -> list[tuple[Any, ...]]:
        with self._engine.errors(), self._engine.reader() as connection:
            return list(connection.execute(*self._engine.compile(select)))
