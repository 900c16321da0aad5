"""Rows follow their instances; held against a model that derives everything from the list of what is stored."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipacs.dicom.tables.attributes import ATTRIBUTES, BY_KEYWORD, LEVELS, Level
from minipacs.errors import Failure, Kind, MinipacsError
from minipacs.index import AVAILABILITY, Index, InstanceRecord, Outcome, Placed, Query
from tests.index.conftest import CT, MR, Files

Ask = Callable[..., list[str]]


def rows(index: Index, level: Level, *keywords: str) -> list[tuple[str, ...]]:
    return sorted(index.find(Query(level, [], [BY_KEYWORD.get(k, AVAILABILITY) for k in keywords])))


def test_a_new_instance_gets_rows_at_all_levels(index: Index, files: Files):
    assert index.add(files.record("9", PatientName="A^B", StudyDate="20240101"), "replace") == Placed(Outcome.ADDED)
    assert rows(index, "IMAGE", "PatientName", "StudyDate", "Modality", "SOPInstanceUID", "SOPClassUID") == [
        ("A^B", "20240101", "CT", "9", CT)
    ]


def test_s10_the_same_file_again_changes_nothing(index: Index, files: Files):
    record = files.record("9")
    index.add(record, "reject")
    for policy in ("replace", "keep", "reject"):
        assert index.add(record, policy) == Placed(Outcome.SAME)
    assert index.statistics().instances == 1


def test_other_bytes_are_dealt_with_by_policy(index: Index, files: Files):
    first, other = files.record("9", StudyDescription="a"), files.record("9", StudyDescription="b")
    index.add(first, "replace")
    assert index.add(other, "reject") == Placed(Outcome.REJECTED)
    assert index.add(other, "keep") == Placed(Outcome.KEPT, other.digest)
    assert rows(index, "STUDY", "StudyDescription") == [("a",)]
    assert index.add(other, "replace") == Placed(Outcome.REPLACED, first.digest)
    assert rows(index, "STUDY", "StudyDescription") == [("b",)]
    assert not index.has_digest(first.digest)
    assert index.has_digest(other.digest)


@pytest.mark.parametrize(
    "elsewhere", [{"series": "5"}, {"study": "5"}, {"PatientID": "P5"}, {"IssuerOfPatientID": "X"}]
)
def test_the_answer_tells_that_a_uid_is_stored_under_other_parents(
    index: Index, files: Files, elsewhere: dict[str, str]
):
    index.add(files.record("9"), "replace")
    assert index.add(files.record("9", **elsewhere), "reject") == Placed(Outcome.REJECTED, moved=True)


def test_an_instance_without_uids_is_refused(index: Index, files: Files):
    for missing in ({"study": ""}, {"series": ""}, {"uid": ""}):
        with pytest.raises(Failure, match="missing") as refused:
            index.add(files.record(**{"uid": "9", **missing}), "replace")
        assert refused.value.kind is Kind.MISSING
        assert len(refused.value.tags) == 1


def test_an_empty_patient_id_gives_one_patient_for_each_study(index: Index, files: Files):
    for uid, study, patient, issuer in (
        ("1", "1.1", "", ""),
        ("2", "1.2", "", ""),
        ("3", "1.3", "P", ""),
        ("4", "1.4", "P", "X"),
        ("5", "1.5", "P", ""),
    ):
        index.add(files.record(uid, study=study, series=uid, PatientID=patient, IssuerOfPatientID=issuer), "replace")
    found = rows(index, "PATIENT", "PatientID", "IssuerOfPatientID", "NumberOfPatientRelatedStudies")
    assert found == [("", "", "1"), ("", "", "1"), ("P", "", "2"), ("P", "X", "1")]


def test_differing_values_are_logged_once_without_the_values(
    index: Index, files: Files, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    index.add(files.record("1", PatientName="Secret^One", StudyDescription="x"), "replace")
    for uid in ("2", "3"):
        index.add(files.record(uid, PatientName="Secret^Two", Modality="MR", SeriesNumber="7"), "replace")
    (told,) = [r for r in caplog.records if "differ" in r.message]
    assert told.fields["attributes"] == "Modality,SeriesNumber,PatientName"
    assert "Secret" not in caplog.text + str([vars(r) for r in caplog.records])
    assert rows(index, "SERIES", "PatientName", "Modality") == [("Secret^One", "CT")]


def test_attributes_come_from_the_first_instance_that_remains(index: Index, files: Files):
    records = [files.record(uid, StudyDescription=f"d{uid}", PatientName=f"n{uid}", SeriesNumber=uid) for uid in "123"]
    for record in records:
        index.add(record, "replace")
    attributes = ("StudyDescription", "PatientName", "SeriesNumber")
    assert rows(index, "SERIES", *attributes) == [("d1", "n1", "1")]
    assert index.remove(["2", "none"]) == [records[1].digest]
    assert rows(index, "SERIES", *attributes) == [("d1", "n1", "1")]
    assert files.reread == []
    index.remove(["1"])
    assert rows(index, "SERIES", *attributes) == [("d3", "n3", "3")]
    assert files.reread == [records[2].digest]


def test_replacing_all_of_a_study_reads_no_file(index: Index, files: Files):
    for content in "ab":
        for i in range(10):
            index.add(files.record(str(i), series=f"1.{i % 2}", StudyDescription=content), "replace")
    assert rows(index, "STUDY", "StudyDescription", "NumberOfStudyRelatedInstances") == [("b", "10")]
    assert files.reread == []


def test_a_file_that_cannot_be_read_leaves_attributes_as_they_are(
    open_index: Callable[..., Index], files: Files, caplog: pytest.LogCaptureFixture
):
    def fail(digest: str, source_ae_title: str) -> dict[str, str]:
        raise failures.pop()

    failures = [OSError("gone"), MinipacsError("damaged")]
    index = open_index(reread=fail)
    while failures:
        index.add(files.record("1", StudyDescription="first"), "replace")
        index.add(files.record("2", StudyDescription="second"), "replace")
        assert len(index.remove(["1"])) == 1
        assert rows(index, "STUDY", "StudyDescription", "NumberOfStudyRelatedInstances") == [("first", "1")]
        index.remove(["2"])
    assert "not taken anew" in caplog.text


def test_empty_parents_vanish(index: Index, files: Files):
    index.add(files.record("1"), "replace")
    index.add(files.record("2", series="1.1.2"), "replace")
    index.remove(["1"])
    assert rows(index, "SERIES", "SeriesInstanceUID") == [("1.1.2",)]
    index.remove(["2"])
    found = index.statistics()
    assert (found.patients, found.studies, found.series, found.instances, found.stored_bytes) == (0, 0, 0, 0, 0)
    assert found.by_modality == {}


def test_a_re_send_heals_what_is_unavailable(index: Index, files: Files):
    record = files.record("1")
    index.add(record, "replace")
    index.add(files.record("2", series="1.1.2"), "replace")
    index.set_availability([record.digest, "no such"], "UNAVAILABLE")
    assert index.instance("1").availability == "UNAVAILABLE"
    assert rows(index, "SERIES", "SeriesInstanceUID", "x") == [("1.1.1", "UNAVAILABLE"), ("1.1.2", "ONLINE")]
    for level in ("PATIENT", "STUDY"):
        assert rows(index, level, "x") == [("UNAVAILABLE",)]
    assert index.add(record, "replace").outcome is Outcome.SAME
    assert [rows(index, level, "x")[0] for level in LEVELS] == [("ONLINE",)] * 4


class Model:
    """What is stored, in the order in which instances were first stored; all else follows from it."""

    def __init__(self) -> None:
        self.stored: list[InstanceRecord] = []
        self.unavailable: set[str] = set()

    def add(self, record: InstanceRecord) -> None:
        for i, old in enumerate(self.stored):
            if old.sop_instance_uid == record.sop_instance_uid:
                self.unavailable.discard(record.digest)
                if old.values["SeriesInstanceUID"] == record.values["SeriesInstanceUID"]:
                    self.stored[i] = record
                    return
                self.stored.remove(old)
                break
        self.stored.append(record)

    def remove(self, uid: str) -> None:
        self.stored = [record for record in self.stored if record.sop_instance_uid != uid]

    def tables(self) -> dict[Level, list[tuple[str, ...]]]:
        series = self._group(self.stored, lambda record: record.values["SeriesInstanceUID"])
        studies = self._group(series.values(), lambda found: found[0].values["StudyInstanceUID"])
        patients = self._group(studies.values(), lambda found: _patient(min(found, key=self._place)[0]))
        return {
            "IMAGE": sorted((r.sop_instance_uid, self._availability([r])) for r in self.stored),
            "SERIES": sorted(self._series(found) for found in series.values()),
            "STUDY": sorted(self._study(found) for found in studies.values()),
            "PATIENT": sorted(self._patient(found) for found in patients.values()),
        }

    def _group(self, items: Any, key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
        groups: dict[Any, list[Any]] = {}
        for item in items:
            groups.setdefault(key(item), []).append(item)
        return groups

    def _place(self, series: list[InstanceRecord]) -> int:
        return self.stored.index(series[0])

    def _availability(self, instances: list[InstanceRecord]) -> str:
        return "UNAVAILABLE" if any(r.digest in self.unavailable for r in instances) else "ONLINE"

    def _series(self, found: list[InstanceRecord]) -> tuple[str, ...]:
        first = found[0].values
        return (
            first["StudyInstanceUID"],
            first["Modality"],
            first["SeriesNumber"],
            str(len(found)),
            self._availability(found),
        )

    def _study(self, series: list[list[InstanceRecord]]) -> tuple[str, ...]:
        first = min(series, key=self._place)[0].values
        instances = [r for found in series for r in found]
        return (
            *_patient_text(first),
            first["StudyDescription"],
            "\\".join(sorted({found[0].values["Modality"] for found in series} - {""})),
            "\\".join(sorted({r.sop_class_uid for r in instances})),
            str(len(series)),
            str(len(instances)),
            self._availability(instances),
        )

    def _patient(self, studies: list[list[list[InstanceRecord]]]) -> tuple[str, ...]:
        series = [found for study in studies for found in study]
        instances = [r for found in series for r in found]
        first = min(series, key=self._place)[0].values
        counts = len(studies), len(series), len(instances)
        return first["PatientID"], first["PatientName"], *map(str, counts), self._availability(instances)


def _patient(record: InstanceRecord) -> tuple[str, str]:
    values = record.values
    return values["PatientID"], "" if values["PatientID"] else values["StudyInstanceUID"]


def _patient_text(values: Any) -> tuple[str, ...]:
    return (values["PatientID"],)


def tables(index: Index) -> dict[Level, list[tuple[str, ...]]]:
    patient = "PatientID", "PatientName", *(a.keyword for a in ATTRIBUTES if a.computed and a.level == "PATIENT")
    study = "PatientID", "StudyDescription", *(a.keyword for a in ATTRIBUTES if a.computed and a.level == "STUDY")
    series = "StudyInstanceUID", "Modality", "SeriesNumber", "NumberOfSeriesRelatedInstances"
    return {
        "IMAGE": rows(index, "IMAGE", "SOPInstanceUID", "x"),
        "SERIES": rows(index, "SERIES", *series, "x"),
        "STUDY": rows(index, "STUDY", *study, "x"),
        "PATIENT": rows(index, "PATIENT", *patient, "x"),
    }


ADDED = st.fixed_dictionaries(
    {
        "uid": st.sampled_from("12345"),
        "series": st.sampled_from(["S1", "S2", "S3"]),
        "study": st.sampled_from(["T1", "T2"]),
        "PatientID": st.sampled_from(["", "P", "Q"]),
        "PatientName": st.sampled_from(["a", "b"]),
        "Modality": st.sampled_from(["CT", "MR", ""]),
        "SeriesNumber": st.sampled_from(["1", "2"]),
        "StudyDescription": st.sampled_from(["a", "b"]),
        "SOPClassUID": st.sampled_from([CT, MR]),
        "size_bytes": st.sampled_from([1, 10]),
    }
)
CHANGES = st.lists(
    st.one_of(
        ADDED, ADDED, ADDED, st.lists(st.sampled_from("12345"), min_size=1, max_size=3), st.sampled_from("12345")
    ),
    max_size=15,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_rows_follow_from_what_is_stored_whatever_the_way_there(index: Index, files: Files, changes: list[Any]):
    index.remove(list("12345"))
    assert index.statistics().by_modality == {}
    model = Model()
    for change in changes:
        if isinstance(change, dict):
            record = files.record(**change)
            index.add(record, "replace")
            if record.digest in {r.digest for r in model.stored}:
                model.unavailable.discard(record.digest)
            else:
                model.add(record)
        elif isinstance(change, list):
            index.remove(change)
            for uid in change:
                model.remove(uid)
        else:
            digests = [r.digest for r in model.stored if r.sop_instance_uid == change]
            index.set_availability(digests, "UNAVAILABLE")
            model.unavailable.update(digests)
        model.unavailable &= {r.digest for r in model.stored}
        assert tables(index) == model.tables()
        _check_totals(index, model)


def _check_totals(index: Index, model: Model) -> None:
    found = index.statistics()
    assert found.instances == len(model.stored)
    assert found.stored_bytes == sum(r.size_bytes for r in model.stored)
    series = model.tables()["SERIES"]
    assert found.series == len(series)
    by_modality = {modality: 0 for _, modality, *_ in series}
    for _, modality, _, count, _ in series:
        by_modality[modality] += int(count)
    assert found.by_modality == by_modality
