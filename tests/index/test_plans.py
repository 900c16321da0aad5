"""Every usual query is read from an index, whatever else it asks for (EXPLAIN QUERY PLAN)."""

from pathlib import Path

import pytest

from minipacs.dicom.data_set.decode import DataSet, Element
from minipacs.dicom.data_set.items import to_text
from minipacs.dicom.tables.attributes import ATTRIBUTES, LEVELS, Level
from minipacs.dicom.tables.keys import STANDARD_KEYS, KeyTable, extended_key
from minipacs.index import Index, Query
from minipacs.index.queries.selection import selections

KEYS = KeyTable([extended_key(text) for text in ("ScanOptions", "ResponsiblePerson", "SERIES:StationAETitle")])

STUDY_UID, SERIES_UID = {"StudyInstanceUID": "1.2"}, {"SeriesInstanceUID": "1.2.3"}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory):
    path: Path = tmp_path_factory.mktemp("plans") / "index.db"
    opened = Index.open(path, keys=KEYS)
    yield opened
    opened.close()


def plans(index: Index, level: Level, keys: dict[str, str], *, after_first: bool = False) -> list[str]:
    """Return the steps of the plan of each page that the query begins with."""
    returns = [attribute for attribute in ATTRIBUTES if LEVELS.index(attribute.level) <= LEVELS.index(level)]
    query = Query(level, [(index.keys.by_keyword[k], v) for k, v in keys.items()], returns)
    steps = []
    for part in selections(query):
        after = ["\0" if "compared" in str(f.name) or f.field_type == "TEXT" else 0 for f in part._order]
        sql, parameters = index._database.compile(part.page(after if after_first else (), 100))
        with index._database.reader() as connection:
            steps += [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    return steps


SELECTIVE: list[tuple[Level, dict[str, str], str]] = [
    ("STUDY", {"PatientID": "P1"}, "USING INDEX study_patient_id (patient_id=?"),
    ("PATIENT", {"PatientID": "P1*"}, "USING INDEX identity (patient_id>?"),
    ("STUDY", {"PatientID": "P1*"}, "USING INDEX study_patient_id (patient_id>?"),
    ("STUDY", {"PatientName": "DOE^JANE"}, "MULTI-INDEX OR"),
    ("STUDY", {"PatientName": "DOE*"}, "study_patient_name_folded (patient_name_folded>?"),
    ("STUDY", {"PatientName": "DO?^*"}, "study_patient_name_folded (patient_name_folded>?"),
    ("PATIENT", {"PatientName": "山*"}, "INDEX patient_"),
    ("STUDY", {"StudyDate": "20240101-20240101"}, "study_study_date (study_date=?"),
    ("STUDY", {"StudyDate": "20240101-20240131"}, "study_study_date (study_date>?"),
    ("STUDY", {"StudyDate": "20240101-"}, "study_study_date (study_date>?"),
    ("STUDY", {"AccessionNumber": "A1"}, "study_accession_number (accession_number=?"),
    ("STUDY", {"AccessionNumber": "A1*"}, "study_accession_number (accession_number>?"),
    ("STUDY", {"ModalitiesInStudy": "CT", "StudyDate": "20240101"}, "study_study_date (study_date=?"),
    ("STUDY", {"ReferringPhysicianName": "DR*"}, "referring_physician_name_folded>?"),
    ("STUDY", {"StudyInstanceUID": "1\\2\\3"}, "(study_instance_uid=?"),
    ("SERIES", {**STUDY_UID, "Modality": "CT"}, "study_study_instance_uid (study_instance_uid=?"),
    ("SERIES", {"StudyDate": "20240101-20240131", "Modality": "CT"}, "study_study_date (study_date>?"),
    ("SERIES", STUDY_UID, "study_study_instance_uid (study_instance_uid=?"),
    ("SERIES", SERIES_UID, "series_series_instance_uid (series_instance_uid=?"),
    ("IMAGE", {**STUDY_UID, **SERIES_UID}, "_instance_uid=?"),
    ("IMAGE", {**STUDY_UID, **SERIES_UID, "SOPInstanceUID": "1.2.3.4"}, "_instance_uid=?"),
    ("IMAGE", SERIES_UID, "series_series_instance_uid (series_instance_uid=?"),
    ("IMAGE", {"SOPInstanceUID": "1.2.3.4"}, "instance_sop_instance_uid (sop_instance_uid=?"),
    ("IMAGE", {"PatientID": "P1", "Modality": "MR"}, "USING INDEX study_patient_id (patient_id=?"),
    ("IMAGE", {"StationAETitle": "CT1"}, "series_value_compared (keyword=? AND compared=?"),
    ("SERIES", {"StationAETitle": "CT*"}, "series_value_compared (keyword=? AND compared>?"),
    ("STUDY", {"ResponsiblePerson": "DR*"}, "study_value_compared (keyword=? AND "),
]


@pytest.mark.parametrize("after_first", [False, True])
@pytest.mark.parametrize(("level", "keys", "step"), SELECTIVE, ids=[f"{lv} {k}" for lv, k, _ in SELECTIVE])
def test_selective_queries_are_read_from_an_index(index: Index, level: Level, keys, step: str, after_first: bool):
    found = plans(index, level, keys, after_first=after_first)
    assert any(step in line for line in found), found
    scans = [line for line in found if line.startswith("SCAN ")]
    assert not [line for line in scans if "patient_with_variants" not in line], found  # it holds only what differs


RANGES = [(level, keys) for level, keys, step in SELECTIVE if ">?" in step]


@pytest.mark.parametrize(("level", "keys"), RANGES, ids=map(str, RANGES))
def test_pages_of_a_range_need_no_sorting(index: Index, level: Level, keys: dict[str, str]):
    assert "USE TEMP B-TREE FOR ORDER BY" not in plans(index, level, keys)


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_everything_is_read_in_the_order_of_ids(index: Index, level: Level):
    found = plans(index, level, {})
    assert not [line for line in found if "TEMP B-TREE" in line], found
    assert len([line for line in found if line.startswith("SCAN ")]) == 1


def test_sequences_are_looked_for_where_there_are_some(index: Index):
    item = DataSet({0x00400009: Element("SH", b"SPS1")})
    key = to_text(0x00400275, [item])
    query = Query("SERIES", [(STANDARD_KEYS.by_keyword["RequestAttributesSequence"], key)], [])
    (part,) = selections(query)
    sql, parameters = index._database.compile(part.page((), 10))
    with index._database.reader() as connection:
        found = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert any("series_value_compared (keyword=? AND compared=?" in line for line in found), found
    assert not [line for line in found if "SCAN" in line or "TEMP B-TREE" in line], found
