"""Hours of the week in which something may be done: "18-6", "mon-fri 18-6", several joined by commas."""

import re
from datetime import datetime, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? )?(\d{1,2})-(\d{1,2})")
_HOURS_A_WEEK = 24 * 7


class Hours:
    """The hours that a text names; an empty one names all. Raises ValueError for one that cannot be understood.

    Days are those on which a span begins: "fri 18-6" ends on Saturday.
    """

    def __init__(self, text: str) -> None:
        self._open = frozenset(hour for part in text.split(",") for hour in _hours(part.strip())) if text else None

    def opens_in_s(self, now: datetime) -> float:
        """Return the seconds until such an hour, 0 within one."""
        if self._open is None:
            return 0.0
        begun = now.replace(minute=0, second=0, microsecond=0)
        for ahead in range(_HOURS_A_WEEK + 1):
            at = begun + timedelta(hours=ahead)
            if at.weekday() * 24 + at.hour in self._open:
                return max((at - now).total_seconds(), 0.0)
        return 0.0


def _hours(part: str) -> list[int]:
    found = _PART.fullmatch(part)
    if found is None:
        raise ValueError
    first, last, begin, end = found[1] or "mon", found[2] or found[1] or "sun", int(found[3]), int(found[4])
    if first not in DAYS or last not in DAYS or begin > 23 or end > 24 or begin == end:
        raise ValueError
    days = (DAYS.index(last) - DAYS.index(first)) % 7 + 1
    length = (end - begin) % 24 or 24
    starts = ((DAYS.index(first) + day) % 7 * 24 + begin for day in range(days))
    return [(start + hour) % _HOURS_A_WEEK for start in starts for hour in range(length)]
