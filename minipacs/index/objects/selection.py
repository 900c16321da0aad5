"""From a query to SELECT statements that can be read page by page, each page from an index where its keys allow it.

The rows run in an order that the database gives without sorting, so that reading all pages costs as much as the answer,
not as much as its square: down the ids from the level where an indexed key begins, led by its column if it is a range.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from peewee import (
    JOIN,
    OP,
    SQL,
    Case,
    ColumnBase,
    Context,
    Expression,
    Field,
    FieldAlias,
    IntegerField,
    ModelAlias,
    Select,
    Tuple,
    Value,
    fn,
)

from minipacs.dicom.data_set import items
from minipacs.dicom.tables.attributes import INSTANCE_AVAILABILITY, LEVELS, Attribute, Level
from minipacs.index.objects.conditions import (
    Columns,
    Match,
    all_of,
    any_of,
    combinable,
    match,
    match_combined,
    split_list,
)
from minipacs.index.objects.models import (
    COLUMNS,
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
from minipacs.index.objects.sequences import check_items
from minipacs.index.objects.zones import PARTNERS, ZONE, is_offset, match_moment, match_pair

AVAILABILITY = Attribute("InstanceAvailability", INSTANCE_AVAILABILITY, "CS", "PATIENT", computed=True)
"""Can be returned at every level: UNAVAILABLE if that is so of any instance below (PS3.4 C.4.1.1.3.2)."""

Keys = Sequence[tuple[Attribute, str]]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: keys to match at `level` and above, with their values, and the attributes to return.

    The value of a sequence key is its item as `items.to_text` writes it, and so are sequences that are returned.
    `match_unknown` lets rows without a value match any key (PS3.4 C.2.2.1.2), `fuzzy` finds names by their sound,
    `combined` makes one interval of a range of dates and one of times, `offset` from UTC, +0100, is that of the zone
    in which dates with their times are asked for, and matched wherever they come from (PS3.4 C.5.1.1). Raises
    ValueError for an attribute below `level`, for AVAILABILITY as a key, and for an offset that is none or at PATIENT
    level.
    """

    level: Level
    keys: Keys
    returns: Sequence[Attribute]
    match_unknown: bool = False
    fuzzy: bool = False
    combined: bool = False
    offset: str = ""

    def __post_init__(self) -> None:
        for attribute in (*(a for a, _ in self.keys), *self.returns):
            if _depth(attribute.level) > _depth(self.level):
                raise ValueError(f"{attribute.keyword} is below level {self.level}")
        if any(a.tag == INSTANCE_AVAILABILITY for a, _ in self.keys):
            raise ValueError("InstanceAvailability is no matching key")
        if self.offset and (self.level == "PATIENT" or not is_offset(self.offset)):
            raise ValueError("there are no times of day to move, or nowhere to")


class _Condition(NamedTuple):
    """The match of one key.

    `beside` is the table of values beside that of `level` where it is looked for, with how the two are joined.
    """

    match: Match
    level: Level
    has_index: bool
    beside: "tuple[ModelAlias[RareValue], ColumnBase] | None" = None

    @property
    def rank(self) -> tuple[int, int]:
        """Order what rows may be read from: the most selective first, then the highest in the hierarchy."""
        return _RANKS[self.match.access], _depth(self.level)

    @property
    def start(self) -> Field:
        """Return the id of the level where reading begins, as its index has it."""
        return _IDS[self.level] if self.beside is None else self.beside[0].owner


_RANKS = {"point": 0, "points": 0, "range": 1, "scan": 2}


