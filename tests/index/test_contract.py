"""What every catalogue of rows promises (`archive.ports.Catalogue`), asked of each there is."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minipacs.archive.ports import Catalogue
from minipacs.dicom.tables.attributes import BY_KEYWORD, UNIQUE_KEY
from minipacs.errors import Failure, Kind
from minipacs.index import Allowance, Form, Index, Order, Outcome, Placed, Query, QueryCancelled, ToGo
from minipacs.index.ledger.checks import LastCheck
from tests.index.conftest import CT, EXPLICIT, MR, Files

JPEG_2000 = "1.2.840.10008.1.2.4.90"

Open = Callable[[], Catalogue]


def open_index(folder: Path) -> Catalogue:
    return Index.open(folder / "index.db")


@pytest.fixture(params=[open_index])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open the same catalogue, as often as wanted, as several processes do; all are closed at the end."""
    found: list[Catalogue] = []

    def open_() -> Catalogue:
        found.append(request.param(tmp_path))
        return found[-1]

    yield open_
    for each in found:
        each.close()


@pytest.fixture
def catalogue(opened: Open) -> Catalogue:
    return opened()


def ask(catalogue: Catalogue, level: str, returned: str, **keys: str) -> list[str]:
    query = Query(level, [(BY_KEYWORD[k], text) for k, text in keys.items()], [BY_KEYWORD[returned]])  # type: ignore[arg-type]
    found = sorted(text for (text,) in catalogue.find(query))
    assert catalogue.count(query, len(found) + 1) == len(found)
    return found


def everything(catalogue: Catalogue) -> list[tuple[object, ...]]:
    return [tuple(catalogue.statistics().by_modality.items()), *catalogue.files(), *catalogue.digests()]


def test_a_row_has_all_that_it_was_told(catalogue: Catalogue, files: Files):
    record = files.record("1", PatientName="Doe^John", size_bytes=1234)
    assert catalogue.add(record, "replace") == Placed(Outcome.ADDED)
    found = catalogue.instance("1")
    assert found is not None
    assert found[:6] == (CT, "1", EXPLICIT, record.digest, 1234, "ONLINE")
    assert found.received_at == record.received_at
    assert catalogue.has_digest(record.digest)
    assert catalogue.uid_of(record.digest) == "1"
    assert list(catalogue.digests()) == list(catalogue.digests(record.digest[:2])) == [(record.digest, 1234)]
    (file,) = catalogue.files()
    assert file[:3] == (record.digest, 1234, record.received_at)
    received = catalogue.receipts("StudyInstanceUID", ["1.1", "no such"])
    assert received == {"1.1": (record.received_at, ("SCU",))}
    assert catalogue.last_received() == {"SCU": record.received_at}
    assert (catalogue.instance("2"), catalogue.uid_of("00"), catalogue.has_digest("00")) == (None, None, False)


@pytest.mark.parametrize(
    ("policy", "outcome", "stays", "goes"),
    [("replace", Outcome.REPLACED, 1, 0), ("keep", Outcome.KEPT, 0, 1), ("reject", Outcome.REJECTED, 0, None)],
)
def test_what_gives_way_is_noted_in_the_same_commit(catalogue: Catalogue, files: Files, policy, outcome, stays, goes):
    records = files.record("1"), files.record("1", content="other")
    catalogue.add(records[0], "replace")
    gone = "" if goes is None else records[goes].digest
    assert catalogue.add(records[1], policy) == Placed(outcome, gone)
    assert [digest for digest, _ in catalogue.digests()] == [records[stays].digest]
    assert [file.digest for file in catalogue.removals.unfinished()] == ([] if goes is None else [gone])


def test_the_same_again_changes_nothing(catalogue: Catalogue, files: Files):
    record = files.record("1")
    catalogue.add(record, "replace")
    before, seen = everything(catalogue), catalogue.changes(0)
    assert catalogue.add(record, "reject") == Placed(Outcome.SAME)
    assert [placed.outcome for placed in catalogue.add_all([record])] == [Outcome.SAME]
    assert (everything(catalogue), catalogue.changes(0)) == (before, seen)


