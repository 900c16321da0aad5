"""Conflicts: what differs between objects that should agree; kept as rows, since nobody may look through all objects.

Objects of one patient, and of one study, should name one person; a Patient ID should have one issuer, a study one
patient, a series one study. What differs in an ID or UID is filed apart. A value that is missing differs from none.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from peewee import OP, SQL, ColumnBase, Expression, Field, Select, Tuple, fn

from minipacs.dicom.tables.attributes import Level
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine
from minipacs.index.objects.models import (
    COLUMNS,
    OF_PATIENT,
    PERSON,
    PERSON_OF_HEADING,
    PERSON_OF_STUDY,
    Conflict,
    Heading,
    Patient,
    Series,
    Study,
    columns_within,
)

logger = logging.getLogger(__name__)

MAX_UIDS = 20
"""Studies or series that are named for one of the values that differ; the others are counted."""

PAGE_ROWS = 100

_IN_STUDY = {a.keyword: columns_within(a, "STUDY").value for a in OF_PATIENT}
_PATIENT_ID, _ISSUER = _IN_STUDY["PatientID"], _IN_STUDY["IssuerOfPatientID"]
_STUDY_UID, _SERIES_UID = COLUMNS["StudyInstanceUID"].value, COLUMNS["SeriesInstanceUID"].value

_SUBJECT = (
    Conflict.series_instance_uid,
    Conflict.study_instance_uid,
    Conflict.patient_id,
    Conflict.issuer_of_patient_id,
)
_NAMES: Mapping[Level, tuple[Field, str, str]] = MappingProxyType(
    {
        "SERIES": (_SERIES_UID, "series_instance_uid", "StudyInstanceUID"),
        "STUDY": (_STUDY_UID, "study_instance_uid", "PatientID"),
        "PATIENT": (COLUMNS["PatientID"].value, "patient_id", "IssuerOfPatientID"),
    }
)
"""What several rows of a level should not have in common, its place in a Subject, and what tells the rows apart."""


class Subject(NamedTuple):
    """What a conflict is about, by its names; those that are none of it are ""."""

    series_instance_uid: str = ""
    study_instance_uid: str = ""
    patient_id: str = ""
    issuer: str = ""


def of_name(level: Level, name: str) -> Subject:
    """Return what has one UID or Patient ID, whatever it stands under."""
    return Subject(**{_NAMES[level][1]: name})


class ConflictRows:
    """Writes conflicts as rows come and go, within the transactions of a writer.

    `tell` logs the new ones, without values: at the end of a change, since some are there only while it is made.
    """

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._execute = connection.execute
        self._new: dict[tuple[Level, Subject, str], None] = {}
        compile_ = engine.compile
        self._select_names, _ = compile_(Select(columns=[_up_to_two(level) for level in _NAMES]))
        self._select_name = {level: compile_(Select(columns=[_up_to_two(level)]))[0] for level in _NAMES}
        patient = [COLUMNS["PatientID"].value, COLUMNS["IssuerOfPatientID"].value]
        studies = _extremes(Study.parent, Patient.id, PERSON_OF_STUDY)
        headings = _extremes(Heading.study, Study.id, PERSON_OF_HEADING)
        self._select_person: Mapping[Level, str] = {
            "PATIENT": compile_(Patient.select(*patient, *studies).where(Patient.id == 0))[0],
            "STUDY": compile_(Study.select(_STUDY_UID, _PATIENT_ID, _ISSUER, *headings).where(Study.id == 0))[0],
        }
        about = [Conflict.level == "", *(field == "" for field in _SUBJECT)]
        self._select, _ = compile_(Conflict.select(Conflict.keyword).where(*about))
        self._delete, _ = compile_(Conflict.delete().where(*about, Conflict.keyword == ""))
        fields = [Conflict.level, *_SUBJECT, Conflict.keyword, Conflict.found_at]
        self._insert, _ = compile_(
            Conflict.insert_many([(*[""] * (len(fields) - 1), 0.0)], fields=fields).on_conflict_ignore()
        )

    def check_names(self, series_uid: str, study_uid: str, patient_id: str) -> None:
        """After rows were made: see whether others have the same UID or Patient ID; "" for a row that was there."""
        names = dict(zip(_NAMES, (series_uid, study_uid, patient_id), strict=True))
        counts = self._execute(self._select_names, tuple(names.values())).fetchone()
        for (level, name), count in zip(names.items(), counts, strict=True):
            if name and count > 1:
                self._add(level, of_name(level, name), _NAMES[level][2])

    def recheck_name(self, level: Level, name: str) -> None:
        """After a row went: see whether its UID or Patient ID is still that of several."""
        if name and self._execute(self._select_name[level], (name,)).fetchone()[0] < 2:
            self._drop(level, of_name(level, name), _NAMES[level][2])

    def check_patient(self, patient_id: int) -> None:
        """See whether the studies of a patient, by the id of its row, name one person."""
        patient, issuer, *values = self._execute(self._select_person["PATIENT"], (patient_id,)).fetchone()
        self._check_person("PATIENT", Subject("", "", patient, issuer), values)

    def check_study(self, study_id: int) -> None:
        """See whether the objects of a study, by the id of its row, name one person."""
        uid, patient, issuer, *values = self._execute(self._select_person["STUDY"], (study_id,)).fetchone()
        self._check_person("STUDY", Subject("", uid, patient, issuer), values)

    def forget_person(self, level: Level, row_id: int) -> None:
        """Drop what is at odds within a patient or study that is to go."""
        *names, _, _, _, _, _, _ = self._execute(self._select_person[level], (row_id,)).fetchone()
        subject = Subject("", *names) if level == "STUDY" else Subject("", "", *names)
        self._check_person(level, subject, [""] * 2 * len(PERSON))

    def _check_person(self, level: Level, subject: Subject, values: Sequence[str]) -> None:
        """Keep which of PERSON differ; `values` are the least and the greatest of each."""
        differing = {k for k, low, high in zip(PERSON, values[::2], values[1::2], strict=True) if low != high}
        known = {k for (k,) in self._execute(self._select, (level, *subject)) if k in PERSON}
        for keyword in known - differing:
            self._drop(level, subject, keyword)
        for keyword in sorted(differing - known):
            self._add(level, subject, keyword)

    def tell(self) -> None:
        """Log what is at odds since a change began."""
        for level, subject, keyword in self._new:
            uid = subject.series_instance_uid or subject.study_instance_uid or None
            fields = {"level": level, "attribute": keyword, "uid": uid, "remedy": "minipacs conflicts"}
            logger.warning("conflict between objects", extra={"fields": fields})
        self._new.clear()

    def clear(self) -> None:
        """Forget a change that failed."""
        self._new.clear()

    def _add(self, level: Level, subject: Subject, keyword: str) -> None:
        if self._execute(self._insert, (level, *subject, keyword, time.time())).rowcount:
            self._new[level, subject, keyword] = None

    def _drop(self, level: Level, subject: Subject, keyword: str) -> None:
        self._execute(self._delete, (level, *subject, keyword))
        self._new.pop((level, subject, keyword), None)


@dataclass(frozen=True, slots=True)
class Bearers:
    """One of the values that differ: how many studies (or series, within a study) have it, and the first of these."""

    value: str
    count: int
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A conflict in full: the attribute that differs, what it is about (see `models.Conflict`), and the values."""

    level: Level
    keyword: str
    subject: Subject
    found_at: float
    values: tuple[Bearers, ...]


