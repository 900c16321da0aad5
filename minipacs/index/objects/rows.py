"""What a change of the archive means in rows; all of it runs inside the writer's transactions and reads no file.

The attributes of a series, study or patient are those of its first stored instance that remains; an instance that is
replaced within its series keeps its place.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from peewee import Field

from minipacs.dicom.data_set.amendments import Amendment
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.tables.keys import KeyTable
from minipacs.index.engine.port import Engine, Transaction
from minipacs.index.ledger.amendments import AmendmentRows, Concerned
from minipacs.index.ledger.changes import Changes, Reason, Uids
from minipacs.index.ledger.removal.holds import HoldCheck
from minipacs.index.objects.conflicts import ConflictRows
from minipacs.index.objects.headings import ObjectRows, object_rows, value_of
from minipacs.index.objects.models import (
    COLUMNS,
    LEVEL_COLUMNS,
    ONLINE,
    Availability,
    Heading,
    Instance,
    Series,
    Study,
    columns_within,
)
from minipacs.index.objects.parents import ParentRows, Parents
from minipacs.index.objects.rare import RareValues
from minipacs.index.objects.records import Duplicates, Form, InstanceRecord, Outcome, Placed
from minipacs.index.objects.refresh import Refresh

logger = logging.getLogger(__name__)

MAX_SERIES_TOLD = 10_000
"""Series whose differences were logged, remembered so that it is done once and not with every instance."""


class _Found(NamedTuple):
    """The row of an instance, and what it stands under."""

    instance_id: int
    digest: str
    received_digest: str
    size_bytes: int
    availability: str
    sop_class_uid: str
    heading_id: int | None
    series_id: int
    study_id: int
    patient_id: int
    modality: str
    sop_instance_uid: str
    path: tuple[str, ...]

    @classmethod
    def of(cls, row: Sequence[Any]) -> "_Found":
        """Read a row of the SELECTs below."""
        return cls._make((*row[: len(cls._fields) - 1], tuple(row[len(cls._fields) - 1 :])))

    @property
    def uids(self) -> Uids:
        """Say which instance it is."""
        study_uid, *_, series_uid = self.path
        return Uids(study_uid, series_uid, self.sop_instance_uid)


class Rows:
    """Changes rows within the transactions of a writer, counts the instances that it changes, and tells `changes`."""

    def __init__(self, engine: Engine, transaction: Transaction, keys: KeyTable, changes: Changes) -> None:
        self._changes = changes
        self._transaction = transaction
        self._execute = transaction.execute
        self._conflicts = conflicts = ConflictRows(engine, transaction)
        self._parents = ParentRows(engine, transaction, conflicts)
        self._rare = RareValues(engine, transaction)
        self._refresh = Refresh(engine, transaction, self._parents, conflicts, keys)
        self._keys = keys
        self._told: set[int] = set()
        compile_ = engine.compile
        own = (
            Instance.id,
            Instance.digest,
            Instance.received_digest,
            Instance.size_bytes,
            Instance.availability,
            COLUMNS["SOPClassUID"].value,
            Instance.heading,
        )
        above = Series.id, Study.id, Study.parent, COLUMNS["Modality"].value, COLUMNS["SOPInstanceUID"].value
        path = (COLUMNS["StudyInstanceUID"].value, *_PATIENT_OF_STUDY, COLUMNS["SeriesInstanceUID"].value)
        found = Instance.select(*own, *above, *path).join(Series).join(Study)
        self._find, _ = compile_(found.where(COLUMNS["SOPInstanceUID"].value == ""))
        self._find_by_digest, _ = compile_(found.where(Instance.digest == ""))
        known = [*LEVEL_COLUMNS["SERIES"].attribute_fields, *LEVEL_COLUMNS["STUDY"].attribute_fields]
        self._select_above, _ = compile_(Series.select(*known).join(Study).where(Series.id == 0))
        self._move = engine.update([Instance.parent, Instance.heading, Instance.amendments])
        self._amendments = AmendmentRows(engine, transaction)
        self._holds = HoldCheck(engine, transaction)
        of_study, _ = compile_(
            found.select_extend(Instance.amendments)
            .where(COLUMNS["StudyInstanceUID"].value == "")
            .order_by(Instance.id)
        )
        self._find_in_study = of_study
        of_patient = Study.select(COLUMNS["StudyInstanceUID"].value).where(
            *(field == "" for field in _PATIENT_OF_STUDY)
        )
        self._select_studies, _ = compile_(of_patient)
        heading = Heading.select(Heading.document, Heading.received).where(Heading.id == 0)
        self._select_heading, _ = compile_(heading)
        columns = LEVEL_COLUMNS["IMAGE"]
        stored: tuple[Field, ...] = (
            Instance.digest,
            Instance.received_digest,
            Instance.amendments,
            Instance.size_bytes,
            Instance.transfer_syntax_uid,
            Instance.received_at,
            Instance.source,
            Instance.availability,
            *columns.attribute_fields,
            *columns.derived_fields,
        )
        self._insert_instance = engine.insert([Instance.parent, Instance.heading, *stored])
        self._update_instance = engine.update([Instance.heading, *stored])
        self._update_received_digest = engine.update([Instance.received_digest])
        form = Instance.digest, Instance.size_bytes, Instance.transfer_syntax_uid
        self._update_form = engine.update([Instance.received_digest, *form, COLUMNS["PhotometricInterpretation"].value])
        self._update_availability = engine.update([Instance.availability])
        self._delete_instance, _ = compile_(Instance.delete().where(Instance.id == 0))

    def add(
        self, record: InstanceRecord, objects: ObjectRows, duplicates: Duplicates, *, recoverable: bool = False
    ) -> Placed:
        """Give a record its row, or deal with the one its SOP Instance UID has.

        A row of the same digest becomes available again if it was not. `recoverable` tells that recovery finds all of
        the record in the file, which is durable.
        """
        self._refresh.clear()  # of what a change that failed has left
        amendments = self._amendments.of_object(value_of(objects, "StudyInstanceUID"), value_of(objects, "PatientID"))
        if amendments:
            objects = record.object_rows(self._keys, amendments)
        row = self._execute(self._find, (value_of(objects, "SOPInstanceUID"),)).fetchone()
        if row is None:
            self._insert(record, objects)
            self._conflicts.tell()
            self._transaction.recoverable += recoverable
            self._changes.add("create", _uids(objects), record.digest, record.source)
            return Placed(Outcome.ADDED)
        old = _Found.of(row)
        if old.digest == record.digest:
            self._set_availability([old], ONLINE, record.source)
            return Placed(Outcome.SAME)
        if old.received_digest == record.digest and old.availability == ONLINE:
            return Placed(Outcome.SAME, record.digest)
        moved = old.path != objects.path
        if old.received_digest == record.digest:  # its compressed form is lost
            duplicates = "replace"
        if duplicates == "reject":
            return Placed(Outcome.REJECTED, moved=moved)
        if duplicates == "keep":
            return Placed(Outcome.KEPT, record.digest, moved=moved)
        self._replace(old, record, objects)
        self._tell_replaced(old, record, _uids(objects))
        return Placed(Outcome.REPLACED, old.digest, moved=moved)

    def remove(self, sop_instance_uids: Sequence[str], reason: Reason = "") -> list[str]:
        """Delete rows, and those above them that become empty; give the digests of those that were there.

        Raises Failure HELD, and deletes none, if one of their studies is held.
        """
        self._refresh.clear()
        found = self._found(self._find, sop_instance_uids)
        self._holds.refuse_held(old.uids.study_uid for old in found)
        self._delete(found)
        self._refresh.run()
        for old in found:
            self._changes.add("delete", old.uids, old.digest, reason=reason)
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
        old = _Found.of(row)
        if form is None:
            self._execute(self._update_received_digest, (digest, old.instance_id))
            return True
        self._execute(self._update_form, (digest, *form, old.instance_id))
        self._parents.total(old.modality, size_bytes=form.size_bytes - old.size_bytes)
        self._changes.add("update", old.uids, form.digest, reason="compressed")
        self._transaction.written += 1
        return True

    def fill(self, values: Mapping[str, Mapping[str, str] | None]) -> int:
        """Give rows of an older release their headings, each put where its own values say; return how many had none.

        `values` are those of files, by digest; None for one that cannot be read: the rows above speak for it, then.
        """
        self._refresh.clear()
        filled = sum([self._fill(digest, found) for digest, found in values.items()])
        self._refresh.run()
        return filled

    def amend(self, concerned: Concerned, reason: Reason) -> int:
        """Let rows follow the amendments that there are now; tells how many instances changed.

        Rows of an older release follow when their files are read.
        """
        self._refresh.clear()
        uids = dict.fromkeys(concerned.studies)
        for whose in concerned.patients:
            uids.update(dict.fromkeys(uid for (uid,) in self._execute(self._select_studies, whose).fetchall()))
        changed = sum(self._amend_study(uid, reason) for uid in uids)
        self._refresh.run()
        self._transaction.written += changed
        return changed

    def _amend_study(self, study_instance_uid: str, reason: Reason) -> int:
        headings: dict[int, tuple[ObjectRows, Parents | None]] = {}
        changed = 0
        for *columns, before in self._execute(self._find_in_study, (study_instance_uid,)).fetchall():
            old = _Found.of(columns)
            if old.heading_id is None:
                continue
            if old.heading_id not in headings:
                headings[old.heading_id] = self._amended(old.heading_id), None
            objects, parents = headings[old.heading_id]
            if objects.heading.amendments == before:
                continue
            self._refresh.touch(old.series_id, old.study_id, old.patient_id)
            if parents is None:
                parents = self._parents.find_or_make(objects)
                headings[old.heading_id] = objects, replace(parents, new_series=0)
            self._file(old, objects, parents)
            self._changes.add("update", old.uids, old.digest, reason=reason)
            changed += 1
        return changed

    def _amended(self, heading_id: int) -> ObjectRows:
        """Give what objects with a heading say now."""
        document, received = self._execute(self._select_heading, (heading_id,)).fetchone()
        values = json.loads(received or document)
        return object_rows(values, self._keys, self._amendments_of(values))

    def _amendments_of(self, values: Mapping[str, str]) -> list[tuple[str, Amendment]]:
        return self._amendments.of_object(values.get("StudyInstanceUID", ""), values.get("PatientID", ""))

    def _found(self, statement: str, keys: Sequence[str]) -> list[_Found]:
        rows = (self._execute(statement, (key,)).fetchone() for key in dict.fromkeys(keys))
        return [_Found.of(row) for row in rows if row]

    def _fill(self, digest: str, values: Mapping[str, str] | None) -> bool:
        row = self._execute(self._find_by_digest, (digest,)).fetchone()
        if row is None or (old := _Found.of(row)).heading_id is not None:
            return False
        values = self._known_above(old) if values is None else values
        objects = object_rows(values, self._keys, self._amendments_of(values))
        is_first = self._refresh.is_first(old.instance_id, old.series_id)
        if is_first or objects.path != old.path:
            self._refresh.touch(old.series_id, old.study_id, old.patient_id)
        self._file(old, objects, self._parents.find_or_make(objects))
        uids = _uids(objects)._replace(sop_instance_uid=old.sop_instance_uid)
        if uids != old.uids:
            self._tell_moved(old, uids, old.digest, "")
        return True

    def _file(self, old: _Found, objects: ObjectRows, new: Parents) -> None:
        """Put an instance where its values say; the rows that it leaves are touched."""
        if new.series_id != old.series_id:
            self._refresh.touch(new.series_id, new.study_id, new.patient_id)
            differs = new.modality != old.modality
            if differs:
                self._parents.total(old.modality, instances=-1, size_bytes=-old.size_bytes)
            if differs or new.new_series:
                size_bytes = old.size_bytes if differs else 0
                self._parents.total(new.modality, series=new.new_series, instances=differs, size_bytes=size_bytes)
        self._execute(self._move, (new.series_id, new.heading_id, objects.heading.amendments, old.instance_id))
        self._refresh.mark(old.instance_id)

    def _insert(self, record: InstanceRecord, objects: ObjectRows) -> None:
        parents = self._parents.place(objects, record.size_bytes)
        if parents.has_new_heading and not parents.new_series:
            self._tell_differences(parents.series_id, objects)
        row = parents.series_id, parents.heading_id, *_stored(record, objects)
        ((row_id,),) = self._execute(self._insert_instance, row).fetchall()
        self._rare.add("IMAGE", row_id, objects.rare)
        self._transaction.written += 1

    def _replace(self, old: _Found, record: InstanceRecord, objects: ObjectRows) -> None:
        if old.path != objects.path:
            self._delete([old])
            self._insert(record, objects)
        else:
            heading_id = self._parents.find_or_make(objects).heading_id
            if heading_id != old.heading_id or (old.availability, old.sop_class_uid) != (ONLINE, record.sop_class_uid):
                self._refresh.touch(old.series_id, old.study_id, old.patient_id)
                self._refresh.mark(old.instance_id)
            self._execute(self._update_instance, (heading_id, *_stored(record, objects), old.instance_id))
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

    def _tell_replaced(self, old: _Found, record: InstanceRecord, uids: Uids) -> None:
        source = record.source
        if uids == old.uids:
            self._changes.add("update", uids, record.digest, source, "replaced")
        else:
            self._tell_moved(old, uids, record.digest, source)

    def _tell_moved(self, old: _Found, uids: Uids, digest: str, source: str) -> None:
        self._changes.add("delete", old.uids, old.digest, source, "moved")
        self._changes.add("create", uids, digest, source, "moved")

    def _set_availability(self, found: Sequence[_Found], availability: Availability, source: str = "") -> None:
        changed = [old for old in found if old.availability != availability]
        for old in changed:
            self._refresh.touch(old.series_id, old.study_id, old.patient_id)
            self._execute(self._update_availability, (availability, old.instance_id))
            self._changes.add("update", old.uids, old.digest, source, _REASONS[availability])
        self._refresh.run()
        self._transaction.written += len(changed)

    def _known_above(self, old: _Found) -> Mapping[str, str]:
        """Give what the rows above an instance say, by keyword."""
        row = self._execute(self._select_above, (old.series_id,)).fetchone()
        return dict(zip(_KEYWORDS_ABOVE, row, strict=True))

    def _tell_differences(self, series_id: int, objects: ObjectRows) -> None:
        """Log, once a series, for which attributes an object has other values than the first one; never the values."""
        if series_id in self._told:
            return
        theirs = self._execute(self._select_above, (series_id,)).fetchone()
        ours = objects["SERIES"] + objects["STUDY"]
        differing = [k for k, mine, known in zip(_KEYWORDS_ABOVE, ours, theirs, strict=True) if mine not in ("", known)]
        if not differing:
            return
        if len(self._told) >= MAX_SERIES_TOLD:
            self._told.clear()
        self._told.add(series_id)
        fields = {"sop_instance_uid": value_of(objects, "SOPInstanceUID"), "attributes": ",".join(differing)}
        logger.info("attributes differ from those of the first instance", extra={"fields": fields})


_REASONS: Mapping[Availability, Reason] = {"ONLINE": "available", "UNAVAILABLE": "unavailable"}
_KEYWORDS_ABOVE = (*LEVEL_COLUMNS["SERIES"].keywords, *LEVEL_COLUMNS["STUDY"].keywords)
_PATIENT_OF_STUDY = tuple(columns_within(BY_KEYWORD[k], "STUDY").value for k in ("PatientID", "IssuerOfPatientID"))


def _uids(objects: ObjectRows) -> Uids:
    return Uids(*(value_of(objects, k) for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")))


def _stored(record: InstanceRecord, objects: ObjectRows) -> tuple[object, ...]:
    attributes = objects["IMAGE"]
    return (
        record.digest,
        record.received_digest,
        objects.heading.amendments,
        record.size_bytes,
        record.transfer_syntax_uid,
        record.received_at,
        record.source,
        ONLINE,
        *attributes,
        *LEVEL_COLUMNS["IMAGE"].derived(attributes),
    )
