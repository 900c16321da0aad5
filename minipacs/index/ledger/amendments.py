"""The amendments that there are, by study: as rows, of which the documents beside the objects are the durable form."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from peewee import fn

from minipacs.dicom.data_set.amendments import Amendment, decode
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Dialect, Engine
from minipacs.index.ledger.models import AmendedStudy, AmendmentDocument

MAX_PARSED = 1000
"""Documents that a process keeps taken apart."""


class KeptAmendment(NamedTuple):
    """An amendment with its id; `revoked_by` is the id of the one that revokes it, else ""."""

    id: str
    amendment: Amendment
    revoked_by: str


class AmendmentRows:
    """The amendments as the transactions of a writer see them."""

    def __init__(self, dialect: Dialect, connection: Connection) -> None:
        self._dialect = dialect
        self._execute = connection.execute
        of_study = (
            AmendmentDocument.select(AmendmentDocument.id, AmendmentDocument.document)
            .join(AmendedStudy, on=(AmendedStudy.amendment == AmendmentDocument.id))
            .where(AmendedStudy.study_uid == "", AmendmentDocument.revoked_by == "")
            .order_by(AmendmentDocument.at, AmendmentDocument.id)
        )
        self._of_study, self._of_study_parameters = dialect.compile(of_study)

    def of_study(self, study_instance_uid: str) -> list[tuple[str, Amendment]]:
        """Give the amendments that may apply to objects of a study, with their ids, in their order."""
        parameters = (study_instance_uid, *self._of_study_parameters[1:])
        return [(row[0], _parsed(row[0], bytes(row[1]))) for row in self._execute(self._of_study, parameters)]

    def add(self, amendment: Amendment) -> Sequence[str]:
        """Keep an amendment; give the studies whose rows it concerns, none if it is there already."""
        amendment_id = amendment.id
        known = AmendmentDocument.select(AmendmentDocument.id)
        if self._run(known.where(AmendmentDocument.id == amendment_id)).fetchone() is not None:
            return ()
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
        if not amendment.revokes:
            return amendment.studies
        is_revoked = AmendmentDocument.id == amendment.revokes
        self._run(AmendmentDocument.update({AmendmentDocument.revoked_by: amendment_id}).where(is_revoked))
        studies = AmendedStudy.select(AmendedStudy.study_uid).where(AmendedStudy.amendment == amendment.revokes)
        return [uid for (uid,) in self._run(studies).fetchall()]

    def _run(self, query: Any) -> Any:
        return self._execute(*self._dialect.compile(query))


class Amendments:
    """Tells of the amendments; safe to use from any thread. Calls raise Failure as those of `Reader` do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
