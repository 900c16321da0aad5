"""What an index remembers of how its rows were made: by which rule of folding, and with which keys."""

from typing import TYPE_CHECKING

from peewee import Model

from minipacs.dicom.tables.keys import KeyTable
from minipacs.dicom.text.person_name import FOLD_VERSION
from minipacs.index.objects.models import (
    LEVEL_COLUMNS,
    LEVEL_MODELS,
    RARE_VALUES,
    Instance,
    Setting,
    TableColumns,
    rare_value,
)
from minipacs.index.workflow.models import WORKLIST_TABLE, WorklistStep

if TYPE_CHECKING:
    from minipacs.index.engine.database import Connection, Database

_FOLD = "fold_version"
_FILLED = "filled_keys"


class State:
    """Keeps rows true to the rule of folding of today, and knows which keys those of before lack.

    To be used inside transactions of the caller's.
    """

    def __init__(self, database: "Database", keys: KeyTable) -> None:
        self._database = database
        self._rare = keys.rare
        self._names = {f"{a.level}:{a.keyword}" for a in keys.rare}

    def update(self, connection: "Connection") -> None:
        """Derive folded and normal columns anew if the rule has changed since; forget keys that are none any more."""
        if self._read(connection, _FOLD) != str(FOLD_VERSION):
            self._refold(connection)
            self._write(connection, _FOLD, str(FOLD_VERSION))
        has_rows = connection.execute(*self._database.compile(Instance.select(Instance.id).limit(1))).fetchone()
        self._note_filled(connection, self._filled(connection) if has_rows else self._names)

    def unfilled_keys(self, connection: "Connection") -> list[str]:
        """List the keys without a column that some of the stored objects were not indexed with."""
        return sorted(self._names - self._filled(connection))

    def fill(self, connection: "Connection") -> None:
        """Note that every object was indexed with every key."""
        self._note_filled(connection, self._names)

    def _filled(self, connection: "Connection") -> set[str]:
        return set(filter(None, self._read(connection, _FILLED).split("\n")))

    def _note_filled(self, connection: "Connection", names: set[str]) -> None:
        self._write(connection, _FILLED, "\n".join(sorted(names & self._names)))

    def _read(self, connection: "Connection", name: str) -> str:
        select = Setting.select(Setting.value).where(Setting.name == name)
        row = connection.execute(*self._database.compile(select)).fetchone()
        return row[0] if row else ""

    def _write(self, connection: "Connection", name: str, value: str) -> None:
        connection.execute(*self._database.compile(Setting.insert(name=name, value=value).on_conflict_replace()))

    def _refold(self, connection: "Connection") -> None:
        tables: list[tuple[type[Model], TableColumns]] = [
            (model, LEVEL_COLUMNS[level]) for level, model in LEVEL_MODELS.items()
        ]
        tables.append((WorklistStep, WORKLIST_TABLE))
        for model, columns in tables:
            update = self._database.update(columns.derived_fields)
            rows, _ = self._database.compile(model.select(model._meta.primary_key, *columns.attribute_fields))
            for row_id, *attributes in connection.execute(rows):
                connection.execute(update, (*columns.derived(attributes), row_id))
        self._refold_rare(connection)

    def _refold_rare(self, connection: "Connection") -> None:
        compile_ = self._database.compile
        for attribute in self._rare:
            model = RARE_VALUES[attribute.level]
            rows, of_keyword = compile_(model.select(model.owner, model.value).where(model.keyword == ""))
            derived = {model.compared: "", model.ideographic: "", model.phonetic: ""}
            update, _ = compile_(model.update(derived).where((model.owner == 0) & (model.keyword == "")))
            for row_id, text in connection.execute(rows, [attribute.keyword] * len(of_keyword)).fetchall():
                keyword, _, *changed = rare_value(attribute, text)
                connection.execute(update, (*changed, row_id, keyword))
