"""From a matching key to an SQL expression (PS3.4 C.2.2.2); pure, for any table that names its columns.

Values are compared as they are stored; person names by their folded groups, times and date-times by their normal form.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from peewee import OP, SQL, ColumnBase, Expression, Field, IntegerField, NodeList, Value, fn

from minipacs.dicom.matching import temporal
from minipacs.dicom.matching.wildcards import regex
from minipacs.dicom.tables.attributes import Key
from minipacs.dicom.tables.value_representations import SINGLE_VALUED_VRS
from minipacs.dicom.text.person_name import fold, groups
from minipacs.errors import Failure, Kind

WILDCARD_VRS = frozenset(["AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
"""In all other VRs `*` and `?` are plain characters (PS3.4 C.2.2.2.4)."""

MAX_PATTERN_LENGTH = 1024
"""Characters of one value with wildcards."""

MAX_LIST_VALUES = 500
"""Values of one key in one statement: databases limit their parameters. Longer UID lists are cut by `split_list`."""

Access = Literal["point", "points", "range", "scan"]
"""How rows are reached if the column has an index: at one value, at several, along one run of it, or not through it."""


MAX_WAYS = 3
"""Ranges read one after the other instead of together: the component groups of a name."""

_BEST_FIRST: tuple[Access, ...] = ("point", "points", "range", "scan")


class Columns(NamedTuple):
    """Where the values of one attribute stand in a table: as received, and in the forms that are compared."""

    value: Field
    folded: tuple[Field, ...] = ()
    normal: Field | None = None


class Match(NamedTuple):
    """The expression for one key; in a "range" the rows run in the order of `column`.

    `ways`, if any, are matches of single ranges that together give each row once.
    """

    expression: ColumnBase
    access: Access
    column: Field
    ways: "tuple[Match, ...]" = ()


def match(
    attribute: Key, text: str, columns: Columns, *, match_unknown: bool = False, fuzzy: bool = False
) -> Match | None:
    """Build the expression for one key, or None if the key is universal and every row matches.

    Several values, joined by backslashes, match as a list: any of them. `match_unknown` lets rows without a value
    match too (PS3.4 C.2.2.1.2), `fuzzy` finds names by what they sound like. Raises Failure INVALID with the tag for a
    malformed date, time or range, and for a list or pattern beyond its limit.
    """
    values = split_values(attribute, text)
    if not values or (attribute.vr in WILDCARD_VRS and any(_universal(value) for value in values)):
        return None
    if len(values) > MAX_LIST_VALUES:
        raise malformed(attribute, f"has more than {MAX_LIST_VALUES} values")
    found = _match_values(attribute, values, columns, fuzzy)
    if found is not None and match_unknown:
        return Match(any_of([found.expression, columns.value == ""]), "scan", found.column)
    return found


def split_values(attribute: Key, text: str) -> list[str]:
    """Split a key into its values, without padding and empty ones; in text VRs a backslash is a plain character."""
    values = [text] if attribute.vr in SINGLE_VALUED_VRS else text.split("\\")
    return [value for value in (storable(value.strip(" \0")) for value in values) if value]


def split_list(attribute: Key, text: str) -> list[str]:
    """Cut a list of UIDs into keys of at most MAX_LIST_VALUES, which together match each row once; else give it whole.

    PS3.4 C.2.2.2.2.
    """
    if attribute.vr != "UI" or attribute.multi or text.count("\\") < MAX_LIST_VALUES:
        return [text]
    uids = sorted(set(split_values(attribute, text)))
    return ["\\".join(uids[i : i + MAX_LIST_VALUES]) for i in range(0, len(uids), MAX_LIST_VALUES)] or [""]


def storable(text: str) -> str:
    """Replace what a database cannot keep as text: NUL and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def any_of(expressions: Sequence[ColumnBase]) -> ColumnBase:
    """Join by OR, flat: nested parentheses would overflow the parsers of databases."""
    return _join(expressions, " OR ")


def all_of(expressions: Sequence[ColumnBase]) -> ColumnBase:
    """Join by AND, flat."""
    return _join(expressions, " AND ")


def _join(expressions: Sequence[ColumnBase], glue: str) -> ColumnBase:
    return expressions[0] if len(expressions) == 1 else NodeList(expressions, glue, True)


def any_value_matches(values: str, pattern: str) -> bool:
    """Tell whether one of several values, joined by backslashes, matches a pattern: the SQL function of that name."""
    matches = regex(pattern).fullmatch
    return any(matches(value) for value in values.split("\\"))


def malformed(attribute: Key, what: str) -> Failure:
    """Make the error for a key that cannot be understood."""
    return Failure(Kind.INVALID, f"{attribute.keyword} {what}", (attribute.tag,))


def _universal(value: str) -> bool:
    return not value.strip("*")


def _has_wildcards(attribute: Key, value: str) -> bool:
    return attribute.vr in WILDCARD_VRS and ("*" in value or "?" in value)


def match_combined(date: Key, time: Key, texts: tuple[str, str], columns: tuple[Columns, Columns]) -> Match:
    """Match a range of dates together with a range of times as one, from the first moment to the last.

    `texts` and `columns` are those of the date and of the time; whether both are ranges is told by `combinable`. Raises
    Failure INVALID as `match` does. PS3.4 C.2.2.2.5, K.6.1.2.2
    """
    days, hours = (_span(attribute, text.strip()) for attribute, text in zip((date, time), texts, strict=True))
    day, hour = columns[0].value, columns[1].normal
    assert hour is not None  # noqa: S101  every attribute of VR TM has one
    bounds = [
        day.between(*days),
        any_of([day > days.low, hour >= hours.low]),
        any_of([day < days.high, hour <= hours.high]),
    ]
    return Match(all_of(bounds), "range", day)


