"""From a query to SELECT statements that can be read page by page, each page from an index where its keys allow it.

The rows run in an order that the database gives without sorting, so that reading all pages costs as much as the answer,
not as much as its square: down the ids from the level where an indexed key begins, led by its column if it is a range.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any, NamedTuple

from peewee import (
    JOIN,
    SQL,
    Case,
    ColumnBase,
    Context,
    Field,
    FieldAlias,
    IntegerField,
    ModelAlias,
    ModelSelect,
    Select,
    fn,
)

from minipacs.dicom.matching.attribute import Empty, Text
from minipacs.dicom.matching.conditions import Condition, KeyCondition, Semantics, conditions, zoned_conditions
from minipacs.dicom.matching.zones import PARTNERS, is_offset
from minipacs.dicom.tables.attributes import BY_KEYWORD, INSTANCE_AVAILABILITY, LEVELS, Attribute, Level
from minipacs.index.engine.paging import Place, beyond
from minipacs.index.objects.conditions import MAX_SQL_VALUES, Columns, Match, all_of, match, or_unknown
from minipacs.index.objects.models import (
    INDEXED,
    LEVEL_MODELS,
    ONLINE,
    PERSON,
    RARE_VALUES,
    UNAVAILABLE,
    UNAVAILABLE_INSTANCES,
    Instance,
    Patient,
    RareValue,
    Series,
    Study,
    columns_within,
    level_within,
)

TRANSFER_SYNTAX = Attribute("AvailableTransferSyntaxUID", 0x00083002, "UI", "SERIES", multi=True, computed=True)
"""Can be returned of a series, as a list, and of an instance: how what they hold is stored (PS3.18 Table 10.6.3-4)."""
AVAILABILITY = Attribute("InstanceAvailability", INSTANCE_AVAILABILITY, "CS", "PATIENT", computed=True)
"""Can be returned at every level: UNAVAILABLE if that is so of any instance below (PS3.4 C.4.1.1.3.2)."""

Keys = Sequence[tuple[Attribute, str]]

_DEPTHS = {level: depth for depth, level in enumerate(LEVELS)}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: keys to match at `level` and above, with their values, and the attributes to return.

    The value of a sequence key is its item as `items.to_text` writes it, and so are sequences that are returned. What
    the options mean, `matching.Semantics` tells. `newest_first` is a wish: studies come by their date, the latest
    first, where they can be read so without sorting (`is_in_order`). Raises ValueError for an attribute below `level`,
    for AVAILABILITY as a key, and for an offset that is none or at PATIENT level.
    """

    level: Level
    keys: Keys
    returns: Sequence[Attribute]
    match_unknown: bool = False
    fuzzy: bool = False
    combined: bool = False
    offset: str = ""
    empty_value: bool = False
    newest_first: bool = False

    def __post_init__(self) -> None:
        lowest = _DEPTHS[self.level]
        for attribute in (*(a for a, _ in self.keys), *self.returns):
            if _DEPTHS[attribute.level] > lowest:
                raise ValueError(f"{attribute.keyword} is below level {self.level}")
        if any(a.tag == INSTANCE_AVAILABILITY for a, _ in self.keys):
            raise ValueError("InstanceAvailability is no matching key")
        if self.offset and (self.level == "PATIENT" or not is_offset(self.offset)):
            raise ValueError("there are no times of day to move, or nowhere to")

    def conditions(self) -> Sequence[Condition[Attribute]]:
        """Read the keys. Raises Failure INVALID for one that cannot be understood."""
        semantics = Semantics(
            match_unknown=self.match_unknown,
            fuzzy=self.fuzzy,
            combined=self.combined,
            offset=self.offset,
            empty_value=self.empty_value,
        )
        return zoned_conditions(self.keys, semantics) if self.offset else conditions(self.keys, semantics, PARTNERS)


class _Beside(NamedTuple):
    """A table of values beside that of a level, and how the two are joined."""

    values: "ModelAlias[RareValue]"
    joined: ColumnBase
    how: str


