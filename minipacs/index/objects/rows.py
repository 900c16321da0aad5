"""What a change of the archive means in rows; all of it runs inside the writer's transactions.

The attributes of a series, study or patient, and the row above it, are those of its first stored instance that
remains; an instance that is replaced within its series keeps its place.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from peewee import Field

from minipacs.dicom.tables.attributes import UNIQUE_KEY
from minipacs.dicom.tables.keys import KeyTable
from minipacs.errors import Failure, Kind
from minipacs.index.engine.database import Database
from minipacs.index.engine.writer import Transaction
from minipacs.index.objects.models import COLUMNS, LEVEL_COLUMNS, ONLINE, Availability, Instance, Patient, Series, Study
from minipacs.index.objects.parents import UPPER_LEVELS, ObjectRows, ParentRows, Parents, object_rows, value_of
from minipacs.index.objects.rare import RareValues
from minipacs.index.objects.refresh import Refresh, Reread

logger = logging.getLogger(__name__)

Duplicates = Literal["replace", "keep", "reject"]

MAX_DIFFERENCES_KNOWN = 10_000
"""Differences remembered, so that one is logged once and not with every instance of a series."""


class Outcome(Enum):
    """What became of a record."""

    ADDED = "added"
    SAME = "same"
    REPLACED = "replaced"
    KEPT = "kept"
    REJECTED = "rejected"


class Placed(NamedTuple):
    """The answer to `add`.

    `displaced_digest` is the file that gave way: the old one if REPLACED, the new one if KEPT, the new one, too, if
    SAME and the row's file is a compressed form of it; else "". `moved` tells that the record names another study,
    series or patient than those its SOP Instance UID was found under.
    """

    outcome: Outcome
    displaced_digest: str = ""
    moved: bool = False


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One stored file, as the index is told of it.

    `values` are Unicode text by keyword, several values joined by backslashes, "" or missing if absent. `digest` is
    the hexadecimal SHA-256 of the whole file, `received_at` is in seconds since 1970. `received_digest` is that of a
    row that is made anew.
    """

    values: Mapping[str, str]
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    received_at: float
    source_ae_title: str
    received_digest: str = ""

    def object_rows(self, keys: KeyTable) -> ObjectRows:
        """Sort the values into rows. Raises Failure MISSING with the tag if a UID is missing."""
        uids = {"SOPClassUID": self.sop_class_uid, "SOPInstanceUID": self.sop_instance_uid}
        objects = object_rows({**self.values, **uids}, keys)
        for level in ("STUDY", "SERIES", "IMAGE"):
            key = UNIQUE_KEY[level]
            if not value_of(objects, key.keyword):
                raise Failure(Kind.MISSING, f"{key.keyword} missing", (key.tag,))
        return objects


class Form(NamedTuple):
    """What an instance is stored as: its file, and the one indexed attribute that depends on its transfer syntax."""

    digest: str
    size_bytes: int
    transfer_syntax_uid: str
    photometric_interpretation: str


class _Found(NamedTuple):
    """The row of an instance, and what it stands under."""

    instance_id: int
    digest: str
    received_digest: str
    size_bytes: int
    availability: str
    sop_class_uid: str
    series_id: int
    study_id: int
    patient_id: int
    modality: str
    series_uid: str
    study_uid: str
    patient: str
    issuer: str


