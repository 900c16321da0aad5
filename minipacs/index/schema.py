"""What an index holds: the tables of all rooms, their version, and how an older file becomes one of today."""

from collections.abc import Mapping
from pathlib import Path

from minipacs.dicom.tables.keys import KeyTable
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.database import Database, Sync
from minipacs.index.engine.schema import Migration, Schema
from minipacs.index.engine.statements import Statements
from minipacs.index.ledger import changes
from minipacs.index.ledger.migrations import begin_after_what_is_known, give_items_priorities, give_removals_reasons
from minipacs.index.ledger.models import LEDGER_MODELS
from minipacs.index.objects.derived import OBJECT_TABLES, Derived
from minipacs.index.objects.feed import tell_all
from minipacs.index.objects.migrations import copy_persons, make_room_for_amendments, make_room_for_persons
from minipacs.index.objects.models import MODELS
from minipacs.index.workflow.migrations import (
    copy_order_numbers,
    copy_patients,
    forget_due_times,
    make_bells,
    make_room_for_orders,
    make_room_for_patients,
    queue_commitments,
    take_documents_apart,
)
from minipacs.index.workflow.models import WORKFLOW_MODELS, WORKLIST_TABLE, WorklistStep

SCHEMA_VERSION = 13
MIGRATIONS: Mapping[int, Migration] = {
    1: Migration(before=[make_bells, take_documents_apart]),
    2: Migration(
        before=[
            make_bells,
            take_documents_apart,
            "ALTER TABLE instance ADD COLUMN received_digest TEXT NOT NULL DEFAULT ''",
        ]
    ),
    3: Migration(  # files that are to go were settings
        after=[
            "INSERT INTO removal (digest, reason) SELECT SUBSTR(name, 9), '' FROM setting WHERE name LIKE 'removed %'",
            "DELETE FROM setting WHERE name LIKE 'removed %'",
        ]
    ),
    4: Migration(before=[make_room_for_persons], after=[copy_persons]),
    5: Migration(after=[tell_all]),  # of what was stored before there were events
    6: Migration(before=[give_removals_reasons]),
    7: Migration(before=[forget_due_times], after=[queue_commitments]),
    8: Migration(before=[make_room_for_orders], after=[copy_order_numbers]),
    9: Migration(before=[make_room_for_amendments, give_items_priorities], after=[begin_after_what_is_known]),
    10: Migration(),  # holds
    11: Migration(),  # retention
    12: Migration(before=[make_room_for_patients], after=[copy_patients]),
}
"""By the version that each starts from."""


def open_database(path: Path, keys: KeyTable, *, sync: Sync, read_only: bool) -> Database:
    """Open an index file for objects with these keys, see `Database`."""

    def update_derived(statements: Statements, connection: Connection) -> None:
        derived(statements, keys).update(connection)

    models = (*MODELS, *LEDGER_MODELS, *WORKFLOW_MODELS)
    schema = Schema(
        SCHEMA_VERSION, models, MIGRATIONS, on_cut_off=[changes.skip], on_open=[changes.begin, update_derived]
    )
    return Database(path, schema, sync=sync, read_only=read_only)


def derived(statements: Statements, keys: KeyTable) -> Derived:
    """Return what knows the columns, of all tables, that follow from others."""
    return Derived(statements, keys, [*OBJECT_TABLES, (WorklistStep, WORKLIST_TABLE)])
