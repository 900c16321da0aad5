"""Dates and times by meaning: normal forms that compare as text, and the spans that keys ask for (PS3.4 C.2.2.2.5).

A value of less than full precision means its first moment; as the end of a range it means its last.
"""

import re
from calendar import monthrange
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

VRS = frozenset({"DA", "TM", "DT"})

_DATE = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
_RETIRED_DATE = r"(?P<year>\d{4})\.(?P<month>\d\d)\.(?P<day>\d\d)"
_TIME = r"(?P<hour>\d\d)(:?(?P<minute>\d\d)(:?(?P<second>\d\d)(\.(?P<fraction>\d{1,6}))?)?)?"
_DATE_TIME = (
    r"(?P<year>\d{4})((?P<month>\d\d)((?P<day>\d\d)((?P<hour>\d\d)((?P<minute>\d\d)((?P<second>\d\d)"
    r"(\.(?P<fraction>\d{1,6}))?)?)?)?)?)?(?P<offset>[+-](0\d|1[0-4])[0-5]\d)?"
)
_FORMS = {
    "DA": (re.compile(_DATE, re.ASCII), re.compile(_RETIRED_DATE, re.ASCII)),
    "TM": (re.compile(_TIME, re.ASCII),),
    "DT": (re.compile(_DATE_TIME, re.ASCII),),
}

_COMPONENTS = {
    "DA": ("year", "month", "day"),
    "TM": ("hour", "minute", "second", "fraction"),
    "DT": ("year", "month", "day", "hour", "minute", "second", "fraction"),
}
_FIRST = {"month": "01", "day": "01", "hour": "00", "minute": "00", "second": "00", "fraction": "000000"}
_LAST = {"month": "12", "day": "31", "hour": "23", "minute": "59", "second": "59", "fraction": "999999"}
_HIGHEST = {"month": "12", "day": "31", "hour": "23", "minute": "59", "second": "60", "fraction": "999999"}
_LOWEST = {"month": "01", "day": "01"}
_WIDTH = {"DA": 8, "TM": 12, "DT": 20}


class Span(NamedTuple):
    """What a key asks for: normal forms from `low` to `high`, both included; equal for a single value."""

    low: str
    high: str


def normal(text: str, vr: str, offset: str = "") -> str:
    """Give the first moment that a stored value means: YYYYMMDD, HHMMSSFFFFFF or both joined; "" if it is malformed.

    A date-time with an offset from UTC is given in UTC; one without is taken to have `offset`, or stays as it is.
    """
    return (_usual_time(text) if vr == "TM" else None) or _moment(text, vr, _FIRST, offset) or ""


def date(text: str) -> str:
    """Give a stored date as it is, save the retired form YYYY.MM.DD, which becomes YYYYMMDD."""
    return normal(text, "DA") or text


def compared(text: str, vr: str) -> str:
    """Give what a stored value of VR DA, TM or DT is compared by: the normal form, of dates whatever they are."""
    return date(text) if vr == "DA" else normal(text, vr)


def span(text: str, vr: str, offset: str = "") -> Span | None:
    """Read a key of VR DA, TM or DT: a single value, or a range that may be open on one side; None if malformed.

    The days of a month are not counted: 20240231 is a usable end. In a date-time a hyphen before four digits is an
    offset if it can be one (PS3.5 6.2); `offset` is that of date-times that name none.
    """
    single = _moment(text, vr, _FIRST, offset)
    if single is not None:
        return Span(single, single)
    for i, c in enumerate(text):
        if c == "-":
            found = _range(text[:i].rstrip(" "), text[i + 1 :].lstrip(" "), vr, offset)
            if found is not None:
                return found
    return None


def _range(begin: str, end: str, vr: str, offset: str) -> Span | None:
    if not begin and not end:
        return None
    low = _moment(begin, vr, _FIRST, offset) if begin else "0" * _WIDTH[vr]
    high = _moment(end, vr, _LAST, offset) if end else "9" * _WIDTH[vr]
    return None if low is None or high is None else Span(low, high)


def _usual_time(text: str) -> str | None:
    """Read HHMMSS and HHMMSS.F quickly: every stored instance has some."""
    whole, dot, fraction = text.partition(".")
    digits = whole + fraction
    if (
        len(whole) != 6
        or len(fraction) > 6
        or bool(dot) != bool(fraction)
        or not (digits.isascii() and digits.isdecimal())
    ):
        return None
    return digits.ljust(12, "0") if whole < "24" and whole[2] < "6" and whole[4:] <= "60" else None


def _moment(text: str, vr: str, missing: dict[str, str], offset: str = "") -> str | None:
    for form in _FORMS[vr]:
        found = form.fullmatch(text)
        if found:
            break
    else:
        return None
    given = found.groupdict()
    parts = []
    for name in _COMPONENTS[vr]:
        part = given[name]
        if part is None:
            part = missing[name]
        elif name == "fraction":
            part += missing[name][len(part) :]
        elif part > _HIGHEST.get(name, "9999") or part < _LOWEST.get(name, ""):
            return None
        parts.append(part)
    moment = "".join(parts)
    offset = (given.get("offset") or offset) if vr == "DT" else ""
    return in_utc(moment, offset) if offset else moment


def in_utc(moment: str, offset: str) -> str | None:
    """Give the normal form of a date-time with this offset from UTC in UTC; None if that is beyond the calendar."""
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    shift = timedelta(minutes=-minutes if offset[0] == "+" else minutes)
    year, month, day, hour, minute, second = (int(moment[i:j]) for i, j in pairwise((0, 4, 6, 8, 10, 12, 14)))
    try:
        day = min(day, monthrange(year, month)[1])
        shifted = datetime(year, month, day, hour, minute, min(second, 59)) + shift
    except (ValueError, OverflowError):
        return None
    return f"{shifted.year:04}{shifted:%m%d%H%M%S}{moment[14:]}"
