"""Queries across time zones, held against datetime."""

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipacs.dicom.tables.attributes import BY_KEYWORD, Level
from minipacs.errors import Failure
from minipacs.index import Index, Query
from tests.index.conftest import Files
from tests.support.zones import MOMENTS, OFFSETS, moved, text


def find(index: Index, offset: str, *, combined: bool = False, level: Level = "STUDY", **keys: str) -> list[str]:
    asked = [(BY_KEYWORD[keyword], value) for keyword, value in keys.items()]
    query = Query(level, asked, [BY_KEYWORD["PatientID"]], combined=combined, offset=offset)
    return sorted(value for (value,) in index.find(query))


STORED = st.tuples(MOMENTS.map(lambda m: m.replace(year=2024, month=1, second=0, microsecond=0)), OFFSETS)
DAYS = st.integers(1, 31)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(STORED, min_size=1, max_size=4),
    target=OFFSETS,
    days=st.tuples(DAYS, DAYS),
    hours=st.tuples(st.integers(0, 23), st.integers(0, 23)),
    combined=st.booleans(),
)
def test_x3_sql_matches_what_datetime_matches(
    index: Index,
    files: Files,
    rows: list[tuple[datetime, int]],
    target: int,
    days: tuple[int, int],
    hours: tuple[int, int],
    combined: bool,
):
    uids = [str(i) for i in range(len(rows))]
    for uid, (moment, source) in zip(uids, rows, strict=True):
        own = {"PatientID": uid, "TimezoneOffsetFromUTC": text(source)}
        times = {"StudyDate": f"{moment:%Y%m%d}", "StudyTime": f"{moment:%H%M}"}
        index.add(files.record(uid, study=f"1.{uid}", series=f"1.{uid}.1", **own, **times), "replace")
    try:
        (first, last), (begin, end) = days, hours
        keys = {"StudyDate": f"202401{first:02}-202401{last:02}", "StudyTime": f"{begin:02}-{end:02}"}
        there = [moved(moment, source, target) for moment, source in rows]
        low, high = f"202401{first:02}", f"202401{last:02}"
        within = [low <= f"{m:%Y%m%d}" <= high and begin <= m.hour <= end for m in there]
        if combined:
            within = [low + f"{begin:02}" <= f"{m:%Y%m%d%H}" <= high + f"{end:02}" for m in there]
        expected = [uid for uid, fits in zip(uids, within, strict=True) if fits]
        assert find(index, text(target), combined=combined, **keys) == expected
    finally:
        index.remove(uids)


def test_x3_keys_of_one_part_lists_and_date_times(index: Index, files: Files):
    for uid, zone, time in (("a", "+0000", "2330"), ("b", "-0500", "1200"), ("c", "+0000", "")):
        values = {"PatientID": uid, "StudyDate": "20240101", "StudyTime": time, "PatientBirthDate": "20000101"}
        moment = {"TimezoneOffsetFromUTC": zone, "AcquisitionDateTime": f"20240101{time}"}
        index.add(files.record(uid, study=f"1.{uid}", series=f"1.{uid}.1", **values, **moment), "replace")
    assert find(index, "+0100", StudyDate="20240101") == ["b", "c"]
    assert find(index, "+0100", StudyDate="20240102\\20240103") == ["a"]
    assert find(index, "+0100", StudyTime="0030") == ["a"]
    assert find(index, "+0100", StudyTime="18-") == ["b"]
    assert find(index, "+0100", StudyDate="", StudyTime="", PatientBirthDate="20000101") == ["a", "b", "c"]
    assert find(index, "+0100", level="IMAGE", AcquisitionDateTime="20240102003000") == ["a"]
    assert find(index, "+0100", level="IMAGE", AcquisitionDateTime="202401011800-202401020000") == ["b"]
    assert find(index, "+0100", level="IMAGE", AcquisitionDateTime="20240101170000+0000") == ["b"]
    assert find(index, "+0100", level="IMAGE", AcquisitionDateTime="") == ["a", "b", "c"]
    with pytest.raises(Failure) as error:
        find(index, "+0100", StudyTime="25")
    assert error.value.tags == (0x00080030,)
    for level, offset in (("STUDY", "CET"), ("PATIENT", "+0100")):
        with pytest.raises(ValueError, match="nowhere"):
            Query(level, [], [], offset=offset)


def test_x3_dates_of_the_first_thousand_years_are_found(index: Index, files: Files):
    for year in ("0999", "1001"):
        index.add(
            files.record(
                year,
                study=year,
                series=year,
                PatientID=year,
                StudyDate=f"{year}0101",
                StudyTime="12",
                TimezoneOffsetFromUTC="+0000",
            ),
            "replace",
        )
    assert find(index, "+0100", StudyDate="09990101") == ["0999"]
    assert find(index, "+0100", StudyDate="09980101-09991231", StudyTime="13") == ["0999"]