class Rows:
    """Changes rows within the transactions of a writer, and counts the instances that it changes there."""

    def __init__(self, database: Database, transaction: Transaction, keys: KeyTable, reread: Reread) -> None:
        self._transaction = transaction
        self._execute = transaction.execute
        self._parents = ParentRows(database, transaction)
        self._rare = RareValues(database, transaction)
        self._refresh = Refresh(database, transaction, self._parents, keys, reread)
        self._differences: set[tuple[int, str]] = set()
        compile_ = database.compile
        uid = COLUMNS["SOPInstanceUID"].value
        own = (
            Instance.id,
            Instance.digest,
            Instance.received_digest,
            Instance.size_bytes,
            Instance.availability,
            COLUMNS["SOPClassUID"].value,
        )
        above = ("Modality", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "IssuerOfPatientID")
        found = (
            Instance.select(*own, Series.id, Study.id, Patient.id, *(COLUMNS[keyword].value for keyword in above))
            .join(Series)
            .join(Study)
            .join(Patient)
        )
        self._find, _ = compile_(found.where(uid == ""))
        self._find_by_digest, _ = compile_(found.where(Instance.digest == ""))
        columns = LEVEL_COLUMNS["IMAGE"]
        stored: tuple[Field, ...] = (
            Instance.digest,
            Instance.received_digest,
            Instance.size_bytes,
            Instance.transfer_syntax_uid,
            Instance.received_at,
            Instance.source_ae_title,
            Instance.availability,
            *columns.attribute_fields,
            *columns.derived_fields,
        )
        self._insert_instance = database.insert([Instance.parent, *stored])
        self._update_instance = database.update(stored)
        self._update_received_digest = database.update([Instance.received_digest])
        form = Instance.digest, Instance.size_bytes, Instance.transfer_syntax_uid
        self._update_form = database.update(
            [Instance.received_digest, *form, COLUMNS["PhotometricInterpretation"].value]
        )
        self._update_availability = database.update([Instance.availability])
        self._delete_instance, _ = compile_(Instance.delete().where(Instance.id == 0))

    def add(
        self, record: InstanceRecord, objects: ObjectRows, duplicates: Duplicates, *, recoverable: bool = False
    ) -> Placed:
        """Give a record its row, or deal with the one its SOP Instance UID has.

        A row of the same digest becomes available again if it was not. `recoverable` tells that recovery finds all of
        the record in the file, which is durable.
        """
        self._refresh.clear()  # of what a change that failed has left
        row = self._execute(self._find, (value_of(objects, "SOPInstanceUID"),)).fetchone()
        if row is None:
            self._insert(record, objects)
            self._transaction.recoverable += recoverable
            return Placed(Outcome.ADDED)
        old = _Found(*row)
        if old.digest == record.digest:
            self._set_availability([old], ONLINE)
            return Placed(Outcome.SAME)
        if old.received_digest == record.digest and old.availability == ONLINE:
            return Placed(Outcome.SAME, record.digest)
        moved = (old.series_uid, old.study_uid, old.patient, old.issuer) != _whereabouts(objects)
        if old.received_digest == record.digest:  # its compressed form is lost
            duplicates = "replace"
        if duplicates == "reject":
            return Placed(Outcome.REJECTED, "", moved)
        if duplicates == "keep":
            return Placed(Outcome.KEPT, record.digest, moved)
        self._replace(old, record, objects)
        return Placed(Outcome.REPLACED, old.digest, moved)

    def remove(self, sop_instance_uids: Sequence[str]) -> list[str]:
        """Delete rows, and those above them that become empty; give the digests of those that were there."""
        self._refresh.clear()
        found = self._found(self._find, sop_instance_uids)
        self._delete(found)
        self._refresh.run()
        return [old.digest for old in found]

    def set_availability(self, digests: Sequence[str], availability: Availability) -> None:
        """Set the availability of those digests that have a row."""
        self._refresh.clear()
        self._set_availability(self._found(self._find_by_digest, digests), availability)

    def settle(self, digest: str, form: Form | None) -> bool:
        """Let the row of `digest` stand for a compressed form of that file, or for the file for good if there is none.

        False if no row stands for it any more.
        """
        row = self._execute(self._find_by_digest, (digest,)).fetchone()
        if row is None:
            return False
        old = _Found(*row)
        if form is None:
            self._execute(self._update_received_digest, (digest, old.instance_id))
            return True
        self._execute(self._update_form, (digest, *form, old.instance_id))
        self._parents.total(old.modality, size_bytes=form.size_bytes - old.size_bytes)
        self._transaction.written += 1
        return True

    def _found(self, statement: str, keys: Sequence[str]) -> list[_Found]:
        rows = (self._execute(statement, (key,)).fetchone() for key in dict.fromkeys(keys))
        return [_Found(*row) for row in rows if row]

    def _insert(self, record: InstanceRecord, objects: ObjectRows) -> int:
        parents = self._parents.place(objects, record.size_bytes)
        self._tell_differences(parents, objects)
        ((row_id,),) = self._execute(self._insert_instance, (parents.series_id, *_stored(record, objects))).fetchall()
        self._rare.add("IMAGE", row_id, objects.rare)
        self._transaction.written += 1
        return int(row_id)

    def _replace(self, old: _Found, record: InstanceRecord, objects: ObjectRows) -> None:
        above = old.series_id, old.study_id, old.patient_id
        if old.series_uid != value_of(objects, "SeriesInstanceUID"):
            self._delete([old])
            self._refresh.know(self._insert(record, objects), objects)  # its id may be the one just given up
        else:
            if self._refresh.is_first(old.instance_id, old.series_id):
                self._refresh.touch(*above)
                self._refresh.know(old.instance_id, objects)
            elif (old.availability, old.sop_class_uid) != (ONLINE, record.sop_class_uid):
                self._refresh.touch(*above)
            self._execute(self._update_instance, (*_stored(record, objects), old.instance_id))
            self._rare.replace("IMAGE", old.instance_id, objects.rare)
            self._parents.total(old.modality, size_bytes=record.size_bytes - old.size_bytes)
            self._transaction.written += 1
        self._refresh.run()

    def _delete(self, found: Sequence[_Found]) -> None:
        for old in found:
            self._refresh.touch(old.series_id, old.study_id, old.patient_id)
        for old in found:
            self._execute(self._delete_instance, (old.instance_id,))
            self._parents.total(old.modality, instances=-1, size_bytes=-old.size_bytes)
        self._transaction.written += len(found)

    def _set_availability(self, found: Sequence[_Found], availability: Availability) -> None:
        changed = [old for old in found if old.availability != availability]
        for old in changed:
            self._refresh.touch(old.series_id, old.study_id, old.patient_id)
            self._execute(self._update_availability, (availability, old.instance_id))
        self._refresh.run()
        self._transaction.written += len(changed)

    def _tell_differences(self, parents: Parents, objects: ObjectRows) -> None:
        """Log which attributes of the rows above an instance it has other values for; never the values."""
        theirs = parents.attributes
        ours = objects["SERIES"] + objects["STUDY"] + objects["PATIENT"]
        if ours == theirs:
            return
        differing = [k for k, mine, known in zip(_UPPER_KEYWORDS, ours, theirs, strict=True) if mine not in ("", known)]
        difference = parents.series_id, ",".join(differing)
        if not differing or difference in self._differences:
            return
        if len(self._differences) >= MAX_DIFFERENCES_KNOWN:
            self._differences.clear()
        self._differences.add(difference)
        fields = {"sop_instance_uid": value_of(objects, "SOPInstanceUID"), "attributes": difference[1]}
        logger.info("attributes differ from those of the first instance", extra={"fields": fields})


_UPPER_KEYWORDS = tuple(keyword for level in UPPER_LEVELS for keyword in LEVEL_COLUMNS[level].keywords)


def _whereabouts(objects: ObjectRows) -> tuple[str, str, str, str]:
    return (
        value_of(objects, "SeriesInstanceUID"),
        value_of(objects, "StudyInstanceUID"),
        value_of(objects, "PatientID"),
        value_of(objects, "IssuerOfPatientID"),
    )


def _stored(record: InstanceRecord, objects: ObjectRows) -> tuple[object, ...]:
    attributes = objects["IMAGE"]
    return (
        record.digest,
        record.received_digest,
        record.size_bytes,
        record.transfer_syntax_uid,
        record.received_at,
        record.source_ae_title,
        ONLINE,
        *attributes,
        *LEVEL_COLUMNS["IMAGE"].derived(attributes),
    )
