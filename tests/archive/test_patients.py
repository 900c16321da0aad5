"""Patients that are merged, given another ID, or told of anew: objects, worklist items and performed steps follow."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from minipacs.archive.archive import Archive
from minipacs.archive.care import patients
from minipacs.archive.care.amendments import adopt, correct, put, revoke
from minipacs.archive.care.patients import Author, Person
from minipacs.archive.care.reindex import reindex
from minipacs.archive.care.start import prepare
from minipacs.dicom.data_set.amendments import Amendment, Identity, Part
from minipacs.dicom.data_set.values import Values, text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.dicom.workflow.scheduling import steps_of
from minipacs.errors import Failure, Kind
from tests.archive.test_amending import ORIGINAL, found, loaded, out
from tests.support.objects import ct
from tests.support.storing import put as store

ID, NAME, ISSUER, STUDY = map(tag_named, ("PatientID", "PatientName", "IssuerOfPatientID", "StudyInstanceUID"))
RIS = Author("RIS|HOSP", "MINIPACS")
STEPS = tag_named("ScheduledProcedureStepSequence")


def merge(archive: Archive, prior: Identity, survivor: Person, author: Author = RIS) -> str:
    """Merge, and return the id of the amendment, "" if there was nothing to do."""
    planned = patients.merge(archive.index, prior, survivor, author)
    ids, _ = put(
        archive.tree, archive.index, [planned] if planned else [], lambda all_: [archive.index.amend(a) for a in all_]
    )
    return ids[0] if ids else ""


def person(patient_id: str, name: str = "Roe^Jim", issuer: str = "") -> Person:
    return Person(Identity(patient_id, issuer), {"PatientName": name})


def ids(archive: Archive) -> list[tuple[str, ...]]:
    return found(archive, "PATIENT", "PatientID", "NumberOfPatientRelatedInstances")


def schedule(archive: Archive, patient_id: str, study: str = "1.2.3", **more: str) -> None:
    step = {tag_named("ScheduledStationAETitle"): "CT1", tag_named("Modality"): "CT"}
    start = {tag_named("ScheduledProcedureStepStartDate"): "20260101", tag_named("ScheduledProcedureStepID"): "S"}
    start[tag_named("ScheduledProcedureStepStartTime")] = "100000"
    names = {tag_named(keyword): value for keyword, value in more.items()}
    request: Values = {ID: patient_id, NAME: "Doe^Jane", STUDY: study, **names, STEPS: ({**step, **start},)}
    archive.index.worklist.put(steps_of(request))


def items(archive: Archive) -> list[tuple[str, str]]:
    """List whose worklist items and performed steps are."""
    scheduled = [step.values for step in archive.index.worklist.find([], hidden_too=True)]
    performed = [step.values for step in archive.index.performed_steps.find()]
    return [(text(values, ID), text(values, NAME)) for values in (*scheduled, *performed)]


def perform(archive: Archive, patient_id: str, study: str = "1.2.3") -> None:
    step: Values = {STUDY: study, tag_named("ScheduledProcedureStepID"): "S"}
    values: Values = {
        ID: patient_id,
        NAME: "Doe^Jane",
        tag_named("PerformedProcedureStepStatus"): "IN PROGRESS",
        tag_named("ScheduledStepAttributesSequence"): (step,),
    }
    archive.index.performed_steps.create(f"2.25.{study}", values, "CT1")


def test_all_of_a_patient_is_another_s_and_what_comes_later_too_until_that_is_revoked(archive: Archive) -> None:
    first, other, survivor = ct(PatientID="P1"), ct(PatientID="P1"), ct(PatientID="P2", PatientName="Roe^Jim")
    for ds in (first, other, survivor):
        store(archive, ds)
    schedule(archive, "P1")
    perform(archive, "P1")
    merged = merge(archive, Identity("P1"), person("P2"))
    assert ids(archive) == [("P2", "3")]
    late, same_study = ct(PatientID="P1"), ct(PatientID="P1", StudyInstanceUID=first.StudyInstanceUID)
    for ds in (late, same_study, first):
        store(archive, ds)
    assert ids(archive) == [("P2", "5")]
    assert set(items(archive)) == {("P2", "Roe^Jim")}
    for ds in (first, late):
        read = loaded(out(archive, ds.SOPInstanceUID))
        (item,) = read[ORIGINAL].value
        assert (read.PatientID, str(read.PatientName)) == ("P2", "Roe^Jim")
        assert item.ModifiedAttributesSequence[0].PatientID == "P1"
        assert item.ReasonForTheAttributeModification == "COERCE"
    assert ORIGINAL not in loaded(out(archive, survivor.SOPInstanceUID))
    assert {event.reason for event in archive.index.changes(0) if event.action == "update"} == {"merged"}
    revoke(archive.tree, archive.index, merged, by="me")
    assert ids(archive) == [("P1", "4"), ("P2", "1")]
    assert set(items(archive)) == {("P1", "Doe^Jane")}
    assert ORIGINAL not in loaded(out(archive, late.SOPInstanceUID))


def test_merges_follow_each_other_in_whatever_order_objects_came(archive: Archive) -> None:
    for number in (1, 2, 3):
        store(archive, ct(PatientID=f"P{number}"))
    merge(archive, Identity("P2"), person("P3"))
    merge(archive, Identity("P1"), person("P2"))  # who is P3
    store(archive, ct(PatientID="P1"))
    assert ids(archive) == [("P3", "4")]
    assert merge(archive, Identity("P1"), person("P2")) == ""
    assert merge(archive, Identity("P1"), person("P3")) == ""
    second = merge(archive, Identity("P3"), person("P4"))
    store(archive, ct(PatientID="P2"))
    assert ids(archive) == [("P4", "5")]
    revoke(archive.tree, archive.index, second, by="me")
    assert ids(archive) == [("P3", "5")]


def test_circles_and_merges_into_a_third_are_refused(archive: Archive) -> None:
    store(archive, ct(PatientID="P1"))
    merge(archive, Identity("P1"), person("P2"))
    merge(archive, Identity("P2"), person("P3"))
    for prior, survivor, kind in (
        ("P2", "P1", Kind.EXISTS),
        ("P3", "P1", Kind.EXISTS),
        ("P1", "P9", Kind.EXISTS),
        ("P5", "P5", Kind.INVALID),
    ):
        with pytest.raises(Failure) as refused:
            merge(archive, Identity(prior), person(survivor))
        assert refused.value.kind is kind
    assert ids(archive) == [("P3", "1")]


def test_issuers_tell_patients_apart(archive: Archive) -> None:
    for issuer in ("A", "B"):
        store(archive, ct(PatientID="P1", IssuerOfPatientID=issuer))
    store(archive, ct(PatientID="P1"))
    with pytest.raises(Failure, match="issuer must be named"):
        merge(archive, Identity("P1"), person("P2"))
    merge(archive, Identity("P1", "A"), person("P2", issuer="A"))
    rows = found(archive, "PATIENT", "PatientID", "IssuerOfPatientID")
    assert rows == [("P1", ""), ("P1", "B"), ("P2", "A")]
    own = Author("RIS|HOSP", "MINIPACS", authority="B")
    merge(archive, Identity("P1", "B"), person("P2", issuer="A"), own)
    assert found(archive, "PATIENT", "PatientID", "IssuerOfPatientID") == [("P2", "A")]


def test_who_had_no_issuer_comes_under_the_row_of_the_survivor(archive: Archive) -> None:
    store(archive, ct(PatientID="P1"))
    store(archive, ct(PatientID="P2"))
    merge(archive, Identity("P1", "HOSP"), person("P2", issuer="HOSP"))
    assert found(archive, "PATIENT", "PatientID", "IssuerOfPatientID") == [("P2", "")]


def test_an_update_amends_what_differs_once(archive: Archive) -> None:
    objects = [ct(PatientID="P1", PatientName=name) for name in ("Doe^Jane", "Doe^Jane^^^", "Do^Jane")]
    for ds in objects:
        store(archive, ds)
    schedule(archive, "P1")
    told = Person(Identity("P1"), {"PatientName": "Doe^Jane", "PatientSex": "F"})
    for expected in (True, False):
        change = patients.update(archive.index, told, {}, RIS)
        assert (change.amendment is not None) is expected
        put(
            *(archive.tree, archive.index, [change.amendment] if change.amendment else []),
            lambda all_: [archive.index.amend(each, change.people) for each in all_],  # noqa: B023
        )
    assert {str(loaded(out(archive, ds.SOPInstanceUID)).PatientSex) for ds in objects} == {"F"}
    assert loaded(out(archive, objects[2].SOPInstanceUID)).PatientName == "Doe^Jane"
    store(archive, ct(PatientID="P1", PatientName="Other^Name"))  # of a study that was not there: not touched
    assert len(found(archive, "STUDY", "PatientName", PatientName="Other*")) == 1


def test_nothing_is_told_of_who_was_merged(archive: Archive) -> None:
    store(archive, ct(PatientID="P1"))
    merge(archive, Identity("P1"), person("P2"))
    change = patients.update(archive.index, person("P1", "Old^Name"), {}, RIS)
    assert (change.amendment, change.people.whose) == (None, ())


def test_a_study_that_is_another_patient_s_takes_along_what_is_begun_alone(archive: Archive) -> None:
    store(archive, ct(PatientID="P1", StudyInstanceUID="1.2.3"))
    schedule(archive, "P1", "1.2.3")
    schedule(archive, "P1", "1.2.4")
    parts = [Part("1.2.3", "P1", "")]
    first, _ = correct(archive.tree, archive.index, parts, {"PatientID": "P2"}, by="me", source="X")
    assert items(archive) == [("P1", "Doe^Jane")] * 2  # still to be done, for whom it was ordered
    revoke(archive.tree, archive.index, first, by="me")
    perform(archive, "P1", "1.2.3")
    correct(archive.tree, archive.index, parts, {"PatientID": "P2"}, by="me", source="X")
    assert sorted(items(archive)) == [("P1", "Doe^Jane"), ("P2", "Doe^Jane"), ("P2", "Doe^Jane")]


def test_what_an_order_gave_to_somebody_else_meanwhile_is_not_taken_back(archive: Archive) -> None:
    schedule(archive, "P1")
    merged = merge(archive, Identity("P1"), person("P2"))
    schedule(archive, "P9")
    revoke(archive.tree, archive.index, merged, by="me")
    assert items(archive) == [("P9", "Doe^Jane")]


def test_a_correction_of_what_was_merged_is_revoked_first_and_an_update_is_not_in_the_way(archive: Archive) -> None:
    ds, theirs = ct(PatientID="P1"), ct(PatientID="P2")
    store(archive, ds)
    store(archive, theirs)
    merged = merge(archive, Identity("P1"), person("P2"))
    told = correct(
        *(archive.tree, archive.index, [Part(ds.StudyInstanceUID, "P2", "")], {"PatientSex": "F"}),
        **{"by": "RIS", "source": "X", "reason": "COERCE"},
    )
    correct(
        archive.tree, archive.index, [Part(theirs.StudyInstanceUID, "P2", "")], {"StudyID": "1"}, by="me", source=""
    )
    mended, _ = correct(
        archive.tree, archive.index, [Part(ds.StudyInstanceUID, "P2", "")], {"StudyID": "7"}, by="me", source="X"
    )
    with pytest.raises(Failure, match=mended):
        revoke(archive.tree, archive.index, merged, by="me")
    revoke(archive.tree, archive.index, mended, by="me")
    revoke(archive.tree, archive.index, merged, by="me")
    assert told
    assert ids(archive) == [("P1", "1"), ("P2", "1")]
    assert ORIGINAL not in loaded(out(archive, ds.SOPInstanceUID))


def test_a_lost_index_and_reindex_give_the_same_answers(open_archive: Callable[..., Archive], tmp_path: Path) -> None:
    archive = open_archive(recovers=True)
    for number in (1, 2, 3):
        store(archive, ct(PatientID=f"P{number}"))
    merge(archive, Identity("P1"), person("P2"))
    wrong = merge(archive, Identity("P3"), person("P2"))
    revoke(archive.tree, archive.index, wrong, by="me")
    merge(archive, Identity("P2"), person("P4"))
    store(archive, ct(PatientID="P1"))
    rows = found(archive, "IMAGE", "SOPInstanceUID", "PatientID", "PatientName")
    assert {row[1] for row in rows} == {"P3", "P4"}
    reindex(archive, lambda done: None)
    assert found(archive, "IMAGE", "SOPInstanceUID", "PatientID", "PatientName") == rows
    archive.close()
    for path in (tmp_path / "archive").glob("index.db*"):
        path.unlink()
    archive = open_archive(recovers=True)
    lock = archive.tree.daemon_lock()
    prepare(archive, lock)
    assert found(archive, "IMAGE", "SOPInstanceUID", "PatientID", "PatientName") == rows
    lock.release()


def test_a_step_that_is_begun_under_the_old_id_is_the_survivor_s(archive: Archive) -> None:
    merge(archive, Identity("P1"), person("P2"))
    perform(archive, "P1")
    assert items(archive) == [("P2", "Roe^Jim")]


def test_a_document_that_merges_all_without_an_id_is_refused(archive: Archive) -> None:
    store(archive, ct(PatientID=""))
    document = Amendment(1.0, "me", (Part("", "", ""),), {"PatientID": "P2"}).encode()
    archive.tree.amendments.keep(document)
    with pytest.raises(Exception, match="put back a good copy"):
        adopt(archive.tree, archive.index)


def test_a_conflict_that_is_over_with_the_change_is_not_logged(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    study = ct(PatientID="P1")
    for _ in range(3):
        store(archive, ct(PatientID="P1", StudyInstanceUID=study.StudyInstanceUID, SeriesInstanceUID="1.2.9"))
    caplog.set_level(logging.WARNING)
    part = Part(study.StudyInstanceUID, "P1", "")
    correct(archive.tree, archive.index, [part], {"PatientID": "P2", "PatientName": "New^Name"}, by="me", source="X")
    assert "conflict" not in caplog.text
    assert not list(archive.index.conflicts())
    store(archive, ct(PatientID="P1", StudyInstanceUID="1.2.7"))
    store(archive, ct(PatientID="P3", StudyInstanceUID="1.2.7"))
    assert "conflict" in caplog.text
