"""The tables: patients, studies, series and instances, with their columns taken from the key table.

Text columns hold the attribute as Unicode, several values joined by backslashes, "" if absent. A person name has three
more columns, its folded component groups; a time or date-time one more, its normal form. Text is compared by code
point: ranges on prefixes rely on it (another database than SQLite needs such a collation, "C" in PostgreSQL).

What few objects have, or few sites ask for, stands in a table of its own beside each of these: sequences and extended
keys, a row for each value that there is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from peewee import (
    SQL,
    AutoField,
    BigIntegerField,
    CompositeKey,
    DoubleField,
    Field,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)

from minipacs.dicom.matching import temporal
from minipacs.dicom.tables.attributes import ATTRIBUTES, Attribute, Key, Level
from minipacs.dicom.tables.transfer_syntaxes import UNCOMPRESSED
from minipacs.dicom.text.person_name import fold, groups
from minipacs.index.objects.conditions import Columns, storable

Availability = Literal["ONLINE", "UNAVAILABLE"]
"""The values of Instance Availability (0008,0056) that this archive gives (PS3.3 C.4.23.1.1)."""

ONLINE: Availability = "ONLINE"
UNAVAILABLE: Availability = "UNAVAILABLE"

INDEXED = frozenset(
    {"PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "AccessionNumber"}
    | {"ReferringPhysicianName", "SeriesInstanceUID", "SOPInstanceUID"}
)
"""Keywords of the attributes that have an index of their own: those whose single values select few rows.

