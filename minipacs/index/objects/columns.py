"""How the values of keys lie in the columns of a table: each as it is, and in the forms of it that are compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from peewee import SQL, Field, IntegerField, Model, TextField

from minipacs.dicom.matching import temporal
from minipacs.dicom.tables.attributes import Attribute, Key
from minipacs.dicom.text.person_name import folded_groups
from minipacs.dicom.text.storable import storable
from minipacs.index.objects.conditions import Columns

_GROUP_SUFFIXES = ("folded", "folded_ideographic", "folded_phonetic")


def text_column(*, unique: bool = False) -> "TextField[str]":
    """Make a column of text, "" where nothing is said."""
    return TextField(default="", unique=unique, constraints=[SQL("DEFAULT ''")])


def count_column() -> "IntegerField[int]":
    """Make a column that counts, from 0."""
    return IntegerField(default=0, constraints=[SQL("DEFAULT 0")])


def rare_value(attribute: Attribute, text: str) -> tuple[str, str, str, str, str]:
    """Give the row of a key without a column, save its owner."""
    text = storable(text)
    if attribute.vr == "PN":
        return attribute.keyword, text, *folded_groups(text)
    if attribute.vr in temporal.VRS:
        return attribute.keyword, text, temporal.compared(text, attribute.vr), "", ""
    return attribute.keyword, text, "" if attribute.vr == "SQ" else text, "", ""


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns that one table takes from its objects: attributes as they are, then what is derived from them."""

    keywords: tuple[str, ...]
    attribute_fields: tuple[Field, ...]
    derived_fields: tuple[Field, ...]
    _dates: tuple[int, ...]
    _derivations: tuple[tuple[int, Callable[[str], tuple[str, ...]]], ...]

    def attributes(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Pick the attributes of this table from an object's values, in the order of `keywords`, fit to be stored."""
        get = values.get
        row = [get(keyword, "") for keyword in self.keywords]
        for i in self._dates:
            if "." in row[i]:
                row[i] = temporal.date(row[i])
        joined = "".join(row)
        if not joined.isascii() or "\0" in joined:
            row = [storable(text) for text in row]
        return tuple(row)

    def derived(self, attributes: Sequence[str]) -> tuple[str, ...]:
        """Give the derived columns that belong to `attributes`."""
        row: list[str] = []
        for i, derive in self._derivations:
            row += derive(attributes[i])
        return tuple(row)


def _derivation(vr: str) -> Callable[[str], tuple[str, ...]] | None:
    if vr == "PN":
        return folded_groups
    return (lambda text: (temporal.normal(text, vr),)) if vr in ("TM", "DT") else None


def add_column(model: type[Model], name: str, field: Field, *, index: bool = False) -> Field:
    """Add one column to a model."""
    field.index = index
    model._meta.add_field(name, field)
    return field


def add_columns(model: type[Model], key: Key, *, indexed: bool = False, unique: bool = False) -> Columns:
    """Add the columns of one attribute to a model: its value, and the forms of it that are compared."""
    name = key.column
    plain = indexed and key.vr not in ("PN", "TM", "DT")
    value = add_column(model, name, text_column(unique=unique), index=plain and not unique)
    if key.vr == "PN":
        names = (f"{name}_{suffix}" for suffix in _GROUP_SUFFIXES)
        return Columns(value, folded=tuple(add_column(model, n, text_column(), index=indexed) for n in names))
    if key.vr in ("TM", "DT"):
        return Columns(value, normal=add_column(model, f"{name}_normal", text_column(), index=indexed))
    return Columns(value)


def table_columns(stored: Sequence[Key], known: Mapping[str, Columns]) -> TableColumns:
    """Gather the columns, known by keyword, of the attributes that a table stores."""
    columns = [known[a.keyword] for a in stored]
    return TableColumns(
        keywords=tuple(a.keyword for a in stored),
        attribute_fields=tuple(c.value for c in columns),
        derived_fields=tuple(f for c in columns for f in (*c.folded, *((c.normal,) if c.normal else ()))),
        _dates=tuple(i for i, a in enumerate(stored) if a.vr == "DA"),
        _derivations=tuple((i, d) for i, a in enumerate(stored) if (d := _derivation(a.vr))),
    )
