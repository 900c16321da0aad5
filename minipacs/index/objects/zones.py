"""Dates and times across time zones, for queries that name the zone in which theirs are meant (PS3.4 C.2.2.2.1.3).

What is stored is in the zone of its study, or, if that names none, in that of this machine. A date alone, without its
time of day, is the same date everywhere; so are dates of birth.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType

from peewee import ColumnBase, Value, fn

from minipacs.dicom.matching import temporal
from minipacs.dicom.tables.attributes import BY_KEYWORD, Attribute
from minipacs.index.objects.conditions import Match, all_of, any_of, malformed, split_values
from minipacs.index.objects.models import COLUMNS

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


def time_matches(date: str, time: str, zone: str, key: str) -> bool:
    """Tell whether a date with its time matches a key that `_key` wrote: the SQL function of that name."""
    target, combined, dates, times = _read(key)
    date, time = shifted(date, time, zone, target)
    moment = temporal.normal(date, "DA"), temporal.normal(time, "TM")
    if combined:
        ((first, last),), ((begin, end),) = dates, times
        return all(moment) and first + begin <= "".join(moment) <= last + end
    asked = (spans for spans in zip((dates, times), moment, strict=True) if spans[0])
    return all(any(low <= value <= high for low, high in spans) for spans, value in asked)


def moment_matches(text: str, zone: str, key: str) -> bool:
    """Tell whether a date-time matches a key that `_key` wrote: the SQL function of that name."""
    target, _, spans, _ = _read(key)
    value = temporal.normal(shifted_moment(text, zone, target), "DT", target)
    return bool(value) and any(low <= value <= high for low, high in spans)


def match_pair(date: Attribute, texts: tuple[str, str], target: str, *, combined: bool) -> Match | None:
    """Match a date and its time, each with a key that may be ""; None if both are universal.

    `combined` makes one interval of both. Raises Failure INVALID with the tag of what is malformed.
    """
    time = PARTNERS[date]
    dates, times = (_spans(attribute, text) for attribute, text in zip((date, time), texts, strict=True))
    if not dates and not times:
        return None
    day, hour, zone = COLUMNS[date.keyword].value, COLUMNS[time.keyword].value, COLUMNS[ZONE.keyword].value
    fits = fn.time_matches(day, hour, zone, Value(_key(target, combined, dates, times), converter=False))
    if not dates:
        return Match(fits, "scan", day)
    near: list[ColumnBase] = [day.between(*_widened(span)) for span in dates]
    return Match(all_of([any_of(near), fits]), "range" if len(near) == 1 else "points", day)


def match_moment(attribute: Attribute, text: str, target: str) -> Match | None:
    """Match a date-time; None if the key is universal. Raises Failure INVALID with the tag of what is malformed."""
    spans = _spans(attribute, text, target)
    if not spans:
        return None
    column, zone = COLUMNS[attribute.keyword].value, COLUMNS[ZONE.keyword].value
    return Match(
        fn.moment_matches(column, zone, Value(_key(target, False, spans, ()), converter=False)), "scan", column
    )


def _spans(attribute: Attribute, text: str, target: str = "") -> list[temporal.Span]:
    found = [temporal.span(value, attribute.vr, target) for value in split_values(attribute, text)]
    if None in found:
        raise malformed(attribute, "is not a value or range of its kind")
    return [span for span in found if span is not None]


def _widened(span: temporal.Span) -> tuple[str, str]:
    """Move the ends of a span of dates apart, so that it has whatever could fall into it in another zone."""
    return _moved(span.low, -MAX_SHIFT_DAYS), _moved(span.high, MAX_SHIFT_DAYS)


def _moved(day: str, days: int) -> str:
    try:
        return f"{datetime.strptime(day, '%Y%m%d') + timedelta(days):%Y%m%d}"
    except (ValueError, OverflowError):  # open, or no date of the calendar: as ends they may be taken further
        return "0" * 8 if days < 0 else "9" * 8


def _key(target: str, combined: bool, dates: Sequence[temporal.Span], times: Sequence[temporal.Span]) -> str:
    return "\n".join((target, "1" if combined else "", *("\\".join(map("-".join, spans)) for spans in (dates, times))))


@lru_cache(64)
def _read(key: str) -> tuple[str, bool, list[list[str]], list[list[str]]]:
    target, combined, *spans = key.split("\n")
    dates, times = ([span.split("-") for span in text.split("\\") if span] for text in spans)
    return target, bool(combined), dates, times


def _local(moment: str) -> str:
    """Give the offset of this machine's zone at a local moment."""
    try:
        return f"{datetime.strptime(moment[:12], '%Y%m%d%H%M').astimezone():%z}"[:5]
    except (ValueError, OverflowError):
        return "+0000"