class _Found(NamedTuple):
    """A condition as a query of level `at` looks for it; `beside` is where the values are that have no column."""

    condition: Condition[Attribute]
    at: Level
    match: Match
    beside: _Beside | None = None
    has_index: bool = False

    @property
    def level(self) -> Level:
        """Return the level where reading begins."""
        return level_within(self.condition.attributes[0], self.at)

    @property
    def rank(self) -> tuple[int, int]:
        """Order what rows may be read from: the most selective first, then the highest in the hierarchy."""
        return _RANKS[self.match.access], _DEPTHS[self.level]

    @property
    def value(self) -> str | None:
        """Return the one value that a column is compared with, None if this is looked for in another way."""
        matching = self.condition.matching if isinstance(self.condition, KeyCondition) else None
        is_plain = isinstance(matching, Text) and self.match.access == "point" and self.beside is None
        return matching.values[0] if is_plain else None  # type: ignore[union-attr]

    @property
    def start(self) -> Field:
        """Return the id of the level where reading begins, as its index has it."""
        return _IDS[self.level] if self.beside is None else self.beside.values.owner

    @property
    def stored(self) -> list[ColumnBase]:
        """Return the columns of the values that the condition has to be asked about."""
        if self.beside is not None:
            return [self.beside.values.value]
        return [_text(attribute, self.at) for attribute in self.condition.attributes]


_RANKS = {"point": 0, "points": 0, "range": 1, "scan": 2}


class Selection:
    """The statements for matches that one run through an index, or the whole table, finds; `driver` is that index's.

    `bounds` hold it to rows that no other finds. A row is what was asked for, then the values that conditions have to
    be asked about, then the place in the order.
    """

    def __init__(
        self, query: Query, found: Sequence[_Found], driver: _Found | None, bounds: Sequence[ColumnBase] = ()
    ) -> None:
        self._query = query
        self._bounds = bounds
        self._found = found
        self.is_descending = query.newest_first and query.level == "STUDY" and _runs_along_dates(driver)
        self._has_driver = driver is not None
        self._order: list[Field] = [_STUDY_DATE, Study.id] if self.is_descending else _order(query.level, driver)
        self._inexact = [f for f in found if not f.match.exact]
        attributes = [*(a for f in found for a in f.condition.attributes), *query.returns]
        levels = (level_within(a, query.level) for a in attributes if a not in (AVAILABILITY, TRANSFER_SYNTAX))
        self._top = min(_DEPTHS[level] for level in (query.level, *levels))

    def page(self, after: Place, rows: int) -> Select:
        """Compose the SELECT of the next `rows` after a place in the order."""
        returned = [_text(a, self._query.level) for a in self._query.returns]
        select = self._joined(_Columns([*returned, *(c for f in self._inexact for c in f.stored), *self._order]))
        for found in self._found:
            if found.beside is not None:
                beside, joined, how = found.beside
                select = select.join_from(LEVEL_MODELS[found.level], beside, how, on=joined)
        conditions = [*self._bounds, *(f.match.expression for f in self._found if f.match.expression is not None)]
        conditions += beyond(self._order, after, descending=self.is_descending)
        select = select.where(all_of(conditions)) if conditions else select
        order = [column.desc() for column in self._order] if self.is_descending else self._order
        return select.order_by(*order).limit(rows)

    @property
    def form(self) -> tuple[object, ...] | None:
        """Return what the text of its statements follows from, beside the length of a place.

        Those of one form differ in their `values`, in this order; None if that cannot be told.
        """
        if self._bounds or None in self.values:
            return None
        query, attributes = self._query, tuple(f.condition.attributes[0] for f in self._found)
        return query.level, tuple(query.returns), attributes, self._has_driver, self.is_descending

    @property
    def values(self) -> Sequence[Any]:
        """Return the value of each condition, None for one that is more than a comparison with one."""
        return [f.value for f in self._found]

    @property
    def place(self) -> slice:
        """Tell where in a row its place in the order stands."""
        return slice(-len(self._order), None)

    @property
    def is_exact(self) -> bool:
        """Tell whether all rows match that are read, so that no condition has to be asked."""
        return not self._inexact

    def answer(self, row: Sequence[Any]) -> tuple[str, ...] | None:
        """Return what was asked for of a row; None if it does not match after all."""
        width = place = len(self._query.returns)
        for found in self._inexact:
            attributes = found.condition.attributes
            values = {a.keyword: row[place + i] or "" for i, a in enumerate(attributes)}
            if not found.condition.matches(values):
                return None
            place += len(attributes)
        return tuple(row[:width])

    def _joined(self, columns: ColumnBase) -> "ModelSelect[Any]":
        """Begin the SELECT with the tables of the levels that are read."""
        level = self._query.level
        select = LEVEL_MODELS[level].select(columns)
        for above in reversed(LEVELS[self._top : _DEPTHS[level]]):
            select = select.join(LEVEL_MODELS[above])
        return select


