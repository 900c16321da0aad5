"""Matching by SQL, held against the same conditions in plain Python, which know no SQL (PS3.4 C.2.2.2)."""

from collections.abc import Callable
from dataclasses import astuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.json_values import dumps
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.matching.conditions import Semantics
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.tables.keys import KeyTable, extended_key
from minipacs.errors import Failure, Kind
from minipacs.index import Index, Query
from minipacs.index.objects.conditions import MAX_SQL_PATTERNS, MAX_SQL_VALUES
from minipacs.index.queries.selection import selections
from tests.index.conftest import MR, Files
from tests.support.matching_values import KEY_TEXTS, ROWS, few

KEYS_OF = KeyTable([extended_key(text) for text in ("ScanOptions", "ResponsiblePerson", "DateOfLastCalibration")])

Ask = Callable[..., list[str]]


def add(index: Index, files: Files, *uids: str, **values: str) -> None:
    for uid in uids:
        index.add(files.record(uid, **values), "replace")


def test_single_value(index: Index, files: Files, ask: Ask):
    add(index, files, "1", AccessionNumber="A1", StudyDescription="Head ")
    add(index, files, "2", study="1.2", series="1.2.1", AccessionNumber="a1", StudyDescription="head")
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="A1") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber=" A1\0") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", StudyDescription="head") == ["1.2"]
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="A") == []


@pytest.mark.parametrize("value", ["", " ", "*", "**", "\0", "\\", "A1\\*"])
def test_universal(index: Index, files: Files, ask: Ask, value: str):
    add(index, files, "1", AccessionNumber="A1")
    add(index, files, "2", study="1.2", series="1.2.1")
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber=value) == ["1.1", "1.2"]


def test_f8_all_but_names_match_by_case(index: Index, files: Files, ask: Ask):
    add(index, files, "1", AccessionNumber="Ab1", ImageType="Ab\\C")
    for key in ("ab1", "a*", "*B1", "?B?", "aB*"):
        assert ask("STUDY", "StudyInstanceUID", AccessionNumber=key) == [], key
    for key in ("AB", "c", "*c", "a?", "a*b"):
        assert ask("IMAGE", "SOPInstanceUID", ImageType=key) == [], key
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="*b?") == ["1.1"]


def test_f8_names_match_without_case_and_accents(index: Index, files: Files, ask: Ask):
    add(index, files, "1", PatientName="Müller^Jörg", ReferringPhysicianName="ÆRØ^Łukasz")
    for key in ("MULLER^JORG", "müller^jörg", "muller*", "M?LLER^*", "*jorg", "müller^jörg^^", " Müller ^Jörg"):
        assert ask("STUDY", "StudyInstanceUID", PatientName=key) == ["1.1"], key
    assert ask("STUDY", "StudyInstanceUID", ReferringPhysicianName="aero^lukasz") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", PatientName="muller") == []
    assert ask("STUDY", "StudyInstanceUID", PatientName="jorg^muller") == []


