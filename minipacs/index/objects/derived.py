"""Which columns of an index are stale: by which rule names were folded, and with which keys objects were indexed."""

from collections.abc import Sequence

from peewee import Model

from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.tables.keys import KeyTable
from minipacs.dicom.text.person_name import FOLD_VERSION
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.statements import Statements
from minipacs.index.ledger import settings
from minipacs.index.objects.columns import TableColumns, rare_value
from minipacs.index.objects.headings import compared_person, person_of_document
from minipacs.index.objects.models import (
    LEVEL_COLUMNS,
    LEVEL_MODELS,
    PERSON,
    PERSON_OF_HEADING,
    PERSON_OF_STUDY,
    RARE_VALUES,
    Heading,
    Instance,
    Study,
    columns_within,
    level_within,
)

_FOLD = "fold_version"
_FILLED = "filled_keys"

OBJECT_TABLES: Sequence[tuple[type[Model], TableColumns]] = [
    (model, LEVEL_COLUMNS[level]) for level, model in LEVEL_MODELS.items()
]


class Derived:
    """Keeps rows true to the rule of folding of today, and knows which keys those of before lack.

    `tables` are those with columns that are derived from others. To be used inside transactions of the caller's.
    """

    def __init__(
        self, statements: Statements, keys: KeyTable, tables: Sequence[tuple[type[Model], TableColumns]] = OBJECT_TABLES
    ) -> None:
        self._statements = statements
        self._tables = tables
        self._rare = keys.rare
        self._names = {f"{a.level}:{a.keyword}" for a in keys.rare}

    def update(self, connection: Connection) -> None:
        """Derive folded and normal columns anew if the rule has changed since; forget keys that are none any more."""
        if settings.read(self._statements, connection, _FOLD) != str(FOLD_VERSION):
            self._refold(connection)
            settings.write(self._statements, connection, _FOLD, str(FOLD_VERSION))
        select = self._statements.compile(Instance.select(Instance.id).limit(1))
        has_rows = connection.execute(*select).fetchone() is not None
        filled = self._filled(connection)
        wanted = (filled if has_rows else self._names) & self._names
        if wanted != filled:
            self._note_filled(connection, wanted)

    def unfilled_keys(self, connection: Connection) -> list[str]:
        """List the keys without a column that some of the stored objects were not indexed with."""
        return sorted(self._names - self._filled(connection))

    def fill(self, connection: Connection) -> None:
        """Note that every object was indexed with every key."""
        self._note_filled(connection, self._names)

    def _filled(self, connection: Connection) -> set[str]:
        return set(filter(None, settings.read(self._statements, connection, _FILLED).split("\n")))

    def _note_filled(self, connection: Connection, names: set[str]) -> None:
        settings.write(self._statements, connection, _FILLED, "\n".join(sorted(names)))

    def _refold(self, connection: Connection) -> None:
        for model, columns in self._tables:
            update = self._statements.update(columns.derived_fields)
            rows, _ = self._statements.compile(model.select(model._meta.primary_key, *columns.attribute_fields))
            for row_id, *attributes in connection.execute(rows):
                connection.execute(update, (*columns.derived(attributes), row_id))
        self._refold_rare(connection)
        self._refold_persons(connection)

    def _refold_rare(self, connection: Connection) -> None:
        compile_ = self._statements.compile
        tables = [(a, level) for a in self._rare for level in {a.level, level_within(a, "STUDY")}]
        for attribute, level in tables:
            model = RARE_VALUES[level]
            rows, of_keyword = compile_(model.select(model.owner, model.value).where(model.keyword == ""))
            derived = {model.compared: "", model.ideographic: "", model.phonetic: ""}
            update, _ = compile_(model.update(derived).where((model.owner == 0) & (model.keyword == "")))
            for row_id, text in connection.execute(rows, [attribute.keyword] * len(of_keyword)).fetchall():
                keyword, _, *changed = rare_value(attribute, text)
                connection.execute(update, (*changed, row_id, keyword))

    def _refold_persons(self, connection: Connection) -> None:
        """Compare persons by the rule of today; what is told of already stays until rows change."""
        in_study = [columns_within(BY_KEYWORD[keyword], "STUDY").value for keyword in PERSON]
        for model, fields, person, read in (
            (Study, in_study, PERSON_OF_STUDY, lambda *values: values),
            (Heading, [Heading.document], PERSON_OF_HEADING, person_of_document),
        ):
            update = self._statements.update(list(person.values()))
            rows, _ = self._statements.compile(model.select(model._meta.primary_key, *fields))
            for row_id, *values in connection.execute(rows):
                connection.execute(update, (*compared_person(read(*values)), row_id))