Read = Callable[[Select], list[tuple[Any, ...]]]
"""Runs a SELECT."""


def disagreements(read: Read) -> Iterator[Disagreement]:
    """Give every conflict in full, page by page."""
    key = Conflict.level, Conflict.keyword, *_SUBJECT
    last = ("",) * len(key)
    while True:
        later = Expression(Tuple(*key), OP.GT, Tuple(*last))
        rows = read(Conflict.select(*key, Conflict.found_at).where(later).order_by(*key).limit(PAGE_ROWS))
        for level, keyword, *names, found_at in rows:
            subject = Subject(*names)
            tell = (_TELL_PERSON if keyword in PERSON else _TELL_NAME)[level]
            values = tell(read, subject, keyword)
            if len(values) > 1:  # else it was settled meanwhile
                yield Disagreement(level, keyword, subject, found_at, values)
        if len(rows) < PAGE_ROWS:
            return
        last = rows[-1][: len(key)]


def _persons_of_patient(read: Read, subject: Subject, keyword: str) -> tuple[Bearers, ...]:
    is_patient = subject.patient_id == _PATIENT_ID, subject.issuer == _ISSUER
    return _gathered(read(Study.select(_IN_STUDY[keyword], _STUDY_UID).where(*is_patient)))


def _persons_of_study(read: Read, subject: Subject, keyword: str) -> tuple[Bearers, ...]:
    names = (_STUDY_UID, subject.study_instance_uid), (_PATIENT_ID, subject.patient_id), (_ISSUER, subject.issuer)
    headings = Heading.select(Heading.document, _SERIES_UID).join(Series).join(Study)
    found = read(headings.where(*(field == name for field, name in names)))
    return _gathered((json.loads(document).get(keyword, ""), uid) for document, uid in found)


