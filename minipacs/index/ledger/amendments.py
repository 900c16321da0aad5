"""The amendments that there are, by study: as rows, of which the documents beside the objects are the durable form."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from peewee import fn

from minipacs.dicom.data_set.amendments import Amendment, Identity, decode
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Dialect, Engine
from minipacs.index.ledger.models import AmendedPatient, AmendedStudy, AmendmentDocument

MAX_PARSED = 1000
"""Documents that a process keeps taken apart."""


class KeptAmendment(NamedTuple):
    """An amendment with its id; `revoked_by` is the id of the one that revokes it, else ""."""

    id: str
    amendment: Amendment
    revoked_by: str


class Concerned(NamedTuple):
    """Which rows have to follow a new amendment: those of studies, and those that are a patient's now."""

    studies: Sequence[str] = ()
    patients: Sequence[Identity] = ()


def into(merge: Amendment, whose: Identity) -> Identity:
    """Tell whom a merge makes of a patient."""
    values = merge.values or {}
    return Identity(values.get("PatientID", whose.patient_id), values.get("IssuerOfPatientID", whose.issuer))


Active = tuple[str, Sequence[Any]]
"""A statement that finds what counts of a study and a Patient ID, with its parameters."""


def active_amendments(dialect: Dialect) -> Active:
    """Write that statement, for whoever asks often."""
    of_study = AmendedStudy.select(AmendedStudy.amendment).where(AmendedStudy.study_uid == "")
    of_patient = AmendedPatient.select(AmendedPatient.amendment).where(AmendedPatient.patient_id == "")
    is_of_either = AmendmentDocument.id.in_(of_study.union_all(of_patient))
    return dialect.compile(
        AmendmentDocument.select(AmendmentDocument.id, AmendmentDocument.document)
        .where(is_of_either, AmendmentDocument.revoked_by == "")
        .order_by(AmendmentDocument.at, AmendmentDocument.id)
    )


class AmendmentRows:
    """The amendments as the transactions of a writer see them."""

    def __init__(self, dialect: Dialect, connection: Connection, active: Active | None = None) -> None:
        self._dialect = dialect
        self._execute = connection.execute
        self._active, self._parameters = active or active_amendments(dialect)

    def of_object(self, study_instance_uid: str, patient_id: str) -> list[tuple[str, Amendment]]:
        """Give the amendments that may apply to objects that name this study and patient, with their ids, in order.

        Among them are those of whoever the patient was merged into.
        """
        found = self._read(study_instance_uid, patient_id)
        asked = {patient_id}
        while others := {(a.values or {}).get("PatientID", patient_id) for _, a in found} - asked:
            asked |= others
            known = dict(found)
            for other in others:
                known.update(self._read("", other))
            found = sorted(known.items(), key=lambda pair: (pair[1].at, pair[0]))
        return found

    def add(self, amendment: Amendment) -> Concerned | None:
        """Keep an amendment; tells what has to follow it, None if it is there already."""
        amendment_id = amendment.id
        known = AmendmentDocument.select(AmendmentDocument.id)
        if self._run(known.where(AmendmentDocument.id == amendment_id)).fetchone() is not None:
            return None
        last = AmendmentDocument.select(fn.MAX(AmendmentDocument.at))
        is_last = (self._run(last).fetchone()[0] or 0.0) < amendment.at
        revoking = AmendmentDocument.select(AmendmentDocument.id).where(AmendmentDocument.revokes == amendment_id)
        revoked_by = self._run(revoking).fetchone()
        row = {
            "id": amendment_id,
            "at": amendment.at,
            "document": amendment.encode(),
            "revoked_by": revoked_by[0] if revoked_by else "",
            "revokes": amendment.revokes,
        }
        self._run(AmendmentDocument.insert(**row))
        for uid in amendment.studies:
            self._run(AmendedStudy.insert(study_uid=uid, amendment=amendment_id))
        for patient_id in dict.fromkeys(whose.patient_id for whose in amendment.merged):
            self._run(AmendedPatient.insert(patient_id=patient_id, amendment=amendment_id))
        if not amendment.revokes:
            return Concerned(amendment.studies, amendment.merged if is_last else self._followed(amendment))
        is_revoked = AmendmentDocument.id == amendment.revokes
        revoked = self._run(AmendmentDocument.select(AmendmentDocument.document).where(is_revoked)).fetchone()
        if revoked is None:
            return Concerned()
        before = _parsed(amendment.revokes, bytes(revoked[0]))
        patients = self._followed(before)  # while it still counts
        self._run(AmendmentDocument.update({AmendmentDocument.revoked_by: amendment_id}).where(is_revoked))
        return Concerned(before.studies, patients)

    def _followed(self, amendment: Amendment) -> list[Identity]:
        """List whom the objects of those that an amendment merges may be of by now."""
        found = dict.fromkeys(amendment.merged)
        for whose in amendment.merged:
            for _, other in [("", amendment), *self.of_object("", whose.patient_id)]:
                found.update({into(other, merged): None for merged in other.merged if merged in found})
        return list(found)

    def _read(self, study_instance_uid: str, patient_id: str) -> list[tuple[str, Amendment]]:
        parameters = (study_instance_uid, patient_id, *self._parameters[2:])
        return [(row[0], _parsed(row[0], bytes(row[1]))) for row in self._execute(self._active, parameters)]

    def _run(self, query: Any) -> Any:
        return self._execute(*self._dialect.compile(query))


