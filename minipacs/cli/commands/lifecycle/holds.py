"""`minipacs hold` and `minipacs unhold`: what is not to be removed."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from minipacs.archive.auditing import by_patient, tell_amended
from minipacs.archive.care.holds import hold as keep
from minipacs.cli.auditing import trail, who
from minipacs.cli.commands.query import asked_keys
from minipacs.cli.common import Load, caller, config_option, opened, parse_choice
from minipacs.cli.tables import Output, listing, shown_time
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.index import Query
from minipacs.index.ledger.removal.holds import MAX_REASON_CHARS

_COLUMNS = ("since", "by", "reason", "StudyInstanceUID")


def _checked(context: click.Context, option: click.Parameter, text: str) -> str:
    if len(text) > MAX_REASON_CHARS or not text.isprintable():
        raise click.BadParameter(f"may have {MAX_REASON_CHARS} characters, all of them printable")
    return text.strip()


def _reason_option(words: str) -> Callable[..., Any]:
    return click.option("--reason", default="", callback=_checked, metavar="TEXT", help=words)


@click.command()
@config_option
@_reason_option("Why; whoever is refused a removal is told.")
@click.argument("keys", nargs=-1, metavar="[KEY=VALUE...]")
@listing
def hold(load: Load, keys: Sequence[str], reason: str, output: Output) -> None:
    """Keep the studies that match from being removed until `unhold`; without keys, list what is held.

    Neither `delete` nor DICOMweb nor a retention rule removes a held study, or a part of it. Studies that come later
    are not held. Held again, a study gets the new reason.
    """
    if keys:
        if not reason:
            raise click.UsageError("--reason is needed: why are they held?")
        _put(load, keys, reason, releases=False)
        return
    output.chosen(_COLUMNS)
    with opened(load, read_only=True) as archive:
        held = archive.index.holds.all()
    rows = [
        {"since": shown_time(one.at), "by": one.by, "reason": one.reason, "StudyInstanceUID": one.study_uid}
        for one in held
    ]
    output.print(rows, _COLUMNS)


@click.command()
@config_option
@_reason_option("Why; kept with the rest.")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=VALUE...")
def unhold(load: Load, keys: Sequence[str], reason: str) -> None:
    """Let those of the studies that match which are held be removed again."""
    _put(load, keys, reason, releases=True)


def _put(load: Load, keys: Sequence[str], reason: str, *, releases: bool) -> None:
    given = parse_choice(keys, f"to be {'released' if releases else 'held'}")
    config = load()
    with opened(lambda: config) as archive, trail(config) as audit:
        index = archive.index
        asked = asked_keys(given, index.keys, "STUDY")
        found = index.find(Query("STUDY", asked, [BY_KEYWORD["StudyInstanceUID"]], empty_value=True))
        studies = list(dict.fromkeys(row[0] for row in found))
        if releases:
            studies = list(index.holds.of(studies))
        if not studies:
            click.echo("nothing that is held matches" if releases else "nothing matches")
            return
        keep(archive.tree, index, studies, by=caller(), reason=reason, releases=releases)
        if audit.is_on:
            instances = index.instances({"StudyInstanceUID": studies})
            tell_amended(audit, who(), by_patient(index, instances), of_patients=False)
    click.echo(f"{len(studies)} studies {'are held no more' if releases else 'are held'}")
