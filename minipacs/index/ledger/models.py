"""The tables of the ledger."""

from peewee import SQL, AutoField, BlobField, BooleanField, CompositeKey, DoubleField, IntegerField, Model, TextField

from minipacs.index.engine.statements import SerialField


class Setting(Model):
    """Facts about the index itself."""

    name = TextField(primary_key=True)
    value = TextField()


class Removal(Model):
    """One row for each file that is to go, from the commit that lets go of it until it is gone.

    `reason` is why it goes to quarantine, "" if it is to be removed.
    """

    digest = TextField(primary_key=True)
    reason = TextField(default="")


class Change(Model):
    """One row for each change of what the archive holds, in the order of their commits, each number given once.

    `digest` is that of the instance's file after the change, of a deleted one the last. `at` is in seconds since 1970.
    """

    seq = SerialField()
    at = DoubleField()
    action = TextField()
    study_uid = TextField()
    series_uid = TextField()
    sop_instance_uid = TextField()
    digest = TextField()
    source = TextField()
    reason = TextField()


class QueueItem(Model):
    """One row for each thing to be delivered, until that is done; see `ledger.queue`."""

    id = AutoField()
    queue = TextField()
    destination = TextField()
    key = TextField()
    payload = TextField(default="")
    state = TextField(default="waiting")
    created_at = DoubleField()
    due_at = DoubleField()
    attempts = IntegerField(default=0)
    priority = IntegerField(default=0, constraints=[SQL("DEFAULT 0")])
    waited_s = DoubleField(default=0)
    owner = TextField(default="")
    leased_until = DoubleField(default=0)
    last_fault = TextField(default="")

    class Meta:  # noqa: D106  peewee's options
        table_name = "queue_item"


QueueItem.add_index(QueueItem.queue, QueueItem.key, unique=True, name="queue_key")
QueueItem.add_index(QueueItem.queue, QueueItem.destination, QueueItem.due_at, name="queue_destination")


class OpenStudy(Model):
    """One row for each study that objects come to, until it is complete; see `ledger.open_studies`."""

    study_uid = TextField(primary_key=True)
    began_at = DoubleField()
    changed_at = DoubleField()
    sources = TextField()
    last_digest = TextField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "open_study"


class Delivered(Model):
    """One row for each instance that a route took to a destination; `digest` is that of the file as it was received."""

    id = AutoField()
    sop_instance_uid = TextField()
    destination = TextField()
    digest = TextField()
    at = DoubleField()


Delivered.add_index(Delivered.sop_instance_uid, Delivered.destination, unique=True, name="delivered_instance")


class AssociationAccount(Model):
    """One row for each association that has ended or was rejected, in this order; the oldest are dropped."""

    id = AutoField()
    association_id = TextField(index=True)
    document = BlobField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "association_account"


class AmendmentDocument(Model):
    """One row for each amendment; see `dicom.data_set.amendments`. `id` is the SHA-256 of the document.

    `revokes` is the id of the one that it revokes, `revoked_by` of the one that revokes it, else "".
    """

    id = TextField(primary_key=True)
    at = DoubleField()
    document = BlobField()
    revokes = TextField(default="")
    revoked_by = TextField(default="")

    class Meta:  # noqa: D106  peewee's options
        table_name = "amendment"
        without_rowid = True


class AmendedStudy(Model):
    """One row for each study that an amendment is about."""

    study_uid = TextField()
    amendment = TextField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "amended_study"
        primary_key = CompositeKey("study_uid", "amendment")
        without_rowid = True


class AmendedPatient(Model):
    """One row for each Patient ID whose bearers an amendment merges into another patient."""

    patient_id = TextField()
    amendment = TextField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "amended_patient"
        primary_key = CompositeKey("patient_id", "amendment")
        without_rowid = True


class HoldDocument(Model):
    """One row for each document that holds studies or releases them, by its SHA-256; see `ledger.removal.holds`."""

    id = TextField(primary_key=True)
    at = DoubleField()
    document = BlobField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "hold"
        without_rowid = True


class HeldStudy(Model):
    """One row for each study that a document names, as the last of them says."""

    study_uid = TextField(primary_key=True)
    is_held = BooleanField()
    at = DoubleField()
    by = TextField()
    reason = TextField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "held_study"


HeldStudy.add_index(HeldStudy.at, where=SQL("is_held"), name="held_study_held")


class Tombstone(Model):
    """One row for each study that a retention rule removed; `removed_at` is 0 while its files can be had back."""

    study_uid = TextField(primary_key=True)
    rule = TextField()
    expired_at = DoubleField(index=True)
    instances = IntegerField()
    removed_at = DoubleField(default=0)


class ExpiredFile(Model):
    """One row for each file that is kept for a time after its retention is over, until the day of this number."""

    digest = TextField(primary_key=True)
    study_uid = TextField(index=True)
    purge_day = IntegerField(index=True)

    class Meta:  # noqa: D106  peewee's options
        table_name = "expired_file"


LEDGER_MODELS: tuple[type[Model], ...] = (
    Setting,
    Removal,
    Change,
    QueueItem,
    OpenStudy,
    Delivered,
    AssociationAccount,
    AmendmentDocument,
    AmendedStudy,
    AmendedPatient,
    HoldDocument,
    HeldStudy,
    Tombstone,
    ExpiredFile,
)
