"""From a query to SELECT statements that can be read page by page, each page from an index where its keys allow it.

The rows run in an order that the database gives without sorting, so that reading all pages costs as much as the answer,
not as much as its square: down the ids from the level where an indexed key begins, led by its column if it is a range.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from peewee import OP, SQL, Case, ColumnBase, Expression, Field, IntegerField, Model, Select, Tuple, fn

from minipacs.dicom.attributes import INSTANCE_AVAILABILITY, LEVELS, Attribute, Level
from minipacs.index.matching import Match, all_of, match, split_list
from minipacs.index.models import (
    COLUMNS,
    INDEXED,
    LEVEL_MODELS,
    ONLINE,
    UNAVAILABLE,
    UNAVAILABLE_INSTANCES,
    Instance,
    Patient,
    Series,
    Study,
)

AVAILABILITY = Attribute("InstanceAvailability", INSTANCE_AVAILABILITY, "CS", "PATIENT", computed=True)
"""Can be returned at every level: UNAVAILABLE if that is so of any instance below (PS3.4 C.4.1.1.3.2)."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: keys to match at `level` and above, with their values, and the attributes to return.

    `match_unknown` lets rows without a value match any key (PS3.4 C.2.2.1.2). Raises ValueError for an attribute
    below `level`, and for AVAILABILITY as a key.
    """

    level: Level
    keys: Sequence[tuple[Attribute, str]]
    returns: Sequence[Attribute]
    match_unknown: bool = False

    def __post_init__(self) -> None:
        for attribute in (*(a for a, _ in self.keys), *self.returns):
            if _depth(attribute.level) > _depth(self.level):
                raise ValueError(f"{attribute.keyword} is below level {self.level}")
        if any(a.tag == INSTANCE_AVAILABILITY for a, _ in self.keys):
            raise ValueError("InstanceAvailability is no matching key")


class Selection:
    """The statements for matches that one run through an index, or the whole table, finds; `driver` is that index's."""

    def __init__(self, query: Query, matches: Sequence[Match], levels: Sequence[Level], driver: Match | None) -> None:
        self._query = query
        self._conditions = [m.expression for m in matches]
        self._order = _order(query.level, driver)
        self._top = min(_depth(level) for level in (*levels, query.level))

    def page(self, after: Sequence[object], rows: int) -> Select:
        """Compose the SELECT of the next `rows` after the order values `after`, which each row ends with."""
        columns = [_text(a, self._query.level) for a in self._query.returns]
        return self._select([*columns, *self._order], after).order_by(*self._order).limit(rows)

    def count(self, limit: int) -> Select:
        """Compose the SELECT of the number of rows, counting up to `limit`."""
        return Select([self._select([SQL("1")]).limit(limit)], [fn.COUNT(SQL("*"))])

    def _select(self, columns: Sequence[ColumnBase], after: Sequence[object] = ()) -> Select:
        level = self._query.level
        select = LEVEL_MODELS[level].select(*columns)
        for above in reversed(LEVELS[self._top : _depth(level)]):
            select = select.join(LEVEL_MODELS[above])
        conditions = list(self._conditions)
        if after:
            conditions.append(Expression(Tuple(*self._order), OP.GT, Tuple(*after)))
        return select.where(all_of(conditions)) if conditions else select


def selections(query: Query) -> Iterator[Selection]:
    """Cut a query into selections that together give each row once: long UID lists, and ranges in several columns.

    Raises DimseError A900 for a key that cannot be understood.
    """
    lists = [[(attribute, part) for part in split_list(attribute, text)] for attribute, text in query.keys]
    levels = [a.level for a, _ in query.keys] + [a.level for a in query.returns if a != AVAILABILITY]
    for keys in product(*lists):
        found = [(a, match(a, text, COLUMNS[a.keyword], match_unknown=query.match_unknown)) for a, text in keys]
        matches = [m for _, m in found if m]
        driver = _driver([m for a, m in found if m and a.keyword in INDEXED])
        if driver is None:
            yield Selection(query, matches, levels, None)
            continue
        others = [m for m in matches if m is not driver]
        for way in driver.ways or (driver,):
            yield Selection(query, [way, *others], levels, way)


def _depth(level: Level) -> int:
    return LEVELS.index(level)


def _level_depth(column: Field) -> int:
    return _LEVEL_DEPTHS[column.model]


_LEVEL_DEPTHS: dict[type[Model], int] = {model: _depth(level) for level, model in LEVEL_MODELS.items()}
_IDS: dict[Level, Field] = {"PATIENT": Patient.id, "STUDY": Study.id, "SERIES": Series.id, "IMAGE": Instance.id}


def _driver(indexed: Sequence[Match]) -> Match | None:
    """Choose the match whose index the rows are read from: the most selective, then the highest in the hierarchy."""
    usable = [m for m in indexed if m.access != "scan"]
    return min(usable, key=lambda m: (m.access == "range", _level_depth(m.column)), default=None)


def _order(level: Level, driver: Match | None) -> list[Field]:
    start = _level_depth(driver.column) if driver else _depth(level)
    ids = [_IDS[at] for at in LEVELS[start : _depth(level) + 1]]
    return [driver.column, *ids] if driver and driver.access == "range" else ids


def _text(attribute: Attribute, level: Level) -> ColumnBase:
    if attribute == AVAILABILITY:
        if level == "IMAGE":
            return Instance.availability
        return Case(None, [(UNAVAILABLE_INSTANCES[level] > 0, UNAVAILABLE)], ONLINE)
    column = COLUMNS[attribute.keyword].value
    return column.cast("TEXT") if isinstance(column, IntegerField) else column