def test_f9_names_match_in_any_component_group(index: Index, files: Files, ask: Ask):
    add(index, files, "1", PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう")
    add(index, files, "2", PatientID="P2", study="1.2", series="1.2.1", PatientName="山田^太郎")
    both, first = ["1.1", "1.2"], ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", PatientName="山田^太郎") == both
    assert ask("STUDY", "StudyInstanceUID", PatientName="山*") == both
    assert ask("STUDY", "StudyInstanceUID", PatientName="YAMADA*") == first
    assert ask("STUDY", "StudyInstanceUID", PatientName="やまだ*") == first
    assert ask("STUDY", "StudyInstanceUID", PatientName="=山*") == first
    assert ask("STUDY", "StudyInstanceUID", PatientName="yam*=山田^太郎=") == first
    assert ask("STUDY", "StudyInstanceUID", PatientName="yam*=*=や*") == first
    assert ask("STUDY", "StudyInstanceUID", PatientName="Suzuki*=山*") == []
    assert ask("STUDY", "StudyInstanceUID", PatientName="^=") == both


def test_a_name_that_matches_in_several_groups_is_given_once(index: Index, files: Files, ask: Ask):
    add(index, files, "1", PatientName="Doe^J=Doe^K=Doe^L")
    for key in ("doe*", "doe^?", "*doe*", "doe^j\\doe*", "doe*\\d*"):
        assert ask("STUDY", "StudyInstanceUID", PatientName=key) == ["1.1"], key


@pytest.mark.parametrize("letter", ["%", "_", "[", "]", "^", "!", "'", '"', "-", "#"])
def test_f10_letters_that_sql_treats_specially_are_plain(index: Index, files: Files, ask: Ask, letter: str):
    add(index, files, "1", AccessionNumber=f"A{letter}B", ImageType=f"X{letter}Y\\Z")
    add(index, files, "2", study="1.2", series="1.2.1", AccessionNumber="A1B", ImageType="XaY\\Z")
    for key in (f"A{letter}B", f"A{letter}*", f"?{letter}?", f"*{letter}B"):
        assert ask("STUDY", "StudyInstanceUID", AccessionNumber=key) == ["1.1"], key
    for key in (f"X{letter}Y", f"*{letter}*", f"X{letter}*", f"?{letter}Y"):
        assert ask("IMAGE", "SOPInstanceUID", ImageType=key) == ["1"], key


def test_f10_wildcards_are_plain_in_other_vrs(index: Index, files: Files, ask: Ask):
    add(index, files, "1", InstanceNumber="12")
    assert ask("IMAGE", "SOPInstanceUID", InstanceNumber="1*") == []
    assert ask("IMAGE", "SOPInstanceUID", InstanceNumber="??") == []
    assert ask("STUDY", "StudyInstanceUID", StudyInstanceUID="*") == []
    assert ask("STUDY", "StudyInstanceUID", StudyInstanceUID="1.*") == []


def test_f11_dates_and_times_match_by_meaning(index: Index, files: Files, ask: Ask):
    add(index, files, "1", StudyDate="20240131", StudyTime="2230", AcquisitionDateTime="20240131223000+0100")
    add(index, files, "2", study="1.2", series="1.2.1", StudyDate="2024.02.01", StudyTime="08:15:00.5")
    assert ask("STUDY", "StudyInstanceUID", StudyTime="223000") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", StudyTime="22:30") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", StudyTime="-0815") == ["1.2"]
    assert ask("STUDY", "StudyInstanceUID", StudyTime="0815-2230") == ["1.1", "1.2"]
    assert ask("STUDY", "StudyInstanceUID", StudyDate="20240131-20240201") == ["1.1", "1.2"]
    assert ask("STUDY", "StudyInstanceUID", StudyDate="20240201-") == ["1.2"]
    assert ask("STUDY", "StudyInstanceUID", StudyDate="-20240131") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", StudyDate="2024.02.01") == ["1.2"]
    assert ask("STUDY", "StudyDate", StudyDate="20240201") == ["20240201"]
    assert ask("IMAGE", "SOPInstanceUID", AcquisitionDateTime="20240131213000+0000") == ["1"]
    assert ask("IMAGE", "SOPInstanceUID", AcquisitionDateTime="202401-202401") == ["1"]


def test_f12_date_and_time_ranges_are_independent(index: Index, files: Files, ask: Ask):
    add(index, files, "1", StudyDate="20240115", StudyTime="2300")
    assert ask("STUDY", "StudyInstanceUID", StudyDate="20240101-20240131", StudyTime="0800-0900") == []


def test_f13_a_list_of_uids_of_any_length(index: Index, files: Files, ask: Ask):
    for i in range(20):
        add(index, files, f"9.{i}", study=f"1.{i}", series=f"1.{i}.1")
    listed = "\\".join(f"1.{i}" for i in range(10, 2000))
    assert ask("STUDY", "StudyInstanceUID", StudyInstanceUID=listed) == [f"1.{i}" for i in range(10, 20)]
    assert ask("IMAGE", "SOPInstanceUID", StudyInstanceUID=listed, SOPInstanceUID=f"{listed}\\9.10\\9.1") == ["9.10"]
    assert ask("STUDY", "StudyInstanceUID", StudyInstanceUID="1.1\\\\1.1\\ 1.2") == ["1.1", "1.2"]


