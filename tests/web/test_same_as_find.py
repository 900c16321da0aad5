"""The same query by C-FIND and by QIDO-RS gives the same rows."""

from collections.abc import Iterator, Mapping
from typing import get_args
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

from minipacs.dicom.data_set.decode import DataSet, Element
from minipacs.dicom.tables.attributes import BY_KEYWORD, LEVELS, QUERY_RETRIEVE_LEVEL, SPECIFIC_CHARACTER_SET, Level
from minipacs.index import Query
from minipacs.services.query_retrieve.query_keys import read_keys
from minipacs.web.representations.json_model import values_of_text
from tests.support.objects import study
from tests.support.web import Web

NAMES = ["Doe^Jane", "Doe^John", "doe^jane^^Dr", "Μαρία^Παπαδάκη", "O'Hara^Sean,Jr", ""]
RESOURCES: Mapping[str, str] = {"PATIENT": "patients", "STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
UNIQUE: Mapping[str, str] = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}

NAME_KEYS = st.text("DdoejanJ^*?,' ", max_size=7) | st.sampled_from(NAMES)
DATES = st.sampled_from(["20240110", "20240112", "20240115", "20230101"])
DATE_KEYS = st.one_of(DATES, st.builds("{}-{}".format, DATES, DATES | st.just("")), st.builds("-{}".format, DATES))
TEXT_KEYS = st.text("AP0123*?", max_size=3)
KEYS: Mapping[str, st.SearchStrategy[str]] = {
    "PatientName": NAME_KEYS,
    "PatientID": TEXT_KEYS,
    "StudyDate": DATE_KEYS,
    "StudyTime": st.sampled_from(["", "1200", "10-13", "-120000", "120000.5"]),
    "AccessionNumber": st.lists(TEXT_KEYS, max_size=3).map("\\".join),
    "ModalitiesInStudy": st.sampled_from(["CT", "MR", "C*", "CT\\MR", ""]),
    "Modality": st.sampled_from(["CT", "MR", "?T"]),
    "InstanceNumber": st.sampled_from(["1", "2", "7"]),
}
AT: Mapping[str, str] = {keyword: BY_KEYWORD[keyword].level for keyword in KEYS}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    served = Web(tmp_path_factory.mktemp("web") / "archive")
    for number, name in enumerate(NAMES):
        served.store(
            *study(
                series=number % 2 + 1,
                instances=2,
                SpecificCharacterSet="ISO_IR 192",
                PatientName=name,
                PatientID=f"P{number}",
                StudyDate=f"202401{number + 10}",
                StudyTime=f"1{number}0000",
                AccessionNumber=f"A{number}",
            )
        )
    yield served
    served.close()


def found_by_find(web: Web, level: Level, keys: Mapping[str, str]) -> list[str]:
    """Ask as C-FIND does, with relational queries and combined date-time matching negotiated."""
    index = web.archive.index
    elements = {tag_for_keyword(k): Element(BY_KEYWORD[k].vr, text.encode()) for k, text in keys.items()}
    unique = tag_for_keyword(UNIQUE[level])
    elements.setdefault(unique, Element(BY_KEYWORD[UNIQUE[level]].vr))
    elements |= {
        QUERY_RETRIEVE_LEVEL: Element("CS", level.encode()),
        SPECIFIC_CHARACTER_SET: Element("CS", b"ISO_IR 192"),
    }
    asked = read_keys(DataSet(elements, ("ISO_IR 192",)), "PATIENT", index.keys)  # type: ignore[arg-type]
    query = Query(asked.level, asked.keys, (BY_KEYWORD[UNIQUE[level]],), combined=True)
    return sorted(row[0] for row in index.find(query))


def found_by_qido(web: Web, level: str, keys: Mapping[str, str]) -> list[str]:
    query = "&".join(f"{k}={','.join(quote(part) for part in text.split(chr(92)))}" for k, text in keys.items())
    answer = web.get(f"/{RESOURCES[level]}?{query}")
    assert answer.status == 200, (query, answer.body)
    assert "warning" not in answer.headers
    tag = f"{tag_for_keyword(UNIQUE[level]):08X}"
    return sorted((row[tag].get("Value") or [""])[0] for row in answer.json)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_same_query_finds_the_same(web: Web, data: st.DataObject):
    level: Level = data.draw(st.sampled_from(get_args(Level)))
    possible = [keyword for keyword, at in AT.items() if LEVELS.index(at) <= LEVELS.index(level)]
    chosen = data.draw(st.lists(st.sampled_from(possible), max_size=3, unique=True))
    keys = {keyword: data.draw(KEYS[keyword], keyword) for keyword in chosen}
    assert found_by_qido(web, level, keys) == found_by_find(web, level, keys)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_returned_is_the_same(web: Web, data: st.DataObject):
    """Each attribute of the index, written as JSON of what C-FIND would send."""
    keyword = data.draw(st.sampled_from([k for k, a in BY_KEYWORD.items() if a.level == "STUDY" and a.vr != "SQ"]))
    attribute = BY_KEYWORD[keyword]
    index = web.archive.index
    rows = index.find(Query("STUDY", (), (BY_KEYWORD["StudyInstanceUID"], attribute)))
    wanted = {uid: values_of_text(text, attribute.vr) for uid, text in rows}
    got = {
        row["0020000D"]["Value"][0]: {k: v for k, v in row.get(f"{attribute.tag:08X}", {}).items() if k != "vr"}
        for row in web.get(f"/studies?includefield={keyword}").json
    }
    assert got == wanted
