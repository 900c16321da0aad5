"""`minipacs changes`: the feed of what came, changed and went."""

import time
from collections.abc import Iterator

import click

from minipacs.archive.ports import Catalogue
from minipacs.cli.common import Load, config_option, opened
from minipacs.cli.tables import Output, listing, shown_time
from minipacs.index.ledger.changes import MAX_READ, Event

FOLLOW_INTERVAL_S = 0.5
"""How often the feed is looked at for what is new."""

_COLUMNS = ("seq", "at", "action", "study", "instance", "source", "reason")
_MORE_COLUMNS = ("series", "digest")


@click.command()
@config_option
@click.option("--since", type=click.IntRange(0), metavar="SEQ", help="Only those after this number; else all.")
@click.option("--follow", is_flag=True, help="Go on with what comes; as lines, with --json an object each.")
@listing
def changes(load: Load, since: int | None, *, follow: bool, output: Output) -> None:
    """Show what came into the archive, changed and went, each change with its number, the oldest first.

    A number is given once, and who has read up to one has missed nothing below it: programs keep the last number, and
    go on after it. The same change may be told again under another number after a power failure.
    """
    with opened(load, read_only=True) as archive:
        begin = archive.index.forgotten_changes() if since is None else since
        if not follow:
            output.print([_row(event) for event in _events(archive.index, begin)], _COLUMNS, _MORE_COLUMNS)
            return
        while True:
            for event in _events(archive.index, begin):
                output.print_line(_row(event), _COLUMNS, _MORE_COLUMNS)
                begin = event.seq
            time.sleep(FOLLOW_INTERVAL_S)


def _events(index: Catalogue, since: int) -> Iterator[Event]:
    """Give the events after a number, as many as there are now. Raises Failure."""
    while found := index.changes(since):
        yield from found
        if len(found) < MAX_READ:
            return
        since = found[-1].seq


def _row(event: Event) -> dict[str, object]:
    return {
        "seq": event.seq,
        "at": shown_time(event.at),
        "action": event.action,
        "study": event.study_uid,
        "series": event.series_uid,
        "instance": event.sop_instance_uid,
        "digest": event.digest,
        "source": event.source,
        "reason": event.reason,
    }
