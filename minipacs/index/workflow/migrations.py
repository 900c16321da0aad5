"""How the modality workflow of an older schema becomes rows of today's.

Schemas 1 and 2 had several forms before the first release; each step does what the form that it finds has need of.
"""

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.statements import Statements


def make_bells(statements: Statements, connection: Connection) -> None:
    """Give commitments the bell of their association: an association of today has none that an older one named."""
    if "association_id" in statements.columns(connection, "commitment"):
        connection.execute("ALTER TABLE commitment RENAME COLUMN association_id TO bell")
        connection.execute("ALTER TABLE commitment ADD COLUMN was_rung INTEGER NOT NULL DEFAULT 0")
        connection.execute("UPDATE commitment SET bell = ''")


def take_documents_apart(statements: Statements, connection: Connection) -> None:
    """Move the documents of worklist items to a table of their own."""
    if "document" in statements.columns(connection, "workliststep"):
        connection.execute(
            "CREATE TABLE worklistdocument (step_id INTEGER NOT NULL PRIMARY KEY, document TEXT NOT NULL)"
        )
        connection.execute("INSERT INTO worklistdocument (step_id, document) SELECT id, document FROM workliststep")
        connection.execute("ALTER TABLE workliststep DROP COLUMN document")
