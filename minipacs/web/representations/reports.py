"""Structured reports as pages and as plain text (PS3.18 8.7.4, PS3.3 C.17.3)."""

import html
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MAX_DEPTH = 64
"""Of items within items; deeper ones are told to be left out."""

_CODE_MEANING, _CODE_VALUE = "00080104", "00080100"
_CONCEPT_NAME, _VALUE_TYPE, _CONTENT = "0040A043", "0040A040", "0040A730"
_MEASURED, _NUMBER, _UNITS = "0040A300", "0040A30A", "004008EA"
_REFERENCED, _REFERENCED_UID = "00081199", "00081155"

_PLAIN_VALUES: Mapping[str, str] = {
    "TEXT": "0040A160",
    "DATE": "0040A121",
    "TIME": "0040A122",
    "DATETIME": "0040A120",
    "PNAME": "0040A123",
    "UIDREF": "0040A124",
    "SCOORD": "00700023",
    "SCOORD3D": "00700023",
    "TCOORD": "0040A130",
}
"""Where the value of a content item stands, by its type (PS3.3 Table C.17.3-5)."""

_HEAD: Mapping[str, str] = {
    "Patient": "00100010",
    "Patient ID": "00100020",
    "Born": "00100030",
    "Study": "00080020",
    "Content date": "00080023",
    "State": "0040A491",
    "Verification": "0040A493",
}
"""What is told of a report before its content."""

Model = Mapping[str, Any]


class Line(NamedTuple):
    """A content item: how deep it stands, its name and its value."""

    depth: int
    name: str
    value: str


def lines(model: Model) -> Iterator[Line]:
    """Give the content of a report in its order, the title first; `model` is its data set in DICOM JSON."""
    yield Line(0, _meaning(model, _CONCEPT_NAME) or "Report", "")
    for name, tag in _HEAD.items():
        if value := _first(model, tag):
            yield Line(1, name, _shown(value))
    yield from _items(model, 1)


def as_text(model: Model) -> str:
    """Write a report as lines of text, indented as it is nested."""
    return "".join(f"{'  ' * at}{name}{': ' if name and value else ''}{value}\n" for at, name, value in lines(model))


def as_page(model: Model) -> str:
    """Write a report as a page; all that it says is text there."""
    title, *rest = lines(model)
    body = [f"<h1>{html.escape(title.name)}</h1>"]
    depth = 0
    for line in rest:
        body += ["<ul>"] * (line.depth - depth) + ["</ul>"] * (depth - line.depth)
        depth = line.depth
        value = html.escape(line.value).replace("\r\n", "\n").replace("\n", "<br>")
        body.append(f"<li><b>{html.escape(line.name)}</b> {value}</li>")
    body += ["</ul>"] * depth
    head = f'<meta charset="utf-8"><title>{html.escape(title.name)}</title>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{chr(10).join(body)}\n</body></html>\n"


def _items(model: Model, depth: int) -> Iterator[Line]:
    if depth > MAX_DEPTH:
        yield Line(depth, "", "(what is nested deeper is left out)")
        return
    for item in model.get(_CONTENT, {}).get("Value", ()):
        yield Line(depth, _meaning(item, _CONCEPT_NAME), _value(item))
        yield from _items(item, depth + 1)


def _value(item: Model) -> str:
    kind = str(_first(item, _VALUE_TYPE) or "")
    if kind in _PLAIN_VALUES:
        return _shown(_first(item, _PLAIN_VALUES[kind], whole=kind != "TEXT"))
    if kind == "CODE":
        return _meaning(item, "0040A168")
    if kind == "NUM":
        measured = _first(item, _MEASURED) or {}
        return f"{_shown(_first(measured, _NUMBER))} {_meaning(measured, _UNITS)}".strip()
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        return _shown(_first(_first(item, _REFERENCED) or {}, _REFERENCED_UID))
    return ""


def _meaning(item: Model, tag: str) -> str:
    code = _first(item, tag) or {}
    return _shown(_first(code, _CODE_MEANING) or _first(code, _CODE_VALUE))


def _first(item: Model, tag: str, *, whole: bool = False) -> Any:
    """Return the first value of an attribute, or with `whole` all of them; of what is too long for here, a word."""
    found = item.get(tag, {})
    if "BulkDataURI" in found:
        return "(long: to be had as bulk data)"
    values = found.get("Value") or [None]
    return ", ".join(_shown(value) for value in values) if whole and len(values) > 1 else values[0]


def _shown(value: Any) -> str:
    """Write a value as people read it."""
    if isinstance(value, Mapping):
        return " ".join(str(part) for part in value.values()).replace("^", " ").strip()
    text = "" if value is None else str(value)
    return "".join(char for char in text if char.isprintable() or char in "\n\t\r")
