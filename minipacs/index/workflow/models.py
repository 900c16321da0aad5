"""The tables of the modality workflow: the worklist, performed procedure steps, storage commitment.

`document` columns hold a small data set as JSON (`dicom.json_values`), times are in seconds since 1970.
"""

from collections.abc import Mapping
from types import MappingProxyType

from peewee import SQL, AutoField, BlobField, BooleanField, DoubleField, IntegerField, Model, TextField

from minipacs.dicom.workflow.worklist import MATCHED_KEYS
from minipacs.index.objects.columns import add_columns, table_columns
from minipacs.index.objects.conditions import Columns


class WorklistStep(Model):
    """One row for each scheduled procedure step, by Study Instance UID and Scheduled Procedure Step ID.

    `start` is its date and time, joined in normal form. `source` is the file it comes from, "" if it was added. All
    that it holds stands in another table, so that these rows are short to search.
    """

    id = AutoField()
    source = TextField(default="", index=True)
    start = TextField()


class WorklistDocument(Model):
    """One row for each row of the worklist."""

    step_id = IntegerField(primary_key=True)
    document = TextField()


class WorklistFolder(Model):
    """The watched folder, as it was found: `fault` tells why it cannot be read, "" if it can."""

    path = TextField(primary_key=True)
    fault = TextField(default="")
    broken_files = IntegerField(default=0)


class PerformedStep(Model):
    """One row for each performed procedure step that a modality created."""

    id = AutoField()
    sop_instance_uid = TextField()
    patient_id = TextField(default="", constraints=[SQL("DEFAULT ''")])
    status = TextField()
    document = TextField()
    source = TextField(column_name="source_ae_title")
    changed_at = DoubleField(index=True)

    class Meta:  # noqa: D106  peewee's options
        table_name = "procedurestep"


class AmendedItem(Model):
    """One row for each worklist item or performed step that an amendment changed: `before` is what it said, as JSON.

    `key` is how the item is known among those of its `kind`; see `workflow.people`.
    """

    id = AutoField()
    amendment = TextField(index=True)
    kind = TextField()
    key = TextField()
    before = TextField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "amended_item"


class Commitment(Model):
    """One row for each storage commitment asked for, kept for a while after its event is acknowledged or given up.

    `report` is the answer, "" until all objects are read; once it is there it never changes. While it is open an item
    of a queue, with the id as its key, tells who deals with it.
    """

    id = AutoField()
    ae_title = TextField()
    called_ae_title = TextField()
    transaction_uid = TextField()
    request = TextField()
    report = TextField(default="")
    state = TextField()
    bell = TextField(index=True)
    was_rung = BooleanField(default=False)
    asked_at = DoubleField(index=True)


class Hl7Message(Model):
    """One row for each message of HL7 that was answered, with the answer; see `hl7_messages`."""

    id = AutoField()
    received_at = DoubleField(index=True)
    sender = TextField()
    address = TextField()
    control_id = TextField(index=True)
    kind = TextField()
    code = TextField()
    condition = IntegerField()
    words = TextField()
    digest = TextField()
    message = BlobField()
    answer = BlobField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "hl7_message"


_INDEXED = frozenset({"PatientID", "PatientName", "AccessionNumber", "FillerOrderNumberImagingServiceRequest"})

WORKLIST_COLUMNS: Mapping[str, Columns] = MappingProxyType(
    {key.keyword: add_columns(WorklistStep, key, indexed=key.keyword in _INDEXED) for key in MATCHED_KEYS}
)
"""The columns of every matching key of the worklist, by keyword."""

WORKLIST_TABLE = table_columns(MATCHED_KEYS, WORKLIST_COLUMNS)

WorklistStep.add_index(
    WORKLIST_COLUMNS["StudyInstanceUID"].value,
    WORKLIST_COLUMNS["ScheduledProcedureStepID"].value,
    unique=True,
    name="worklist_identity",
)
PerformedStep.add_index(PerformedStep.sop_instance_uid, unique=True, name="procedurestep_sop_instance_uid")
PerformedStep.add_index(PerformedStep.patient_id, name="procedurestep_patient")
WorklistStep.add_index(WorklistStep.start, WorklistStep.id, name="worklist_order")
Commitment.add_index(Commitment.ae_title, Commitment.transaction_uid, name="commitment_transaction")

WORKFLOW_MODELS: tuple[type[Model], ...] = (
    *(WorklistStep, WorklistDocument, WorklistFolder),
    *(PerformedStep, AmendedItem, Commitment, Hl7Message),
)