class Amendments:
    """Tells of the amendments; safe to use from any thread. Calls raise Failure as those of `Reader` do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._active = active_amendments(engine)

    def all(self) -> list[KeptAmendment]:
        """List every document, the oldest first, those that revoke others among them."""
        select = AmendmentDocument.select(
            AmendmentDocument.id, AmendmentDocument.document, AmendmentDocument.revoked_by
        ).order_by(AmendmentDocument.at, AmendmentDocument.id)
        return [KeptAmendment(row[0], _parsed(row[0], bytes(row[1])), row[2]) for row in self._rows(select)]

    def ids(self) -> set[str]:
        """Give the ids of all documents."""
        return {row[0] for row in self._rows(AmendmentDocument.select(AmendmentDocument.id))}

    def get(self, amendment_id: str) -> Amendment | None:
        """Look an amendment up."""
        select = AmendmentDocument.select(AmendmentDocument.document).where(AmendmentDocument.id == amendment_id)
        rows = self._rows(select)
        return _parsed(amendment_id, bytes(rows[0][0])) if rows else None

    def survivors(self, whose: Identity) -> list[Mapping[str, str]]:
        """Give who a patient was merged into, one after the other: what each merge says, its ID and issuer at least."""
        with self._engine.errors(), self._engine.reader() as connection:
            rows = AmendmentRows(self._engine, connection, self._active)
            active = rows.of_object("", whose.patient_id)
        said: Mapping[str, str] = {"PatientID": whose.patient_id, "IssuerOfPatientID": whose.issuer}
        found: list[Mapping[str, str]] = []
        for _, amendment in active:
            if amendment.merged and amendment.holds(said):
                said = {**said, **(amendment.values or {})}
                found.append(said)
        return found

    def last_at(self) -> float:
        """Return the time of the last one, in seconds since 1970, 0 if there is none."""
        return float(self._rows(AmendmentDocument.select(fn.COALESCE(fn.MAX(AmendmentDocument.at), 0.0)))[0][0])

    def _rows(self, select: Any) -> list[tuple[Any, ...]]:
        with self._engine.errors(), self._engine.reader() as connection:
            return list(connection.execute(*self._engine.compile(select)))


@lru_cache(MAX_PARSED)
def _parsed(amendment_id: str, document: bytes) -> Amendment:
    """Take a document apart, once: an id stands for its bytes."""
    return decode(document)