def test_a_uid_that_is_missing_is_told_by_its_tag(catalogue: Catalogue, files: Files):
    with pytest.raises(Failure) as refused:
        catalogue.add(files.record("1", study=""), "replace")
    assert (refused.value.kind, refused.value.tags) == (Kind.MISSING, (UNIQUE_KEY["STUDY"].tag,))
    assert catalogue.statistics().instances == 0


def test_many_at_once_fail_alone(catalogue: Catalogue, files: Files):
    records = [files.record(str(i), study="" if i % 5 == 0 else "1.1") for i in range(1, 41)]

    def add(record) -> Outcome | Kind:
        try:
            return catalogue.add(record, "replace").outcome
        except Failure as failure:
            return failure.kind

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(add, records))
    assert found == [Kind.MISSING if i % 5 == 0 else Outcome.ADDED for i in range(1, 41)]
    assert catalogue.statistics().instances == 32
    assert ask(catalogue, "STUDY", "NumberOfStudyRelatedInstances", StudyInstanceUID="1.1") == ["32"]


def test_what_one_commits_all_others_see(opened: Open, files: Files):
    one, other = opened(), opened()
    one.add(files.record("1"), "replace")
    assert other.instance("1") is not None
    other.remove(["1"])
    assert one.instance("1") is None
    assert [change.seq for change in one.changes(0)] == [change.seq for change in other.changes(0)]


def test_rows_above_go_with_the_last_below(catalogue: Catalogue, files: Files):
    records = [files.record("1"), files.record("2", series="1.1.2", Modality="MR", SOPClassUID=MR)]
    for record in records:
        catalogue.add(record, "replace")
    assert catalogue.remove(["1", "no such"]) == [records[0].digest]
    assert ask(catalogue, "SERIES", "SeriesInstanceUID") == ["1.1.2"]
    assert ask(catalogue, "STUDY", "ModalitiesInStudy") == ["MR"]
    catalogue.remove(["2"])
    found = catalogue.statistics()
    assert (found.patients, found.studies, found.series, found.instances, found.stored_bytes) == (0, 0, 0, 0, 0)
    assert [file.digest for file in catalogue.removals.unfinished()] == sorted(record.digest for record in records)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, ["1", "2", "3"]),
        ({"PatientName": "doe^john"}, ["1"]),
        ({"PatientName": "D*"}, ["1", "2"]),
        ({"PatientName": "?oe*"}, ["1"]),
        ({"StudyDate": "20240102-"}, ["2", "3"]),
        ({"StudyDate": "20240101"}, ["1"]),
        ({"StudyInstanceUID": "1\\3\\4"}, ["1", "3"]),
        ({"ModalitiesInStudy": "MR"}, ["2"]),
        ({"PatientName": "[D]oe*"}, []),
        ({"PatientName": "%"}, []),
    ],
)
def test_matching(catalogue: Catalogue, files: Files, keys: dict[str, str], found: list[str]):
    for uid, name, date, modality in (
        ("1", "Doe^John", "20240101", "CT"),
        ("2", "Dupont^Anne", "20240102", "MR"),
        ("3", "Müller^Jörg", "20240103", "CT"),
    ):
        values = {"PatientName": name, "StudyDate": date, "Modality": modality, "PatientID": uid}
        catalogue.add(files.record(uid, study=uid, series=f"{uid}.1", **values), "replace")
    assert ask(catalogue, "STUDY", "StudyInstanceUID", **keys) == found


def test_an_order_and_a_part_of_it(catalogue: Catalogue, files: Files):
    for i in range(1, 8):
        catalogue.add(files.record(str(i), study=str(i), series=f"{i}.1", StudyDate=f"2024010{i}"), "replace")
    uid = UNIQUE_KEY["STUDY"]
    query = Query("STUDY", [], [uid])
    assert [row for (row,) in catalogue.find_ordered(query, offset=1, limit=3)] == ["6", "5", "4"]
    assert [row for (row,) in catalogue.find_ordered(query, [Order(uid)], offset=5)] == ["6", "7"]


