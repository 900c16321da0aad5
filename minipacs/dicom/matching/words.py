"""Keys as people write them: KEY=VALUE, with keywords, as `minipacs find` and rules take them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipacs.dicom.data_set.json_values import dumps, parse
from minipacs.dicom.matching.conditions import Condition, Semantics, conditions
from minipacs.dicom.tables.attributes import LEVELS, Attribute, Level
from minipacs.dicom.tables.keys import KeyTable
from minipacs.errors import Failure


@dataclass(frozen=True, slots=True)
class Word:
    """One key of a rule, as it is written, and what it asks for."""

    text: str
    condition: Condition[Attribute]


def keys_of(words: Sequence[str]) -> dict[str, str]:
    """Read words. Raises ValueError for one that is none."""
    keys: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"{word!r} is not of the form KEY=VALUE, such as PatientID=P1")
        keys[name] = value
    return keys


def asked(given: Mapping[str, str], table: KeyTable, level: Level) -> list[tuple[Attribute, str]]:
    """Look keys up; those within the same sequence make one item. Raises ValueError for what is none at `level`."""
    within = LEVELS[: LEVELS.index(level) + 1]
    found: list[tuple[Attribute, str]] = []
    sequences: dict[Attribute, dict[str, Any]] = {}
    for name, value in given.items():
        head, *path = [name] if name in table.by_keyword else name.split(".")
        attribute = table.by_keyword.get(head)
        if attribute is None or attribute.level not in within or bool(path) != (attribute.vr == "SQ"):
            raise ValueError(f"{name} is no key at {level.lower()} level; `minipacs conformance` lists the keys")
        if not path:
            found.append((attribute, value))
            continue
        item = sequences.setdefault(attribute, {})
        for keyword in path[:-1]:
            item = item.setdefault(keyword, {})
        item[path[-1]] = value
    return found + [(attribute, _item(attribute, item)) for attribute, item in sequences.items()]


def words_of(texts: Sequence[str], table: KeyTable) -> list[Word]:
    """Read the keys of a rule. Raises ValueError for what is none, or has a value that cannot be understood."""
    given = keys_of(texts)
    if len(given) < len(texts):
        raise ValueError("a key comes twice; several values of one are joined by a backslash")
    found = []
    for name, value in given.items():
        try:
            read = conditions(asked({name: value}, table, "IMAGE"), Semantics(empty_value=True))
        except Failure as failure:
            raise ValueError(str(failure)) from None
        found += [Word(f"{name}={value}", condition) for condition in read]
    return found


def _item(attribute: Attribute, item: object) -> str:
    try:
        return dumps({attribute.tag: (parse(item),)})
    except ValueError as error:
        raise ValueError(f"{attribute.keyword}: {error}") from None