class Selection:
    """The statements for matches that one run through an index, or the whole table, finds; `driver` is that index's."""

    def __init__(self, query: Query, conditions: Sequence[_Condition], driver: _Condition | None) -> None:
        self._query = query
        self._conditions = conditions
        self._order = _order(query.level, driver)
        read = (level_within(a, query.level) for a in query.returns if a != AVAILABILITY)
        levels = [query.level, *(c.level for c in conditions), *read]
        if query.offset:
            levels.append(ZONE.level)
        self._top = min(map(_depth, levels))

    def page(self, after: Sequence[object], rows: int) -> Select:
        """Compose the SELECT of the next `rows` after the order values `after`, which each row ends with."""
        columns = [_text(a, self._query.level) for a in self._query.returns]
        return self._select([_Columns([*columns, *self._order])], after).order_by(*self._order).limit(rows)

    def count(self, limit: int) -> Select:
        """Compose the SELECT of the number of rows, counting up to `limit`."""
        return Select([self._select([SQL("1")]).limit(limit)], [fn.COUNT(SQL("*"))])

    def _select(self, columns: Sequence[ColumnBase], after: Sequence[object] = ()) -> Select:
        level = self._query.level
        select = LEVEL_MODELS[level].select(*columns)
        for above in reversed(LEVELS[self._top : _depth(level)]):
            select = select.join(LEVEL_MODELS[above])
        for condition in self._conditions:
            if condition.beside is not None:
                beside, joined = condition.beside
                select = select.join_from(LEVEL_MODELS[condition.level], beside, self._join, on=joined)
        conditions = [c.match.expression for c in self._conditions]
        if after:
            conditions.append(Expression(Tuple(*self._order), OP.GT, Tuple(*after)))
        return select.where(all_of(conditions)) if conditions else select

    @property
    def _join(self) -> str:
        """Tell how to join what stands beside: where rows without a value match, they have to stay."""
        return JOIN.LEFT_OUTER if self._query.match_unknown else JOIN.INNER


def selections(query: Query) -> Iterator[Selection]:
    """Cut a query into selections that together give each row once: long UID lists, and ranges in several columns.

    Raises Failure INVALID for a key that cannot be understood.
    """
    if query.offset:
        combined, single = _shift(query)
    else:
        combined, single = _combine(query) if query.combined else ([], query.keys)
    of_variants = _variants(query)
    if of_variants is not None:
        also = (_condition(query, a, text, i) for i, (a, text) in enumerate(single) if a.keyword not in PERSON)
        yield Selection(query, [of_variants, *filter(None, also)], None)
        combined = [*combined, _Condition(Match(SQL("NOT has_variants"), "scan", Patient.id), "PATIENT", False)]
    lists = [[(attribute, part) for part in split_list(attribute, text)] for attribute, text in single]
    for keys in product(*lists):
        conditions = [*combined, *(c for i, (a, text) in enumerate(keys) if (c := _condition(query, a, text, i)))]
        driver = min((c for c in conditions if c.has_index), key=lambda c: c.rank, default=None)
        if driver is None:
            yield Selection(query, conditions, None)
            continue
        others = [c for c in conditions if c is not driver]
        for way in driver.match.ways or (driver.match,):
            chosen = driver._replace(match=way)
            yield Selection(query, [chosen, *others], chosen)


def _variants(query: Query) -> _Condition | None:
    """Make one condition of the keys of PERSON for patients whose studies differ in them: some study has to match.

    None if there is no such key, or below patients, where each study speaks for itself.
    """
    if query.level != "PATIENT":
        return None
    keys = [
        match(a, text, columns_within(a, "STUDY"), match_unknown=query.match_unknown, fuzzy=query.fuzzy)
        for a, text in query.keys
        if a.keyword in PERSON
    ]
    asked = [found.expression for found in keys if found is not None]
    if not asked:
        return None
    of_patient = Study.select(SQL("1")).where(Study.parent == Patient.id, all_of(asked))
    return _Condition(Match(all_of([SQL("has_variants"), fn.EXISTS(of_patient)]), "scan", Patient.id), "PATIENT", False)


