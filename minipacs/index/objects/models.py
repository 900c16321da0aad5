"""The tables: patients, studies, series and instances, with their columns taken from the key table.

An object is filed under the Patient ID, issuer, Study and Series Instance UID that it bears itself, so each table's key
is the whole path down to it. A study also has a column for every attribute of the patient: the one its own objects
name. What the objects of a series say of patient, study and series is kept as headings: rows above can be made of them
again without a look at the files.

Text columns hold the attribute as Unicode, several values joined by backslashes, "" if absent. A person name has three
more columns, its folded component groups; a time or date-time one more, its normal form. Text is compared by code
point: ranges on prefixes rely on it (another database than SQLite needs such a collation, "C" in PostgreSQL).

What few objects have, or few sites ask for, stands in a table of its own beside each of these: sequences and extended
keys, a row for each value that there is.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from peewee import (
    SQL,
    BigIntegerField,
    BlobField,
    BooleanField,
    CompositeKey,
    DoubleField,
    Field,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)

from minipacs.dicom.tables.attributes import ATTRIBUTES, BY_KEYWORD, Attribute, Level
from minipacs.dicom.tables.transfer_syntaxes import UNCOMPRESSED
from minipacs.index.engine.statements import SerialField
from minipacs.index.objects.columns import (
    TableColumns,
    add_column,
    add_columns,
    count_column,
    table_columns,
    text_column,
)
from minipacs.index.objects.conditions import Columns

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

PERSON = ("PatientName", "PatientBirthDate", "PatientSex")
"""Keywords of what is the same in all objects of one person: a difference is a conflict."""


class RowReference(IntegerField):
    """The id of a row of `rel_model`, or null; the database does not check it, for which it would need an index."""

    def __init__(self, rel_model: type[Model], **options: Any) -> None:
        super().__init__(**options)
        self.rel_model = rel_model


class Patient(Model):
    """One row for each (Patient ID, Issuer of Patient ID), or for each study without a Patient ID.

    The other attributes are those of its first instance; `has_variants` tells that some study has other ones of PERSON.
    """

    id = SerialField()
    only_study_uid = text_column()
    unavailable_instances = count_column()
    has_variants = BooleanField(default=False, constraints=[SQL("DEFAULT 0")])


Patient.add_index(Patient.id, where=SQL("has_variants"), name="patient_with_variants")


class Study(Model):
    """One row for each Study Instance UID of a patient."""

    id = SerialField()
    parent = ForeignKeyField(Patient, column_name="parent_id")
    unavailable_instances = count_column()


class Series(Model):
    """One row for each Series Instance UID of a study."""

    id = SerialField()
    parent = ForeignKeyField(Study, column_name="parent_id")
    unavailable_instances = count_column()


class Heading(Model):
    """One row for each distinct set of patient, study and series attributes that objects of a series have.

    `document` holds them as JSON by keyword, without empty ones, `digest` is a hash of it. The columns of PERSON are in
    a form in which equal ones are equal. `received` is what amended objects bear themselves, else "".
    """

    id = SerialField()
    study = ForeignKeyField(Study, column_name="study_id", on_delete="CASCADE", index=False)
    series = ForeignKeyField(Series, column_name="series_id", on_delete="CASCADE", index=False)
    digest = BlobField()
    document = TextField()
    received = text_column()


Heading.add_index(Heading.series, Heading.digest, unique=True, name="heading_identity")


class Instance(Model):
    """One row for each SOP Instance UID. The order of `id` is the order in which instances were first stored.

    `digest` is the hexadecimal SHA-256 of the whole file, `received_at` is in seconds since 1970. `received_digest` is
    that of the file as it was received: another one if it was compressed since, the same if that cannot be done, ""
    while nobody has tried. `heading` is null in rows of an older release until the file was read again.
    `amendments` are the ids of those that apply, in their order, joined by commas.
    """

    id = SerialField()
    parent = ForeignKeyField(Series, column_name="parent_id")
    heading = RowReference(Heading, column_name="heading_id", null=True)
    digest = TextField(unique=True)
    received_digest = text_column()
    amendments = text_column()
    size_bytes = BigIntegerField()
    transfer_syntax_uid = TextField()
    received_at = DoubleField()
    source = TextField(column_name="source_ae_title")
    availability = TextField(default=ONLINE)


COMPRESSIBLE = SQL(
    "received_digest = '' AND transfer_syntax_uid IN ({})".format(", ".join(f"'{uid}'" for uid in UNCOMPRESSED))
)
"""What nobody has tried to compress, though one might; to be found by its index a query says so in these words."""

Instance.add_index(Instance.id, where=COMPRESSIBLE, name="instance_compressible")

UNREAD = SQL("heading_id IS NULL")
"""Rows of an older release whose files are still to be read, in the words of their index."""

Instance.add_index(Instance.id, where=UNREAD, name="instance_unread")


class Conflict(Model):
    """One row for each attribute, by keyword, that differs where it should not; `found_at` is in seconds since 1970.

    The other columns name what it is about: the objects of one patient, or of one study of it, which differ in one of
    PERSON; a Patient ID alone that has several values of IssuerOfPatientID; a Study Instance UID alone with several of
    PatientID, or with several issuers of it; a Series Instance UID with several of StudyInstanceUID.
    """

    level = TextField()
    keyword = TextField()
    series_instance_uid = TextField()
    study_instance_uid = TextField()
    patient_id = TextField()
    issuer_of_patient_id = TextField()
    found_at = DoubleField()

    class Meta:  # noqa: D106  peewee's options
        primary_key = CompositeKey(
            "level", "keyword", "series_instance_uid", "study_instance_uid", "patient_id", "issuer_of_patient_id"
        )
        without_rowid = True


class RareValue(Model):
    """A value of a key without a column: one row for each object above that has one.

    `compared` is what keys are compared with: the normal form of a time, the folded alphabetic group of a name, nothing
    for the items of a sequence, else the value itself. Only names have other groups.
    """

    owner: ForeignKeyField
    keyword = TextField()
    value = TextField()
    compared = TextField()
    ideographic = text_column()
    phonetic = text_column()


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
    series = count_column()
    instances = count_column()
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

MODELS: tuple[type[Model], ...] = (
    Patient,
    Study,
    Series,
    Heading,
    Instance,
    *RARE_VALUES.values(),
    ModalityTotal,
    Conflict,
)
"""The tables whose rows follow from the files."""

UNAVAILABLE_INSTANCES: Mapping[Level, Field] = MappingProxyType(
    {
        "PATIENT": Patient.unavailable_instances,
        "STUDY": Study.unavailable_instances,
        "SERIES": Series.unavailable_instances,
    }
)
"""The column of each upper level that counts what cannot be retrieved."""


def _level_attribute(attribute: Attribute) -> Columns:
    """Add the columns of one attribute to the model of its level."""
    model = LEVEL_MODELS[attribute.level]
    if attribute.computed:
        return Columns(add_column(model, attribute.column, text_column() if attribute.multi else count_column()))
    unique = attribute.keyword == "SOPInstanceUID"
    # The index "identity" begins with the Patient ID.
    indexed = attribute.keyword in INDEXED and attribute.keyword != "PatientID"
    return add_columns(model, attribute, indexed=indexed, unique=unique)


COLUMNS: Mapping[str, Columns] = MappingProxyType({a.keyword: _level_attribute(a) for a in ATTRIBUTES})
"""The columns of every attribute in the table of its level, by keyword."""

OF_PATIENT = tuple(a for a in ATTRIBUTES if a.level == "PATIENT" and not a.computed)

_IN_STUDY: Mapping[str, Columns] = MappingProxyType(
    {a.keyword: add_columns(Study, a, indexed=a.keyword in INDEXED) for a in OF_PATIENT}
)


def level_within(attribute: Attribute, level: Level) -> Level:
    """Tell where a query of `level` reads an attribute: what a patient is called, below patients, in its study."""
    return "STUDY" if attribute.level == "PATIENT" != level and not attribute.computed else attribute.level


def columns_within(attribute: Attribute, level: Level) -> Columns:
    """Give the columns of an attribute that a query of `level` reads, see `level_within`."""
    in_study = level_within(attribute, level) != attribute.level
    return (_IN_STUDY if in_study else COLUMNS)[attribute.keyword]


_IDENTITY_OF_PATIENT = tuple(BY_KEYWORD[keyword] for keyword in ("PatientID", "IssuerOfPatientID"))

Patient.add_index(
    *(COLUMNS[a.keyword].value for a in _IDENTITY_OF_PATIENT), Patient.only_study_uid, unique=True, name="identity"
)
Study.add_index(
    COLUMNS["StudyInstanceUID"].value,
    *(_IN_STUDY[a.keyword].value for a in _IDENTITY_OF_PATIENT),
    unique=True,
    name="study_identity",
)
Series.add_index(Series.parent, COLUMNS["SeriesInstanceUID"].value, unique=True, name="series_identity")


def _person(model: type[Model], parent: Field) -> Mapping[str, Field]:
    """Add the columns in which persons are compared, each with an index that begins with the row above."""
    fields = {k: add_column(model, f"compared_{BY_KEYWORD[k].column}", text_column()) for k in PERSON}
    for field in fields.values():
        model.add_index(parent, field, name=f"{model._meta.table_name}_{field.name}")
    return MappingProxyType(fields)


PERSON_OF_STUDY = _person(Study, Study.parent)
PERSON_OF_HEADING = _person(Heading, Heading.study)
"""The columns of PERSON as they are compared, by keyword."""


def _level_columns(level: Level) -> TableColumns:
    own = [a for a in ATTRIBUTES if a.level == level and not a.computed]
    above = OF_PATIENT if level == "STUDY" else ()
    return table_columns([*own, *above], {a.keyword: columns_within(a, level) for a in (*own, *above)})


LEVEL_COLUMNS: Mapping[Level, TableColumns] = MappingProxyType({level: _level_columns(level) for level in LEVEL_MODELS})
"""What the table of each level takes from an object; that of studies also what it says of the patient."""
