"""`minipacs associations`: who called, what was proposed, accepted, refused and why."""

from typing import Any

import click
from click.core import ParameterSource

from minipacs.cli.common import Load, config_option, json_option, opened
from minipacs.cli.tables import Output, listing, print_json, shown_time
from minipacs.dicom.tables.dictionary import uid_name
from minipacs.errors import MinipacsError
from minipacs.index.ledger.associations import MAX_KEPT
from minipacs.log import printable
from minipacs.net.account import described, unpacked

_COLUMNS = ("id", "began", "calling", "called", "address", "contexts", "operations", "received", "outcome", "reason")
_MORE_COLUMNS = ("peer", "user", "security", "implementation", "sent", "duration", "remedy")


@click.group(invoke_without_command=True)
@config_option
@click.option("--last", type=click.IntRange(1, MAX_KEPT), default=20, show_default=True, help="How many to list.")
@listing
@click.pass_context
def associations(context: click.Context, load: Load, last: int, output: Output) -> None:
    """List the last associations that ended or were rejected, the latest first."""
    context.obj = load
    if context.invoked_subcommand is not None:
        return
    with opened(load, read_only=True) as archive:
        found = [_described(unpacked(document)) for document in archive.index.associations.last(last)]
    output.print([_row(account) for account in found], _COLUMNS, _MORE_COLUMNS, document=found)


@associations.command()
@config_option
@click.argument("association_id", metavar="ID")
@json_option
@click.pass_context
def show(context: click.Context, load: Load, association_id: str, *, as_json: bool) -> None:
    """Show all of an association: each context that was proposed, its answer, and which setting would accept it."""
    if context.get_parameter_source("path") is ParameterSource.DEFAULT and context.parent is not None:
        load = context.parent.obj
    with opened(load, read_only=True) as archive:
        document = archive.index.associations.get(association_id)
    if document is None:
        raise MinipacsError(f"no association {printable(association_id)} is among the last {MAX_KEPT}")
    account = _described(unpacked(document))
    if as_json:
        print_json(account)
    else:
        _print(account)


def _described(account: dict[str, Any]) -> dict[str, Any]:
    """Replace rows of contexts by what they mean, with names and reasons; times by how they are written."""
    return {**described(account), "began_at": shown_time(account["began_at"])}


def _row(account: dict[str, Any]) -> dict[str, object]:
    contexts = account["contexts"]
    accepted = sum(context["result"] == 0 for context in contexts)
    return {
        **account,
        "id": account["association_id"],
        "began": account["began_at"],
        "contexts": f"{accepted}/{len(contexts)}",
        "operations": sum(account["operations"].values()),
        "received": account["received_bytes"],
        "sent": account["sent_bytes"],
        "duration": account["duration_s"],
    }


def _print(account: dict[str, Any]) -> None:
    contexts = account.pop("contexts")
    account["operations"] = ", ".join(f"{count} {what}" for what, count in account["operations"].items())
    for name, value in account.items():
        if value not in ("", 0):
            click.echo(f"{name.replace('_', ' '):<16} {printable(str(value))}")
    for context in contexts:
        _print_context(context)


def _print_context(context: dict[str, Any]) -> None:
    click.echo(f"\ncontext {context['context_id']}: {_named(context['abstract_syntax'])}")
    for uid in context["proposed_transfer_syntaxes"]:
        mark = "accepted" if uid == context["accepted_transfer_syntax"] else "proposed"
        click.echo(f"  {mark}  {_named(uid)}")
    if context["reason"]:
        click.echo(f"  refused   {context['reason']}")
        click.echo(f"  setting   {context['remedy']}")


def _named(uid: str) -> str:
    name = uid_name(uid)
    return printable(uid) if name == uid else f"{name} ({printable(uid)})"
