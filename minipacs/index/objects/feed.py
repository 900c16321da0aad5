"""Events about many instances at once: of a file from before there were any, and of an index that was rebuilt."""

import time
from typing import Any

from peewee import JOIN, ColumnBase, Select, Table, Value

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.statements import Statements, table
from minipacs.index.ledger import changes
from minipacs.index.ledger.changes import Action, Reason
from minipacs.index.objects.models import COLUMNS, Instance, Series, Study


class _Instances:
    """The instances of one file, with what stands above them."""

    def __init__(self, *, of_other: bool) -> None:
        self.instance: Any
        self.series: Any
        self.study: Any
        self.instance, self.series, self.study = (
            table(model, of_other=of_other).alias(f"{'new' if of_other else 'old'}_{model._meta.table_name}")
            for model in (Instance, Series, Study)
        )
        self.uid = _column(self.instance, "SOPInstanceUID")
        self.series_uid = _column(self.series, "SeriesInstanceUID")
        self.study_uid = _column(self.study, "StudyInstanceUID")

    def events(self, action: Action, reason: Reason, at: Any, source: Any) -> Select:
        """Select an event for each; what is joined and asked of them comes after."""
        values = Value(action), self.study_uid, self.series_uid, self.uid, self.instance.digest, source, Value(reason)
        return self.joined(Select([self.instance], [at, *values]))

    def joined(self, select: Select, on: ColumnBase | None = None) -> Select:
        """Join the tables, to others that are selected from if `on` tells how."""
        if on is not None:
            select = select.join(self.instance, JOIN.LEFT_OUTER, on=on)
        select = select.join(self.series, JOIN.LEFT_OUTER, on=self.instance.parent_id == self.series.id)
        return select.join(self.study, JOIN.LEFT_OUTER, on=self.series.parent_id == self.study.id)


def tell_all(statements: Statements, connection: Connection) -> None:
    """Tell of every instance as created when it was received, in the order in which they were first stored."""
    known = _Instances(of_other=False)
    rows = known.events("create", "", known.instance.received_at, known.instance.source_ae_title)
    changes.add_all(statements, connection, rows.order_by(known.instance.id))


def tell_differences(statements: Statements, connection: Connection) -> None:
    """Tell what is otherwise in the other file that takes this one's place."""
    old, new = _Instances(of_other=False), _Instances(of_other=True)
    now, nobody, sender = Value(time.time()), Value(""), new.instance.source_ae_title
    gone = new.joined(old.events("delete", "reindexed", now, nobody), old.uid == new.uid).where(
        new.instance.id.is_null()
    )
    added = old.joined(new.events("create", "reindexed", now, sender), old.uid == new.uid).where(
        old.instance.id.is_null()
    )
    others = (
        (old.instance.digest != new.instance.digest)
        | (old.series_uid != new.series_uid)
        | (old.study_uid != new.study_uid)
    )
    changed = old.joined(new.events("update", "reindexed", now, sender), old.uid == new.uid).where(others)
    for rows in (gone.order_by(old.instance.id), added.order_by(new.instance.id), changed.order_by(new.instance.id)):
        changes.add_all(statements, connection, rows)


def _column(of: Table, keyword: str) -> ColumnBase:
    column: ColumnBase = getattr(of, COLUMNS[keyword].value.column_name)
    return column
