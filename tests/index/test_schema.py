"""The schema and its versions: what a file holds is what statements are written for, whichever release made it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from minipacs.dicom.tables.attributes import BY_KEYWORD, Level
from minipacs.errors import MinipacsError
from minipacs.index import Index, Outcome, Query
from minipacs.index.engine.statements import SerialField
from minipacs.index.objects.models import MODELS
from minipacs.index.schema import SCHEMA_VERSION
from tests.index.conftest import Files

SCHEMAS = Path(__file__).parent / "schemas"
OLDER = sorted(SCHEMAS.glob("[0-9]*.sql"))

FILES: list[dict[str, str]] = [
    {"uid": "1.1.1.1", "study": "1.1", "series": "1.1.1", "PatientName": "Doe^Jane", "PatientBirthDate": "19500101"},
    {"uid": "1.1.1.2", "study": "1.1", "series": "1.1.1", "PatientName": "Doe^Jane", "PatientBirthDate": "19500101"},
    {"uid": "1.2.1.1", "study": "1.2", "series": "1.2.1", "PatientName": "Müller^Jürgen", "Modality": "MR"},
    {"uid": "1.3.1.1", "study": "1.3", "series": "1.1.1", "PatientName": "Doe^Jane"},
    {"uid": "1.4.1.1", "study": "1.4", "series": "1.4.1", "PatientName": "Nobody", "PatientID": ""},
    {"uid": "1.5.1.1", "study": "1.5", "series": "1.5.1", "PatientName": "Smith^John", "PatientID": "P2"},
    {"uid": "1.5.2.1", "study": "1.5", "series": "1.5.2", "PatientName": "Other^One", "PatientID": "P3"},
]
"""What the objects say from which the rows of every older file were made, as far as these tests look."""
FILES[5]["IssuerOfPatientID"] = "HOSP"

OTHER_TABLES = (
    *("commitment", "procedurestep", "workliststep", "worklistdocument", "worklistfolder", "association_account"),
)


def shape(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        return sorted(sql for (sql,) in rows)


def load(path: Path, text: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(text.read_text())


def rows(index: Index, level: Level, *keywords: str, **keys: str) -> list[tuple[str, ...]]:
    asked = [(BY_KEYWORD[k], text) for k, text in keys.items()]
    return sorted(index.find(Query(level, asked, [BY_KEYWORD[k] for k in keywords])))


def test_the_schema_is_the_one_that_is_written_down(open_index: Callable[..., Index], tmp_path: Path):
    """If it was changed on purpose: raise SCHEMA_VERSION, write a migration, keep a file of the last version in
    `schemas` (`sqlite3.Connection.iterdump` of an index that the release before made), then write the text anew."""
    open_index().close()
    text = "".join(f"{sql};\n" for sql in shape(tmp_path / "index.db"))
    assert f"-- schema {SCHEMA_VERSION}\n{text}" == (SCHEMAS / "now.sql").read_text()


def test_there_is_a_file_of_every_older_schema():
    assert {int(path.stem.partition("-")[0]) for path in OLDER} == set(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize("older", OLDER, ids=lambda path: path.stem)
def test_an_index_of_an_older_release_loses_nothing(
    open_index: Callable[..., Index], files: Files, tmp_path: Path, older: Path
):
    path = tmp_path / "index.db"
    load(path, older)
    with closing(sqlite3.connect(path)) as connection:
        before = {row[0]: row[1:] for row in connection.execute("SELECT sop_instance_uid, digest, id FROM instance")}
    with pytest.raises(MinipacsError, match="older schema"):
        open_index(read_only=True)
    index = open_index()
    assert {uid: (index.instance(uid).digest,) for uid in before} == {uid: row[:1] for uid, row in before.items()}
    assert [f.digest for f in index.files() if f.availability != "ONLINE"] == [before["1.5.1.1"][0]]
    assert rows(index, "IMAGE", "PatientName", SOPInstanceUID="1.1.1.1") == [("Doe^Jane",)]
    assert len(list(index.compressible())) == len(before) - 1
    with index._database.reader() as connection:
        for table in OTHER_TABLES:
            assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (1,), table
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        (last,) = connection.execute("SELECT MAX(id) FROM instance").fetchone()
    index.remove(["1.5.2.1"])
    assert index.add(files.record("9", study="9", series="9"), "replace").outcome is Outcome.ADDED
    with index._database.reader() as connection:
        assert connection.execute("SELECT id FROM instance WHERE sop_instance_uid = '9'").fetchone() == (last + 1,)


def test_files_that_were_to_go_are_still_to_go(open_index: Callable[..., Index], tmp_path: Path):
    load(tmp_path / "index.db", SCHEMAS / "3.sql")
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
        connection.execute("INSERT INTO setting (name, value) VALUES ('removed ab12', '')")
        connection.commit()
    assert open_index().removals.unfinished() == [("ab12", "")]


@pytest.mark.parametrize("older", OLDER, ids=lambda path: path.stem)
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_files_of_an_older_release_are_filed_under_what_they_say(
    open_index: Callable[..., Index], files: Files, tmp_path: Path, older: Path, at_once: int
):
    load(tmp_path / "index.db", older)
    index = open_index(sync="batch")
    values = {file["uid"]: files.record(**file).values for file in FILES}
    uid_of = {index.instance(uid).digest: uid for uid in values}
    firsts = [uid_of[row.digest] for row in index.unread(firsts_only=True, limit=10)]
    assert firsts == ["1.1.1.1", "1.2.1.1", "1.4.1.1", "1.5.1.1"]
    assert index.unread_count() == len(FILES)
    index.fill({index.instance(uid).digest: values[uid] for uid in firsts})
    assert rows(index, "STUDY", "PatientName", StudyInstanceUID="1.2") == [("Müller^Jürgen",)]
    while todo := index.unread(firsts_only=False, limit=at_once):
        assert index.fill({row.digest: values[uid_of[row.digest]] for row in todo}) == len(todo)
    assert index.unread_count() == 0
    fresh = Index.open(tmp_path / "fresh.db", sync="batch")
    for file in FILES:
        fresh.add(files.record(**file), "replace")
    gone = fresh.instance("1.5.1.1")
    fresh.set_availability([gone.digest], "UNAVAILABLE")
    levels: dict[Level, tuple[str, ...]] = {
        "PATIENT": ("PatientID", "IssuerOfPatientID", "PatientName", "NumberOfPatientRelatedInstances"),
        "STUDY": ("StudyInstanceUID", "PatientName", "PatientBirthDate", "ModalitiesInStudy"),
        "SERIES": ("StudyInstanceUID", "SeriesInstanceUID", "PatientName", "NumberOfSeriesRelatedInstances"),
        "IMAGE": ("StudyInstanceUID", "SOPInstanceUID", "PatientName", "PatientID"),
    }
    for level, wanted in levels.items():
        assert rows(index, level, *wanted) == rows(fresh, level, *wanted)
    assert index.statistics().by_modality == fresh.statistics().by_modality
    told = [{(c.level, c.keyword, c.subject) for c in each.conflicts()} for each in (index, fresh)]
    assert told[0] == told[1]
    assert len(told[0]) == 3
    fresh.close()


def test_a_file_that_cannot_be_read_is_what_the_index_says(
    open_index: Callable[..., Index], files: Files, tmp_path: Path
):
    load(tmp_path / "index.db", OLDER[-1])
    index = open_index()
    before = rows(index, "IMAGE", "SOPInstanceUID", "PatientName", "StudyDescription", "SeriesInstanceUID")
    todo = index.unread(firsts_only=False, limit=100)
    assert index.fill({row.digest: None for row in todo}) == len(FILES)
    assert index.fill({row.digest: None for row in todo}) == 0
    assert rows(index, "IMAGE", "SOPInstanceUID", "PatientName", "StudyDescription", "SeriesInstanceUID") == before
    assert index.unread_count() == 0


DAMAGE = [
    ("ALTER TABLE study DROP COLUMN study_description", "study.study_description is missing"),
    ("ALTER TABLE removal RENAME TO gone", "table removal is missing"),
    ("DROP INDEX study_identity", "index study_identity is missing"),
    ("ALTER TABLE instance ADD COLUMN more TEXT NOT NULL DEFAULT ''", ""),
    ("CREATE INDEX of_my_own ON study (study_description)", ""),
    ("CREATE UNIQUE INDEX of_my_own ON study (study_instance_uid)", "unique index of_my_own is not known"),
    (
        "DROP INDEX instance_unread; CREATE INDEX instance_unread ON instance (id)",
        "index instance_unread is of another kind",
    ),
    (
        "DROP TABLE worklistfolder; CREATE TABLE worklistfolder (path TEXT NOT NULL PRIMARY KEY, fault TEXT, "
        "broken_files INTEGER NOT NULL)",
        "worklistfolder.fault is of another kind",
    ),
]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(("damage", "told"), DAMAGE, ids=[told or damage for damage, told in DAMAGE])
def test_a_file_that_is_not_what_its_version_says_is_refused_by_name(
    open_index: Callable[..., Index], files: Files, tmp_path: Path, damage: str, told: str, read_only: bool
):
    open_index().close()
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
        connection.executescript(damage)
    if not told:
        index: Any = open_index(read_only=read_only)
        assert read_only or index.add(files.record("1"), "replace").outcome is Outcome.ADDED
        return
    with pytest.raises(MinipacsError, match="not what its schema") as refused:
        open_index(read_only=read_only)
    assert told in str(refused.value)
    assert "backup" in str(refused.value)


def test_no_number_of_a_row_is_given_twice(open_index: Callable[..., Index], files: Files):
    index = open_index(sync="batch")
    serial = [model for model in MODELS if isinstance(model._meta.primary_key, SerialField)]
    assert {model.__name__ for model in serial} == {"Patient", "Study", "Series", "Heading", "Instance"}
    seen: dict[str, set[int]] = {model._meta.table_name: set() for model in serial}
    for _ in range(3):
        index.add(files.record("1"), "replace")
        with index._database.reader() as connection:
            for table, ids in seen.items():
                ((row_id,),) = connection.execute(f"SELECT id FROM {table}").fetchall()
                assert row_id not in ids
                ids.add(row_id)
        index.remove(["1"])


def test_rows_that_are_made_anew_have_numbers_of_their_own(index: Index, files: Files):
    with index.fresh() as fresh:
        for uid, name in (("1", "a"), ("2", "b"), ("3", "a")):
            index.add(files.record(uid, PatientName=name), "replace")
            fresh.add(files.record(uid, PatientName=name), "replace")
        index.remove(["3"])
        index.take_over(fresh, lambda: None)
    with index._database.reader() as connection:
        for table, before in (("patient", 1), ("study", 1), ("series", 1), ("heading", 2), ("instance", 3)):
            ids = [row_id for (row_id,) in connection.execute(f"SELECT id FROM {table}")]
            assert min(ids) == before + 1, table
    index.remove(["1"])
    assert rows(index, "STUDY", "PatientName", "NumberOfStudyRelatedInstances") == [("b", "2")]
