"""What long work shows on a terminal, in one line; in a pipe nothing. And how it is stopped."""

import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import click

from minipacs.cli.tables import width_of
from minipacs.log import printable

T = TypeVar("T")

BAR_WIDTH = 16
_BESIDE_THE_NAME = 64
"""Columns that label, bar, counts and the time left may take."""
_MIN_NAME_WIDTH = 8


def progress(
    items: Iterable[T], label: str, name: Callable[[T], str], total: Callable[[], int] | None = None
) -> AbstractContextManager[Iterable[T]]:
    """Show how far `items` have been gone through; `total` counts them, and is asked only if somebody looks."""
    if not sys.stderr.isatty():
        return nullcontext(items)
    room = max(shutil.get_terminal_size((80, 24)).columns - _BESIDE_THE_NAME, _MIN_NAME_WIDTH)
    return click.progressbar(
        items,
        length=None if total is None else total(),
        label=label,
        file=sys.stderr,
        show_pos=True,
        show_eta=True,
        width=BAR_WIDTH,
        item_show_func=lambda item: None if item is None else _end_of(printable(name(item)), room),
    )


def _end_of(text: str, room: int) -> str:
    """Keep the end of a long name, which tells most of a path."""
    if width_of(text) <= room:
        return text
    kept = text
    while width_of(kept) > room - 1:
        kept = kept[1:]
    return "…" + kept


@contextmanager
def steps(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """Show a progress bar that the function given moves on."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    with click.progressbar(
        length=total, label=label, file=sys.stderr, show_pos=True, show_eta=True, width=BAR_WIDTH
    ) as bar:
        yield bar.update


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C be asked for instead of striking anywhere: work ends between two items. A second one strikes."""
    asked: list[int] = []

    def stop(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
