"""Moments and offsets from UTC, and what datetime makes of them."""

from datetime import datetime, timedelta, timezone

from hypothesis import strategies as st

OFFSETS = st.integers(-12 * 60, 14 * 60)
MOMENTS = st.datetimes(min_value=datetime(1900, 1, 3), max_value=datetime(2100, 1, 1))


def text(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


def moved(moment: datetime, source: int, target: int) -> datetime:
    zone = timezone(timedelta(minutes=target))
    return moment.replace(tzinfo=timezone(timedelta(minutes=source))).astimezone(zone)