def test_a_long_list_is_cut_so_that_each_row_is_given_once(index: Index):
    def lists(text: str) -> list[list[object]]:
        parts = selections(Query("STUDY", [(BY_KEYWORD["StudyInstanceUID"], text)], []))
        return [index._database.compile(part.page((), 1))[1][:-1] for part in parts]

    assert lists("\\".join(["1.2"] * 3000 + ["1.3"] * 3000)) == [["1.2", "1.3"]]
    parts = lists("\\".join(str(i) for i in range(1234)))
    assert sorted(int(str(uid)) for part in parts for uid in part) == list(range(1234))
    assert all(len(part) <= MAX_SQL_VALUES for part in parts)


def test_a_key_beyond_its_limit_is_refused_before_the_first_answer(index: Index, ask: Ask):
    listed = [(BY_KEYWORD["SOPClassesInStudy"], "\\".join(str(i) for i in range(501)))]
    with pytest.raises(Failure, match="more than 500 values") as refused:
        index.find(Query("STUDY", listed, []))
    assert refused.value.kind is Kind.INVALID
    assert ask("STUDY", "StudyInstanceUID", SOPClassesInStudy="\\".join(str(i) for i in range(500))) == []
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="A" * 100_000) == []


@pytest.mark.parametrize("count", [MAX_SQL_PATTERNS, MAX_SQL_PATTERNS + 1, 499])
def test_many_patterns_find_what_few_do(index: Index, files: Files, ask: Ask, count: int):
    add(index, files, "1", AccessionNumber="A1", PatientName="Doe^Jane=x=y", ImageType="X\\YZ")
    add(index, files, "2", study="1.2", series="1.2.1", PatientID="P2", AccessionNumber="B1", PatientName="Roe^Jo")
    others = [f"N{i}*" for i in range(count - 1)]
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="\\".join([*others, "?1", "nothing"])) == ["1.1", "1.2"]
    assert ask("STUDY", "StudyInstanceUID", PatientName="\\".join([*others, "*jane", "roe^jo"])) == ["1.1", "1.2"]
    assert ask("STUDY", "StudyInstanceUID", PatientName="\\".join([*others, "d*=x"])) == ["1.1"]
    assert ask("IMAGE", "SOPInstanceUID", ImageType="\\".join([*others, "Y?"])) == ["1"]


def test_names_of_several_match_group_by_group_within_one(index: Index, files: Files, ask: Ask):
    add(index, files, "1", OtherPatientNames="Doe=x\\Roe=y")
    assert ask("STUDY", "StudyInstanceUID", OtherPatientNames="doe=y") == []
    assert ask("STUDY", "StudyInstanceUID", OtherPatientNames="d*=x") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", OtherPatientNames="roe=y\\nobody") == ["1.1"]


@pytest.mark.parametrize("page_rows", [1, 100])
def test_a_patient_is_found_once_by_what_any_of_its_studies_is_called(index: Index, files: Files, page_rows: int):
    for n, name in enumerate(("Smith^Jo", "Meyer^Anna", "Mayr^Anna", "Meyer^Eva")):
        add(index, files, str(n), study=f"1.{n}", series=f"1.{n}.1", PatientName=name)
    add(index, files, "9", study="1.9", series="1.9.1", PatientID="P2", PatientName="Maier^Uli")
    for fuzzy, text in (
        (True, "maier"),
        (False, "\\".join(["m*y*", "maier*", *(f"X{i}*" for i in range(MAX_SQL_PATTERNS))])),
    ):
        query = Query("PATIENT", [(BY_KEYWORD["PatientName"], text)], [BY_KEYWORD["PatientID"]], fuzzy=fuzzy)
        assert sorted(index.find(query, page_rows=page_rows)) == [("P1",), ("P2",)]
        assert index.count(query, 10) == 2