A query may start from any of them; an index on the others (Modality, Study ID) would only mislead the planner.
"""


def _text(*, unique: bool = False) -> "TextField[str]":
    return TextField(default="", unique=unique, constraints=[SQL("DEFAULT ''")])


def _count() -> "IntegerField[int]":
    return IntegerField(default=0, constraints=[SQL("DEFAULT 0")])


class Patient(Model):
    """One row for each (Patient ID, Issuer of Patient ID), or for each study without a Patient ID."""

    id = AutoField()
    only_study_uid = _text()
    unavailable_instances = _count()


class Study(Model):
    """One row for each Study Instance UID; `parent` is the patient its first instance names."""

    id = AutoField()
    parent = ForeignKeyField(Patient, column_name="parent_id")
    unavailable_instances = _count()


class Series(Model):
    """One row for each Series Instance UID; `parent` is the study its first instance names."""

    id = AutoField()
    parent = ForeignKeyField(Study, column_name="parent_id")
    unavailable_instances = _count()


class Instance(Model):
    """One row for each SOP Instance UID. The order of `id` is the order in which instances were first stored.

    `digest` is the hexadecimal SHA-256 of the whole file, `received_at` is in seconds since 1970. `received_digest` is
    that of the file as it was received: another one if it was compressed since, the same if that cannot be done, ""
    while nobody has tried.
    """

    id = AutoField()
    parent = ForeignKeyField(Series, column_name="parent_id")
    digest = TextField(unique=True)
    received_digest = _text()
    size_bytes = BigIntegerField()
    transfer_syntax_uid = TextField()
    received_at = DoubleField()
    source_ae_title = TextField()
    availability = TextField(default=ONLINE)


COMPRESSIBLE = SQL(
    "received_digest = '' AND transfer_syntax_uid IN ({})".format(", ".join(f"'{uid}'" for uid in UNCOMPRESSED))
)
"""What nobody has tried to compress, though one might; to be found by its index a query says so in these words."""

Instance.add_index(Instance.id, where=COMPRESSIBLE, name="instance_compressible")


class RareValue(Model):
    """A value of a key without a column: one row for each object above that has one.

    `compared` is what keys are compared with: the normal form of a time, the folded alphabetic group of a name, nothing
    for the items of a sequence, else the value itself. Only names have other groups.
    """

    owner: ForeignKeyField
    keyword = TextField()
    value = TextField()
    compared = TextField()
    ideographic = _text()
    phonetic = _text()


def _rare_values(above: type[Model]) -> type[RareValue]:
    name = f"{above._meta.table_name}_value"

    class Values(RareValue):
        owner = ForeignKeyField(above, column_name="owner_id", on_delete="CASCADE", index=False)

        class Meta:
            table_name = name
            primary_key = CompositeKey("owner", "keyword")
            without_rowid = True

    for compared in (Values.compared, Values.ideographic, Values.phonetic):
        Values.add_index(Values.keyword, compared, Values.owner, name=f"{name}_{compared.column_name}")
    return Values


class ModalityTotal(Model):
    """What the archive holds of one modality; kept with every change, so that statistics need not count."""

    modality = TextField(primary_key=True)
    series = _count()
    instances = _count()
    size_bytes = BigIntegerField(default=0)

    class Meta:  # noqa: D106  peewee's options
        table_name = "modality_total"


LEVEL_MODELS: Mapping[Level, type[Model]] = MappingProxyType(
    {"PATIENT": Patient, "STUDY": Study, "SERIES": Series, "IMAGE": Instance}
)

RARE_VALUES: Mapping[Level, type[RareValue]] = MappingProxyType(
    {level: _rare_values(model) for level, model in LEVEL_MODELS.items()}
)
"""The tables of the keys without a column."""

MODELS: tuple[type[Model], ...] = (*LEVEL_MODELS.values(), *RARE_VALUES.values(), ModalityTotal)
"""The tables whose rows follow from the files."""

UNAVAILABLE_INSTANCES: Mapping[Level, Field] = MappingProxyType(
    {
        "PATIENT": Patient.unavailable_instances,
        "STUDY": Study.unavailable_instances,
        "SERIES": Series.unavailable_instances,
    }
)
"""The column of each upper level that counts what cannot be retrieved."""

_GROUP_SUFFIXES = ("folded", "folded_ideographic", "folded_phonetic")


def _folded_groups(text: str) -> tuple[str, ...]:
    """Give the alphabetic, ideographic and phonetic group of a name, folded; of several names all that are there."""
    if not text:
        return ("", "", "")
    of_names = zip(*(groups(name) for name in fold(text).split("\\")), strict=True)
    return tuple("\\".join(filter(None, group)) for group in of_names)


def rare_value(attribute: Attribute, text: str) -> tuple[str, str, str, str, str]:
    """Give the row of a key without a column, save its owner."""
    text = storable(text)
    if attribute.vr == "PN":
        alphabetic, ideographic, phonetic = _folded_groups(text)
        return attribute.keyword, text, alphabetic, ideographic, phonetic
    if attribute.vr in ("TM", "DT"):
        compared = temporal.normal(text, attribute.vr)
    else:
        compared = "" if attribute.vr == "SQ" else temporal.date(text) if attribute.vr == "DA" else text
    return attribute.keyword, text, compared, "", ""


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
        return _folded_groups
    return (lambda text: (temporal.normal(text, vr),)) if vr in ("TM", "DT") else None


def _add(model: type[Model], name: str, field: Field, *, index: bool = False) -> Field:
    field.index = index
    model._meta.add_field(name, field)
    return field


def add_columns(model: type[Model], key: Key, *, indexed: bool = False, unique: bool = False) -> Columns:
    """Add the columns of one attribute to a model: its value, and the forms of it that are compared."""
    name = key.column
    plain = indexed and key.vr not in ("PN", "TM", "DT")
    value = _add(model, name, _text(unique=unique), index=plain and not unique)
    if key.vr == "PN":
        folded = tuple(_add(model, f"{name}_{suffix}", _text(), index=indexed) for suffix in _GROUP_SUFFIXES)
        return Columns(value, folded=folded)
    if key.vr in ("TM", "DT"):
        return Columns(value, normal=_add(model, f"{name}_normal", _text(), index=indexed))
    return Columns(value)


def _level_attribute(attribute: Attribute) -> Columns:
    """Add the columns of one attribute to the model of its level."""
    model = LEVEL_MODELS[attribute.level]
    if attribute.computed:
        return Columns(_add(model, attribute.column, _text() if attribute.multi else _count()))
    unique = attribute.key == "U" and attribute.level != "PATIENT"
    indexed = (
        attribute.keyword in INDEXED and attribute.keyword != "PatientID"
    )  # which the index "identity" begins with
    return add_columns(model, attribute, indexed=indexed, unique=unique)


COLUMNS: Mapping[str, Columns] = MappingProxyType({a.keyword: _level_attribute(a) for a in ATTRIBUTES})
"""The columns of every attribute, by keyword."""

Patient.add_index(
    COLUMNS["PatientID"].value, COLUMNS["IssuerOfPatientID"].value, Patient.only_study_uid, unique=True, name="identity"
)


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


LEVEL_COLUMNS: Mapping[Level, TableColumns] = MappingProxyType(
    {
        level: table_columns([a for a in ATTRIBUTES if a.level == level and not a.computed], COLUMNS)
        for level in LEVEL_MODELS
    }
)
