"""Statements of pages, composed once for all queries that differ in their values alone: SQLite is quicker than that."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from peewee import Node

from minipacs.index.engine.paging import Place
from minipacs.index.queries.selection import Selection

MAX_KEPT = 500
"""Statements; who asks in ever new ways has them composed each time, now and then all of them."""


class _Kept(NamedTuple):
    """A statement, its parameters in front of the place and the number of rows, and where in them each value stands."""

    text: str
    parameters: Sequence[Any]
    places: Sequence[int]


class Composer:
    """Writes the statements of pages; safe to use from any thread."""

    def __init__(self, compile: Callable[[Node], tuple[str, list[Any]]]) -> None:
        self._compile = compile
        self._kept: dict[tuple[object, ...], _Kept] = {}

    def page(self, part: Selection, after: Place, rows: int) -> tuple[str, list[Any]]:
        """Give the statement that reads the next `rows` behind a place, and its parameters."""
        form = part.form
        if form is None:
            return self._compile(part.page(after, rows))
        kept = self._kept.get((form, len(after)))
        if kept is None:
            text, parameters = self._compile(part.page(after, rows))
            self._keep((form, len(after)), text, parameters, part.values, (*after, rows))
            return text, parameters
        parameters = list(kept.parameters)
        for place, value in zip(kept.places, part.values, strict=True):
            parameters[place] = value
        return kept.text, [*parameters, *after, rows]

    def _keep(
        self, key: tuple[object, ...], text: str, parameters: list[Any], values: Sequence[str], end: tuple[Any, ...]
    ) -> None:
        """Keep a statement whose values can be told from its other parameters, as the objects that they are."""
        front = parameters[: -len(end)]
        places = [place for value in values for place, found in enumerate(front) if found is value]
        is_clear = len(set(places)) == len(places) == len(values)
        if is_clear and tuple(parameters[-len(end) :]) == end:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[key] = _Kept(text, front, places)
