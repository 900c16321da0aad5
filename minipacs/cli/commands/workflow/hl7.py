"""`minipacs hl7`: the messages of HL7 that came, and what they were answered."""

import sys
from collections.abc import Sequence
from itertools import islice

import click

from minipacs.cli.auditing import tell_looked, trail
from minipacs.cli.common import Load, config_option, opened
from minipacs.cli.tables import Output, listing, print_json, shown_time
from minipacs.daemon import composition, extras
from minipacs.errors import MinipacsError
from minipacs.index.workflow.hl7_messages import Kept
from minipacs.log import printable

_COLUMNS = ("id", "received", "sender", "type", "control_id", "ack", "reason")
_MORE_COLUMNS = ("address", "condition")


@click.group()
def hl7() -> None:
    """Show messages of HL7, and do again what they ask."""


@hl7.command("list")
@config_option
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the last N.")
@click.option("--refused", is_flag=True, help="Only those that were not accepted.")
@click.option("--control-id", default="", metavar="ID", help="Only those with this control ID.")
@listing
def list_(load: Load, last: int | None, control_id: str, *, refused: bool, output: Output) -> None:
    """List the messages that are kept, the oldest first."""
    with opened(load, read_only=True) as archive:
        found = archive.index.hl7_messages.find(control_id=control_id, newest_first=True)
        wanted = (kept for kept in found if not refused or kept.received.code != "AA")
        rows = [_row(kept) for kept in islice(wanted, last)]
    output.print(rows[::-1], _COLUMNS, _MORE_COLUMNS)


@hl7.command()
@config_option
@click.argument("message_id", type=int, metavar="ID")
@click.option("--raw", is_flag=True, help="The message as it came, byte for byte, and nothing else.")
def show(load: Load, message_id: int, *, raw: bool) -> None:
    """Show a message and its answer; ID is that of `minipacs hl7 list`."""
    with opened(load, read_only=True) as archive:
        tell_looked(load(), message_id)
        kept = _known(archive.index.hl7_messages.get(message_id), message_id)
    if raw:
        sys.stdout.buffer.write(kept.received.message)
        return
    message, answer = (_lines(data) for data in (kept.received.message, kept.received.answer))
    print_json({**_row(kept), "message": message, "answer": answer})


@hl7.command()
@config_option
@click.argument("message_ids", nargs=-1, required=True, type=int, metavar="ID...")
def replay(load: Load, message_ids: Sequence[int]) -> None:
    """Do again what messages ask, in this order: those that failed, or all after an index was lost."""
    if not extras.has_hl7():
        raise MinipacsError(extras.NEEDS_HL7)
    from minipacs.hl7.auditing import Trail
    from minipacs.hl7.receiver import Receiver

    refused = 0
    with opened(load) as archive, trail(load()) as audit:
        receiver = Receiver(archive, composition.hl7_policy(load()), Trail(audit))
        found = [_known(archive.index.hl7_messages.get(number), number) for number in message_ids]
        for kept in found:
            reply = receiver.take(kept.received.message, kept.received.address, again=True)
            refused += reply.code != "AA"
            click.echo(f"{kept.id}: {reply.code} {printable(reply.words)}".rstrip())
    if refused:
        sys.exit(1)


def _known(kept: Kept | None, message_id: int) -> Kept:
    if kept is None:
        raise MinipacsError(f"no message has the ID {message_id}")
    return kept


def _row(kept: Kept) -> dict[str, object]:
    received = kept.received
    return {
        "id": kept.id,
        "received": shown_time(received.received_at),
        "sender": received.sender,
        "address": received.address,
        "type": received.kind,
        "control_id": received.control_id,
        "ack": received.code,
        "condition": received.condition,
        "reason": received.words or None,
    }


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "backslashreplace").split("\r")
