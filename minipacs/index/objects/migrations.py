"""How objects of an older schema become rows of today's."""

import time

from peewee import Node, fn

from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.index.engine.connection import Connection, Cursor
from minipacs.index.engine.statements import Statements
from minipacs.index.objects.headings import compared_person
from minipacs.index.objects.models import (
    COLUMNS,
    LEVEL_COLUMNS,
    PERSON,
    PERSON_OF_STUDY,
    RARE_VALUES,
    Conflict,
    Heading,
    Instance,
    Patient,
    Series,
    Study,
    columns_within,
)

_OF_PATIENT = (*LEVEL_COLUMNS["PATIENT"].attribute_fields, *LEVEL_COLUMNS["PATIENT"].derived_fields)
_IN_STUDY = [Study._meta.columns[field.column_name] for field in _OF_PATIENT]
_PERSON_IN_STUDY = [columns_within(BY_KEYWORD[keyword], "STUDY").value for keyword in PERSON]
_BESIDE = ("keyword", "value", "compared", "ideographic", "phonetic")


def make_room_for_persons(statements: Statements, connection: Connection) -> None:
    """Give studies columns for what their own objects call the patient, and let UIDs stand in several rows."""
    added = [Patient.has_variants, *_IN_STUDY, *PERSON_OF_STUDY.values(), Instance.heading]
    statements.add_columns(connection, added)
    statements.make_serial(connection, [Patient, Study, Series, Instance])
    for index in ("study_study_instance_uid", "series_series_instance_uid"):
        connection.execute(f'DROP INDEX IF EXISTS "{index}"')


def make_room_for_amendments(statements: Statements, connection: Connection) -> None:
    """Give instances and headings columns for amendments, of which there are none yet."""
    for field in (Instance.amendments, Heading.received):
        columns = statements.columns(connection, field.model._meta.table_name)
        if columns and field.column_name not in columns:  # a table that is still to be made has it
            statements.add_columns(connection, [field])


def copy_persons(statements: Statements, connection: Connection) -> None:
    """Let studies call their patient what its row does, until files are read; tell of IDs with several issuers."""

    def run(query: Node) -> Cursor:
        return connection.execute(*statements.compile(query))

    is_theirs = Patient.id == Study.parent
    theirs = [Patient.select(field).where(is_theirs) for field in _OF_PATIENT]
    run(Study.update(dict(zip(_IN_STUDY, theirs, strict=True))))
    of_patient, of_study = RARE_VALUES["PATIENT"], RARE_VALUES["STUDY"]
    values = of_patient.select(Study.id, *(getattr(of_patient, name) for name in _BESIDE))
    values = values.join(Study, on=(Study.parent == of_patient.owner))
    run(of_study.insert_from(values, [of_study.owner, *(getattr(of_study, name) for name in _BESIDE)]))
    update = statements.update(list(PERSON_OF_STUDY.values()))
    for study_id, *person in run(Study.select(Study.id, *_PERSON_IN_STUDY)).fetchall():
        connection.execute(update, (*compared_person(person), study_id))
    patient_id = COLUMNS["PatientID"].value
    several = Patient.select(patient_id).where(patient_id != "").group_by(patient_id).having(fn.COUNT(Patient.id) > 1)
    for (name,) in run(several).fetchall():
        names = {"series_instance_uid": "", "study_instance_uid": "", "patient_id": name, "issuer_of_patient_id": ""}
        run(Conflict.insert(level="PATIENT", keyword="IssuerOfPatientID", found_at=time.time(), **names))
