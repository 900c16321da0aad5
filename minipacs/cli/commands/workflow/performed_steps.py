"""`minipacs procedure-steps`: performed procedure steps, as modalities report them (MPPS)."""

import click

from minipacs.cli.auditing import tell_looked
from minipacs.cli.common import Load, config_option, opened
from minipacs.cli.tables import Output, listing, print_json, shown_time
from minipacs.dicom.data_set.json_values import by_keyword
from minipacs.dicom.data_set.values import text
from minipacs.dicom.tables.dictionary import tag_of
from minipacs.dicom.workflow.performed_step import COMPLETED, DISCONTINUED, IN_PROGRESS
from minipacs.errors import MinipacsError
from minipacs.index.workflow.performed_steps import Performed
from minipacs.log import printable

_STATES = {state.lower().replace(" ", "-"): state for state in (IN_PROGRESS, COMPLETED, DISCONTINUED)}
_ATTRIBUTES = ("Modality", "PatientID", "PatientName", "PerformedProcedureStepDescription")
_COLUMNS = ("sop_instance_uid", "changed", "source", "status", *_ATTRIBUTES)


@click.group("procedure-steps")
def performed_steps() -> None:
    """Show performed procedure steps: what modalities have begun, and ended."""


@performed_steps.command("list")
@config_option
@click.option("--status", type=click.Choice(list(_STATES)), help="Only those of this status.")
@listing
def list_(load: Load, status: str | None, output: Output) -> None:
    """List the steps, in the order in which they were created."""
    with opened(load, read_only=True) as archive:
        tell_looked(load(), *(["--status", status] if status else []))
        found = list(archive.index.performed_steps.find(_STATES[status] if status else ""))
    output.print([_row(step) for step in found], _COLUMNS)


@performed_steps.command()
@config_option
@click.argument("sop_instance_uid", metavar="UID")
def show(load: Load, sop_instance_uid: str) -> None:
    """Show all that a modality said of a step, as JSON."""
    with opened(load, read_only=True) as archive:
        tell_looked(load(), sop_instance_uid)
        values = archive.index.performed_steps.get(sop_instance_uid)
    if values is None:
        raise MinipacsError(f"no performed step has the SOP Instance UID {printable(sop_instance_uid)}")
    print_json(by_keyword(values))


def _row(step: Performed) -> dict[str, object]:
    return {
        "sop_instance_uid": step.sop_instance_uid,
        "changed": shown_time(step.changed_at),
        "source": step.source,
        "status": step.status,
        **{keyword: text(step.values, tag_of(keyword) or 0) for keyword in _ATTRIBUTES},
    }
