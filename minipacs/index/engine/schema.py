"""What a database is to hold, as the engine is told of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from peewee import Model

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.statements import Statements

Step = str | Callable[[Statements, Connection], None]
"""One statement, or a function that runs some; within the transaction of the migration."""


@dataclass(frozen=True, slots=True)
class Migration:
    """From one version of the schema to the next.

    `before` runs on the tables as they were; then tables and indexes that are missing are made, as they are today;
    `after` fills them. Of several migrations in a row all of `before` comes first: `after` sees the last version.
    """

    before: Sequence[Step] = ()
    after: Sequence[Step] = ()


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables, their version, and the migrations that lead to it, each by the version that it starts from.

    `on_open` runs whenever a file is opened for writing, in the transaction that migrates it, after `on_cut_off`. That
    runs if nobody else has the file open and not all who had it have closed it: what they committed last may be lost.
    """

    version: int
    models: Sequence[type[Model]]
    migrations: Mapping[int, Migration] = field(default_factory=dict)
    on_cut_off: Sequence[Step] = ()
    on_open: Sequence[Step] = ()

    def migrate(self, statements: Statements, connection: Connection, version: int, *, was_cut_off: bool) -> None:
        """Bring tables of an older version up to date; 0 stands for none at all. Within a transaction."""
        due = [self.migrations[step] for step in range(version or self.version, self.version)]
        _run(statements, connection, [step for migration in due for step in migration.before])
        if version < self.version:
            statements.create_tables(connection, self.models)
        _run(statements, connection, [step for migration in due for step in migration.after])
        if was_cut_off:
            _run(statements, connection, self.on_cut_off)
        _run(statements, connection, self.on_open)


def _run(statements: Statements, connection: Connection, steps: Sequence[Step]) -> None:
    for step in steps:
        if isinstance(step, str):
            connection.execute(step)
        else:
            step(statements, connection)
