"""Dates and times across time zones, for queries that name the zone in which theirs are meant (PS3.4 C.2.2.2.1.3).

What is stored is in the zone of its study, or, if that names none, in that of this machine. A date alone, without its
time of day, is the same date everywhere; so are dates of birth.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

from minipacs.dicom.matching import temporal
from minipacs.dicom.matching.temporal import Span
from minipacs.dicom.tables.attributes import BY_KEYWORD, Attribute

ZONE = BY_KEYWORD["TimezoneOffsetFromUTC"]
MAX_SHIFT_DAYS = 2
"""By how much a date may differ between the zones from -1200 to +1400."""

PARTNERS: Mapping[Attribute, Attribute] = MappingProxyType(
    {
        date: BY_KEYWORD["Time".join(date.keyword.rsplit("Date", 1))]
        for date in BY_KEYWORD.values()
        if date.vr == "DA" and date.level != "PATIENT"
    }
)
"""The time of day that belongs to each date."""

_OFFSET = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d", re.ASCII)


def is_offset(text: str) -> bool:
    """Tell whether a text is an offset from UTC: +0100."""
    return _OFFSET.fullmatch(text) is not None


class Adjustment:
    """Turns rows of `attributes`, which hold those of `returns` and what they need, into the zone `target`."""

    def __init__(self, returns: Sequence[Attribute], target: str) -> None:
        pairs = [pair for pair in PARTNERS.items() if set(pair) & set(returns)]
        self.attributes = tuple(dict.fromkeys((*returns, *(a for pair in pairs for a in pair), ZONE)))
        place = {attribute: i for i, attribute in enumerate(self.attributes)}
        self._target = target
        self._zone = place[ZONE]
        self._width = len(returns)
        self._pairs = [(place[date], place[time]) for date, time in pairs]
        self._moments = [place[a] for a in returns if a.vr == "DT"]

    def __call__(self, row: Sequence[str]) -> tuple[str, ...]:
        """Give the values of `returns`; the zone, if it is one of them, is that of the target."""
        values = list(row)
        source = values[self._zone]
        for date, time in self._pairs:
            values[date], values[time] = shifted(values[date], values[time], source, self._target)
        for moment in self._moments:
            values[moment] = shifted_moment(values[moment], source, self._target)
        values[self._zone] = self._target
        return tuple(values[: self._width])


def shifted(date: str, time: str, source: str, target: str) -> tuple[str, str]:
    """Give a date and time of zone `source` as clocks show them in zone `target`, as precise as before.

    A source of "" is the zone of this machine. What is no date with a time stays as it is.
    """
    day, hour = temporal.normal(date, "DA"), temporal.normal(time, "TM")
    if not day or not hour:
        return date, time
    in_utc = temporal.in_utc(day + hour, source if is_offset(source) else _local(day + hour))
    there = in_utc and temporal.in_utc(in_utc, ("-" if target[0] == "+" else "+") + target[1:])
    if not there:
        return date, time
    whole, point, fraction = time.replace(":", "").partition(".")
    return there[:8], there[8:12] + whole[4:] + point + fraction


def shifted_moment(text: str, source: str, target: str) -> str:
    """Give a date-time of zone `source` in zone `target`; as it is if it names a zone itself, or no hour."""
    if any(c in text for c in "+-") or len(text) < 10:
        return text
    return "".join(shifted(text[:8], text[8:], source, target))


def widened(span: Span) -> Span:
    """Move the ends of a span of dates apart, so that it has whatever could fall into it in another zone."""
    return Span(_moved(span.low, -MAX_SHIFT_DAYS), _moved(span.high, MAX_SHIFT_DAYS))


def _moved(day: str, days: int) -> str:
    try:
        moved = datetime.strptime(day, "%Y%m%d") + timedelta(days)
    except (ValueError, OverflowError):  # open, or no date of the calendar: as ends they may be taken further
        return "0" * 8 if days < 0 else "9" * 8
    return f"{moved.year:04}{moved:%m%d}"


def _local(moment: str) -> str:
    """Give the offset of this machine's zone at a local moment."""
    try:
        return f"{datetime.strptime(moment[:12], '%Y%m%d%H%M').astimezone():%z}"[:5]
    except (ValueError, OverflowError):
        return "+0000"