def _combine(query: Query) -> tuple[list[_Condition], Keys]:
    """Make one condition of each pair of ranges of dates and times; the second value is the keys that are left."""
    texts = dict(query.keys)
    found, used = [], set()
    for date, text in query.keys:
        time = PARTNERS.get(date)
        if time is not None and time in texts and combinable(text, texts[time]):
            columns = COLUMNS[date.keyword], COLUMNS[time.keyword]
            interval = match_combined(date, time, (text, texts[time]), columns)
            found.append(_Condition(interval, date.level, date.keyword in INDEXED))
            used |= {date, time}
    return found, [(a, text) for a, text in query.keys if a not in used]


def _shift(query: Query) -> tuple[list[_Condition], Keys]:
    """Make one condition of each date with its time, and of each date-time; the second value is the keys left."""
    texts = dict(query.keys)
    found, used = [], set()
    for date, time in PARTNERS.items():
        pair = texts.get(date, ""), texts.get(time, "")
        interval = match_pair(date, pair, query.offset, combined=query.combined and combinable(*pair))
        used |= {date, time}
        if interval is not None:
            has_index = interval.access != "scan" and date.keyword in INDEXED
            found.append(_Condition(interval, date.level, has_index))
    for attribute, text in query.keys:
        if attribute.vr == "DT" and attribute.column:
            moment = match_moment(attribute, text, query.offset)
            used.add(attribute)
            if moment is not None:
                found.append(_Condition(moment, attribute.level, False))
    return found, [(a, text) for a, text in query.keys if a not in used]


def _condition(query: Query, attribute: Attribute, text: str, number: int) -> _Condition | None:
    """Make the condition of one key; None if it is universal."""
    if not attribute.column:
        return _condition_beside(query, attribute, text, number)
    columns = columns_within(attribute, query.level)
    found = match(attribute, text, columns, match_unknown=query.match_unknown, fuzzy=query.fuzzy)
    if found is None:
        return None
    level = level_within(attribute, query.level)
    return _Condition(found, level, attribute.keyword in INDEXED and found.access != "scan")


def _condition_beside(query: Query, attribute: Attribute, text: str, number: int) -> _Condition | None:
    """Match a key that has no column: in the worst case the rows that have a value at all are read, in order."""
    level = level_within(attribute, query.level)
    values = RARE_VALUES[level].alias(f"key{number}")
    if attribute.vr == "SQ":
        found = _match_items(attribute, text, values)
    else:
        names = (values.compared, values.ideographic, values.phonetic) if attribute.vr == "PN" else ()
        found = match(attribute, text, Columns(values.compared, names, values.compared), fuzzy=query.fuzzy)
    if found is None:
        return None
    joined = (values.owner == _IDS[level]) & (values.keyword == attribute.keyword)
    if query.match_unknown:
        unknown = Match(any_of([found.expression, values.value.is_null()]), "scan", found.column)
        return _Condition(unknown, level, False, (values, joined))
    return _Condition(found, level, True, (values, joined))


def _match_items(attribute: Attribute, text: str, values: "ModelAlias[RareValue]") -> Match | None:
    if not check_items(attribute, items.from_text(text)):
        return None
    matches = fn.items_match(values.value, Value(text, converter=False))
    return Match(all_of([values.compared == "", matches]), "scan", values.compared)


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


def _depth(level: Level) -> int:
    return LEVELS.index(level)


_IDS: dict[Level, Field] = {"PATIENT": Patient.id, "STUDY": Study.id, "SERIES": Series.id, "IMAGE": Instance.id}


def _order(level: Level, driver: _Condition | None) -> list[Field]:
    if driver is None:
        return [_IDS[level]]
    ids = [driver.start, *(_IDS[at] for at in LEVELS[_depth(driver.level) + 1 : _depth(level) + 1])]
    return [driver.match.column, *ids] if driver.match.access in ("range", "scan") else ids


def _text(attribute: Attribute, level: Level) -> ColumnBase:
    if attribute == AVAILABILITY:
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
