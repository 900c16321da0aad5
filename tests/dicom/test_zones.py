"""Dates and times across time zones, held against datetime."""

from datetime import datetime

import pytest
from hypothesis import given

from minipacs.dicom.matching import zones
from minipacs.dicom.matching.temporal import Span
from tests.support.zones import MOMENTS, OFFSETS, moved, text


@given(MOMENTS, OFFSETS, OFFSETS)
def test_x3_times_are_those_that_datetime_gives(moment: datetime, source: int, target: int):
    date, time = f"{moment:%Y%m%d}", f"{moment:%H%M%S.%f}"
    there = moved(moment, source, target)
    expected = f"{there:%Y%m%d}", f"{there:%H%M%S.%f}"
    assert zones.shifted(date, time, text(source), text(target)) == expected
    assert zones.shifted_moment(date + time, text(source), text(target)) == "".join(expected)


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20240101", "2330", ("20240102", "0000")),
        ("20240101", "23", ("20240101", "2330")),
        ("20240101", "23:59:60.5", ("20240102", "002960.5")),
        ("2024.01.01", "120000", ("20240101", "123000")),
        ("20240101", "", ("20240101", "")),
        ("", "1200", ("", "1200")),
        ("20240231", "1200", ("20240229", "1230")),
        ("20241301", "1200", ("20241301", "1200")),
        ("20240101", "noon", ("20240101", "noon")),
        ("00010101", "0000", ("00010101", "0030")),
        ("99991231", "2359", ("99991231", "2359")),
    ],
)
def test_x3_precision_is_kept_and_so_is_what_is_no_time(date: str, time: str, expected: tuple[str, str]):
    assert zones.shifted(date, time, "+0000", "+0030") == expected


@pytest.mark.parametrize("value", ["", "2024", "20240101", "20240101120000+0100", "20240101120000.5-0500"])
def test_x3_date_times_that_name_a_zone_or_no_hour_stay(value: str):
    assert zones.shifted_moment(value, "+0000", "+0530") == value


def test_x3_what_names_no_zone_is_in_that_of_the_machine():
    def at(date: str) -> tuple[str, str]:
        offset = datetime.strptime(date + "12", "%Y%m%d%H").astimezone().utcoffset()
        assert offset is not None
        there = datetime.strptime(date + "12", "%Y%m%d%H") - offset
        return f"{there:%Y%m%d}", f"{there:%H%M}"

    for date in ("20240115", "20240715"):
        assert zones.shifted(date, "1200", "", "+0000") == at(date)


def test_x3_a_span_is_widened_by_two_days_in_any_year():
    assert zones.widened(Span("20240301", "20241231")) == Span("20240228", "20250102")
    assert zones.widened(Span("09990101", "09991231")) == Span("09981230", "10000102")
    assert zones.widened(Span("00010101", "99991231")) == Span("00000000", "99999999")
    assert zones.widened(Span("00000000", "20240231")) == Span("00000000", "99999999")


def test_x3_times_of_the_first_years_keep_four_digits():
    assert zones.shifted("09990101", "0000", "+0000", "-0030") == ("09981231", "2330")
    assert len(zones.shifted("09990101", "0000", "", "+0000")[0]) == 8
