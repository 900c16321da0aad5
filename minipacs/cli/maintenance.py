"""`minipacs reindex`."""

import sys
from collections.abc import Callable
from dataclasses import asdict

import click

from minipacs import daemon
from minipacs.archive.care.reindex import reindex as rebuild
from minipacs.cli.common import config_option, json_option, prepare, print_json, printable, steps
from minipacs.config import Config


@click.command()
@config_option
@json_option
def reindex(load: Callable[..., Config], as_json: bool) -> None:
    """Rebuild patients, studies, series and instances from the files; the archive must not be running.

    Needed after a change of index.keys, for what is stored already. Until it is done the old index stays in use. No row
    is lost: one whose file is missing or damaged is kept as UNAVAILABLE and reported, with exit status 1.
    """
    config = load()
    prepare(config)
    archive = daemon.open_archive(config)
    try:
        files = archive.index.statistics().instances
        with steps(files, "reindexing") as progress:
            found = rebuild(archive, progress)
    finally:
        archive.close()
    if as_json:
        print_json(asdict(found))
    else:
        for digest, fault in found.faults.items():
            click.echo(f"fault: {digest}: {printable(fault)}", err=True)
        counts = f"{found.indexed} indexed, {found.adopted} without a row before, {found.kept} kept as unavailable"
        click.echo(f"{counts}, {len(found.faults) - found.kept} not indexed")
    if found.faults:
        sys.exit(1)
