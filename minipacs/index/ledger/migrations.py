"""How the ledger of an older schema becomes one of today's."""

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.statements import Statements


def give_removals_reasons(statements: Statements, connection: Connection) -> None:
    """Let files that are to go have a reason; so far they went for good."""
    if statements.columns(connection, "removal"):  # a table that is still to be made has it
        connection.execute("ALTER TABLE removal ADD COLUMN reason TEXT NOT NULL DEFAULT ''")
