"""Whose worklist items and performed steps are, and what these say of them: they follow as patients are corrected.

Unlike objects they are changed where they stand. What an amendment changed is remembered, so that it can be taken back.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from minipacs.dicom.data_set.amendments import AMENDABLE, Amendment, Identity
from minipacs.dicom.data_set.json_values import dumps, loads
from minipacs.dicom.data_set.values import MutableValues, Values, items, text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.dicom.workflow.orders import ISSUER, PATIENT_ID, STEP_ID, STUDY
from minipacs.dicom.workflow.worklist import STEP_SEQUENCE
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine
from minipacs.index.workflow.models import WORKLIST_COLUMNS, AmendedItem
from minipacs.index.workflow.performed_steps import PerformedSteps
from minipacs.index.workflow.worklist import HIDDEN, Worklist

_SCHEDULED_STEPS = tag_named("ScheduledStepAttributesSequence")
_IDENTITY = frozenset({PATIENT_ID, ISSUER})
_WORKLIST, _PERFORMED = "worklist", "performed"


class _Item(NamedTuple):
    """A worklist item or performed step; `is_begun` tells that somebody works on it, or has."""

    kind: str
    key: str
    values: Values
    is_begun: bool
    source: str = ""

    @property
    def studies(self) -> set[str]:
        """Return the studies that it names."""
        return {text(self.values, STUDY), *(text(step, STUDY) for step in items(self.values, _SCHEDULED_STEPS))}


class PeopleChange(NamedTuple):
    """Patients, and what is to be said of them from now on: values by tag, "" for none."""

    whose: Sequence[Identity]
    new: Mapping[int, str]


class People:
    """Changes worklist items and performed steps in transactions of a writer."""

    def __init__(self, engine: Engine, worklist: Worklist, performed_steps: PerformedSteps) -> None:
        self._engine = engine
        self._worklist = worklist
        self._performed_steps = performed_steps

    def follow(self, connection: Connection, amendment: Amendment) -> None:
        """Let the items of an amendment's patients or studies say the same of the patient as objects do.

        A single study that is given to another patient takes with it only what is begun: what is still scheduled is
        the patient's for whom it was ordered.
        """
        new = {AMENDABLE[k].tag: v for k, v in (amendment.values or {}).items() if AMENDABLE[k].level == "PATIENT"}
        if not new:
            return
        amendment_id = amendment.id
        self.update(connection, PeopleChange(amendment.merged, new), amendment_id)
        studies: dict[Identity, set[str]] = {}
        for part in amendment.parts:
            if part.study_instance_uid and not part.series_instance_uid:
                studies.setdefault(Identity(part.patient_id, part.issuer), set()).add(part.study_instance_uid)
        for whose, uids in studies.items():
            for item in self._items(connection, whose):
                if item.studies & uids and (item.is_begun or not _IDENTITY & new.keys()):
                    self._change(connection, item, new, amendment_id)

    def update(self, connection: Connection, people: PeopleChange | None, amendment_id: str = "") -> int:
        """Let all items of patients say something else of them; tells how many changed."""
        return sum(
            self._change(connection, item, people.new, amendment_id)
            for whose in (people.whose if people else ())
            for item in self._items(connection, whose)
            if people
        )

    def restore(self, connection: Connection, amendment_id: str, new: Mapping[str, str]) -> None:
        """Take back what an amendment changed, where that still stands: `new` are its values by keyword."""
        changed = AmendedItem.select(AmendedItem.kind, AmendedItem.key, AmendedItem.before)
        of_this = AmendedItem.amendment == amendment_id
        rows = connection.execute(*self._engine.compile(changed.where(of_this).order_by(AmendedItem.id))).fetchall()
        said = {AMENDABLE[keyword].tag: value for keyword, value in new.items()}
        for kind, key, document in rows:
            item, recorded = self._item(connection, kind, key), loads(document)
            if item is None:
                continue
            stands = {tag: value for tag, value in recorded.items() if text(item.values, tag) == said.get(tag)}
            if _IDENTITY & stands.keys() == _IDENTITY & recorded.keys():  # else it is somebody else's by now
                self._put(connection, item, {**item.values, **stands})
        connection.execute(*self._engine.compile(AmendedItem.delete().where(of_this)))

    def items(self, connection: Connection, patient_id: str) -> list[Values]:
        """List what is of whoever has a Patient ID."""
        return [item.values for item in self._of_id(connection, patient_id)]

    def _items(self, connection: Connection, whose: Identity) -> list[_Item]:
        """List what is a patient's; the list is whole before any of it is changed."""
        found = self._of_id(connection, whose.patient_id)
        return [item for item in found if text(item.values, ISSUER) == whose.issuer]

    def _of_id(self, connection: Connection, patient_id: str) -> Iterator[_Item]:
        for step, state in self._worklist.of_patient_within(connection, patient_id):
            yield _Item(_WORKLIST, _key(step.values), step.values, state in HIDDEN, step.source)
        for uid, values in self._performed_steps.of_patient_within(connection, patient_id):
            yield _Item(_PERFORMED, uid, values, is_begun=True)

    def _item(self, connection: Connection, kind: str, key: str) -> _Item | None:
        if kind == _PERFORMED:
            values = self._performed_steps.get_within(connection, key)
            return None if values is None else _Item(kind, key, values, is_begun=True)
        study, _, step_id = key.partition(" ")
        names = {"StudyInstanceUID": study, "ScheduledProcedureStepID": step_id}
        where = [WORKLIST_COLUMNS[keyword].value == name for keyword, name in names.items()]
        found = self._worklist.read_within(connection, where)
        return _Item(kind, key, found[0][0].values, is_begun=False, source=found[0][0].source) if found else None

    def _change(self, connection: Connection, item: _Item, new: Mapping[int, str], amendment_id: str) -> bool:
        before: MutableValues = {tag: text(item.values, tag) for tag in new if text(item.values, tag) != new[tag]}
        if not before:
            return False
        self._put(connection, item, {**item.values, **{tag: new[tag] for tag in before}})
        if amendment_id:
            row = AmendedItem.insert(amendment=amendment_id, kind=item.kind, key=item.key, before=dumps(before))
            connection.execute(*self._engine.compile(row))
        return True

    def _put(self, connection: Connection, item: _Item, values: Values) -> None:
        if item.kind == _PERFORMED:
            self._performed_steps.amend_within(connection, item.key, values)
        else:
            self._worklist.put_within(connection, [values], item.source)


def _key(values: Values) -> str:
    return f"{text(values, STUDY)} {text(items(values, STEP_SEQUENCE)[0], STEP_ID)}"
