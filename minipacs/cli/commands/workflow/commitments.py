"""`minipacs commitments`: storage commitments that were asked for, and what became of them."""

from collections.abc import Sequence

import click

from minipacs.cli.common import Load, config_option, opened
from minipacs.cli.tables import Output, listing, print_json, shown_time
from minipacs.dicom.data_set.json_values import by_keyword
from minipacs.errors import MinipacsError
from minipacs.index.workflow.commitments import ASKED, READY, STATE_WORDS, Account

_COLUMNS = ("id", "asked", "peer", "objects", "state", "attempts", "due", "fault")
_MORE_COLUMNS = ("transaction_uid", "called")


@click.group()
def commitments() -> None:
    """Show storage commitments: asked, waiting, answered, given up."""


@commitments.command("list")
@config_option
@click.option("--open", "only_open", is_flag=True, help="Only those whose peer is still to be told.")
@listing
def list_(load: Load, *, only_open: bool, output: Output) -> None:
    """List the commitments that are known, the oldest first."""
    with opened(load, read_only=True) as archive:
        found = archive.index.commitments.accounts()
    rows = [_row(account) for account in found if not only_open or account.pending.state in (ASKED, READY)]
    output.print(rows, _COLUMNS, _MORE_COLUMNS)


@commitments.command()
@config_option
@click.argument("commitment_id", type=int, metavar="ID")
def show(load: Load, commitment_id: int) -> None:
    """Show all of a commitment, as JSON: each object that was asked for, and the answer."""
    with opened(load, read_only=True) as archive:
        found = archive.index.commitments.accounts(commitment_id)
    if not found:
        raise MinipacsError(f"no commitment has the ID {commitment_id}")
    objects = [{"sop_class_uid": sop_class, "sop_instance_uid": instance} for sop_class, instance in found[0].objects]
    report = None if found[0].report is None else by_keyword(found[0].report)
    print_json({**_row(found[0]), "objects": objects, "report": report})


@commitments.command()
@config_option
@click.argument("commitment_ids", nargs=-1, required=True, type=int, metavar="ID...")
def retry(load: Load, commitment_ids: Sequence[int]) -> None:
    """Tell peers again, also those that were given up; a daemon that runs does so within a minute."""
    with opened(load) as archive:
        refused = [row_id for row_id in commitment_ids if not archive.index.commitments.retry(row_id)]
    click.echo(f"{len(commitment_ids) - len(refused)} to be told again")
    if refused:
        ids = ", ".join(map(str, refused))
        raise MinipacsError(f"nothing to tell again for {ids}: answered, not read yet, being told, or not known")


def _row(account: Account) -> dict[str, object]:
    pending = account.pending
    return {
        "id": pending.id,
        "asked": shown_time(pending.asked_at),
        "peer": pending.ae_title,
        "called": pending.called_ae_title,
        "transaction_uid": pending.transaction_uid,
        "objects": len(account.objects),
        "state": STATE_WORDS[pending.state],
        "attempts": account.attempts,
        "due": None if account.due_at is None else shown_time(account.due_at),
        "fault": account.last_fault or None,
    }
