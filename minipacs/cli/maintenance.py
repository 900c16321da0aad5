"""`minipacs reindex`."""

import sys
from collections.abc import Callable

import click

from minipacs import daemon
from minipacs.archive.reindex import reindex as rebuild
from minipacs.cli.common import config_option, counting, json_option, prepare, print_json, printable
from minipacs.config import Config


@click.command()
@config_option
@json_option
def reindex(load: Callable[..., Config], as_json: bool) -> None:
    """Rebuild patients, studies, series and instances from the files; the archive must not be running.

    Needed after a change of index.keys, for what is stored already. Until it is done the old index stays in use.
    """
    config = load()
    prepare(config)
    archive = daemon.open_archive(config)
    try:
        files = archive.index.statistics().instances
        with counting(files, "reindexing") as progress:
            found = rebuild(archive, progress)
    finally:
        archive.close()
    if as_json:
        print_json({"indexed": found.indexed, "adopted": found.adopted, "faults": found.faults})
    else:
        for digest, fault in found.faults.items():
            click.echo(f"not indexed: {digest}: {printable(fault)}", err=True)
        click.echo(f"{found.indexed} indexed, {found.adopted} without a row before, {len(found.faults)} not indexed")
    if found.faults:
        sys.exit(1)