def _issuers(read: Read, subject: Subject, keyword: str) -> tuple[Bearers, ...]:
    return _gathered(read(Study.select(_ISSUER, _STUDY_UID).where(subject.patient_id == _PATIENT_ID)), empty=True)


def _patients(read: Read, subject: Subject, keyword: str) -> tuple[Bearers, ...]:
    is_study = subject.study_instance_uid == _STUDY_UID
    found = read(Study.select(_PATIENT_ID, _ISSUER, _STUDY_UID).where(is_study))
    return _gathered((("^^^".join(filter(None, patient)), uid) for *patient, uid in found), empty=True)


def _studies(read: Read, subject: Subject, keyword: str) -> tuple[Bearers, ...]:
    is_series = subject.series_instance_uid == _SERIES_UID
    return _gathered(read(Series.select(_STUDY_UID, _STUDY_UID).join(Study).where(is_series)))


_Tell = Callable[[Read, Subject, str], tuple[Bearers, ...]]
_TELL_PERSON: Mapping[Level, _Tell] = MappingProxyType({"PATIENT": _persons_of_patient, "STUDY": _persons_of_study})
_TELL_NAME: Mapping[Level, _Tell] = MappingProxyType({"PATIENT": _issuers, "STUDY": _patients, "SERIES": _studies})


def _gathered(found: Iterable[tuple[str, str]], *, empty: bool = False) -> tuple[Bearers, ...]:
    """Gather who has each value; those that are `empty` count only where they make a difference."""
    by_value: dict[str, dict[str, None]] = {}
    for value, uid in found:
        if value or empty:
            by_value.setdefault(value, {})[uid] = None
    return tuple(Bearers(value, len(uids), tuple(uids)[:MAX_UIDS]) for value, uids in by_value.items())


def _up_to_two(level: Level) -> Select:
    """Count the rows of a level with a UID or Patient ID, up to two: for more nobody has to look.

    Series count once for each Study Instance UID; that this stands under several patients is told of the study.
    """
    field, _, _ = _NAMES[level]
    studies = Series.select(_STUDY_UID).join(Study).distinct()
    found = studies if level == "SERIES" else field.model.select(SQL("1"))
    return Select([found.where(field == "").limit(SQL("2"))], [fn.COUNT(SQL("*"))])


def _extremes(within: Field, row_id: Field, person: Mapping[str, Field]) -> list[ColumnBase]:
    """Give the least and the greatest value of each column below a row, each read from an index; not empty ones."""
    return [
        within.model.select(extreme(field)).where(within == row_id, field > SQL("''"))
        for field in person.values()
        for extreme in (fn.MIN, fn.MAX)
    ]