def test_a_query_that_nobody_waits_for_ends_between_pages(catalogue: Catalogue, files: Files):
    catalogue.add_all([files.record(str(i)) for i in range(250)])
    gone = threading.Event()
    rows = catalogue.find(Query("IMAGE", [], [UNIQUE_KEY["IMAGE"]]), allowance=Allowance("PEER", gone.is_set))
    next(rows)
    gone.set()
    with pytest.raises(QueryCancelled):
        list(rows)
    late = Allowance("PEER", limit_s=-1)
    with pytest.raises(Failure) as over:
        list(catalogue.find(Query("IMAGE", [], [UNIQUE_KEY["IMAGE"]]), allowance=late))
    assert over.value.kind is Kind.BUSY


def test_a_list_for_retrieval_is_in_order_and_stays_as_it_is(catalogue: Catalogue, files: Files):
    for uid, series, number in (("1", "1.1.2", "2"), ("2", "1.1.2", "1"), ("3", "1.1.1", "7"), ("4", "1.1.1", "")):
        catalogue.add(files.record(uid, series=series, InstanceNumber=number), "replace")
    listed = catalogue.instances({"StudyInstanceUID": ["1.1"]})
    catalogue.remove(["2"])
    assert [instance.sop_instance_uid for instance in listed] == ["2", "1", "4", "3"]
    some = catalogue.instances({"SeriesInstanceUID": ["1.1.2"], "SOPInstanceUID": ["2", "3", "1"]})
    assert [instance.sop_instance_uid for instance in some] == ["1"]
    assert catalogue.instances({"PatientID": ["nobody"]}) == []


def test_availability(catalogue: Catalogue, files: Files):
    record, whole = files.record("1"), files.record("2")
    catalogue.add_all([record, whole])
    catalogue.set_availability([record.digest, "00"], "UNAVAILABLE")
    assert [file.digest for file in catalogue.files() if file.availability != "ONLINE"] == [record.digest]
    assert catalogue.unavailable_count() == 1
    assert list(catalogue.online_digests("")) == [whole.digest]
    catalogue.add(record, "keep")
    assert catalogue.file("1").availability == "ONLINE"


def test_what_an_instance_says_itself(catalogue: Catalogue, files: Files):
    first, other = files.record("1", PatientName="Doe"), files.record("2", PatientName="Other", StudyDate="")
    assert (catalogue.file("1"), catalogue.heading("1")) == (None, None)
    catalogue.add_all([first, other])
    assert catalogue.file("2").digest == other.digest
    assert catalogue.heading("2") == {
        "PatientID": "P1",
        "PatientName": "Other",
        "StudyInstanceUID": "1.1",
        "SeriesInstanceUID": "1.1.1",
        "Modality": "CT",
    }


def test_a_compressed_form_takes_the_place_of_its_file(catalogue: Catalogue, files: Files):
    record, form = files.record("1"), Form("c" * 64, 400, JPEG_2000, "MONOCHROME2")
    catalogue.add(record, "replace")
    assert [instance.sop_instance_uid for instance in catalogue.compressible()] == ["1"]
    assert catalogue.settle(record.digest, form)
    assert not catalogue.settle(record.digest, form)
    found = catalogue.instance("1")
    assert found is not None
    assert (found.digest, found.size_bytes, found.received_digest) == (form.digest, 400, record.digest)
    assert list(catalogue.compressible()) == []
    assert catalogue.removals.unfinished() == [ToGo(record.digest, "")]
    assert catalogue.add(record, "replace") == Placed(Outcome.SAME, record.digest)


def test_every_change_is_told_in_order_and_after_any_number(catalogue: Catalogue, files: Files):
    one, other = files.record("1"), files.record("1", content="other")
    catalogue.add(one, "replace")
    catalogue.add(other, "replace")
    catalogue.set_availability([other.digest], "UNAVAILABLE")
    catalogue.remove(["1"])
    told = catalogue.changes(0)
    assert [(event.action, event.reason, event.digest) for event in told] == [
        ("create", "", one.digest),
        ("update", "replaced", other.digest),
        ("update", "unavailable", other.digest),
        ("delete", "", other.digest),
    ]
    numbers = [event.seq for event in told]
    assert numbers == sorted(set(numbers))
    assert catalogue.changes(numbers[1]) == told[2:]
    assert catalogue.changes(0, 1) == told[:1]