def combinable(date_text: str, time_text: str) -> bool:
    """Tell whether both keys are ranges: only then they may mean one interval."""
    return all("-" in text and "\\" not in text for text in (date_text, time_text))


def _span(attribute: Key, text: str) -> temporal.Span:
    found = temporal.span(text, attribute.vr)
    if found is None:
        raise malformed(attribute, "is not a value or range of its kind")
    return found


def _match_values(attribute: Key, values: Sequence[str], columns: Columns, fuzzy: bool) -> Match | None:
    if attribute.vr in temporal.VRS:
        return _match_moments(attribute, values, columns.normal or columns.value)
    if columns.folded and fuzzy:
        return _match_sounds(attribute, values, columns.folded)
    if columns.folded:
        return _match_names(attribute, values, columns.folded)
    if isinstance(columns.value, IntegerField):
        numbers = [int(value) for value in values if value.isascii() and value.isdecimal() and len(value) < 10]
        return Match(columns.value.in_(numbers), "points", columns.value)
    return _match_text(attribute, values, columns.value)


def _match_moments(attribute: Key, values: Sequence[str], column: Field) -> Match:
    found = []
    for value in values:
        span = _span(attribute, value)
        single = span.low == span.high
        expression = column == span.low if single else column.between(*span)
        found.append(Match(expression, "point" if single else "range", column))
    return _any_match(found)


def _match_names(
    attribute: Key,
    values: Sequence[str],
    columns: Sequence[Field],
) -> Match | None:
    """Match any group if the key has but one, else group by group, those left empty matching anything (PS3.5 6.2.1)."""
    found = []
    for value in values:
        folded = fold(value)
        one_group = "=" not in folded
        keys = (folded,) * len(columns) if one_group else groups(folded)
        asked = [_match_text(attribute, [k], c) for k, c in zip(keys, columns, strict=True) if not _universal(k)]
        if not asked:
            return None
        found.append(_any_match(asked) if one_group else _all_match(asked))
    return _any_match(found)


def _match_sounds(attribute: Key, values: Sequence[str], columns: Sequence[Field]) -> Match:
    """Match names in any of their groups by sound, whatever the order of their words."""
    if any(len(value) > MAX_PATTERN_LENGTH for value in values):
        raise malformed(attribute, f"has a name of more than {MAX_PATTERN_LENGTH} characters")
    keys = [fold(value) for value in values]
    return Match(
        any_of([fn.sounds_like(c, Value(k, converter=False)) for k in keys for c in columns]), "scan", columns[0]
    )


def _match_text(attribute: Key, values: Sequence[str], column: Field) -> Match:
    patterns = [value for value in values if _has_wildcards(attribute, value)]
    if any(len(pattern) > MAX_PATTERN_LENGTH for pattern in patterns):
        raise malformed(attribute, f"has a pattern of more than {MAX_PATTERN_LENGTH} characters")
    if attribute.multi:
        return Match(any_of([_among_values(column, value, value in patterns) for value in values]), "scan", column)
    found = [wildcard(column, pattern) for pattern in patterns]
    plain = [value for value in values if value not in patterns]
    if plain:
        one = len(plain) == 1
        found.append(Match(column == plain[0] if one else column.in_(plain), "point" if one else "points", column))
    return _any_match(found)


def _any_match(found: Sequence[Match]) -> Match:
    if len(found) == 1:
        return found[0]
    accesses = {m.access for m in found}
    expressions = [m.expression for m in found]
    ways: list[Match] = []
    if accesses == {"range"} and len(found) <= MAX_WAYS and not any(m.ways for m in found):
        for i, m in enumerate(found):
            ways.append(m._replace(expression=all_of([m.expression, *(~earlier for earlier in expressions[:i])])))
    access: Access = "scan" if "scan" in accesses else "range" if ways else "points"
    return Match(any_of(expressions), access, found[0].column, tuple(ways))


def _all_match(found: Sequence[Match]) -> Match:
    first = min(found, key=lambda m: _BEST_FIRST.index(m.access))
    return first._replace(expression=all_of([m.expression for m in found]))


def wildcard(column: Field, pattern: str) -> Match:
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
        conditions.append(_like(column, _escape(pattern).replace("*", "%").replace("?", "_")))
    return Match(all_of(conditions), "range" if prefix else "scan", column)


def _among_values(column: Field, value: str, is_pattern: bool) -> ColumnBase:
    """Match any of the values that a column joins by backslashes."""
    core = value.strip("*") if is_pattern else value
    if is_pattern and ("*" in core or "?" in core):
        return fn.any_value_matches(column, value)
    begin = "%" if is_pattern and value.startswith("*") else "%\\"
    end = "%" if is_pattern and value.endswith("*") else "\\%"
    delimiter = Value("\\", converter=False)
    return _like(delimiter.concat(column).concat(delimiter), begin + _escape(core) + end)


def _like(text: ColumnBase, pattern: str) -> ColumnBase:
    return Expression(text, OP.LIKE, NodeList((Value(pattern, converter=False), SQL("ESCAPE '!'"))))


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
