"""`minipacs serve` and `minipacs check`."""

import sys
from pathlib import Path

import click

from minipacs import daemon, log
from minipacs.cli.common import Load, become_owner, config_option
from minipacs.config import show
from minipacs.daemon.checking import configuration, findings
from minipacs.log import printable


@click.command()
@config_option
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Storage folder (storage.path).")
@click.option("--bind", help="Address to listen on (ae.bind).")
@click.option("--port", type=int, help="Port to listen on; 0 for any free one (ae.port).")
@click.option("--ae-title", help="AE title of this archive (ae.title).")
def serve(load: Load, data: Path | None, bind: str | None, port: int | None, ae_title: str | None) -> None:
    """Run the archive in the foreground until SIGTERM or SIGINT."""
    given = {
        "storage.path": None if data is None else str(data.absolute()),
        "ae.bind": bind,
        "ae.port": port,
        "ae.title": ae_title,
    }
    overrides = {key: value for key, value in given.items() if value is not None}
    config = load(overrides)
    log.setup(config.log.level, config.log.format, identifiers=config.log.identifiers)
    become_owner(config.storage.path)
    daemon.serve(config, lambda: load(overrides))


@click.command()
@config_option
@click.option("--show", "show_", is_flag=True, help="Print the effective configuration.")
@click.option("--settings", is_flag=True, help="Check the configuration alone, as a reload does.")
def check(load: Load, *, show_: bool, settings: bool) -> None:
    """Check the configuration, the folders, the free space, the index, the ports, and the names of peers."""
    config = load()
    if show_:
        click.echo(show(config), nl=False)
        return
    log.setup("error", config.log.format)
    become_owner(config.storage.path)
    is_good = True
    for finding in [configuration(config)] if settings else findings(config):
        is_good = is_good and finding.severity != "fault"
        detail = f": {finding.detail}" if finding.detail else ""
        click.echo(printable(f"{finding.severity:<6} {finding.what}{detail}"))
    if not is_good:
        sys.exit(1)
