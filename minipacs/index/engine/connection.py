"""What the other rooms see of a connection, and how its errors are told."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from minipacs.errors import Failure, Kind, MinipacsError

_T = TypeVar("_T")
_Work = TypeVar("_Work", covariant=True)

_WORDS = {
    sqlite3.SQLITE_FULL: (Kind.FULL, "disk full"),
    sqlite3.SQLITE_IOERR: (Kind.BUSY, "disk error"),
    sqlite3.SQLITE_BUSY: (Kind.BUSY, "busy"),
    sqlite3.SQLITE_LOCKED: (Kind.BUSY, "busy"),
    sqlite3.SQLITE_PROTOCOL: (Kind.BUSY, "busy"),
    sqlite3.SQLITE_NOMEM: (Kind.BUSY, "out of memory"),
    sqlite3.SQLITE_READONLY: (Kind.BUSY, "cannot be written"),
    sqlite3.SQLITE_CANTOPEN: (Kind.BUSY, "cannot be opened"),
}
"""By SQLite's primary result code, where trying again may help."""


class QueryCancelled(MinipacsError):
    """The caller gave up a query while it ran."""


class Cursor(Protocol):
    """The rows that a statement gives, and how many it changed."""

    @property
    def rowcount(self) -> int: ...  # noqa: D102

    def fetchone(self) -> Any: ...  # noqa: D102

    def fetchall(self) -> list[Any]: ...  # noqa: D102

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Runs statements."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor: ...  # noqa: D102


def primary_code(error: BaseException | None) -> int:
    """Return SQLite's result code without its details, 0 if `error` is none of SQLite's."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn errors of the database into Failure: FULL or BUSY where trying again may help, else BROKEN."""
    try:
        yield
    except sqlite3.Error as error:
        kind, words = _WORDS.get(primary_code(error), (Kind.BROKEN, "error"))
        raise Failure(kind, f"index {words}") from error
