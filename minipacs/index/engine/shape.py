"""Whether the tables of a file are those that statements are written for.

A version number alone says what a file should hold. A column that is missing all the same would be found by the first
statement that needs it: with every object that is stored.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from typing import NamedTuple, TypeVar

from peewee import Model

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.statements import Statements

_Parts = TypeVar("_Parts", "_Column", "_Index")


class _Column(NamedTuple):
    """A column, as far as statements rely on it."""

    type: str
    is_required: bool
    place_in_key: int


class _Index(NamedTuple):
    """An index: its columns, and which rows it has."""

    is_unique: bool
    columns: tuple[str, ...]
    rows: str


class _Table(NamedTuple):
    """A table; `is_serial` tells that its numbers are never given twice."""

    columns: Mapping[str, _Column]
    with_default: frozenset[str]
    indexes: Mapping[str, _Index]
    is_serial: bool


def differences(connection: Connection, models: Sequence[type[Model]]) -> list[str]:
    """Say what of `models` a database lacks or has otherwise, and what would keep rows out; nothing if all is well.

    What it has beside that harms nobody.
    """
    found: list[str] = []
    for name, expected in _expected(tuple(models)).items():
        table = _table(connection, name)
        if not table.columns:
            found.append(f"table {name} is missing")
            continue
        if expected.is_serial and not table.is_serial:
            found.append(f"table {name} gives numbers twice")
        found += _differing(f"{name}.", expected.columns, table.columns)
        found += _differing("index ", expected.indexes, table.indexes)
        for column, its in table.columns.items():
            if column not in expected.columns and its.is_required and column not in table.with_default:
                found.append(f"{name}.{column} is not known")
        for index, its_rows in table.indexes.items():
            if index not in expected.indexes and its_rows.is_unique and not index.startswith("sqlite_"):
                found.append(f"unique index {index} is not known")
    return found


def _differing(prefix: str, expected: Mapping[str, _Parts], real: Mapping[str, _Parts]) -> Iterator[str]:
    for name, its in expected.items():
        if name not in real:
            yield f"{prefix}{name} is missing"
        elif real[name] != its:
            yield f"{prefix}{name} is of another kind"


@cache
def _expected(models: tuple[type[Model], ...]) -> Mapping[str, _Table]:
    """Make the tables in memory, and look at them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        Statements().create_tables(connection, models)
        return {model._meta.table_name: _table(connection, model._meta.table_name) for model in models}


def _table(connection: Connection, name: str) -> _Table:
    info = connection.execute(f'PRAGMA table_info("{name}")').fetchall()
    columns = {column: _Column(type_, bool(required), place) for _, column, type_, required, _, place in info}
    with_default = frozenset(column for _, column, _, _, default, _ in info if default is not None)
    indexes = {
        index: _Index(bool(unique), _indexed(connection, index), _rows_of(connection, index) if partial else "")
        for _, index, unique, _, partial in connection.execute(f'PRAGMA index_list("{name}")').fetchall()
    }
    return _Table(columns, with_default, indexes, "AUTOINCREMENT" in _definition(connection, name))


def _indexed(connection: Connection, index: str) -> tuple[str, ...]:
    return tuple(column for _, _, column in connection.execute(f'PRAGMA index_info("{index}")'))


def _rows_of(connection: Connection, index: str) -> str:
    """Return the condition of a partial index."""
    return re.sub(r"\s+", " ", _definition(connection, index).partition(" WHERE ")[2])


def _definition(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    return "" if row is None else str(row[0])
