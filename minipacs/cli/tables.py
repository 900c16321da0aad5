"""How commands print what they list: a table for people, CSV and JSON for programs. The one way for all of them."""

import csv
import functools
import io
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

import click

from minipacs.log import printable

F = TypeVar("F", bound=Callable[..., Any])
Row = Mapping[str, object]

MAX_TEXT_WIDTH = 60
"""Words are cut beyond it; names, UIDs and digests, which have no blanks, are not."""
MAX_NARROW_TEXT_WIDTH = 24
"""The same, where a row takes more than one line."""
NARROWEST = 40
GAP, INDENT = "  ", "  "
_NOT_IN_JSON = re.compile(r"[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""What acts on a terminal, or hides there, and is not escaped by JSON itself."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a listing is printed as; `columns` are those that were asked for, empty for the usual ones."""

    form: Literal["table", "csv", "json"] = "table"
    columns: tuple[str, ...] = ()

    @property
    def is_json(self) -> bool:
        """Tell whether one JSON document is to be printed."""
        return self.form == "json"

    def chosen(self, usual: Sequence[str], known: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the columns to show: `usual`, or those asked for. Raises a usage error for one that is not known."""
        allowed = {*usual, *known}
        unknown = [name for name in self.columns if name not in allowed]
        if unknown:
            names = ", ".join(dict.fromkeys((*usual, *known)))
            raise click.UsageError(f"{printable(unknown[0])} is no column here; there are: {names}")
        return self.columns or tuple(usual)

    def print(
        self, rows: Sequence[Row], usual: Sequence[str], known: Sequence[str] = (), document: object = None
    ) -> None:
        """Print rows.

        `usual` are the columns of the table; `known` are others that a row may have. As JSON `document` is printed,
        if there is one and no columns were asked for, else the rows with all that they have.
        """
        columns = self.chosen(usual, known)
        if self.form == "csv":
            print_csv(rows, columns)
        elif self.form == "table":
            print_table(rows, columns)
        elif self.columns:
            print_json([{name: row.get(name) for name in columns} for row in rows])
        else:
            print_json(list(rows) if document is None else document)


def listing(command: F) -> F:
    """Add `--json`, `--csv` and `--columns`, and hand the command an Output."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values under a line of names.")
    @click.option("--columns", default="", metavar="NAME,...", help="Which columns to show, in this order.")
    @functools.wraps(command)
    def wrapped(*given: Any, as_json: bool, as_csv: bool, columns: str, **arguments: Any) -> Any:
        if as_json and as_csv:
            raise click.UsageError("--json and --csv exclude each other")
        names = tuple(name.strip() for name in columns.split(",") if name.strip())
        form: Literal["table", "csv", "json"] = "json" if as_json else "csv" if as_csv else "table"
        return command(*given, output=Output(form, names), **arguments)

    return wrapped  # type: ignore[return-value]


def print_json(value: object) -> None:
    """Print one JSON document; what would act on a terminal, and what is no text, is escaped in it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(_NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_csv(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print rows under a line of column names, a line each (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(row.get(name)) for name in columns] for row in rows)
    click.echo(text.getvalue(), nl=False)


def print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print rows under their column names: on a terminal within its width, else a line for each row."""
    for line in table_lines(rows, columns, screen_width()):
        click.echo(line)


def screen_width() -> int | None:
    """Return the columns of the terminal; None in a pipe, where each row is one line."""
    return max(shutil.get_terminal_size((80, 24)).columns, NARROWEST) if sys.stdout.isatty() else None


def table_lines(rows: Sequence[Row], columns: Sequence[str], screen: int | None) -> Iterator[str]:
    """Lay rows out in columns. Where the screen is too narrow, all rows go on in further lines, indented."""
    values = [[_text(row.get(name)) for name in columns] for row in rows]
    is_number = [all(isinstance(row.get(name), int | float) for row in rows) for name in columns]
    cells = [list(columns), *([_cut(text, MAX_TEXT_WIDTH, screen) for text in line] for line in values)]
    widths = _widths(cells)
    if screen is not None and sum(widths) + len(GAP) * (len(widths) - 1) > screen:
        cells = [cells[0], *([_cut(text, MAX_NARROW_TEXT_WIDTH, screen) for text in line] for line in values)]
        widths = _widths(cells)
    groups = _groups(widths, screen)
    for line in cells:
        for number, group in enumerate(groups):
            parts = [_padded(line[i], widths[i], is_number=is_number[i]) for i in group]
            yield (INDENT * bool(number) + GAP.join(parts)).rstrip()


def _groups(widths: Sequence[int], screen: int | None) -> list[list[int]]:
    """Divide columns into lines that fit."""
    groups: list[list[int]] = [[]]
    taken = 0
    for column, width in enumerate(widths):
        if groups[-1] and screen is not None and taken + len(GAP) + width > screen:
            groups.append([])
            taken = len(INDENT)
        taken += width + len(GAP) * bool(groups[-1])
        groups[-1].append(column)
    return groups


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(width_of, column)) for column in zip(*cells, strict=True)]


def _text(value: object) -> str:
    if value is None:
        return ""
    return printable(value if isinstance(value, str) else _joined(value))


def _joined(value: object) -> str:
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return "\\".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _cut(text: str, limit: int, screen: int | None) -> str:
    """Cut words to a width; what has no blank only where no line is wide enough for it."""
    if not any(char.isspace() for char in text):
        limit = (screen or sys.maxsize) - len(INDENT)
    if width_of(text) <= limit:
        return text
    taken = 0
    for at, char in enumerate(text):
        taken += width_of(char)
        if taken > limit - 1:
            return text[:at] + "…"
    return text


def width_of(text: str) -> int:
    """Return the columns that a text takes on a terminal (UAX #11): two for wide letters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _padded(text: str, width: int, *, is_number: bool) -> str:
    blanks = " " * (width - width_of(text))
    return blanks + text if is_number else text + blanks


def shown_time(seconds: float) -> str:
    """Write a time, in seconds since 1970, as RFC 3339 in the zone of this machine: the one form in what is printed."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
