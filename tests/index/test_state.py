"""Rows, counts and conflicts follow from what is stored, whatever the way there: held against a simple model."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, NamedTuple

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from minipacs.dicom.tables.attributes import BY_KEYWORD, Level
from minipacs.index import AVAILABILITY, Index, InstanceRecord, Outcome, Query
from tests.index.conftest import CT, MR, Files

Row = tuple[str, ...]
PATH = ("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "SeriesInstanceUID")
PERSON = ("PatientName", "PatientBirthDate", "PatientSex")
UIDS = st.sampled_from("12345")

ADDED = st.fixed_dictionaries(
    {
        "uid": UIDS,
        "series": st.sampled_from(["S1", "S2"]),
        "study": st.sampled_from(["T1", "T2"]),
        "PatientID": st.sampled_from(["", "P", "P", "Q"]),
        "IssuerOfPatientID": st.sampled_from(["", "", "A"]),
        "PatientName": st.sampled_from(["", "a^b", "A^B^", "c"]),
        "PatientBirthDate": st.sampled_from(["", "19500101", "19600101"]),
        "PatientSex": st.sampled_from(["", "M"]),
        "Modality": st.sampled_from(["CT", "MR", ""]),
        "SeriesNumber": st.sampled_from(["1", "2"]),
        "StudyDescription": st.sampled_from(["a", "b"]),
        "SOPClassUID": st.sampled_from([CT, MR]),
        "size_bytes": st.sampled_from([1, 10]),
    }
)


class Stored(NamedTuple):
    """A record with its place."""

    record: InstanceRecord
    is_unavailable: bool = False

    @property
    def values(self) -> Any:
        return self.record.values

    @property
    def path(self) -> Row:
        return tuple(self.values[k] for k in PATH)

    @property
    def study(self) -> Row:
        return self.path[:3]

    @property
    def patient(self) -> Row:
        study, patient_id, issuer, _ = self.path
        return patient_id, issuer, "" if patient_id else study


def groups(stored: Iterable[Stored], key: Callable[[Stored], Row]) -> list[list[Stored]]:
    """Gather what has a key in common, each group in the order of what is stored."""
    return [list(found) for _, found in groupby(sorted(stored, key=key), key)]


def same_name(name: str) -> str:
    return name.rstrip("^").lower()


class Model:
    """What is stored, in the order in which instances were first stored; all else follows from it."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []

    def add(self, record: InstanceRecord, duplicates: str) -> tuple[Outcome, bool]:
        new = Stored(record)
        for i, old in enumerate(self.stored):
            if old.record.sop_instance_uid != record.sop_instance_uid:
                continue
            if old.record.digest == record.digest:
                self.stored[i] = old._replace(is_unavailable=False)
                return Outcome.SAME, False
            moved = old.path != new.path
            if duplicates != "replace":
                return Outcome.KEPT if duplicates == "keep" else Outcome.REJECTED, moved
            if moved:
                del self.stored[i]
                self.stored.append(new)
            else:
                self.stored[i] = new
            return Outcome.REPLACED, moved
        self.stored.append(new)
        return Outcome.ADDED, False

    def tables(self) -> dict[Level, list[Row]]:
        patients, studies, series = (groups(self.stored, k) for k in (PATIENT_KEY, STUDY_KEY, SERIES_KEY))
        return {
            "IMAGE": sorted(
                (s.record.sop_instance_uid, *self._person(self._of_study(s)), _availability([s])) for s in self.stored
            ),
            "SERIES": sorted(self._series(found) for found in series),
            "STUDY": sorted(self._study(found) for found in studies),
            "PATIENT": sorted(self._patient(found) for found in patients),
        }

    def conflicts(self) -> set[tuple[str, str, Row]]:
        """Give the level, attribute and what is known of what each conflict is about."""
        found = set()
        for patient in groups(self.stored, PATIENT_KEY):
            firsts = [study[0] for study in groups(patient, STUDY_KEY)]
            found |= {("PATIENT", k, patient[0].path[1:3]) for k in _differing(firsts)}
        for study in groups(self.stored, STUDY_KEY):
            found |= {("STUDY", k, study[0].study) for k in _differing(study)}
        for level, keyword, names, rest in (
            ("PATIENT", "IssuerOfPatientID", {s.path[1:3] for s in self.stored if s.path[1]}, 1),
            ("STUDY", "PatientID", {s.path[:3] for s in self.stored}, 1),
            ("SERIES", "StudyInstanceUID", {(s.path[3], s.path[0]) for s in self.stored}, 1),
        ):
            first = [name[:rest] for name in names]
            found |= {(level, keyword, name) for name in first if first.count(name) > 1}
        return found

    def patients_called(self, keyword: str, value: str) -> list[Row]:
        """Give the IDs of the patients of whom a study has a value."""
        found = set()
        for study in groups(self.stored, STUDY_KEY):
            theirs = study[0].values[keyword]
            if theirs and same_name(theirs) == same_name(value):
                found.add(study[0].patient)
        return sorted((patient_id, issuer) for patient_id, issuer, _ in found)

    def _of_study(self, stored: Stored) -> Any:
        return next(s for s in self.stored if s.study == stored.study).values

    def _person(self, values: Any) -> Row:
        return tuple(values[k] for k in ("PatientID", "IssuerOfPatientID", *PERSON))

    def _series(self, found: list[Stored]) -> Row:
        first = found[0].values
        return (
            first["SeriesInstanceUID"],
            first["StudyInstanceUID"],
            *self._person(self._of_study(found[0])),
            first["Modality"],
            first["SeriesNumber"],
            str(len(found)),
            _availability(found),
        )

    def _study(self, found: list[Stored]) -> Row:
        first, series = found[0].values, groups(found, SERIES_KEY)
        return (
            first["StudyInstanceUID"],
            *self._person(first),
            first["StudyDescription"],
            "\\".join(sorted({one[0].values["Modality"] for one in series} - {""})),
            "\\".join(sorted({s.record.sop_class_uid for s in found})),
            str(len(series)),
            str(len(found)),
            _availability(found),
        )

    def _patient(self, found: list[Stored]) -> Row:
        counts = (len(groups(found, key)) for key in (STUDY_KEY, SERIES_KEY))
        return *self._person(found[0].values), *map(str, counts), str(len(found)), _availability(found)


