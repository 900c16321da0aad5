"""Files that are to go: noted in the transaction that lets go of them, until they are gone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Dialect, Engine, RunChange
from minipacs.index.ledger.models import Removal

EXPIRED = "expired: "
"""What the reason begins with of a file whose retention is over; the name of the rule follows."""
MAX_NAMES = 500
"""Digests in one statement."""


class ToGo(NamedTuple):
    """A file that is to go: to quarantine if there is a reason for it, else for good."""

    digest: str
    reason: str

    @property
    def is_expired(self) -> bool:
        """Tell whether its retention is over: then it goes where it can be had back for a time."""
        return self.reason.startswith(EXPIRED)


class Removals:
    """The files that are to go; safe to use from any thread. Calls raise Failure as those of `Writer` do."""

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change

    def unfinished(self, after: str = "") -> list[ToGo]:
        """List files that are to go, those whose digest comes after the one given, the first MAX_NAMES of them."""
        select = Removal.select(Removal.digest, Removal.reason).where(Removal.digest > after)
        return [ToGo(*row) for row in self._rows(select.order_by(Removal.digest).limit(MAX_NAMES))]

    def has(self, digest: str) -> bool:
        """Tell whether this file is to go."""
        return bool(self._rows(Removal.select(Removal.digest).where(Removal.digest == digest)))

    def note(self, digest: str) -> None:
        """Take note that a file is to go for good, unless a row stands for it then."""
        self._change(lambda connection: Notes(self._engine).add(connection, [digest]))

    def forget(self, digests: Sequence[str]) -> None:
        """Take note that these files are gone, or have a row again."""
        parts = [digests[i : i + MAX_NAMES] for i in range(0, len(digests), MAX_NAMES)]
        deletes = [self._engine.compile(Removal.delete().where(Removal.digest.in_(part))) for part in parts]

        def work(connection: Connection) -> None:
            for delete in deletes:
                connection.execute(*delete)

        self._change(work)

    def _rows(self, select: Any) -> list[tuple[str, ...]]:
        with self._engine.errors(), self._engine.reader() as connection:
            return list(connection.execute(*self._engine.compile(select)))


class Notes:
    """The notes as a transaction of the writer makes them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._delete, _ = dialect.compile(Removal.delete().where(Removal.digest == ""))

    def add(self, connection: Connection, digests: Sequence[str], reason: str = "") -> None:
        """Take note that these files are to go: to quarantine for a reason, or for good without one."""
        for digest in digests:
            connection.execute(*self._dialect.upsert(Removal, {"digest": digest, "reason": reason}))

    def drop(self, connection: Connection, digest: str) -> bool:
        """Let a file stay that gets a row; tells whether it was to go."""
        return connection.execute(self._delete, (digest,)).rowcount > 0
