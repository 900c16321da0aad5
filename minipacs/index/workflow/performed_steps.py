"""Performed procedure steps: each a row with its attributes, and the worklist steps it refers to kept in its state."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from minipacs.dicom.data_set.amendments import AMENDABLE, apply
from minipacs.dicom.data_set.json_values import dumps, loads
from minipacs.dicom.data_set.values import Values, text
from minipacs.dicom.workflow import performed_step
from minipacs.dicom.workflow.orders import ISSUER, PATIENT_ID
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.paging import Place, beyond, pages
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger.amendments import AmendmentRows, active_amendments
from minipacs.index.workflow.models import PerformedStep
from minipacs.index.workflow.worklist import COMPLETED, DISCONTINUED, STARTED, set_state

_WORKLIST_STATES = {
    performed_step.IN_PROGRESS: STARTED,
    performed_step.COMPLETED: COMPLETED,
    performed_step.DISCONTINUED: DISCONTINUED,
}


class Changed(NamedTuple):
    """What a change left: the attributes, and how many worklist steps have a new state."""

    values: Values
    worklist_steps: int


class Performed(NamedTuple):
    """A step as it is now; `changed_at` is in seconds since 1970, `source` the AE title of who created it."""

    sop_instance_uid: str
    status: str
    values: Values
    source: str
    changed_at: float


class PerformedSteps:
    """The performed procedure steps of an index; safe to use from any thread.

    Calls raise Failure as those of `Reader` and `Writer` do.
    """

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self._engine = engine
        self._change = change
        self._select, _ = engine.compile(
            PerformedStep.select(PerformedStep.document).where(PerformedStep.sop_instance_uid == "")
        )
        of_patient = PerformedStep.select(PerformedStep.sop_instance_uid, PerformedStep.document)
        self._select_of_patient, _ = engine.compile(of_patient.where(PerformedStep.patient_id == ""))
        self._active = active_amendments(engine)

    def create(self, sop_instance_uid: str, values: Values, source: str) -> Changed | None:
        """Add a step, durably; None if there is one with this UID."""

        def work(connection: Connection) -> Changed | None:
            if connection.execute(self._select, (sop_instance_uid,)).fetchone():
                return None
            said = self._followed(connection, values)
            row = PerformedStep.insert(sop_instance_uid=sop_instance_uid, source=source, **_columns(said))
            connection.execute(*self._engine.compile(row))
            return Changed(said, self._mark(connection, said))

        return self._change(work)

    def change(self, sop_instance_uid: str, change: Callable[[Values], Values]) -> Changed | None:
        """Put what `change` makes of a step's attributes in their place, durably; None if there is no such step.

        What `change` raises undoes everything and is raised.
        """

        def work(connection: Connection) -> Changed | None:
            found = self.get_within(connection, sop_instance_uid)
            if found is None:
                return None
            values = change(found)
            self._update(connection, sop_instance_uid, _columns(values))
            return Changed(values, self._mark(connection, values))

        return self._change(work)

    def get(self, sop_instance_uid: str) -> Values | None:
        """Look a step up."""
        with self._engine.errors(), self._engine.reader() as connection:
            found = connection.execute(self._select, (sop_instance_uid,)).fetchone()
        return loads(found[0]) if found else None

    def find(self, status: str = "") -> Iterator[Performed]:
        """Give the steps of this status, or all, in the order in which they were created."""
        fields = (
            *(PerformedStep.id, PerformedStep.sop_instance_uid, PerformedStep.status),
            *(PerformedStep.document, PerformedStep.source, PerformedStep.changed_at),
        )
        asked = [PerformedStep.status == status] if status else []

        def read(after: Place, rows: int) -> list[tuple[Any, ...]]:
            where = [*asked, *beyond([PerformedStep.id], after)]
            select = PerformedStep.select(*fields).order_by(PerformedStep.id).limit(rows)
            with self._engine.errors(), self._engine.reader() as connection:
                return connection.execute(*self._engine.compile(select.where(*where) if where else select)).fetchall()

        for _, uid, state, document, source, changed_at in pages(read, slice(1)):
            yield Performed(uid, state, loads(document), source, changed_at)

    def changed_since(self, at: float) -> list[Performed]:
        """List the steps that were created or changed since a time, in seconds since 1970."""
        fields = (
            *(PerformedStep.sop_instance_uid, PerformedStep.status, PerformedStep.document),
            *(PerformedStep.source, PerformedStep.changed_at),
        )
        select = PerformedStep.select(*fields).where(PerformedStep.changed_at >= at).order_by(PerformedStep.id)
        with self._engine.errors(), self._engine.reader() as connection:
            rows = connection.execute(*self._engine.compile(select)).fetchall()
        return [Performed(uid, state, loads(document), *rest) for uid, state, document, *rest in rows]

    def of_patient_within(self, connection: Connection, patient_id: str) -> list[tuple[str, Values]]:
        """Read the steps of a Patient ID in a transaction, with their UIDs."""
        rows = connection.execute(self._select_of_patient, (patient_id,)).fetchall()
        return [(uid, loads(document)) for uid, document in rows]

    def get_within(self, connection: Connection, sop_instance_uid: str) -> Values | None:
        """Look a step up in a transaction."""
        found = connection.execute(self._select, (sop_instance_uid,)).fetchone()
        return loads(found[0]) if found else None

    def amend_within(self, connection: Connection, sop_instance_uid: str, values: Values) -> None:
        """Let a step say something else of its patient, in a transaction: no modality has changed it."""
        columns = _columns(values)
        del columns["changed_at"]
        self._update(connection, sop_instance_uid, columns)

    def _update(self, connection: Connection, sop_instance_uid: str, columns: dict[str, object]) -> None:
        update = PerformedStep.update(**columns).where(PerformedStep.sop_instance_uid == sop_instance_uid)
        connection.execute(*self._engine.compile(update))

    def _followed(self, connection: Connection, values: Values) -> Values:
        """Give a new step to whoever its patient was merged into."""
        whose = {"PatientID": text(values, PATIENT_ID), "IssuerOfPatientID": text(values, ISSUER)}
        rows = AmendmentRows(self._engine, connection, self._active)
        active = rows.of_object("", whose["PatientID"])
        said, applied = apply(whose, [(i, amendment) for i, amendment in active if amendment.merged])
        return {**values, **{AMENDABLE[keyword].tag: value for keyword, value in said.items()}} if applied else values

    def _mark(self, connection: Connection, values: Values) -> int:
        """Bring the worklist steps into the state that their performed step is in."""
        state = _WORKLIST_STATES[performed_step.status_of(values)]
        steps = performed_step.scheduled_steps(values)
        return sum(set_state(self._engine, connection, study, step, state) for study, step in steps)


def _columns(values: Values) -> dict[str, object]:
    status = performed_step.status_of(values)
    return {
        "status": status,
        "patient_id": text(values, PATIENT_ID),
        "document": dumps(values),
        "changed_at": time.time(),
    }
