"""What commands share: the configuration option, the way to print, the way to fail."""

import functools
import json
import os
import pwd
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click

from minipacs import log
from minipacs.config import Config, load, resolve
from minipacs.errors import ConfigError, MinipacsError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that reorder text on a terminal, and bytes of file names that are no text."""
MAX_CELL_LENGTH = 60


class Group(click.Group):
    """Commands whose faults are lines on standard error: 1 for what failed, 2 for a configuration that is wrong."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for fault in error.faults:
                click.echo(f"minipacs: {fault}", err=True)
            sys.exit(2)
        except MinipacsError as error:
            click.echo(f"minipacs: {error}", err=True)
            sys.exit(1)


def config_option(command: F) -> F:
    """Add `--config` and hand the command a function that loads it, with overrides."""

    @click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration file; else $MINIPACS_CONFIG, else /etc/minipacs/minipacs.toml if it exists.",
    )
    @functools.wraps(command)
    def wrapped(path: Path | None, **arguments: Any) -> Any:
        return command(functools.partial(load, resolve(path)), **arguments)

    return wrapped  # type: ignore[return-value]


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def prepare(config: Config, level: str = "warning") -> None:
    """Get ready to touch the archive: log to standard error, and if run as root, become the folder's owner."""
    log.setup(level, config.log.format)
    become_owner(config.storage.path)


def become_owner(path: Path) -> None:
    """Change from root to the owner of `path`, so that no file of the archive ends up as root's."""
    if os.geteuid() != 0 or not path.exists():
        return
    found = path.stat()
    if found.st_uid == 0:
        return
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
        os.initgroups(name, found.st_gid)
    except KeyError:
        os.setgroups([found.st_gid])
    os.setgid(found.st_gid)
    os.setuid(found.st_uid)


def parse_keys(words: Sequence[str]) -> dict[str, str]:
    """Read `KEY=VALUE` words. Raises a usage error for what is none."""
    keys: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{word!r} is not of the form KEY=VALUE, such as PatientID=P1")
        keys[name] = value
    return keys


def print_json(value: object) -> None:
    """Print one JSON document; bytes of file names that are no text become escapes of it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print rows under a line of column names; what comes from objects cannot act on the terminal."""
    cells = [list(columns), *([_cell(row.get(c, "")) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    text = printable(str(value))
    return text if len(text) <= MAX_CELL_LENGTH else text[: MAX_CELL_LENGTH - 1] + "…"


def printable(text: str) -> str:
    """Replace what would act on a terminal, and what cannot be encoded."""
    return _UNPRINTABLE.sub("?", text)


def progress(
    items: Iterable[T], label: str, name: Callable[[T], str], total: int | None = None
) -> AbstractContextManager[Iterable[T]]:
    """Show a progress bar while `items` are gone through, on a terminal; in a pipe nothing."""
    if not sys.stderr.isatty():
        return nullcontext(items)
    return click.progressbar(
        items,
        length=total,
        label=label,
        file=sys.stderr,
        show_pos=True,
        item_show_func=lambda item: None if item is None else printable(name(item)),
    )


@contextmanager
def steps(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """Show a progress bar that the function given moves on, on a terminal; in a pipe nothing."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr, show_pos=True) as bar:
        yield bar.update
