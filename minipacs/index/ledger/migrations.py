"""How the ledger of an older schema becomes one of today's."""

from peewee import fn

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.statements import Statements
from minipacs.index.ledger import settings
from minipacs.index.ledger.models import Change, QueueItem
from minipacs.index.ledger.open_studies import SEEN


def give_removals_reasons(statements: Statements, connection: Connection) -> None:
    """Let files that are to go have a reason; so far they went for good."""
    if statements.columns(connection, "removal"):  # a table that is still to be made has it
        connection.execute("ALTER TABLE removal ADD COLUMN reason TEXT NOT NULL DEFAULT ''")


def give_items_priorities(statements: Statements, connection: Connection) -> None:
    """Let items of the queue have a priority."""
    known = statements.columns(connection, "queue_item")
    if known and QueueItem.priority.column_name not in known:
        statements.add_columns(connection, [QueueItem.priority])


def begin_after_what_is_known(statements: Statements, connection: Connection) -> None:
    """Let no study be told complete, nor be sent, for what came before there was that."""
    ((last,),) = connection.execute(*statements.compile(Change.select(fn.COALESCE(fn.MAX(Change.seq), 0)))).fetchall()
    settings.write(statements, connection, SEEN, str(last))
