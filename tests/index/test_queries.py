from collections.abc import Iterator

import pytest

from minipacs.dicom.tables.attributes import ATTRIBUTES, BY_KEYWORD, LEVELS, Level
from minipacs.errors import Failure, Kind
from minipacs.index import AVAILABILITY, Allowance, Index, Query, QueryCancelled, StoredInstance
from minipacs.index.queries.selection import selections
from tests.index.conftest import CT, EXPLICIT, MR, Files


def key(keyword: str, text: str = "") -> tuple:  # type: ignore[type-arg]
    return BY_KEYWORD[keyword], text


def fill(index: Index, files: Files, studies: int = 6, instances: int = 5) -> None:
    for s in range(studies):
        for i in range(instances):
            record = files.record(
                f"9.{s}.{i}",
                study=f"1.{s}",
                series=f"1.{s}.{i % 2}",
                PatientID=f"P{s % 3}",
                PatientName=f"Doe{s % 3}^John=山田{s}",
                StudyDate=f"2024010{s % 4 + 1}",
                AccessionNumber=f"A{s}",
                InstanceNumber=str(i),
                Modality="CT" if i % 2 else "MR",
            )
            index.add(record, "replace")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Make an index that is only read."""
    index = Index.open(tmp_path_factory.mktemp("index") / "index.db")
    fill(index, Files())
    yield index
    index.close()


def test_every_attribute_is_returned_as_it_was_stored(index: Index, files: Files):
    values = {a.keyword: f"value of {a.keyword}" for a in ATTRIBUTES if not a.computed}
    values |= {"StudyInstanceUID": "1", "SeriesInstanceUID": "2", "Modality": "OT", "SOPClassUID": CT}
    record = files.record("3", **values)
    index.add(record, "replace")
    asked = [*ATTRIBUTES, AVAILABILITY]
    (row,) = index.find(Query("IMAGE", [], asked))
    found = {a.keyword: text for a, text in zip(asked, row, strict=True)}
    counts = {a.keyword: "1" for a in ATTRIBUTES if a.computed}
    expected = values | counts | {"SOPInstanceUID": "3", "InstanceAvailability": "ONLINE"}
    assert found == expected | {"ModalitiesInStudy": "OT", "SOPClassesInStudy": CT}


def test_f19_counts_and_lists_of_lower_levels(index: Index, files: Files):
    index.add(files.record("1", study="1", series="1"), "replace")
    index.add(files.record("2", study="1", series="2", Modality="SR", SOPClassUID=MR), "replace")
    index.add(files.record("3", study="1", series="2", Modality="SR", SOPClassUID=MR), "replace")
    index.add(files.record("4", study="2", series="3"), "replace")
    computed = [a for a in ATTRIBUTES if a.computed and a.level in ("PATIENT", "STUDY")]
    assert set(index.find(Query("STUDY", [], computed))) == {
        ("2", "3", "4", "CT\\SR", f"{CT}\\{MR}", "2", "3"),
        ("2", "3", "4", "CT", CT, "1", "1"),
    }


@pytest.mark.parametrize("page_rows", [1, 2, 3, 100])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "keys",
    [
        [],
        [key("PatientID", "P1")],
        [key("PatientName", "doe*")],
        [key("PatientName", "?oe*")],
        [key("PatientName", "山*")],
        [key("PatientName", "doe1^john\\doe2*")],
        [key("PatientBirthDate", "")],
    ],
)
def test_pages_join_to_the_answer(filled: Index, level: Level, page_rows: int, keys: list):  # type: ignore[type-arg]
    index = filled
    unique = [a for a in ATTRIBUTES if a.key == "U" and LEVELS.index(a.level) <= LEVELS.index(level)]
    rows = list(index.find(Query(level, keys, unique), page_rows=page_rows))
    patients = {"PatientID": {"P1"}, "PatientName": {"P0", "P1", "P2"}}.get(keys[0][0].keyword if keys else "")
    if keys and "doe1" in keys[0][1]:
        patients = {"P1", "P2"}
    everything = list(index.find(Query(level, [], unique)))
    assert len(set(rows)) == len(rows)
    assert sorted(rows) == sorted(row for row in everything if patients is None or row[0] in patients)
    assert len(everything) == {"PATIENT": 3, "STUDY": 6, "SERIES": 12, "IMAGE": 30}[level]


@pytest.mark.parametrize("page_rows", [1, 7])
def test_pages_of_a_range_join_to_the_answer(index: Index, files: Files, page_rows: int):
    fill(index, files)
    query = Query("IMAGE", [key("StudyDate", "20240102-20240103")], [BY_KEYWORD["SOPInstanceUID"]])
    expected = [f"9.{s}.{i}" for s in range(6) for i in range(5) if s % 4 in (1, 2)]
    assert sorted(uid for (uid,) in index.find(query, page_rows=page_rows)) == expected
    assert index.count(query, 1000) == len(expected)
    assert index.count(query, 4) == 4


@pytest.mark.parametrize(("level", "count"), [("PATIENT", 3), ("STUDY", 6), ("SERIES", 12), ("IMAGE", 30)])
def test_everything_is_counted_without_reading_it(
    index: Index, files: Files, level: Level, count: int, monkeypatch: pytest.MonkeyPatch
):
    fill(index, files)
    monkeypatch.setattr(Index, "find", None)
    for keys in ([], [key("PatientName", "")], [key("PatientID", "*")]):
        assert index.count(Query(level, keys, []), 1000) == count
    assert index.count(Query(level, [], []), 2) == 2


def test_nothing_is_held_between_pages(index: Index, files: Files):
    fill(index, files, studies=3)
    rows = index.find(Query("IMAGE", [], [BY_KEYWORD["SOPInstanceUID"]]), page_rows=2)
    first = next(rows)
    assert index._database._readers.idle == 1
    busy, _, _ = index._writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    index.remove([f"9.{s}.{i}" for s in range(1, 3) for i in range(5)])
    assert sorted([first, *rows]) == [(f"9.0.{i}",) for i in range(5)]


def test_f20_a_query_can_be_cancelled_between_pages(index: Index, files: Files):
    fill(index, files)
    cancelled: list[bool] = []
    allowance = Allowance("PEER", lambda: bool(cancelled))
    rows = index.find(Query("IMAGE", [], [BY_KEYWORD["SOPInstanceUID"]]), allowance=allowance, page_rows=3)
    assert len([next(rows) for _ in range(3)]) == 3
    cancelled.append(True)
    with pytest.raises(QueryCancelled):
        next(rows)


def test_keys_are_checked_before_the_first_answer(index: Index):
    with pytest.raises(Failure) as refused:
        index.find(Query("STUDY", [key("StudyDate", "yesterday")], []))
    assert (refused.value.kind, refused.value.tags) == (Kind.INVALID, (0x00080020,))


def test_attributes_below_the_level_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="below level STUDY"):
        Query("STUDY", [key("Modality", "CT")], [])
    with pytest.raises(ValueError, match="below level PATIENT"):
        Query("PATIENT", [], [BY_KEYWORD["StudyDate"]])
    with pytest.raises(ValueError, match="no matching key"):
        Query("STUDY", [(AVAILABILITY, "ONLINE")], [])


@pytest.mark.parametrize("keys", [{}, {"StudyDate": "20240101-"}, {"PatientName": "d*"}, {"StudyDate": "20240101"}])
@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_long_answers_are_read_in_an_order_that_needs_no_sorting(index: Index, level: Level, keys: dict[str, str]):
    for selection in selections(Query(level, [key(*pair) for pair in keys.items()], [BY_KEYWORD["PatientID"]])):
        for after in ((), tuple(5 if field.name == "id" else "2" for field in selection._order)):
            assert not [step for step in explain(index, selection.page(after, 100)) if "TEMP B-TREE" in step]


def test_the_most_selective_index_is_read():
    keys = [key("PatientName", "d*"), key("StudyDate", "20240101")]
    (selection,) = selections(Query("STUDY", keys, []))
    assert [field.name for field in selection._order] == ["id"]
    keys = [key("PatientName", "doe^john"), key("StudyDate", "20240101-")]
    (selection,) = selections(Query("STUDY", keys, []))
    assert [field.model.__name__ for field in selection._order] == ["Study"]


def explain(index: Index, select: object) -> list[str]:
    sql, parameters = index._database.compile(select)  # type: ignore[arg-type]
    with index._database.reader() as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def test_instances_of_unique_keys_in_order(index: Index, files: Files):
    for uid, series, number in (("1", "1", "10"), ("2", "1", "9"), ("3", "2", "x"), ("4", "1", ""), ("5", "2", "1")):
        index.add(files.record(uid, series=series, InstanceNumber=number), "replace")
    index.add(files.record("6", study="7", series="3", PatientID="P2"), "replace")

    def uids(**keys: list[str]) -> list[str]:
        return [found.sop_instance_uid for found in index.instances(keys)]

    assert uids(StudyInstanceUID=["1.1"]) == ["4", "2", "1", "3", "5"]
    assert uids(PatientID=["P1"], StudyInstanceUID=["1.1", "7"]) == ["4", "2", "1", "3", "5"]
    assert uids(StudyInstanceUID=["7", "1.1", "7"]) == ["4", "2", "1", "3", "5", "6"]
    assert uids(StudyInstanceUID=["1.1"], SeriesInstanceUID=["2", "3"]) == ["3", "5"]
    assert uids(PatientID=["P2"]) == ["6"]
    assert uids(SOPInstanceUID=["5", "6", "none"]) == ["5", "6"]
    assert uids(SOPInstanceUID=[*map(str, range(3000))]) == ["4", "2", "1", "3", "5", "6"]
    assert uids(SOPInstanceUID=["%", "*", ""]) == []


def test_a_list_of_instances_has_a_bound(index: Index, files: Files, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("minipacs.index.queries.queries.MAX_LISTED", 3)
    for n in range(4):
        index.add(files.record(str(n)), "replace")
    assert len(index.instances({"SOPInstanceUID": ["0", "1", "2", "none"]})) == 3
    for keys in ({"StudyInstanceUID": ["1.1"]}, {"SOPInstanceUID": [*"0123", *map(str, range(600, 1600))]}):
        with pytest.raises(Failure, match="more than 3 instances") as refused:
            index.instances(keys)
        assert refused.value.kind is Kind.TOO_MANY


def test_looking_up_an_instance(index: Index, files: Files):
    record = files.record("1")
    index.add(record, "replace")
    assert index.instance("1") == StoredInstance(
        CT, "1", EXPLICIT, record.digest, 1000, "ONLINE", received_at=record.received_at
    )
    assert index.instance("2") is None
    assert index.has_digest(record.digest)
    assert not index.has_digest("")


def test_all_digests_in_order(index: Index, files: Files, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("minipacs.index.queries.inventory.DIGESTS_PAGE_ROWS", 4)
    records = [files.record(str(i)) for i in range(12)]
    for record in records:
        index.add(record, "replace")
    assert list(index.digests()) == sorted((record.digest, 1000) for record in records)


def test_what_was_received_last(index: Index, files: Files):
    records = [files.record(str(i)) for i in range(5)]  # a second apart
    for record in records:
        index.add(record, "replace")
    assert sorted(set(index.received_last(1.5))) == sorted(record.digest for record in records[3:])


def test_what_was_received_last_is_found_without_a_look_at_all_rows(
    index: Index, files: Files, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("minipacs.index.queries.inventory.EVENTS_PAGE_ROWS", 4)
    records = [files.record(str(i)) for i in range(40)]
    for record in records:
        monkeypatch.setattr("minipacs.index.ledger.changes.time.time", lambda at=record.received_at: at)
        index.add(record, "replace")
    index.remove([records[-1].sop_instance_uid])
    pages: list[int] = []
    read = index._last_events
    monkeypatch.setattr(index, "_last_events", lambda before, rows: pages.append(rows) or read(before, rows))
    assert list(index.received_last(2)) == [record.digest for record in reversed(records[-4:-1])]
    assert pages == [4, 4]


def test_received_last_of_nothing(index: Index):
    assert list(index.received_last(60)) == []
    assert list(index.digests()) == []


def test_statistics(index: Index, files: Files):
    fill(index, files)
    found = index.statistics()
    assert (found.patients, found.studies, found.series, found.instances) == (3, 6, 12, 30)
    assert found.stored_bytes == 30_000
    assert found.by_modality == {"CT": 12, "MR": 18}


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 256, 257, 600])
def test_subjects_are_those_of_all_that_is_asked_for(index: Index, files: Files, count: int):
    fill(index, files, studies=2, instances=5)
    known = [f"9.{s}.{i}" for s in range(2) for i in range(5)]
    asked = (known + [f"8.{n}" for n in range(count)])[-count:] if count else []
    found = index.subjects(asked)
    assert set(found) == set(asked) & set(known)
    for uid, subject in found.items():
        study = uid.split(".")[1]
        assert (subject.study_instance_uid, subject.accession_number) == (f"1.{study}", f"A{study}")
    assert set(index.subjects(known * 30)) == set(known)