class _OfVariants(Selection):
    """The patients whose studies differ in what PERSON has, by keys of these: some study has to match all.

    Rows are those of studies, a patient's one after the other, so that each patient is given once. To be read once.
    """

    def __init__(self, query: Query, found: Sequence[_Found]) -> None:
        super().__init__(query, found, None, [SQL("has_variants"), Study.parent == Patient.id])
        self._order = [Patient.id, Study.id]
        self._last = 0

    def answer(self, row: Sequence[Any]) -> tuple[str, ...] | None:
        """Return what was asked for of a patient, with the first study that matches."""
        patient = row[-2]
        found = super().answer(row) if patient != self._last else None
        if found is not None:
            self._last = patient
        return found

    def _joined(self, columns: ColumnBase) -> "ModelSelect[Any]":
        return Patient.select(columns).join(Study, JOIN.CROSS)  # from patients on: few of them have variants


def selections(query: Query) -> Iterator[Selection]:
    """Cut a query into selections that together give each row once: long UID lists, and ranges in several columns.

    Raises Failure INVALID for a key that cannot be understood.
    """
    asked = query.conditions()
    variants = query.level == "PATIENT" and any(_where(condition) == "STUDY" for condition in asked)
    bounds = [SQL("NOT has_variants")] if variants else []
    for chosen in product(*map(_split, asked)):
        if variants:
            yield _OfVariants(query, [_find(c, _where(c), number) for number, c in enumerate(chosen)])
        found = [_find(condition, query.level, number) for number, condition in enumerate(chosen)]
        driver = min((f for f in found if f.has_index), key=lambda f: f.rank, default=None)
        if driver is None:
            yield Selection(query, found, None, bounds)
            continue
        others = [f for f in found if f is not driver]
        for way in driver.match.ways or (driver.match,):
            first = driver._replace(match=way)
            yield Selection(query, [first, *others], first, bounds)


def is_in_order(query: Query) -> bool:
    """Tell whether the rows of a query that wishes for the newest first come so. Raises Failure INVALID."""
    if any(_PLAIN.fullmatch(text) and a.keyword in INDEXED and a is not _STUDY_DATE_KEY for a, text in query.keys):
        return False  # read at one value: nothing has to be composed to know that
    first, *others = islice(selections(query), 2)
    return first.is_descending and not others


def _runs_along_dates(driver: _Found | None) -> bool:
    return driver is None or (driver.match.access == "range" and driver.match.column is _STUDY_DATE)


def _where(condition: Condition[Attribute]) -> Level:
    """Tell whose values a condition on a patient is asked about whose studies differ."""
    return "STUDY" if condition.attributes[0].keyword in PERSON else "PATIENT"


def _split(condition: Condition[Attribute]) -> list[Condition[Attribute]]:
    """Cut a list of UIDs into conditions that a statement can hold, and that together match each row once."""
    if not isinstance(condition, KeyCondition) or not isinstance(condition.matching, Text):
        return [condition]
    matching = condition.matching
    if matching.multi or len(matching.values) <= MAX_SQL_VALUES:
        return [condition]
    uids = sorted(set(matching.values))
    parts = [uids[i : i + MAX_SQL_VALUES] for i in range(0, len(uids), MAX_SQL_VALUES)]
    return [replace(condition, matching=Text(part)) for part in parts]


