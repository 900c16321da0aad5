"""Reading page by page: each page is a read of its own, so nothing is held while the caller deals with the rows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from peewee import OP, ColumnBase, Expression, Tuple

from minipacs.index.engine.readers import Allowance

FIRST_PAGE_ROWS = 100
MAX_PAGE_ROWS = 2000
PAGE_GROWTH = 4
"""The first page is short, so that the first answer comes soon; the later ones are long, for throughput."""

Place = tuple[Any, ...]
"""The values of a row by which rows are ordered; () before the first."""


def pages(
    read: Callable[[Place, int], Sequence[Any]],
    place: slice,
    *,
    first_rows: int = FIRST_PAGE_ROWS,
    max_rows: int = MAX_PAGE_ROWS,
    allowance: Allowance | None = None,
) -> Iterator[Any]:
    """Give rows in their order; `read` reads so many of those after a place, which stands in each row at `place`.

    Between pages, `allowance` is asked whether anybody waits for the next: raises QueryCancelled if not.
    """
    after: Place = ()
    size = min(first_rows, max_rows)
    while True:
        rows = read(after, size)
        yield from rows
        if len(rows) < size:
            return
        after, size = tuple(rows[-1][place]), min(size * PAGE_GROWTH, max_rows)
        if allowance is not None:
            allowance.check_cancelled()


def beyond(order: Sequence[ColumnBase], place: Place, *, descending: bool = False) -> list[ColumnBase]:
    """Make the condition, if one is needed, for what comes after a place in an order."""
    return [Expression(Tuple(*order), OP.LT if descending else OP.GT, Tuple(*place))] if place else []
