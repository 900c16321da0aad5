"""How a command fails: one line for each fault, never a traceback for what is not a bug."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from minipacs.errors import ConfigError, MinipacsError, system_words
from minipacs.log import printable

FAILED, WRONG_CONFIGURATION = 1, 2


@contextmanager
def tell_faults() -> Iterator[None]:
    """Print faults on standard error and end with an exit status."""
    try:
        yield
    except ConfigError as error:
        _end(error.faults, WRONG_CONFIGURATION)
    except MinipacsError as error:
        _end([str(error)], FAILED)
    except OSError as error:
        if error.errno == errno.EPIPE:  # who read our output has seen enough; click ends without a word
            raise
        _end([f"{error.filename}: {system_words(error)}" if error.filename else system_words(error)], FAILED)


def _end(faults: list[str] | tuple[str, ...], status: int) -> None:
    for fault in faults:
        click.echo(f"minipacs: {printable(fault)}", err=True)
    sys.exit(status)
