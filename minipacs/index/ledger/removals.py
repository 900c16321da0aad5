"""Files that are to go: noted in the transaction that lets go of them, until they are gone."""

from collections.abc import Sequence
from typing import Any

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.database import Database
from minipacs.index.engine.statements import Statements
from minipacs.index.engine.writer import Change
from minipacs.index.ledger.models import Removal

MAX_NAMES = 500
"""Digests in one statement."""


class Removals:
    """The files that are to go; safe to use from any thread. Calls raise Failure as those of `Writer` do."""

    def __init__(self, database: Database, change: Change) -> None:
        self._database = database
        self._change = change

    def unfinished(self) -> list[str]:
        """List the digests of files that are to be removed."""
        return self._digests(Removal.select(Removal.digest).order_by(Removal.digest))

    def has(self, digest: str) -> bool:
        """Tell whether this file is to be removed."""
        return bool(self._digests(Removal.select(Removal.digest).where(Removal.digest == digest)))

    def forget(self, digests: Sequence[str]) -> None:
        """Take note that these files are gone, or have a row again."""
        parts = [digests[i : i + MAX_NAMES] for i in range(0, len(digests), MAX_NAMES)]
        deletes = [self._database.compile(Removal.delete().where(Removal.digest.in_(part))) for part in parts]

        def work(connection: Connection) -> None:
            for delete in deletes:
                connection.execute(*delete)

        self._change(work)

    def _digests(self, select: Any) -> list[str]:
        with self._database.errors(), self._database.reader() as connection:
            return [digest for (digest,) in connection.execute(*self._database.compile(select))]


def note(statements: Statements, connection: Connection, digests: Sequence[str]) -> None:
    """Take note, within a transaction, that these files are to be removed."""
    for digest in digests:
        connection.execute(*statements.upsert(Removal, {"digest": digest}))