def _find(condition: Condition[Attribute], at: Level, number: int) -> _Found:
    attribute = condition.attributes[0]
    if not attribute.column and isinstance(condition, KeyCondition):
        return _find_beside(condition, at, number)
    found = match(condition, [columns_within(a, at) for a in condition.attributes])
    return _Found(condition, at, found, has_index=attribute.keyword in INDEXED and found.access != "scan")


def _find_beside(condition: KeyCondition[Attribute], at: Level, number: int) -> _Found:
    """Look for a key that has no column: in the worst case the rows that have a value at all are read, in order."""
    attribute = condition.attribute
    level = level_within(attribute, at)
    values = RARE_VALUES[level].alias(f"key{number}")
    joined = (values.owner == _IDS[level]) & (values.keyword == attribute.keyword)
    nothing = values.value.is_null()
    if isinstance(condition.matching, Empty):
        none = Match(nothing, "scan", values.compared)
        return _Found(condition, at, none, _Beside(values, joined, JOIN.LEFT_OUTER))
    if attribute.vr == "SQ":
        found = Match(values.compared == "", "scan", values.compared, exact=False)
    else:
        names = (values.compared, values.ideographic, values.phonetic) if attribute.vr == "PN" else ()
        known = KeyCondition(attribute, condition.matching)
        found = match(known, [Columns(values.compared, names, values.compared)])
    if condition.match_unknown:
        return _Found(condition, at, or_unknown(found, nothing), _Beside(values, joined, JOIN.LEFT_OUTER))
    return _Found(condition, at, found, _Beside(values, joined, JOIN.INNER), has_index=True)


class _Columns(ColumnBase):
    """Columns of a SELECT; fields are written at once, since peewee takes longer to write some than SQLite to read."""

    def __init__(self, columns: Sequence[ColumnBase]) -> None:
        self._columns = columns

    def __sql__(self, ctx: Context) -> Context:
        aliases = ctx.alias_manager
        for i, column in enumerate(self._columns):
            ctx.literal(", " if i else "")
            if isinstance(column, Field) and not isinstance(column, FieldAlias):
                ctx.literal(f'"{aliases[column.model._meta.table]}"."{column.column_name}"')
            else:
                ctx.sql(column)  # type: ignore[no-untyped-call]
        return ctx


_PLAIN = re.compile(r"[A-Za-z0-9.]+")
"""One value, whatever the key."""

_STUDY_DATE_KEY = BY_KEYWORD["StudyDate"]
_DATES = columns_within(_STUDY_DATE_KEY, "STUDY")
_STUDY_DATE = _DATES.normal or _DATES.value

_IDS: dict[Level, Field] = {"PATIENT": Patient.id, "STUDY": Study.id, "SERIES": Series.id, "IMAGE": Instance.id}


def _order(level: Level, driver: _Found | None) -> list[Field]:
    if driver is None:
        return [_IDS[level]]
    ids = [driver.start, *(_IDS[at] for at in LEVELS[_DEPTHS[driver.level] + 1 : _DEPTHS[level] + 1])]
    return [driver.match.column, *ids] if driver.match.access in ("range", "scan") else ids


def _syntaxes_of_series() -> ColumnBase:
    """Gather what the instances of a series are stored in; no UID has a comma."""
    of_series = Instance.select(fn.GROUP_CONCAT(Instance.transfer_syntax_uid.distinct()))
    return fn.REPLACE(of_series.where(Instance.parent == Series.id), ",", "\\")


def _text(attribute: Attribute, level: Level) -> ColumnBase:
    if attribute is TRANSFER_SYNTAX:
        return Instance.transfer_syntax_uid if level == "IMAGE" else _syntaxes_of_series()
    if attribute is AVAILABILITY:
        if level == "IMAGE":
            return Instance.availability
        return Case(None, [(UNAVAILABLE_INSTANCES[level] > 0, UNAVAILABLE)], ONLINE)
    if not attribute.column:
        at = level_within(attribute, level)
        beside = RARE_VALUES[at]
        row = (beside.owner == _IDS[at]) & (beside.keyword == attribute.keyword)
        return fn.COALESCE(beside.select(beside.value).where(row), "")
    column = columns_within(attribute, level).value
    return column.cast("TEXT") if isinstance(column, IntegerField) else column
