"""What the rooms of the index need of whatever keeps its tables: the protocols that `Database` and `Writer` fulfil.

Another database is another implementation of these, with the models as they are. `tests/index/test_contract.py` says
what the index over it promises.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from peewee import Field, Model, Node

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.readers import Allowance
from minipacs.index.engine.statements import SerialField

_T = TypeVar("_T")


class Dialect(Protocol):
    """Writes statements as the database understands them, to be run on a `Connection`."""

    def compile(self, query: Node) -> tuple[str, list[Any]]:
        """Turn a peewee query into text and its parameters."""

    def insert(self, fields: Sequence[Field]) -> str:
        """Write an INSERT of `fields` of one model, its parameters in their order, that returns the key of the row."""

    def update(self, fields: Sequence[Field]) -> str:
        """Write an UPDATE of `fields` of one model for the row whose key is the last parameter."""

    def upsert(self, model: type[Model], row: Mapping[str, object]) -> tuple[str, list[Any]]:
        """Write an INSERT of a row, by names of fields, over the one with the same primary key, if there is one."""

    def skip_numbers(self, connection: Connection, field: SerialField, number: int) -> None:
        """Let a key begin after this number, if it has not come so far."""


class Engine(Dialect, Protocol):
    """A database to read from; safe to use from any thread."""

    def reader(self, allowance: Allowance | None = None) -> AbstractContextManager[Connection]:
        """Lend a connection that only reads, for a moment: no peer is waited for meanwhile. Raises Failure BUSY."""

    def errors(self) -> AbstractContextManager[None]:
        """Turn errors of the database into Failure: FULL or BUSY where trying again may help, else BROKEN."""


class RunChange(Protocol):
    """Runs work in a transaction of the writer."""

    def __call__(self, work: Callable[[Connection], _T], /) -> _T:
        """Return what the work returns, once it is committed."""


class Transaction(Connection, Protocol):
    """The connection of the writer, as the changes see it that are made in one transaction.

    They count in `written` the instances that they change, in `recoverable` those of them that recovery would make
    again, and set `must_be_durable` for what must not be lost in any case.
    """

    written: int
    recoverable: int
    must_be_durable: bool
