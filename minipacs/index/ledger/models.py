"""The tables of the ledger."""

from peewee import AutoField, BlobField, Model, TextField


class Setting(Model):
    """Facts about the index itself."""

    name = TextField(primary_key=True)
    value = TextField()


class Removal(Model):
    """One row for each file that is to go, from the commit that lets go of it until it is gone."""

    digest = TextField(primary_key=True)


class AssociationAccount(Model):
    """One row for each association that has ended or was rejected, in this order; the oldest are dropped."""

    id = AutoField()
    association_id = TextField(index=True)
    document = BlobField()

    class Meta:  # noqa: D106  peewee's options
        table_name = "association_account"


LEDGER_MODELS: tuple[type[Model], ...] = (Setting, Removal, AssociationAccount)
