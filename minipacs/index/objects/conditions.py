"""From a condition to an SQL expression; pure, for any table that names its columns.

Values are compared as they are stored; person names by their folded groups, times and date-times by their normal form.
What SQL cannot tell, or only nearly, is left to the condition itself: it looks at each row that was found.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from peewee import OP, SQL, ColumnBase, Expression, Field, IntegerField, NodeList, Value

from minipacs.dicom.matching.attribute import Empty, Matching, Range, Text
from minipacs.dicom.matching.conditions import Condition, Interval, KeyCondition, TimeInZone
from minipacs.dicom.matching.names import Name
from minipacs.dicom.matching.zones import widened

MAX_SQL_PATTERNS = 16
"""Values with wild cards of one key that a statement has: more are quicker compared all at once, outside."""

MAX_SQL_VALUES = 500
"""Values of one key in one statement: databases limit their parameters."""

MAX_WAYS = 3
"""Ranges read one after the other instead of together: the component groups of a name."""

Access = Literal["point", "points", "range", "scan"]
"""How rows are reached if the column has an index: at one value, at several, along one run of it, or not through it."""

_BEST_FIRST: tuple[Access, ...] = ("point", "points", "range", "scan")


class Columns(NamedTuple):
    """Where the values of one attribute stand in a table: as received, and in the forms that are compared."""

    value: Field
    folded: tuple[Field, ...] = ()
    normal: Field | None = None


class Match(NamedTuple):
    """The expression for one condition, None if every row has to be looked at; in a "range" they run along `column`.

    `ways`, if any, are matches of single ranges that together give each row once. Of what is not `exact` rows are found
    that the condition has to be asked about.
    """

    expression: ColumnBase | None
    access: Access
    column: Field
    ways: "tuple[Match, ...]" = ()
    exact: bool = True


def match(condition: Condition[Any], columns: Sequence[Columns]) -> Match:
    """Write a condition; `columns` are those of its attributes, in their order."""
    match condition:
        case KeyCondition(matching=matching, match_unknown=match_unknown):
            found = _match_key(matching, columns[0])
            return or_unknown(found, columns[0].value == "") if match_unknown else found
        case Interval(days=days, hours=hours):
            day, hour = columns[0].value, columns[1].normal or columns[1].value
            within = [
                day.between(*days),
                any_of([day > days.low, hour >= hours.low]),
                any_of([day < days.high, hour <= hours.high]),
            ]
            return Match(all_of(within), "range", day)
        case TimeInZone(days=spans) if spans:
            day = columns[0].value
            near: list[ColumnBase] = [day.between(*widened(span)) for span in spans]
            return Match(any_of(near), "range" if len(near) == 1 else "points", day, exact=False)
        case _:
            return _undecided(columns[0])


def or_unknown(found: Match, unknown: ColumnBase) -> Match:
    """Let rows match as well that have no value."""
    expression = None if found.expression is None else any_of([found.expression, unknown])
    return Match(expression, "scan", found.column, exact=found.exact)


def any_of(expressions: Sequence[ColumnBase]) -> ColumnBase:
    """Join by OR, flat: nested parentheses would overflow the parsers of databases."""
    return _join(expressions, " OR ")


def all_of(expressions: Sequence[ColumnBase]) -> ColumnBase:
    """Join by AND, flat."""
    return _join(expressions, " AND ")


def _join(expressions: Sequence[ColumnBase], glue: str) -> ColumnBase:
    return expressions[0] if len(expressions) == 1 else NodeList(expressions, glue, parens=True)


def _undecided(columns: Columns) -> Match:
    return Match(None, "scan", columns.value, exact=False)


def _match_key(matching: Matching, columns: Columns) -> Match:
    match matching:
        case Empty():
            return Match(columns.value == "", "scan", columns.value)
        case Range(multi=False, spans=spans):
            column = columns.normal or columns.value
            return _any_match([_span(column, low, high) for low, high in spans])
        case Name() if columns.folded:
            return _match_names(matching, columns)
        case Text(values=values) if isinstance(columns.value, IntegerField):
            return Match(columns.value.in_([int(value) for value in values]), "points", columns.value)
        case Text(values=values, patterns=patterns, multi=multi) if len(patterns) <= MAX_SQL_PATTERNS:
            return _match_values(values, patterns, columns.value, multi=multi)
        case _:
            return _undecided(columns)


def _span(column: Field, low: str, high: str) -> Match:
    single = low == high
    return Match(column == low if single else column.between(low, high), "point" if single else "range", column)


def _match_names(matching: Name, columns: Columns) -> Match:
    """Match any group for keys of one group, the others group by group."""
    any_group = [key.any_group for key in matching.keys if key.any_group]
    patterns = [text for text in any_group if _has_wildcards(text)]
    by_group = [key.by_group for key in matching.keys if not key.any_group]
    if len(patterns) + len(by_group) > MAX_SQL_PATTERNS:
        return _undecided(columns)
    found = []
    if any_group:
        plain = [text for text in any_group if not _has_wildcards(text)]
        found += [_match_values(plain, patterns, column, multi=matching.multi) for column in columns.folded]
    for texts in by_group:
        pairs = [(text, column) for text, column in zip(texts, columns.folded, strict=True) if text]
        asked = [_match_values(*_sorted(text), column, multi=matching.multi) for text, column in pairs]
        found.append(_all_match(asked)._replace(exact=not matching.multi))
    return _any_match(found)


def _has_wildcards(text: str) -> bool:
    return "*" in text or "?" in text


def _sorted(text: str) -> tuple[list[str], list[str]]:
    return ([], [text]) if _has_wildcards(text) else ([text], [])


def _match_values(values: Sequence[str], patterns: Sequence[str], column: Field, *, multi: bool) -> Match:
    if multi:
        any_value = any_of([*(_among(column, v) for v in values), *(_any_fits(column, p) for p in patterns)])
        return Match(any_value, "scan", column, exact=not any(_has_wildcards(p.strip("*")) for p in patterns))
    found = [_wildcard(column, pattern) for pattern in patterns]
    if values:
        one = len(values) == 1
        found.append(Match(column == values[0] if one else column.in_(values), "point" if one else "points", column))
    return _any_match(found) if found else Match(SQL("0"), "points", column)


def _any_match(found: Sequence[Match]) -> Match:
    if len(found) == 1:
        return found[0]
    expressions = [m.expression for m in found if m.expression is not None]
    accesses = {m.access for m in found}
    ways: list[Match] = []
    if accesses == {"range"} and len(found) <= MAX_WAYS and not any(m.ways for m in found):
        for i, m in enumerate(found):
            ways.append(m._replace(expression=all_of([expressions[i], *(~earlier for earlier in expressions[:i])])))
    access: Access = "scan" if "scan" in accesses else "range" if ways else "points"
    return Match(any_of(expressions), access, found[0].column, tuple(ways), exact=all(m.exact for m in found))


def _all_match(found: Sequence[Match]) -> Match:
    first = min(found, key=lambda m: _BEST_FIRST.index(m.access))
    return first._replace(expression=all_of([m.expression for m in found if m.expression is not None]))


def _wildcard(column: Field, pattern: str) -> Match:
    """Match a column of single values against a pattern with `*` and `?`: what stands before the first is a range."""
    pattern = re.sub(r"\*+", "*", pattern)
    prefix = re.split(r"[*?]", pattern, maxsplit=1)[0]
    rest = pattern[len(prefix) :]
    conditions: list[ColumnBase] = []
    if prefix:
        conditions.append(column >= prefix)
        end = _after_prefix(prefix)
        if end:
            conditions.append(column < end)
    if rest != "*":
        conditions.append(_like(column, _like_pattern(pattern)))
    return Match(all_of(conditions), "range" if prefix else "scan", column)


_DELIMITER = Value("\\", converter=False)


def _among(column: Field, value: str) -> ColumnBase:
    """Match any of the values that a column joins by backslashes."""
    return _like(_delimited(column), f"%\\{_escape(value)}\\%")


def _any_fits(column: Field, pattern: str) -> ColumnBase:
    """Match any of the values that a column joins against a pattern; wild cards within it may take several of them."""
    begin = "%" if pattern.startswith("*") else "%\\"
    end = "%" if pattern.endswith("*") else "\\%"
    return _like(_delimited(column), begin + _like_pattern(pattern.strip("*")) + end)


def _delimited(column: Field) -> ColumnBase:
    joined: ColumnBase = _DELIMITER.concat(column).concat(_DELIMITER)
    return joined


def _like(text: ColumnBase, pattern: str) -> ColumnBase:
    return Expression(text, OP.LIKE, NodeList((Value(pattern, converter=False), SQL("ESCAPE '!'"))))


def _like_pattern(pattern: str) -> str:
    return _escape(pattern).replace("*", "%").replace("?", "_")


def _escape(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _after_prefix(prefix: str) -> str:
    """Give the least text that is greater than all that begin with `prefix`, by code point; "" if there is none."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code <= 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if code == 0xD800 else code)
        prefix = prefix[:-1]
    return ""
