"""Orders in the worklist: what one message says becomes of its steps."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from peewee import ColumnBase, Field

from minipacs.dicom.data_set.values import Values, text
from minipacs.dicom.workflow.orders import PATIENT_ID, Known, StudyOrder, plan
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine
from minipacs.index.workflow.models import WORKLIST_COLUMNS
from minipacs.index.workflow.worklist import COMPLETED, HIDDEN, Worklist, set_state


class Ordered(NamedTuple):
    """What an order did to a study: the steps that are there now, those that went, and how many are over."""

    study_instance_uid: str
    put: Sequence[Values]
    removed: Sequence[Values]
    completed: int


class Orders:
    """Applies orders to a worklist, in transactions of a writer. Calls raise Failure."""

    def __init__(self, engine: Engine, worklist: Worklist) -> None:
        self._engine = engine
        self._worklist = worklist

    def apply_within(self, connection: Connection, orders: Sequence[StudyOrder]) -> list[Ordered]:
        """Do what a message orders; see `dicom.workflow.orders.plan`."""
        return [self._apply(connection, order) for order in orders]

    def _apply(self, connection: Connection, order: StudyOrder) -> Ordered:
        known = self._known(connection, order)
        planned = plan(order, known)
        self._worklist.put_within(connection, planned.put)
        self._worklist.remove_within(connection, planned.remove)
        completed = sum(
            set_state(self._engine, connection, planned.study_instance_uid, step_id, COMPLETED)
            for step_id in planned.complete
        )
        removed = [step.values for step in known if step.id in planned.remove]
        return Ordered(planned.study_instance_uid, planned.put, removed, completed)

    def _known(self, connection: Connection, order: StudyOrder) -> list[Known]:
        """Find the steps of the study that an order means, by the first of its names that there is."""
        for where in _named(order):
            found = self._worklist.read_within(connection, where)
            if found:
                return [Known(step.id, step.values, state in HIDDEN) for step, state in found]
        return []


def _named(order: StudyOrder) -> Iterator[list[ColumnBase]]:
    """Give what tells the study of an order from others, the surest first; numbers of two patients may be the same."""
    name = order.name
    if name.study_instance_uid:
        yield [_column("StudyInstanceUID") == name.study_instance_uid]
        return
    if name.filler_order_number:
        yield [_column("FillerOrderNumberImagingServiceRequest") == name.filler_order_number]
    given = {"AccessionNumber": name.accession_number, "RequestedProcedureID": name.requested_procedure_id}
    if any(given.values()):
        patient = _column("PatientID") == text(order.patient, PATIENT_ID)
        yield [patient, *(_column(keyword) == value for keyword, value in given.items() if value)]


def _column(keyword: str) -> "Field[str]":
    column: Field[str] = WORKLIST_COLUMNS[keyword].value
    return column
