"""Values to and from JSON: compact by tag for the index, by keyword for people, and as PS3.18 Annex F writes them."""

import json
from collections.abc import Mapping
from typing import Any

from minipacs.dicom.data_set.decode import MAX_NESTING
from minipacs.dicom.data_set.values import MutableValues, Values, vr_of
from minipacs.dicom.tables.dictionary import keyword_of, tag_told

NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def dumps(values: Values) -> str:
    """Write values for the index: keys are tags, in decimal."""
    return json.dumps(values, separators=(",", ":"))


def loads(text: str) -> Values:
    """Read what `dumps` wrote."""
    return _by_tag(json.loads(text))


def _by_tag(found: Mapping[str, Any]) -> Values:
    return {int(tag): value if isinstance(value, str) else tuple(map(_by_tag, value)) for tag, value in found.items()}


def by_keyword(values: Values) -> dict[str, Any]:
    """Give values for people: keys are keywords."""
    return {
        keyword_of(tag): value if isinstance(value, str) else [by_keyword(item) for item in value]
        for tag, value in sorted(values.items())
    }


def parse(document: object, depth: int = 0) -> MutableValues:
    """Read one JSON object: keys are keywords or tags; values text, numbers, lists, or those of the DICOM JSON Model.

    What the dictionary does not know is left out. Raises ValueError with a reason for what cannot be understood.
    PS3.18 F.2.
    """
    if not isinstance(document, dict):
        raise ValueError("must be a JSON object")
    if depth > MAX_NESTING:
        raise ValueError(f"nests sequences deeper than {MAX_NESTING}")
    found: MutableValues = {}
    for name, value in document.items():
        tag = tag_told(name)
        if tag is None:
            raise ValueError(f"{name[:64]!r} is no keyword or tag of DICOM")
        vr = vr_of(tag)
        if vr == "SQ":
            found[tag] = tuple(parse(item, depth + 1) for item in _several(value))
        elif vr:
            found[tag] = "\\".join(_text(name, item) for item in _several(value))
    return found


def _several(value: object) -> list[Any]:
    if isinstance(value, dict) and value.keys() & {"vr", "Value"}:
        value = value.get("Value", [])
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _text(name: str, value: object) -> str:
    if isinstance(value, dict) and value.keys() <= set(NAME_GROUPS):
        return "=".join(str(value.get(group) or "") for group in NAME_GROUPS).rstrip("=")
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} must be text, a number or a list")
    return str(value)
