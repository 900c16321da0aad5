"""What an index remembers of itself, by name; within transactions of the caller's."""

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Dialect
from minipacs.index.ledger.models import Setting


def read(dialect: Dialect, connection: Connection, name: str) -> str:
    """Return a value, "" if there is none."""
    select = Setting.select(Setting.value).where(Setting.name == name)
    row = connection.execute(*dialect.compile(select)).fetchone()
    return str(row[0]) if row else ""


def write(dialect: Dialect, connection: Connection, name: str, value: str) -> None:
    """Put a value in place of the one there was."""
    connection.execute(*dialect.upsert(Setting, {"name": name, "value": value}))
