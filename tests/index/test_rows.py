"""Rows follow their instances; held against a model that derives everything from the list of what is stored."""

import logging
from collections.abc import Callable

import pytest

from minipacs.dicom.tables.attributes import BY_KEYWORD, LEVELS, Level
from minipacs.errors import Failure, Kind
from minipacs.index import AVAILABILITY, Index, Outcome, Placed, Query
from tests.index.conftest import CT, Files

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
    index.remove(["1"])
    assert rows(index, "SERIES", *attributes) == [("d3", "n3", "3")]


def test_all_of_a_study_can_be_replaced(index: Index, files: Files):
    for content in "ab":
        for i in range(10):
            index.add(files.record(str(i), series=f"1.{i % 2}", StudyDescription=content), "replace")
    assert rows(index, "STUDY", "StudyDescription", "NumberOfStudyRelatedInstances") == [("b", "10")]


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


STATEMENTS = [
    ("the first of a patient", {}, 19),
    ("one more of its series", {}, 10),
    ("one of another series", {"series": "1.1.2"}, 14),
    ("one of another study", {"study": "1.2", "series": "1.2.1"}, 16),
    ("one that differs from the first", {"study": "1.2", "series": "1.2.1", "SeriesTime": "10"}, 12),
    ("one that differs again", {"study": "1.2", "series": "1.2.1", "SeriesTime": "11"}, 11),
]
"""What is stored, one after the other, and the statements that it may take beside BEGIN and COMMIT.

One of them asks for amendments.
"""


def test_storing_takes_few_statements(index: Index, files: Files):
    seen: list[str] = []
    index._writer._connection.set_trace_callback(seen.append)
    taken = []
    for number, (what, values, _) in enumerate(STATEMENTS):
        seen.clear()
        index.add(files.record(str(number), PatientName="a", **values), "replace")
        taken.append((what, len([text for text in seen if not text.startswith(("BEGIN", "COMMIT", "PRAGMA"))])))
    assert all(count <= most for (_, count), (_, _, most) in zip(taken, STATEMENTS, strict=True)), taken
