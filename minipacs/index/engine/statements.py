"""Statements as text, composed with peewee: they are run on a borrowed connection, which peewee is not given."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from peewee import SQL, AutoField, Context, Field, Model, Node, NodeList, SchemaManager, SqliteDatabase, Table

from minipacs.index.engine.connection import Connection

OTHER = "fresh"
"""What a second file is called that is looked into beside the first."""


class SerialField(AutoField):
    """A primary key whose numbers are never given twice, also when the last rows are gone."""

    def ddl(self, ctx: Context) -> NodeList:
        """Write the definition of the column."""
        return NodeList((super().ddl(ctx), SQL("AUTOINCREMENT")))


class _Dialect(SqliteDatabase):
    operations = {"LIKE": "LIKE"}  # noqa: RUF012  peewee would write GLOB, where `[` is special


class _Noting(_Dialect):
    """Notes what peewee would run."""

    def __init__(self) -> None:
        super().__init__(None)
        self.statements: list[str] = []

    def execute_sql(self, sql: str, params: Sequence[Any] | None = None) -> None:
        assert not params  # noqa: S101  a definition has its values in its text
        self.statements.append(sql)


class Statements:
    """Writes statements in the one dialect that the database understands."""

    def __init__(self) -> None:
        self._dialect = _Dialect(None)

    def compile(self, query: Node) -> tuple[str, list[Any]]:
        """Turn a peewee query into text and its parameters."""
        text, parameters = self._dialect.get_sql_context().parse(query)  # type: ignore[no-untyped-call]
        return text, parameters

    def insert(self, fields: Sequence[Field]) -> str:
        """Write an INSERT of `fields` of one model, its parameters in their order, that returns the key of the row."""
        model = fields[0].model
        columns = ", ".join(map(quoted, fields))
        marks = ", ".join([self._dialect.param] * len(fields))
        key = quoted(model._meta.primary_key)
        return f"INSERT INTO {table_name(model)} ({columns}) VALUES ({marks}) RETURNING {key}"  # noqa: S608  names of our own

    def update(self, fields: Sequence[Field]) -> str:
        """Write an UPDATE of `fields` of one model for the row whose key is the last parameter."""
        model, mark = fields[0].model, self._dialect.param
        changes = ", ".join(f"{quoted(f)} = {mark}" for f in fields)
        return f"UPDATE {table_name(model)} SET {changes} WHERE {quoted(model._meta.primary_key)} = {mark}"  # noqa: S608  names of our own

    def upsert(self, model: type[Model], row: Mapping[str, object]) -> tuple[str, list[Any]]:
        """Write an INSERT of a row, by names of fields, over the one with the same primary key, if there is one."""
        key, fields = model._meta.primary_key, [model._meta.fields[name] for name in row]
        insert, kept = model.insert(**row), [field for field in fields if field is not key]
        if not kept:
            return self.compile(insert.on_conflict_ignore())
        return self.compile(insert.on_conflict(conflict_target=[key], preserve=kept))

    def skip_numbers(self, connection: Connection, field: SerialField, number: int) -> None:
        """Let a key begin after this number, if it has not come so far."""
        of_field = (field.model._meta.table_name,)
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", of_field).fetchone()
        if row is None:
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (*of_field, number))
        elif row[0] < number:
            connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (number, *of_field))

    def drop_columns(self, connection: Connection, table: str, names: Iterable[str]) -> None:
        """Drop those of these columns that a table has, and their indexes."""
        for name in sorted(set(names) & self.columns(connection, table)):
            connection.execute(f'DROP INDEX IF EXISTS "{table}_{name}"')
            connection.execute(f'ALTER TABLE "{table}" DROP COLUMN "{name}"')

    def create_tables(self, connection: Connection, models: Sequence[type[Model]]) -> None:
        """Make those tables and indexes of `models` that are missing."""
        for statement in _definitions(tuple(models)):
            connection.execute(statement)

    def columns(self, connection: Connection, table: str) -> set[str]:
        """Return the names of the columns that a table has; none if there is no such table."""
        return {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}

    def add_columns(self, connection: Connection, fields: Sequence[Field]) -> None:
        """Add columns to tables that are there; each has a default, or may be null."""
        for field in fields:
            context = self._dialect.get_sql_context()
            definition, _ = context.sql(field.ddl(context)).query()  # type: ignore[no-untyped-call]
            connection.execute(f"ALTER TABLE {table_name(field.model)} ADD COLUMN {definition}")

    def make_serial(self, connection: Connection, models: Sequence[type[Model]]) -> None:
        """Let the numbers of tables that are there never be given twice from now on, as those of a SerialField.

        The rows stay as they are: only the definition is another, which is what SQLite documents `writable_schema` for.
        """
        connection.execute("CREATE TABLE first_serial (id INTEGER PRIMARY KEY AUTOINCREMENT)")  # makes sqlite_sequence
        connection.execute("DROP TABLE first_serial")
        ((version,),) = connection.execute("PRAGMA schema_version").fetchall()
        connection.execute("PRAGMA writable_schema = ON")
        plain = '"id" INTEGER NOT NULL PRIMARY KEY'
        for name in [model._meta.table_name for model in models]:
            connection.execute(
                "UPDATE sqlite_schema SET sql = REPLACE(sql, ?, ?) WHERE type = 'table' AND name = ?",
                (f"{plain},", f"{plain} AUTOINCREMENT,", name),
            )
            last = f'SELECT ?, COALESCE(MAX(id), 0) FROM "{name}"'  # noqa: S608  names of our own
            connection.execute(f"INSERT INTO sqlite_sequence (name, seq) {last}", (name,))
        connection.execute(f"PRAGMA schema_version = {version + 1}")
        connection.execute("PRAGMA writable_schema = RESET")


@cache
def _definitions(models: tuple[type[Model], ...]) -> Sequence[str]:
    """Write what makes the tables and indexes of models; once in each process, for it takes longer than to run it."""
    noting = _Noting()
    for model in models:
        SchemaManager(model, noting).create_all()
    return noting.statements


def table(model: type[Model], *, of_other: bool = False) -> Table:
    """Return a table, of this file or of the other one while that takes this one's place (`Database.take_over`)."""
    columns = [field.column_name for field in model._meta.sorted_fields]
    return Table(model._meta.table_name, columns, schema=OTHER if of_other else "main", alias=None)


def quoted(field: Field) -> str:
    """Write the name of a column."""
    return f'"{field.column_name}"'


def table_name(model: type[Model]) -> str:
    """Write the name of a table."""
    return f'"{model._meta.table_name}"'