def PATIENT_KEY(stored: Stored) -> Row:
    return stored.patient


def STUDY_KEY(stored: Stored) -> Row:
    return stored.study


def SERIES_KEY(stored: Stored) -> Row:
    return stored.path


def _availability(found: list[Stored]) -> str:
    return "UNAVAILABLE" if any(s.is_unavailable for s in found) else "ONLINE"


def _differing(found: list[Stored]) -> set[str]:
    return {k for k in PERSON if len({same_name(s.values[k]) for s in found} - {""}) > 1}


WANTED: dict[Level, Row] = {
    "IMAGE": ("SOPInstanceUID", *PATH[1:3], *PERSON, ""),
    "SERIES": (
        *("SeriesInstanceUID", "StudyInstanceUID", *PATH[1:3], *PERSON),
        *("Modality", "SeriesNumber", "NumberOfSeriesRelatedInstances", ""),
    ),
    "STUDY": (
        *("StudyInstanceUID", *PATH[1:3], *PERSON, "StudyDescription", "ModalitiesInStudy", "SOPClassesInStudy"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", ""),
    ),
    "PATIENT": (
        *(*PATH[1:3], *PERSON, "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries"),
        *("NumberOfPatientRelatedInstances", ""),
    ),
}


def tables(index: Index) -> dict[Level, list[Row]]:
    return {
        level: sorted(index.find(Query(level, [], [BY_KEYWORD.get(k, AVAILABILITY) for k in keywords])))
        for level, keywords in WANTED.items()
    }


def check(index: Index, model: Model) -> None:
    """Hold all that can be asked against the model."""
    expected = model.tables()
    assert tables(index) == expected
    found = index.statistics()
    assert (found.patients, found.studies, found.series, found.instances) == tuple(
        len(expected[level]) for level in ("PATIENT", "STUDY", "SERIES", "IMAGE")
    )
    assert found.stored_bytes == sum(s.record.size_bytes for s in model.stored)
    by_modality: dict[str, int] = {}
    for *_, modality, _, count, _ in expected["SERIES"]:
        by_modality[modality] = by_modality.get(modality, 0) + int(count)
    assert found.by_modality == by_modality
    told = {(c.level, c.keyword, _subject(c)) for c in index.conflicts()}
    assert told == model.conflicts()
    assert index.conflict_count() == len(told)


def _subject(conflict: Any) -> Row:
    person = conflict.keyword in PERSON
    subject = conflict.subject
    of_patient = (subject.patient_id, subject.issuer)
    if conflict.level == "PATIENT":
        return of_patient if person else (subject.patient_id,)
    if conflict.level == "STUDY":
        return (subject.study_instance_uid, *of_patient) if person else (subject.study_instance_uid,)
    return (subject.series_instance_uid,)


class Archive(RuleBasedStateMachine):
    """An index, emptied before each run, and its model."""

    index: Index

    def __init__(self) -> None:
        super().__init__()
        self.index.remove(list("12345"))
        self.files, self.model = Files(), Model()

    @rule(added=ADDED, duplicates=st.sampled_from(["replace", "replace", "keep", "reject"]))
    def add(self, added: Any, duplicates: Any) -> None:
        record = self.files.record(**added)
        placed = self.index.add(record, duplicates)
        assert (placed.outcome, placed.moved) == self.model.add(record, duplicates)

    @rule(added=st.lists(ADDED, max_size=4))
    def add_all(self, added: list[Any]) -> None:
        records = [self.files.record(**one) for one in added]
        placed = self.index.add_all(records)
        assert [p.outcome for p in placed] == [self.model.add(record, "keep")[0] for record in records]

    @rule(uids=st.lists(UIDS, min_size=1, max_size=3))
    def remove(self, uids: list[str]) -> None:
        self.index.remove(uids)
        self.model.stored = [s for s in self.model.stored if s.record.sop_instance_uid not in uids]

    @rule(uid=UIDS, availability=st.sampled_from(["UNAVAILABLE", "UNAVAILABLE", "ONLINE"]))
    def set_availability(self, uid: str, availability: Any) -> None:
        is_meant = [s.record.sop_instance_uid == uid for s in self.model.stored]
        digests = [s.record.digest for s, meant in zip(self.model.stored, is_meant, strict=True) if meant]
        self.index.set_availability(digests, availability)
        self.model.stored = [
            s._replace(is_unavailable=availability != "ONLINE") if meant else s
            for s, meant in zip(self.model.stored, is_meant, strict=True)
        ]

    @rule(keyword=st.sampled_from(["PatientName", "PatientBirthDate"]), value=st.sampled_from(["a^b", "c", "19500101"]))
    def find_patients(self, keyword: str, value: str) -> None:
        if keyword == "PatientBirthDate" and not value.isdecimal():
            return
        query = Query("PATIENT", [(BY_KEYWORD[keyword], value)], [BY_KEYWORD[k] for k in PATH[1:3]])
        assert sorted(self.index.find(query)) == self.model.patients_called(keyword, value)
        assert self.index.count(query, 100) == len(self.model.patients_called(keyword, value))

    @invariant()
    def rows_follow_from_what_is_stored(self) -> None:
        check(self.index, self.model)


def test_rows_follow_from_what_is_stored_whatever_the_way_there(index: Index):
    Archive.index = index
    found = settings(max_examples=60, stateful_step_count=15, deadline=None, phases=set(Phase) - {Phase.explain})
    run_state_machine_as_test(Archive, settings=found)
