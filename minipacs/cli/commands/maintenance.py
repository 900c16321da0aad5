"""`minipacs reindex`."""

import sys
from dataclasses import asdict

import click

from minipacs.archive.care.reindex import reindex as rebuild
from minipacs.cli.common import Load, config_option, json_option, opened
from minipacs.cli.progress import steps
from minipacs.cli.tables import print_json
from minipacs.log import printable


@click.command()
@config_option
@json_option
def reindex(load: Load, as_json: bool) -> None:
    """Rebuild patients, studies, series and instances from the files; the archive must not be running.

    Needed after a change of index.keys, for what is stored already. Until it is done the old index stays in use. No row
    is lost: one whose file is missing or damaged is kept as UNAVAILABLE and reported, with exit status 1.
    """
    with opened(load) as archive, steps(archive.index.statistics().instances, "reindexing") as progress:
        found = rebuild(archive, progress)
    if as_json:
        print_json(asdict(found))
    else:
        for digest, fault in found.faults.items():
            click.echo(f"fault: {digest}: {printable(fault)}", err=True)
        counts = f"{found.indexed} indexed, {found.adopted} without a row before, {found.kept} kept as unavailable"
        click.echo(f"{counts}, {len(found.faults) - found.kept} not indexed")
    if found.faults:
        sys.exit(1)
