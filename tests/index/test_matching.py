"""Matching by SQL, held against a matcher in plain Python that is written from PS3.4 C.2.2.2 and knows no SQL."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipacs.dicom.tables.attributes import BY_KEYWORD, Attribute
from minipacs.dicom.text.person_name import fold
from minipacs.errors import Failure, Kind
from minipacs.index import Index
from minipacs.index.objects.conditions import MAX_LIST_VALUES, MAX_PATTERN_LENGTH, any_value_matches, match, split_list
from minipacs.index.objects.models import COLUMNS
from tests.index.conftest import MR, Files

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


@pytest.mark.parametrize(
    ("keyword", "text"), [("StudyDate", "2024"), ("StudyTime", "x-"), ("AcquisitionDateTime", "-")]
)
def test_a_malformed_date_or_range_is_a900_with_its_tag(keyword: str, text: str):
    attribute = BY_KEYWORD[keyword]
    with pytest.raises(Failure) as refused:
        match(attribute, text, COLUMNS[keyword])
    assert refused.value.kind is Kind.INVALID
    assert refused.value.tags == (attribute.tag,)


def test_f13_a_list_of_uids_of_any_length(index: Index, files: Files, ask: Ask):
    for i in range(20):
        add(index, files, f"9.{i}", study=f"1.{i}", series=f"1.{i}.1")
    listed = "\\".join(f"1.{i}" for i in range(10, 2000))
    assert ask("STUDY", "StudyInstanceUID", StudyInstanceUID=listed) == [f"1.{i}" for i in range(10, 20)]
    assert ask("IMAGE", "SOPInstanceUID", StudyInstanceUID=listed, SOPInstanceUID=f"{listed}\\9.10\\9.1") == ["9.10"]
    assert ask("STUDY", "StudyInstanceUID", StudyInstanceUID="1.1\\\\1.1\\ 1.2") == ["1.1", "1.2"]


def test_a_long_list_gives_each_row_once():
    attribute = BY_KEYWORD["StudyInstanceUID"]
    parts = split_list(attribute, "\\".join(["1.2"] * 3000 + ["1.3"] * 3000))
    assert parts == ["1.2\\1.3"]
    parts = split_list(attribute, "\\".join(str(i) for i in range(1234)))
    assert sorted(int(uid) for part in parts for uid in part.split("\\")) == list(range(1234))
    assert all(part.count("\\") < MAX_LIST_VALUES for part in parts)


def test_a_list_or_pattern_beyond_its_limit_is_a900(index: Index, ask: Ask):
    with pytest.raises(Failure, match="more than 500 values") as refused:
        ask("STUDY", "StudyInstanceUID", SOPClassesInStudy="\\".join(str(i) for i in range(501)))
    assert refused.value.kind is Kind.INVALID
    assert ask("STUDY", "StudyInstanceUID", SOPClassesInStudy="\\".join(str(i) for i in range(500))) == []
    with pytest.raises(Failure, match="pattern"):
        ask("STUDY", "StudyInstanceUID", AccessionNumber="*" + "A" * MAX_PATTERN_LENGTH)
    assert ask("STUDY", "StudyInstanceUID", AccessionNumber="A" * 100_000) == []


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


def test_a_pattern_made_to_backtrack_ends():
    text = "a" * 40_000
    assert not any_value_matches(text, "*a" * 20 + "*b")
    assert any_value_matches(f"x\\{text}", "*a" * 20 + "*")


LETTERS = st.text(alphabet="aAbäÄ%_[!ß^= ", max_size=4)
WILD = st.text(alphabet="aAbä%_[!*?^=", max_size=5)
DATES = st.sampled_from(["", "20240101", "20240102", "20240131", "20240201", "2024.01.02", "20241"])
TIMES = st.sampled_from(["", "10", "1000", "100000.5", "10:30", "103059", "235959.999999", "99"])
NAMES = st.lists(LETTERS, min_size=1, max_size=3).map("=".join)

ROWS = st.fixed_dictionaries(
    {
        "AccessionNumber": LETTERS,
        "StudyDate": DATES,
        "StudyTime": TIMES,
        "PatientName": NAMES,
        "OtherPatientNames": st.lists(LETTERS.filter(lambda name: "=" not in name), max_size=2).map("\\".join),
        "ImageType": st.lists(st.text(alphabet="aAb%_", max_size=3), max_size=3).map("\\".join),
        "InstanceNumber": st.sampled_from(["", "1", "10", "*"]),
    }
)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "AccessionNumber": st.lists(WILD, max_size=2).map("\\".join),
        "StudyDate": st.sampled_from(
            ["", "20240102", "20240102-", "-20240131", "20240101-20240131", "20240201\\20240101"]
        ),
        "StudyTime": st.sampled_from(["", "10", "1000-1030", "-103059", "10:00-", "100000.5"]),
        "PatientName": st.lists(WILD, min_size=1, max_size=2).map("=".join),
        "OtherPatientNames": WILD.filter(lambda key: "=" not in key),
        "ImageType": st.lists(st.text(alphabet="aAb%_*?", max_size=4), max_size=2).map("\\".join),
        "InstanceNumber": st.sampled_from(["", "1", "*", "1\\10"]),
    },
)


def fits(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return fits(text, pattern[1:]) or (bool(text) and fits(text[1:], pattern))
    return bool(text) and pattern[0] in ("?", text[0]) and fits(text[1:], pattern[1:])


def digits(time: str, fill: str) -> str | None:
    plain = time.replace(":", "").replace(".", "")
    return plain + fill[len(plain) :] if plain and plain < "24" else None


def value_matches(attribute: Attribute, value: str, key: str) -> bool:
    if attribute.vr == "DA":
        value, (low, dash, high) = value.replace(".", ""), key.partition("-")
        return bool(value) and ((low or "0") <= value <= (high or "9") if dash else value == low)
    if attribute.vr == "TM":
        (low, dash, high), time = key.partition("-"), digits(value, "000000000000")
        if time is None:
            return False
        first, last = digits(low, "000000000000") or "0", digits(high, "235959999999") or "9"
        return first <= time <= last if dash else time == first
    if attribute.vr == "PN":
        groups, asked = [*fold(value).split("="), "", ""][:3], fold(key)
        if "=" not in asked:
            return any(fits(group, asked) for group in groups)
        pairs = zip(groups, [*asked.split("="), "", ""][:3], strict=True)
        return all(fits(group, part) for group, part in pairs if part.strip("*"))
    return fits(value, key) if attribute.vr != "IS" else value == key


def universal(attribute: Attribute, key: str) -> bool:
    if attribute.vr == "PN":
        return not fold(key).strip("*=")
    return attribute.vr not in ("DA", "TM", "IS") and not key.strip("*")


def row_matches(row: Mapping[str, str], keys: Mapping[str, str]) -> bool:
    for keyword, text in keys.items():
        attribute = BY_KEYWORD[keyword]
        asked = [part.strip(" ") for part in text.split("\\") if part.strip(" ")]
        if not asked or any(universal(attribute, key) for key in asked):
            continue
        values = row[keyword].split("\\") if attribute.multi else [row[keyword]]
        if not any(value_matches(attribute, value, key) for value in values for key in asked):
            return False
    return True


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=1, max_size=6), keys=KEYS)
def test_sql_matches_what_plain_python_matches(
    index: Index, files: Files, ask: Ask, rows: list[dict[str, str]], keys: dict[str, str]
):
    uids = [str(i) for i in range(len(rows))]
    for uid, row in zip(uids, rows, strict=True):
        index.add(files.record(uid, study=f"1.{uid}", series=f"1.{uid}.1", **{"PatientID": uid} | row), "replace")
    try:
        expected = [uid for uid, row in zip(uids, rows, strict=True) if row_matches(row, keys)]
        assert ask("IMAGE", "SOPInstanceUID", **keys) == expected
    finally:
        index.remove(uids)
