"""What came on each day, of what is still there: counted over the rows of those days alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

from peewee import Select, fn

from minipacs.index.objects.models import Instance

DAY_S = 86400


class Day(NamedTuple):
    """A day, by its beginning in seconds since 1970 (UTC), and what came on it."""

    begins_at: int
    instances: int
    size_bytes: int


def growth(read: Callable[[Select], list[tuple[Any, ...]]], since: float) -> list[Day]:
    """Count what came from a time on, in seconds since 1970, by days; those on which nothing came are left out."""
    first = _first_since(read, since)
    day = Instance.received_at.cast("BIGINT") / DAY_S
    select = Instance.select(day, fn.COUNT(Instance.id), fn.SUM(Instance.size_bytes))
    rows = read(select.where(Instance.id >= first, Instance.received_at >= since).group_by(day).order_by(day))
    return [Day(int(number) * DAY_S, count, size_bytes) for number, count, size_bytes in rows]


def _first_since(read: Callable[[Select], list[tuple[Any, ...]]], since: float) -> int:
    """Find the id from which on rows were received since a time: ids are given in the order in which objects came.

    An object that came again later has its old id; it counts for its new day if that id is among those.
    """
    ((low, high),) = read(Instance.select(fn.COALESCE(fn.MIN(Instance.id), 0), fn.COALESCE(fn.MAX(Instance.id), 0)))
    while low < high:
        middle = (low + high) // 2
        next_one = Instance.select(Instance.id, Instance.received_at).where(Instance.id > middle)
        ((row_id, received_at),) = read(next_one.order_by(Instance.id).limit(1))
        if received_at >= since:
            high = middle
        else:
            low = row_id
    return int(low)
