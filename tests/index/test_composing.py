"""Statements that are composed once find what those composed each time would."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipacs.dicom.tables.attributes import BY_KEYWORD, LEVELS, Level
from minipacs.index import Index, Query
from minipacs.index.queries import composing
from minipacs.index.queries.composing import Composer
from minipacs.index.queries.selection import selections
from tests.index.conftest import Files
from tests.index.test_queries import fill, filled, key

__all__ = ["filled"]

KEYS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber", "Modality",
        "PatientName", "StudyDate", "NumberOfStudyRelatedInstances")  # fmt: skip
TEXTS = ("", "P1", "1.2", "1.2.0", "9.2.0", "A2", "CT", "Doe1^John", "20240102", "A*", "1.2\\1.3", "10", "ONLINE")


def returned(level: Level) -> list[Any]:
    return [BY_KEYWORD[keyword] for keyword in KEYS if LEVELS.index(BY_KEYWORD[keyword].level) <= LEVELS.index(level)]


def rows(index: Index, query: Query) -> list[tuple[str, ...]]:
    return sorted(index.find(query, page_rows=3))


@settings(max_examples=150, deadline=None)
@given(
    level=st.sampled_from(LEVELS),
    wanted=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(TEXTS)), max_size=3, unique_by=lambda k: k[0]),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_the_same_rows_are_found(filled: Index, level: Level, wanted: Sequence[tuple[str, str]], flags: Any):
    at = returned(level)
    keys = [key(keyword, text) for keyword, text in wanted if BY_KEYWORD[keyword] in at]
    match_unknown, newest_first = flags
    try:
        query = Query(level, keys, at, match_unknown=match_unknown, newest_first=newest_first)
        found = rows(filled, query)
    except Exception as error:
        assert type(error).__name__ == "Failure"  # noqa: PT017
        return
    composer, filled._composer = filled._composer, Composer(filled._engine.compile)
    try:
        assert rows(filled, query) == found
    finally:
        filled._composer = composer


def test_a_statement_is_composed_once_for_all_values(index: Index, files: Files):
    fill(index, files)
    composed: list[object] = []

    def compile(query: Any) -> tuple[str, list[Any]]:
        composed.append(query)
        return index._engine.compile(query)

    index._composer = Composer(compile)
    for study in range(6):
        [(found,)] = index.find(Query("STUDY", [key("AccessionNumber", f"A{study}")], [BY_KEYWORD["StudyInstanceUID"]]))
        assert found == f"1.{study}"
    assert len(composed) == 1


def test_a_value_that_cannot_be_told_from_another_is_not_kept(index: Index):
    composer = Composer(index._engine.compile)
    value = "".join(["P", "1"])
    keys = [key("PatientID", value), key("AccessionNumber", value)]
    (part,) = selections(Query("STUDY", keys, [BY_KEYWORD["StudyInstanceUID"]]))
    for found in part._found:
        found.condition.matching.values = (value,)  # type: ignore[union-attr]
    composer._keep((), "", [value, value, 10], part.values, (10,))
    assert composer._kept == {}


def test_what_is_kept_has_a_bound(index: Index, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(composing, "MAX_KEPT", 2)
    for keyword in ("StudyID", "StudyDescription", "AccessionNumber", "StudyTime", "StudyDate"):
        list(index.find(Query("STUDY", [], [BY_KEYWORD[keyword]])))
        assert 1 <= len(index._composer._kept) <= 2