def test_what_has_no_value_is_found_where_that_is_asked_for(index: Index, files: Files):
    add(index, files, "1", AccessionNumber="A1", ScanOptions="FAST")
    add(index, files, "2", study="1.2", series="1.2.1", AccessionNumber="")
    for keyword in ("AccessionNumber", "ProcedureCodeSequence"):
        query = Query(
            "STUDY", [(KEYS_OF.by_keyword[keyword], '""')], [BY_KEYWORD["StudyInstanceUID"]], empty_value=True
        )
        assert sorted(index.find(query)) == ([("1.2",)] if keyword == "AccessionNumber" else [("1.1",), ("1.2",)])


def test_f15_any_value_of_several_matches_and_all_are_returned(index: Index, files: Files, ask: Ask):
    add(index, files, "1", ImageType="DERIVED\\PRIMARY\\AXIAL", OtherPatientNames="Doe^Jane\\Müller^Eva")
    add(index, files, "2", series="1.1.2", Modality="SR", SOPClassUID=MR)
    assert ask("IMAGE", "ImageType", ImageType="PRIMARY") == ["DERIVED\\PRIMARY\\AXIAL"]
    assert ask("IMAGE", "SOPInstanceUID", ImageType="AX*") == ["1"]
    assert ask("IMAGE", "SOPInstanceUID", ImageType="*XIA*") == ["1"]
    assert ask("IMAGE", "SOPInstanceUID", ImageType="D*L") == []
    assert ask("IMAGE", "SOPInstanceUID", ImageType="?XIAL") == ["1"]
    assert ask("STUDY", "StudyInstanceUID", OtherPatientNames="muller*") == ["1.1"]
    assert ask("STUDY", "ModalitiesInStudy", ModalitiesInStudy="SR") == ["CT\\SR"]
    assert ask("STUDY", "StudyInstanceUID", ModalitiesInStudy="S") == []
    assert ask("STUDY", "StudyInstanceUID", ModalitiesInStudy="MR\\SR") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", ModalitiesInStudy="*") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", SOPClassesInStudy=f"1.2.3\\{MR}") == ["1.1"]


def test_f16_an_empty_stored_value_matches_only_universal_keys(index: Index, files: Files, ask: Ask):
    add(index, files, "1", PatientID="")
    key = {"AccessionNumber": "A*", "StudyDate": "20240101-", "StudyTime": "10-", "PatientName": "D*"}
    for keyword, text in key.items():
        assert ask("STUDY", "StudyInstanceUID", **{keyword: text}) == []
        assert ask("STUDY", "StudyInstanceUID", match_unknown=True, **{keyword: text}) == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="*") == ["1.1"]


def test_f24_a_backslash_in_long_text_is_plain(index: Index, files: Files, ask: Ask):
    add(index, files, "1", PatientComments="C:\\scans\\a", AdditionalPatientHistory="x" * 10_240)
    assert ask("PATIENT", "PatientID", PatientComments="C:\\scans\\a") == ["P1"]
    assert ask("PATIENT", "PatientID", PatientComments="C:\\*") == ["P1"]
    assert ask("PATIENT", "PatientID", PatientComments="a") == []
    assert ask("STUDY", "StudyInstanceUID", AdditionalPatientHistory="x" * 10_240) == ["1.1"]


def test_counts_match_as_numbers(index: Index, files: Files, ask: Ask):
    add(index, files, "1", "2")
    assert ask("STUDY", "StudyInstanceUID", NumberOfStudyRelatedInstances="2") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", NumberOfStudyRelatedInstances="02\\7") == ["1.1"]
    for key in ("3", "x", "²", "9" * 30):
        assert ask("STUDY", "StudyInstanceUID", NumberOfStudyRelatedInstances=key) == []


def test_text_that_no_database_can_hold_is_stored_and_found(index: Index, files: Files, ask: Ask):
    add(index, files, "1", StudyDescription="a\0b\ud800c", AccessionNumber="\U0010ffff\U0010ffff!")
    assert ask("STUDY", "StudyDescription", StudyDescription="a\0b\ud800c") == ["a\ufffdb\ufffdc"]
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="\U0010ffff*") == ["1.1"]
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="\ud7ff*") == []


