"""The command line: one file for each group of commands, each a few lines over the layers below."""

import click

from minipacs import __version__
from minipacs.cli import (
    associations,
    care,
    conformance,
    maintenance,
    network,
    objects,
    quarantine,
    query,
    service,
    transfer,
    worklist,
)
from minipacs.cli.common import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="minipacs")
def main() -> None:
    """Run and look after minipacs, a DICOM archive."""


for command in (
    service.serve,
    service.check,
    objects.import_,
    query.find,
    query.stats,
    maintenance.reindex,
    network.echo,
    transfer.send,
    transfer.export_,
    worklist.worklist,
    associations.associations,
    care.verify,
    care.delete,
    care.backup,
    quarantine.quarantine,
    conformance.conformance,
):
    main.add_command(command)
