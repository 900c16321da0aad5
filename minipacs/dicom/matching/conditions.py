"""What a query asks of an object: its keys, each alone, or a date with its time as one (PS3.4 C.2.2.2).

A condition looks at the values of its attributes, given by keyword as `attribute` describes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from minipacs.dicom.matching import temporal
from minipacs.dicom.matching.attribute import Malformed, Matching, parse, spans, split
from minipacs.dicom.matching.temporal import Span
from minipacs.dicom.matching.zones import PARTNERS, ZONE, shifted, shifted_moment
from minipacs.dicom.tables.attributes import Attribute, Key
from minipacs.errors import Failure, Kind

K = TypeVar("K", bound=Key)
K_co = TypeVar("K_co", bound=Key, covariant=True)

Values = Mapping[str, str]
"""Stored values by keyword; what is absent has no value."""


@dataclass(frozen=True, slots=True)
class Semantics:
    """How keys are meant, beyond what they say: by configuration, negotiation and the request (PS3.4 C.5.1.1).

    `match_unknown` lets attributes without a value match any key (PS3.4 C.2.2.1.2), `fuzzy` finds names by their sound,
    `combined` makes one interval of a range of dates and one of times, `offset` from UTC, +0100, is that of the zone
    in which dates with their times are asked for. `empty_value` takes two double quotes to ask for no value.
    """

    match_unknown: bool = False
    fuzzy: bool = False
    combined: bool = False
    offset: str = ""
    empty_value: bool = False


class Condition(Protocol[K_co]):
    """Something that has to be so; a value that is shared between threads and never changes."""

    @property
    def attributes(self) -> tuple[K_co, ...]:
        """The attributes whose values are looked at."""

    def matches(self, values: Values) -> bool:
        """Tell whether it is so of an object with these values."""


@dataclass(frozen=True, slots=True)
class KeyCondition(Generic[K]):
    """One attribute is what its key asks for; with `match_unknown` it may also be without a value."""

    attribute: K
    matching: Matching
    match_unknown: bool = False

    @property
    def attributes(self) -> tuple[K, ...]:
        """Return the attribute."""
        return (self.attribute,)

    def matches(self, values: Values) -> bool:
        """Tell whether its value matches."""
        stored = values.get(self.attribute.keyword, "")
        return self.matching.matches(stored) or (self.match_unknown and not stored)


@dataclass(frozen=True, slots=True)
class Interval(Generic[K]):
    """A date with its time lies between two moments: from the first date and time to the last (PS3.4 C.2.2.2.5)."""

    date: K
    time: K
    days: Span
    hours: Span

    @property
    def attributes(self) -> tuple[K, ...]:
        """Return the date and the time."""
        return self.date, self.time

    def matches(self, values: Values) -> bool:
        """Tell whether it lies there; without a time it is before all times of its day."""
        day = temporal.compared(values.get(self.date.keyword, ""), self.date.vr)
        hour = temporal.compared(values.get(self.time.keyword, ""), self.time.vr)
        return bool(day) and (self.days.low, self.hours.low) <= (day, hour) <= (self.days.high, self.hours.high)


@dataclass(frozen=True, slots=True)
class TimeInZone:
    """A date with its time matches as clocks show it at `offset`; of no spans of the one all match.

    `combined` makes one interval of the one span of days and the one of hours.
    """

    date: Attribute
    time: Attribute
    days: tuple[Span, ...]
    hours: tuple[Span, ...]
    offset: str
    combined: bool = False

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """Return the date, the time and the zone that they are in."""
        return self.date, self.time, ZONE

    def matches(self, values: Values) -> bool:
        """Tell whether it does."""
        date, time, zone = (values.get(attribute.keyword, "") for attribute in self.attributes)
        date, time = shifted(date, time, zone, self.offset)
        day, hour = temporal.normal(date, "DA"), temporal.normal(time, "TM")
        if self.combined:
            (days,), (hours,) = self.days, self.hours
            return bool(day and hour) and days.low + hours.low <= day + hour <= days.high + hours.high
        return _within(day, self.days) and _within(hour, self.hours)


@dataclass(frozen=True, slots=True)
class MomentInZone:
    """A date-time matches as clocks show it at `offset`, in whose zone the spans are meant."""

    attribute: Attribute
    spans: tuple[Span, ...]
    offset: str

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """Return the date-time and the zone that it is in."""
        return self.attribute, ZONE

    def matches(self, values: Values) -> bool:
        """Tell whether it does."""
        text, zone = (values.get(attribute.keyword, "") for attribute in self.attributes)
        moment = temporal.normal(shifted_moment(text, zone, self.offset), "DT", self.offset)
        return bool(moment) and _within(moment, self.spans)


def _within(value: str, spans: Sequence[Span]) -> bool:
    return not spans or any(low <= value <= high for low, high in spans)


def conditions(
    keys: Sequence[tuple[K, str]], semantics: Semantics = Semantics(), partners: Mapping[K, K] | None = None
) -> "list[KeyCondition[K] | Interval[K]]":
    """Read keys, each with its value, into what they ask for; universal ones ask for nothing.

    `partners` has the time that belongs to each date that may be combined with one. The value of a sequence key is its
    item as `items.to_text` writes it. Raises Failure INVALID with the tag of a key that cannot be understood.
    """
    found: list[KeyCondition[K] | Interval[K]] = []
    texts, used = dict(keys), set[K]()
    for date, time in (partners or {}).items() if semantics.combined else ():
        if date in texts and time in texts and _combinable(texts[date], texts[time]):
            (days,), (hours,) = _spans(date, texts[date]), _spans(time, texts[time])
            found.append(Interval(date, time, days, hours))
            used |= {date, time}
    for attribute, text in keys:
        matching = None if attribute in used else _matching(attribute, text, semantics)
        if matching is not None:
            found.append(KeyCondition(attribute, matching, match_unknown=semantics.match_unknown))
    return found


def zoned_conditions(keys: Sequence[tuple[Attribute, str]], semantics: Semantics) -> list[Condition[Attribute]]:
    """Read keys whose dates, with their times, and date-times are meant in the zone of `semantics`; as `conditions`.

    Date-times that have no column are not turned.
    """
    found: list[Condition[Attribute]] = []
    texts, used, offset = dict(keys), set[Attribute](), semantics.offset
    for date, time in PARTNERS.items():
        pair = texts.get(date, ""), texts.get(time, "")
        days, hours = _spans(date, pair[0]), _spans(time, pair[1])
        used |= {date, time}
        if days or hours:
            found.append(TimeInZone(date, time, days, hours, offset, semantics.combined and _combinable(*pair)))
    for attribute, text in keys:
        if attribute.vr == "DT" and attribute.column:
            used.add(attribute)
            moments = _spans(attribute, text, offset)
            if moments:
                found.append(MomentInZone(attribute, moments, offset))
    return [*found, *conditions([(a, text) for a, text in keys if a not in used], semantics)]


def _combinable(date_text: str, time_text: str) -> bool:
    """Tell whether both keys are ranges: only then they may mean one interval."""
    return all("-" in text and "\\" not in text for text in (date_text, time_text))


def _matching(attribute: Key, text: str, semantics: Semantics) -> Matching | None:
    try:
        return parse(
            attribute.vr,
            text,
            multi=attribute.multi,
            fuzzy=semantics.fuzzy,
            number=attribute.computed and attribute.vr == "IS",
            empty_value=semantics.empty_value,
        )
    except Malformed as error:
        raise _refused(attribute, error) from None


def _spans(attribute: Key, text: str, offset: str = "") -> tuple[Span, ...]:
    try:
        return spans(attribute.vr, split(attribute.vr, text), offset)
    except Malformed as error:
        raise _refused(attribute, error) from None


def _refused(attribute: Key, error: Malformed) -> Failure:
    return Failure(Kind.INVALID, f"{attribute.keyword} {error}", (attribute.tag,))
