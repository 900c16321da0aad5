"""`minipacs audit`: the audit trail, read back."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import click

from minipacs.audit import events, reading
from minipacs.cli.auditing import address, trail, who
from minipacs.cli.common import Load, config_option, prepare
from minipacs.cli.tables import Output, listing
from minipacs.errors import MinipacsError, system_words
from minipacs.log import printable

_COLUMNS = ("at", "event", "action", "outcome", "who", "objects")
_KNOWN = ("type", "addresses", "description")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.group()
def audit() -> None:
    """The audit trail: who did what to whose data."""


@audit.command()
@config_option
@click.option("--since", default="", metavar="TIME", help="From then on: 2026-11-24T08:00, or 90m, 8h, 7d ago.")
@click.option("--follow", is_flag=True, help="Go on with what comes; as lines, with --json an object each.")
@listing
def show(load: Load, since: str, *, follow: bool, output: Output) -> None:
    """Show what the file of the trail has, and what is still on its way to it; that it was read is told there, too."""
    config = load()
    prepare(config)
    if not config.audit.is_on:
        raise MinipacsError("there is no audit trail: set audit.file or audit.syslog")
    file = Path(config.audit.file) if config.audit.file else None
    if follow and file is None:
        raise MinipacsError("--follow needs audit.file")
    begin = _time(since)
    try:
        with trail(config) as told:
            told.tell(events.audit_log_used(who(), address(file or config.audit_folder)))
        rows = [entry.row() for entry in reading.entries(file, config.audit_folder, begin)]
        if not follow or file is None:
            output.print(rows, _COLUMNS, _KNOWN)
            return
        for row in rows:
            _print_line(row, output)
        for entry in reading.follow(file):
            _print_line(entry.row(), output)
    except OSError as error:
        raise MinipacsError(f"cannot read the audit trail: {system_words(error)}") from error


def _print_line(row: dict[str, object], output: Output) -> None:
    if output.is_json:
        click.echo(json.dumps(row))
    else:
        click.echo("  ".join(printable(str(row[name])) for name in output.chosen(_COLUMNS, _KNOWN)))


def _time(text: str) -> datetime | None:
    """Read a time, or how long ago it was. Raises a usage error."""
    if not text:
        return None
    try:
        if text[-1] in _UNITS and text[:-1].isdecimal():
            return datetime.now().astimezone() - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"{printable(text)} is no time such as 2026-11-24T08:00, nor how long ago, such as 8h"
        ) from None
