"""Accounts of the last associations, each a document that this layer does not look into."""

from collections.abc import Sequence

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger.models import AssociationAccount

MAX_KEPT = 10_000
"""Accounts in the table; the oldest make room."""


class Associations:
    """Keeps accounts; safe to use from any thread. Every call may raise Failure."""

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change
        self._insert = engine.insert([AssociationAccount.association_id, AssociationAccount.document])
        rows = AssociationAccount.select(AssociationAccount.document).order_by(AssociationAccount.id.desc())
        self._select_last, _ = engine.compile(rows.limit(1))
        self._select, _ = engine.compile(rows.where(AssociationAccount.association_id == "").limit(1))
        self._delete, _ = engine.compile(AssociationAccount.delete().where(AssociationAccount.id <= 0))

    def add(self, accounts: Sequence[tuple[str, bytes]]) -> None:
        """Keep accounts, by association ID, in one commit."""

        def work(connection: Connection) -> None:
            last = 0
            for account in accounts:
                ((last,),) = connection.execute(self._insert, account).fetchall()
            connection.execute(self._delete, (last - MAX_KEPT,))

        self._change(work)

    def last(self, count: int) -> list[bytes]:
        """Give the last accounts, the latest first."""
        return self._documents(self._select_last, count)

    def get(self, association_id: str) -> bytes | None:
        """Give the account of an association, the latest if its ID was used again after a restart."""
        return next(iter(self._documents(self._select, association_id, 1)), None)

    def _documents(self, statement: str, *parameters: object) -> list[bytes]:
        with self._engine.errors(), self._engine.reader() as connection:
            return [bytes(row[0]) for row in connection.execute(statement, parameters)]
