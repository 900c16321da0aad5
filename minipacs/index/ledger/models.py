"""The tables of the ledger."""

from peewee import AutoField, BlobField, DoubleField, Model, TextField

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


class AssociationAccount(Model):
    """One row for each association that has ended or was rejected, in this order; the oldest are dropped."""

    id = AutoField()
    association_id = TextField(index=True)
    document = BlobField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "association_account"


LEDGER_MODELS: tuple[type[Model], ...] = (Setting, Removal, Change, AssociationAccount)