def test_a_number_is_never_given_again(opened: Open, files: Files):
    catalogue = opened()
    catalogue.add(files.record("1"), "replace")
    catalogue.remove(["1"])
    last = catalogue.changes(0)[-1].seq
    catalogue.close()
    again = opened()
    again.add(files.record("1"), "replace")
    assert again.changes(0)[-1].seq > last


def test_notes_of_removals_are_kept_until_they_are_forgotten(opened: Open, files: Files):
    catalogue = opened()
    records = [files.record(str(i)) for i in range(3)]
    catalogue.add_all(records)
    catalogue.remove(["0", "1", "2"])
    catalogue.close()
    again = opened()
    noted = [file.digest for file in again.removals.unfinished()]
    assert noted == sorted(record.digest for record in records)
    assert [file.digest for file in again.removals.unfinished(noted[0])] == noted[1:]
    again.removals.forget(noted[:1])
    assert [again.removals.has(digest) for digest in noted] == [False, True, True]
    gone = next(record for record in records if record.digest == noted[1])
    again.add(gone, "replace")  # a note that outlived the row would take its file
    assert [again.removals.has(digest) for digest in noted] == [False, False, True]


def test_a_lease_is_one_s_alone_until_it_is_given_back(opened: Open):
    one, other = opened().duties, opened().duties
    one.keep("sweep")
    other.keep("sweep")
    assert len(one.items()) == 1
    item = one.claim_key("sweep", 60)
    assert item is not None
    assert other.claim_key("sweep", 60) is None
    assert other.end_leases_of_the_gone() == 0
    assert one.change(lambda connection: one.give_back(connection, item))
    taken = other.claim("", 60)
    assert taken is not None
    assert not one.change(lambda connection: one.done(connection, item))
    assert other.change(lambda connection: other.done(connection, taken))
    assert one.items() == []


def test_what_is_remembered_survives(opened: Open):
    catalogue = opened()
    assert catalogue.recall("identity") == ""
    catalogue.remember("identity", "one")
    catalogue.remember("identity", "other")
    catalogue.close()
    again = opened()
    assert again.recall("identity") == "other"
    assert again.checks.last() == LastCheck()
    again.checks.note(LastCheck(1.5e9, 3))
    assert opened().checks.last() == (1.5e9, 3)


def test_a_fresh_one_takes_over_the_objects_and_nothing_else(catalogue: Catalogue, files: Files):
    catalogue.add_all([files.record("1"), files.record("2")])
    catalogue.remember("identity", "kept")
    since = catalogue.changes(0)[-1].seq
    with catalogue.fresh() as fresh:
        fresh.add_all([files.record("2"), files.record("3")])
        assert ask(catalogue, "IMAGE", "SOPInstanceUID") == ["1", "2"], "not seen before it takes over"
        catalogue.take_over(fresh, lambda: fresh.remove(["2"]) and None)
    assert ask(catalogue, "IMAGE", "SOPInstanceUID") == ["3"]
    assert catalogue.recall("identity") == "kept"
    assert sorted((e.action, e.sop_instance_uid) for e in catalogue.changes(since)) == [
        ("create", "3"),
        ("delete", "1"),
        ("delete", "2"),
    ]


def test_a_fresh_one_that_is_given_up_leaves_all_as_it_was(catalogue: Catalogue, files: Files, tmp_path: Path):
    catalogue.add(files.record("1"), "replace")
    before, there = everything(catalogue), set(tmp_path.iterdir())
    with catalogue.fresh() as given_up:
        given_up.add(files.record("2"), "replace")
    assert (everything(catalogue), set(tmp_path.iterdir())) == (before, there)
    with catalogue.fresh() as again:
        assert everything(again) == [()]


def test_a_copy_is_whole_and_takes_the_place_of_nothing(catalogue: Catalogue, files: Files, tmp_path: Path):
    catalogue.add(files.record("1"), "replace")
    catalogue.backup(tmp_path / "copy")
    with pytest.raises(FileExistsError):
        catalogue.backup(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size


def test_what_is_closed_takes_nothing_more(catalogue: Catalogue, files: Files):
    catalogue.close()
    catalogue.close()
    with pytest.raises(Failure):
        catalogue.add(files.record("1"), "replace")
