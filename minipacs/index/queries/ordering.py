"""The matches of a query in an order, and a part of them: what pages of a list are made of."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from minipacs.dicom.tables.attributes import BY_KEYWORD, UNIQUE_KEY, Attribute
from minipacs.dicom.text.person_name import fold
from minipacs.errors import Failure, Kind
from minipacs.index.queries.selection import Query, is_in_order

MAX_SORTED_ROWS = 200_000
"""Matches that are sorted; more have to be narrowed down."""

SHORT_ROWS = 100
"""Matches that are read with all that is asked for, and sorted: one statement instead of two."""

BATCH_ROWS = 500
"""Rows that are read at once when they are picked by their UIDs."""

Find = Callable[[Query], Iterator[tuple[str, ...]]]


class Order(NamedTuple):
    """An attribute to sort by."""

    attribute: Attribute
    descending: bool = False


def find_ordered(
    find: Find, query: Query, order: Sequence[Order], offset: int, limit: int | None
) -> Iterator[tuple[str, ...]]:
    """Give matches from `offset` on, `limit` of them or all.

    Without an order, studies come with the latest date first, other levels in the order of the index, the same each
    time. Where the index cannot give the order, the keys to sort by are read and sorted, then the rows that are asked
    for. Raises Failure TOO_MANY if that would be too many.
    """
    wished = replace(query, newest_first=not order)
    end = None if limit is None else offset + limit
    if not order and (query.level != "STUDY" or is_in_order(wished)):
        return islice(find(wished), offset, end)
    uid = UNIQUE_KEY[query.level]
    by = order or [Order(BY_KEYWORD["StudyDate"], descending=True), Order(uid)]
    keys = uid, *(o.attribute for o in by)
    rows = list(islice(find(replace(query, returns=(*keys, *query.returns))), SHORT_ROWS + 1))
    if len(rows) <= SHORT_ROWS:
        return (row[len(keys) :] for row in _sorted(rows, by)[offset:end])
    rows = list(islice(find(replace(query, returns=keys)), MAX_SORTED_ROWS + 1))
    if len(rows) > MAX_SORTED_ROWS:
        raise Failure(Kind.TOO_MANY, f"more than {MAX_SORTED_ROWS} matches cannot be sorted: narrow the search")
    return _picked(find, query, [row[0] for row in _sorted(rows, by)[offset:end]])


def _sorted(rows: list[tuple[str, ...]], by: Sequence[Order]) -> list[tuple[str, ...]]:
    """Sort rows of which the values to sort by stand behind the first."""
    for place in range(len(by), 0, -1):
        vr = by[place - 1].attribute.vr
        rows.sort(key=lambda row: _sortable(row[place], vr), reverse=by[place - 1].descending)
    return rows


def _picked(find: Find, query: Query, uids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Read rows by their UIDs, in the order of these; what is gone meanwhile is left out."""
    uid = UNIQUE_KEY[query.level]
    for start in range(0, len(uids), BATCH_ROWS):
        batch = uids[start : start + BATCH_ROWS]
        keys = [*((a, text) for a, text in query.keys if a != uid), (uid, "\\".join(batch))]
        grouped: dict[str, list[tuple[str, ...]]] = {}
        for row in find(replace(query, keys=keys, returns=(uid, *query.returns))):
            grouped.setdefault(row[0], []).append(row[1:])
        for one in dict.fromkeys(batch):
            yield from grouped.get(one, ())


def _sortable(text: str, vr: str) -> tuple[int, float, str]:
    """Give what values of a VR are compared by; what is empty comes last."""
    if not text:
        return (2, 0.0, "")
    if vr in ("IS", "DS", "US", "UL"):
        try:
            return (0, float(text.split("\\")[0]), "")
        except ValueError:
            return (1, 0.0, text)
    return (0, 0.0, fold(text) if vr == "PN" else text.casefold())
