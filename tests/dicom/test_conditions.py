"""Matching in plain Python, held against PS3.4 C.2.2.2 written once more; that SQL says the same, `tests/index` has."""

import pytest
from hypothesis import given

from minipacs.dicom.data_set.json_values import dumps
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.matching.attribute import MAX_LIST_VALUES, MAX_PATTERN_LENGTH, Empty, Name, Range, Text, parse
from minipacs.dicom.matching.conditions import Condition, Interval, KeyCondition, Semantics, conditions
from minipacs.dicom.matching.wildcards import Patterns
from minipacs.dicom.matching.zones import PARTNERS
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.tables.keys import STANDARD_KEYS
from minipacs.errors import Failure, Kind
from tests.support.matching import row_matches
from tests.support.matching_values import KEY_TEXTS, ROWS, few

REQUEST, STEP_ID, PROTOCOL, CODE, MEANING = 0x00400275, 0x00400009, 0x00400008, 0x00080100, 0x00080104
KEY = STANDARD_KEYS.by_keyword


AS_USUAL = Semantics()


def read(semantics: Semantics = AS_USUAL, **keys: str) -> list[KeyCondition | Interval]:
    return conditions([(KEY[keyword], text) for keyword, text in keys.items()], semantics, PARTNERS)


def matches(asked: list[KeyCondition | Interval], **values: str) -> bool:
    return all(condition.matches(values) for condition in asked)


@given(ROWS, few(KEY_TEXTS))
def test_values_match_as_the_standard_has_it(row: dict[str, str], keys: dict[str, str]):
    assert matches(read(**keys), **row) == row_matches(row, keys)


@pytest.mark.parametrize(
    ("keyword", "text", "kind"),
    [
        ("AccessionNumber", "A1", Text),
        ("StudyInstanceUID", "1.2\\1.3", Text),
        ("AccessionNumber", "A*", Text),
        ("StudyDate", "20240101-", Range),
        ("PatientName", "DOE*", Name),
    ],
)
def test_a_key_is_a_value_of_its_kind(keyword: str, text: str, kind: type):
    (condition,) = read(**{keyword: text})
    assert isinstance(condition, KeyCondition)
    assert isinstance(condition.matching, kind)
    assert condition.attributes == (BY_KEYWORD[keyword],)


@pytest.mark.parametrize("text", ["", " ", "*", "**", "\0", "\\", "A1\\*"])
def test_a_universal_key_asks_for_nothing(text: str):
    assert read(AccessionNumber=text) == []


def test_an_attribute_without_a_value_matches_unknown_or_nothing():
    for keys in ({"AccessionNumber": "A*"}, {"StudyDate": "-20240101"}, {"PatientName": "D*"}, {"StudyTime": "10-"}):
        assert not matches(read(**keys))
        assert matches(read(Semantics(match_unknown=True), **keys))


def test_an_empty_value_is_asked_for_by_two_quotes_where_that_is_understood():
    (condition,) = read(Semantics(empty_value=True), AccessionNumber='""')
    assert isinstance(condition.matching, Empty)
    assert condition.matches({})
    assert not condition.matches({"AccessionNumber": "A1"})
    assert matches(read(AccessionNumber='""'), AccessionNumber='""')


def test_f12_ranges_of_dates_and_times_are_one_interval_where_that_is_agreed():
    keys = {"StudyDate": "20240101-20240131", "StudyTime": "08-0900"}
    middle = {"StudyDate": "20240115", "StudyTime": "2300"}
    assert not matches(read(**keys), **middle)
    asked = read(Semantics(combined=True), **keys)
    assert [type(condition) for condition in asked] == [Interval]
    for values, expected in (
        (middle, True),
        ({"StudyDate": "20240101", "StudyTime": "0759"}, False),
        ({"StudyDate": "20240101", "StudyTime": "08"}, True),
        ({"StudyDate": "20240131", "StudyTime": "09:00:59"}, True),
        ({"StudyDate": "20240131", "StudyTime": "0901"}, False),
        ({"StudyDate": "20240115"}, True),
        ({"StudyTime": "0830"}, False),
    ):
        assert matches(asked, **values) == expected, values
    assert [type(c) for c in read(Semantics(combined=True), StudyDate="20240101", StudyTime="08-09")] == [
        KeyCondition,
        KeyCondition,
    ]


def sequence(*items: Values) -> str:
    return dumps({REQUEST: items})


