"""`minipacs associations`: who called, what was proposed, accepted, refused and why."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from click.core import ParameterSource
from pydicom.uid import UID

from minipacs import daemon
from minipacs.cli.common import config_option, json_option, prepare, print_json, print_table, printable
from minipacs.config import Config
from minipacs.daemon.accounts import read
from minipacs.errors import MinipacsError
from minipacs.index.ledger.associations import MAX_KEPT, Associations
from minipacs.net.explanation import REASONS

Load = Callable[..., Config]

_COLUMNS = ("id", "began", "calling", "called", "address", "contexts", "operations", "received", "outcome", "reason")
_UNANSWERED = -1


@click.group(invoke_without_command=True)
@config_option
@click.option("--last", type=click.IntRange(1, MAX_KEPT), default=20, show_default=True, help="How many to list.")
@json_option
@click.pass_context
def associations(context: click.Context, load: Load, last: int, as_json: bool) -> None:
    """List the last associations that ended or were rejected, the latest first."""
    context.obj = load
    if context.invoked_subcommand is not None:
        return
    with _open(load) as opened:
        found = [_described(read(document)) for document in opened.last(last)]
    if as_json:
        print_json(found)
    else:
        print_table([_row(account) for account in found], _COLUMNS)


@associations.command()
@config_option
@click.argument("association_id", metavar="ID")
@json_option
@click.pass_context
def show(context: click.Context, load: Load, association_id: str, as_json: bool) -> None:
    """Show all of an association: each context that was proposed, its answer, and which setting would accept it."""
    if context.get_parameter_source("path") is ParameterSource.DEFAULT and context.parent is not None:
        load = context.parent.obj
    with _open(load) as opened:
        document = opened.get(association_id)
    if document is None:
        raise MinipacsError(f"no association {printable(association_id)} is among the last {MAX_KEPT}")
    account = _described(read(document))
    if as_json:
        print_json(account)
    else:
        _print(account)


@contextmanager
def _open(load: Load) -> Iterator[Associations]:
    config = load()
    prepare(config)
    archive = daemon.open_archive(config, read_only=True)
    try:
        yield archive.index.associations
    finally:
        archive.close()


def _described(account: dict[str, Any]) -> dict[str, Any]:
    """Replace rows of contexts by what they mean, with names and reasons."""
    return {**account, "contexts": [_context(*row) for row in account["contexts"]]}


def _context(
    context_id: int, abstract_syntax: str, proposed: list[str], result: int, accepted: str
) -> dict[str, object]:
    reason, remedy = REASONS.get(result, ("", ""))
    return {
        "context_id": context_id,
        "abstract_syntax": abstract_syntax,
        "name": UID(abstract_syntax).name,
        "proposed_transfer_syntaxes": proposed,
        "result": None if result == _UNANSWERED else result,
        "accepted_transfer_syntax": accepted or None,
        "reason": reason or None,
        "remedy": remedy or None,
    }


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _row(account: dict[str, Any]) -> dict[str, object]:
    contexts = account["contexts"]
    accepted = sum(context["result"] == 0 for context in contexts)
    return {
        **account,
        "id": account["association_id"],
        "began": _time(account["began_at"]),
        "contexts": f"{accepted}/{len(contexts)}",
        "operations": sum(account["operations"].values()),
        "received": account["received_bytes"],
    }


def _print(account: dict[str, Any]) -> None:
    contexts = account.pop("contexts")
    account["began_at"] = _time(account["began_at"])
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
    name = UID(uid).name
    return printable(uid) if name == uid else f"{name} ({printable(uid)})"
