"""`minipacs serve` and `minipacs check`."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from minipacs import daemon, log
from minipacs.cli.common import become_owner, config_option
from minipacs.config import Config, show
from minipacs.errors import MinipacsError


@click.command()
@config_option
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Storage folder (storage.path).")
@click.option("--bind", help="Address to listen on (ae.bind).")
@click.option("--port", type=int, help="Port to listen on; 0 for any free one (ae.port).")
@click.option("--ae-title", help="AE title of this archive (ae.title).")
def serve(
    load: Callable[..., Config], data: Path | None, bind: str | None, port: int | None, ae_title: str | None
) -> None:
    """Run the archive in the foreground until SIGTERM or SIGINT."""
    given = {
        "storage.path": None if data is None else str(data.absolute()),
        "ae.bind": bind,
        "ae.port": port,
        "ae.title": ae_title,
    }
    overrides = {key: value for key, value in given.items() if value is not None}
    config = load(overrides)
    log.setup(config.log.level, config.log.format)
    become_owner(config.storage.path)
    daemon.serve(config, lambda: load(overrides))


@click.command()
@config_option
@click.option("--show", "show_", is_flag=True, help="Print the effective configuration.")
def check(load: Callable[..., Config], show_: bool) -> None:
    """Check the configuration, the folders, the free space and the index."""
    config = load()
    if show_:
        click.echo(show(config), nl=False)
        return
    log.setup("error", config.log.format)
    become_owner(config.storage.path)
    good = True
    for what, fault in _findings(config):
        good = good and fault is None
        click.echo(f"{'ok   ' if fault is None else 'fault'}  {what}{'' if fault is None else ': ' + fault}")
    if not good:
        sys.exit(1)


def _findings(config: Config) -> Iterator[tuple[str, str | None]]:
    yield f"configuration {config.source or '(defaults)'}", None
    path = config.storage.path
    if not path.exists():
        parent = next(p for p in path.parents if p.exists())
        fault = None if os.access(parent, os.W_OK | os.X_OK) else f"cannot be made: {parent} is not writable"
        yield f"storage folder {path} (not there yet)", fault
        return
    fault = None if os.access(path, os.R_OK | os.W_OK | os.X_OK) else "not readable and writable"
    yield f"storage folder {path}", fault
    found = os.statvfs(path)
    free, reserve = found.f_bavail * found.f_frsize, config.storage.min_free_bytes
    yield f"free space {free} bytes", None if free >= reserve else f"storage.min_free_bytes is {reserve}"
    if config.index_path.exists():
        yield f"index {config.index_path}", _index_fault(config)


def _index_fault(config: Config) -> str | None:
    try:
        daemon.open_archive(config, read_only=True).close()
    except MinipacsError as error:
        return str(error)
    return None