STEP_ID, PROTOCOL, CODE = 0x00400009, 0x00400008, 0x00080100
TEXTS = st.sampled_from(["", "A", "AB", "A*", "?B", "A\\B"])
NAMES_HEARD = st.sampled_from(["", "Meyer^Anna", "Maier=マイ", "Schmidt^Jan\\Anna", "Mayr An*", "jan smit"])
OFFSETS = st.sampled_from(["", "+0000", "-1130", "+0900"])
MOMENTS = st.sampled_from(["", "20240101", "202401012330", "20240102003000+0100", "20240131235959"])


def _sequence(item: st.SearchStrategy[Values]) -> st.SearchStrategy[str]:
    return st.lists(item, max_size=2).map(lambda found: dumps({0x00400275: tuple(found)}) if any(found) else "")


PROTOCOLS = st.fixed_dictionaries({}, optional={CODE: TEXTS})
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        STEP_ID: TEXTS,
        PROTOCOL: st.lists(PROTOCOLS, max_size=1).map(tuple),
        0x00400244: MOMENTS.map(lambda m: m[:8]),
    },
)
MORE_ROWS = st.fixed_dictionaries(
    {
        "RequestAttributesSequence": _sequence(ITEMS),
        "ScanOptions": TEXTS,
        "AcquisitionDateTime": MOMENTS,
        "TimezoneOffsetFromUTC": OFFSETS,
        "PhysiciansOfRecord": NAMES_HEARD,
        "ResponsiblePerson": NAMES_HEARD.filter(lambda name: "\\" not in name),
        "DateOfLastCalibration": st.sampled_from(["", "20240101\\20240301", "20240102"]),
    }
)
MORE_KEY_TEXTS = {
    "RequestAttributesSequence": _sequence(ITEMS).filter(lambda text: len(items.from_text(text)) < 2),
    "ScanOptions": TEXTS | st.just('""'),
    "AcquisitionDateTime": MOMENTS.filter(bool) | st.sampled_from(["2024-", "-20240102000000+0900"]),
    "PhysiciansOfRecord": NAMES_HEARD,
    "ResponsiblePerson": NAMES_HEARD | st.just('""'),
    "DateOfLastCalibration": st.sampled_from(["", "20240301", "20240102-20240201"]),
}
SEMANTICS = st.builds(
    Semantics,
    match_unknown=st.booleans(),
    fuzzy=st.booleans(),
    combined=st.booleans(),
    offset=OFFSETS,
    empty_value=st.booleans(),
)


@pytest.fixture
def full_index(open_index: Callable[..., Index]) -> Index:
    return open_index(sync="batch", keys=KEYS_OF)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(ROWS, MORE_ROWS), min_size=1, max_size=6),
    keys=few({**KEY_TEXTS, **MORE_KEY_TEXTS}),
    how=SEMANTICS,
)
def test_sql_finds_what_matches(
    full_index: Index,
    files: Files,
    rows: list[tuple[dict, dict]],
    keys: dict[str, str],
    how: Semantics,  # type: ignore[type-arg]
):
    uids = [str(i) for i in range(len(rows))]
    stored = [{**row, **more, "PatientID": uid} for uid, (row, more) in zip(uids, rows, strict=True)]
    full_index.add_all(
        [
            files.record(uid, study=f"1.{uid}", series=f"1.{uid}.1", **values)
            for uid, values in zip(uids, stored, strict=True)
        ]
    )
    try:
        asked = [(KEYS_OF.by_keyword[keyword], text) for keyword, text in keys.items()]
        query = Query("IMAGE", asked, [BY_KEYWORD["SOPInstanceUID"]], *astuple(how))
        expected = [
            uid for uid, values in zip(uids, stored, strict=True) if all(c.matches(values) for c in query.conditions())
        ]
        assert sorted(uid for (uid,) in full_index.find(query)) == expected
        assert sorted(uid for (uid,) in full_index.find(query, page_rows=2)) == expected
        assert full_index.count(query, 2) == min(len(expected), 2)
    finally:
        full_index.remove(uids)
