"""The values of keys without a column: written with the row they belong to, gone with it."""

from collections.abc import Mapping, Sequence

from minipacs.dicom.tables.attributes import Level
from minipacs.dicom.tables.keys import KeyTable
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine
from minipacs.index.objects.columns import rare_value
from minipacs.index.objects.models import RARE_VALUES, level_within

RareRow = tuple[str, str, str, str, str]
RareRows = Mapping[Level, Sequence[RareRow]]
"""The rows of one object by level, each without its owner."""


def rare_rows(values: Mapping[str, str], keys: KeyTable) -> RareRows:
    """Pick the values of keys without a column from those of an object, by keyword; its study has the patient's too."""
    found: dict[Level, list[RareRow]] = {}
    for attribute in keys.rare:
        text = values.get(attribute.keyword)
        if text:
            row = rare_value(attribute, text)
            for level in dict.fromkeys((attribute.level, level_within(attribute, "STUDY"))):
                found.setdefault(level, []).append(row)
    return found


class RareValues:
    """Writes them, on the connection of the writer."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._connection = connection
        self._insert, self._delete = {}, {}
        for level, model in RARE_VALUES.items():
            columns = (model.owner, model.keyword, model.value, model.compared, model.ideographic, model.phonetic)
            self._insert[level], _ = engine.compile(model.insert_many([(0, *[""] * 5)], fields=columns))
            self._delete[level], _ = engine.compile(model.delete().where(model.owner == 0))

    def add(self, level: Level, row_id: int, rows: RareRows) -> None:
        """Write the values of a new row."""
        for row in rows.get(level, ()):
            self._connection.execute(self._insert[level], (row_id, *row))

    def replace(self, level: Level, row_id: int, rows: RareRows) -> None:
        """Write the values of a row in place of those it had."""
        self._connection.execute(self._delete[level], (row_id,))
        self.add(level, row_id, rows)