def test_f14_all_keys_of_an_item_have_to_match_within_one_stored_item():
    stored = sequence(
        {STEP_ID: "S1", PROTOCOL: ({CODE: "C1", MEANING: "Head"}, {CODE: "C2", MEANING: "Neck"})},
        {STEP_ID: "S2\\S3", PROTOCOL: ()},
        {},
    )
    for key, expected in (
        ({STEP_ID: "S1"}, True),
        ({STEP_ID: "S3"}, True),
        ({STEP_ID: "S"}, False),
        ({STEP_ID: "?3"}, True),
        ({STEP_ID: "S1", PROTOCOL: ({CODE: "C2"},)}, True),
        ({STEP_ID: "S2", PROTOCOL: ({CODE: "C2"},)}, False),
        ({STEP_ID: "S2", PROTOCOL: ({CODE: "*"},)}, True),
        ({PROTOCOL: ({CODE: "C1", MEANING: "Neck"},)}, False),
        ({STEP_ID: ({CODE: "C1"},)}, False),
    ):
        asked = read(RequestAttributesSequence=sequence(key))
        assert matches(asked, RequestAttributesSequence=stored) == expected, key
        assert not matches(asked), key
    assert read(RequestAttributesSequence=sequence({STEP_ID: "", PROTOCOL: ({CODE: "*"},)})) == []
    assert read(RequestAttributesSequence=sequence({})) == []


def test_counts_are_compared_as_numbers():
    asked = read(NumberOfStudyRelatedInstances="02\\x\\²\\" + "9" * 30)
    assert matches(asked, NumberOfStudyRelatedInstances="2")
    assert not matches(asked, NumberOfStudyRelatedInstances="9" * 30)


REFUSED: list[tuple[str, str, str]] = [
    ("StudyDate", "2024", "not a value"),
    ("StudyTime", "x-", "not a value"),
    ("AcquisitionDateTime", "-", "not a value"),
    ("SOPClassesInStudy", "\\".join(map(str, range(MAX_LIST_VALUES + 1))), "more than 500 values"),
    ("AccessionNumber", "*" + "A" * MAX_PATTERN_LENGTH, "a pattern of more than 1024"),
    ("AccessionNumber", "\\".join(["A" * 50 + "*"] * 100), "patterns of more than 4096"),
    ("PatientName", "\\".join(["A" * 1000 + "*"] * 4 + ["B" * 100 + "?"]), "patterns of more than 4096"),
    ("RequestAttributesSequence", sequence({STEP_ID: "A"}, {STEP_ID: "B"}), "more than one item"),
    ("RequestAttributesSequence", sequence({PROTOCOL: ({CODE: "1"}, {CODE: "2"})}), "more than one item"),
    ("RequestAttributesSequence", sequence({0x00400002: "2024"}), "not a value"),
    ("RequestAttributesSequence", sequence({STEP_ID: "*" + "A" * MAX_PATTERN_LENGTH}), "a pattern of more"),
]


@pytest.mark.parametrize(("keyword", "text", "words"), REFUSED, ids=[f"{k} {w}" for k, _, w in REFUSED])
def test_what_cannot_be_understood_is_refused_with_its_tag(keyword: str, text: str, words: str):
    with pytest.raises(Failure, match=words) as refused:
        read(**{keyword: text})
    assert refused.value.kind is Kind.INVALID
    assert refused.value.tags == (KEY[keyword].tag,)


def test_names_to_be_found_by_sound_are_limited_too():
    with pytest.raises(Failure, match="a pattern of more"):
        read(Semantics(fuzzy=True), PatientName="A" * (MAX_PATTERN_LENGTH + 1))


def test_plain_values_and_lists_of_uids_may_be_long():
    assert not matches(read(AccessionNumber="A" * 100_000), AccessionNumber="A")
    assert matches(read(StudyInstanceUID="\\".join(f"1.{i}" for i in range(16_000))), StudyInstanceUID="1.15999")


def test_a_pattern_made_to_backtrack_ends():
    text = "a" * 40_000
    assert not Patterns(["*a" * 20 + "*b"]).match(text)
    assert Patterns(["nothing", "*a" * 20 + "*"]).match(text)
    assert not Patterns([]).match("")


def test_many_patterns_are_compared_as_one():
    matching = parse("LO", "\\".join(f"*{i:03}?x*" for i in range(499)), multi=True)
    assert matching is not None
    assert not matching.matches("some words\\of which\\none fits")
    assert matching.matches("some words\\a 498-x b")


def test_conditions_can_be_asked_about_values_that_no_index_has_seen():
    """What routing and retention rules need: keys against the values of one object."""
    asked: list[Condition] = [*read(ModalitiesInStudy="CT", StudyDescription="*THORAX*", PatientName="müller*")]
    values = {"ModalitiesInStudy": "SR\\CT", "StudyDescription": "CT THORAX", "PatientName": "MUELLER"}
    assert not all(condition.matches(values) for condition in asked)
    assert all(condition.matches({**values, "PatientName": "Muller^Anna"}) for condition in asked)
