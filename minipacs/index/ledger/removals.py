"""Instances that were removed, but whose files may still be there: noted in the transaction that removes their rows."""

from collections.abc import Sequence
from typing import Any

from minipacs.index.engine.database import Connection, Database
from minipacs.index.objects.models import Setting
from minipacs.index.workflow.worklist import Change

_PREFIX = "removed "
_BEYOND = "g"
"""Sorts after every digest."""


class Removals:
    """The files that are to go; safe to use from any thread. Calls raise Failure as those of `Writer` do."""

    def __init__(self, database: Database, change: Change) -> None:
        self._database = database
        self._change = change

    def unfinished(self) -> list[str]:
        """List the digests of files that are to be removed."""
        return [name.removeprefix(_PREFIX) for name in self._names(Setting.name.between(_PREFIX, _PREFIX + _BEYOND))]

    def has(self, digest: str) -> bool:
        """Tell whether this file is to be removed."""
        return bool(self._names(Setting.name == _PREFIX + digest))

    def forget(self, digests: Sequence[str]) -> None:
        """Take note that these files are gone, or have a row again."""
        names = [_PREFIX + digest for digest in digests]
        statement = self._database.compile(Setting.delete().where(Setting.name.in_(names)))
        self._change(lambda connection: connection.execute(*statement))

    def _names(self, condition: Any) -> list[str]:
        statement = self._database.compile(Setting.select(Setting.name).where(condition))
        with self._database.errors(), self._database.reader() as connection:
            return [name for (name,) in connection.execute(*statement)]


def note(database: Database, connection: Connection, digests: Sequence[str]) -> None:
    """Take note, within a transaction, that these files are to be removed."""
    for digest in digests:
        insert = Setting.insert(name=_PREFIX + digest, value="").on_conflict_replace()
        connection.execute(*database.compile(insert))
