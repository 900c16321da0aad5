"""How the modality workflow of an older schema becomes rows of today's.

Schemas 1 and 2 had several forms before the first release; each step does what the form that it finds has need of.
"""

from peewee import Case, Field, Value, fn

from minipacs.dicom.data_set.json_values import loads
from minipacs.dicom.data_set.values import text
from minipacs.dicom.workflow.orders import PATIENT_ID
from minipacs.dicom.workflow.worklist import BY_KEYWORD
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.statements import Statements
from minipacs.index.ledger.models import QueueItem
from minipacs.index.ledger.queue import DEAD, WAITING
from minipacs.index.workflow.commitments import ACKNOWLEDGED, ASKED, EXPIRED, READING, TELLING
from minipacs.index.workflow.models import WORKLIST_COLUMNS, Commitment, PerformedStep, WorklistDocument


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


_ORDER_NUMBERS = tuple(WORKLIST_COLUMNS[f"{of}OrderNumberImagingServiceRequest"].value for of in ("Placer", "Filler"))


def make_room_for_orders(statements: Statements, connection: Connection) -> None:
    """Give worklist items columns for the numbers of their orders."""
    known = statements.columns(connection, "workliststep")
    statements.add_columns(connection, [field for field in _ORDER_NUMBERS if field.column_name not in known])


def copy_order_numbers(statements: Statements, connection: Connection) -> None:
    """Fill them from what the items hold."""
    update = statements.update(_ORDER_NUMBERS)
    tags = [BY_KEYWORD[f"{of}OrderNumberImagingServiceRequest"].tag for of in ("Placer", "Filler")]
    has_one = [fn.INSTR(WorklistDocument.document, f'"{tag}"') > 0 for tag in tags]
    select = WorklistDocument.select(WorklistDocument.step_id, WorklistDocument.document).where(has_one[0] | has_one[1])
    for step_id, document in connection.execute(*statements.compile(select)).fetchall():
        values = loads(document)
        connection.execute(update, (*(text(values, tag) for tag in tags), step_id))


def make_room_for_patients(statements: Statements, connection: Connection) -> None:
    """Give performed steps a column for their patient."""
    if PerformedStep.patient_id.column_name not in statements.columns(connection, "procedurestep"):
        statements.add_columns(connection, [PerformedStep.patient_id])


def copy_patients(statements: Statements, connection: Connection) -> None:
    """Fill it from what the steps hold."""
    update = statements.update([PerformedStep.patient_id])
    has_one = fn.INSTR(PerformedStep.document, f'"{PATIENT_ID}"') > 0
    select = PerformedStep.select(PerformedStep.id, PerformedStep.document).where(has_one)
    for step_id, document in connection.execute(*statements.compile(select)).fetchall():
        connection.execute(update, (text(loads(document), PATIENT_ID), step_id))


def forget_due_times(statements: Statements, connection: Connection) -> None:
    """Leave to the queue what is due when."""
    statements.drop_columns(connection, "commitment", ("attempts", "due_at", "leased_until", "last_fault"))


def queue_commitments(statements: Statements, connection: Connection) -> None:
    """Put commitments that are open into the queue, due now, and those that were given up, as such."""
    row: dict[Field, object] = {
        QueueItem.queue: Case(Commitment.state, [(ASKED, READING)], TELLING),
        QueueItem.destination: Commitment.ae_title,
        QueueItem.key: Commitment.id.cast("TEXT"),
        QueueItem.state: Case(Commitment.state, [(EXPIRED, DEAD)], WAITING),
        QueueItem.created_at: Commitment.asked_at,
        QueueItem.due_at: Commitment.asked_at,
    }
    others = (
        *(QueueItem.payload, QueueItem.attempts, QueueItem.waited_s),
        *(QueueItem.owner, QueueItem.leased_until, QueueItem.last_fault, QueueItem.priority),
    )
    select = Commitment.select(*row.values(), *(Value(field.default) for field in others))
    insert = QueueItem.insert_from(select.where(Commitment.state != ACKNOWLEDGED), [*row, *others])
    connection.execute(*statements.compile(insert))
