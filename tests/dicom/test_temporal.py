import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs.dicom.matching import temporal
from minipacs.dicom.matching.temporal import Span


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [
        ("DA", "20240229", "20240229"),
        ("DA", "2024.02.29", "20240229"),
        ("DA", "2024-02-29", ""),
        ("DA", "20241301", ""),
        ("DA", "20240100", ""),
        ("DA", "２０２４０１０１", ""),
        ("TM", "10", "100000000000"),
        ("TM", "1011", "101100000000"),
        ("TM", "10:11", "101100000000"),
        ("TM", "101112", "101112000000"),
        ("TM", "10:11:12.5", "101112500000"),
        ("TM", "101112.123456", "101112123456"),
        ("TM", "101160", "101160000000"),
        ("TM", "101161", ""),
        ("TM", "240000", ""),
        ("TM", "106000", ""),
        ("TM", "101112.", ""),
        ("TM", "101112.1234567", ""),
        ("TM", "1", ""),
        ("TM", "", ""),
        ("DT", "2024", "20240101000000000000"),
        ("DT", "20240102030405.6", "20240102030405600000"),
        ("DT", "20240101010000+0200", "20231231230000000000"),
        ("DT", "20240101010000-0230", "20240101033000000000"),
        ("DT", "20240101010000+1500", ""),
        ("DT", "20240132", ""),
        ("DT", "00010101000000+0100", ""),
    ],
)
def test_normal_form(vr: str, text: str, expected: str):
    assert temporal.normal(text, vr) == expected


def test_a_stored_date_stays_as_it_is_save_the_retired_form():
    assert temporal.date("2024.02.29") == "20240229"
    assert temporal.date("2024.2.29") == "2024.2.29"
    assert temporal.date("") == ""


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [
        ("DA", "20240101", Span("20240101", "20240101")),
        ("DA", "20240101-20240131", Span("20240101", "20240131")),
        ("DA", "2024.01.01 - 2024.01.31", Span("20240101", "20240131")),
        ("DA", "20240101-", Span("20240101", "99999999")),
        ("DA", "-20240131", Span("00000000", "20240131")),
        ("DA", "20240201-20240231", Span("20240201", "20240231")),
        ("TM", "2230", Span("223000000000", "223000000000")),
        ("TM", "22:30", Span("223000000000", "223000000000")),
        ("TM", "10-11", Span("100000000000", "115959999999")),
        ("TM", "-101112.5", Span("000000000000", "101112599999")),
        ("DT", "20240101-0500", Span("20240101050000000000", "20240101050000000000")),
        ("DT", "2024-2025", Span("20240101000000000000", "20251231235959999999")),
        ("DT", "202401-0500-202402-0500", Span("20240101050000000000", "20240301045959999999")),
    ],
)
def test_span_of_a_key(vr: str, text: str, expected: Span):
    assert temporal.span(text, vr) == expected


@pytest.mark.parametrize(
    ("vr", "text"),
    [
        *(("DA", text) for text in ("-", "2024", "2024*", "20240101-2024", "20240101-20240102-20240103", "20240101\n")),
        *(("TM", text) for text in ("25", "10-x", "*")),
        *(("DT", text) for text in ("x", "2024-x", "-")),
    ],
)
def test_a_malformed_key_is_none(vr: str, text: str):
    assert temporal.span(text, vr) is None


@given(st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_offsets_are_taken_to_utc(moment: datetime, minutes: int):
    zone = timezone(timedelta(minutes=minutes))
    text = f"{moment:%Y%m%d%H%M%S}.{moment.microsecond:06}{moment.replace(tzinfo=zone):%z}"
    assert temporal.normal(text, "DT") == f"{moment.replace(tzinfo=zone).astimezone(UTC):%Y%m%d%H%M%S%f}"


@given(st.sampled_from(["DA", "TM", "DT"]), st.text("0123456789.:-+ ", max_size=30))
def test_any_text_gives_a_normal_form_of_full_width_or_none(vr: str, text: str):
    assert re.fullmatch(r"(\d{8}|\d{12}|\d{20})?", temporal.normal(text, vr))
    found = temporal.span(text, vr)
    assert found is None or len(found.low) == len(found.high) == {"DA": 8, "TM": 12, "DT": 20}[vr]
