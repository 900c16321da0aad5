"""`minipacs retention`: what goes by rules, when, and how it comes back."""

from collections import Counter
from collections.abc import Sequence
from datetime import date

import click

from minipacs import log
from minipacs.archive.archive import Archive
from minipacs.archive.care import retention as care
from minipacs.archive.care.retention import Planned, Rule
from minipacs.cli.auditing import trail, who
from minipacs.cli.common import Load, caller, config_option, opened
from minipacs.cli.progress import stoppable
from minipacs.cli.tables import Output, listing, shown_time
from minipacs.config import Config
from minipacs.daemon import composition
from minipacs.errors import MinipacsError
from minipacs.services.offered import storage_classes

_PLANNED = ("rule", "StudyInstanceUID", "expires_on", "goes_on", "why_not")
_GONE = ("rule", "StudyInstanceUID", "expired", "instances", "state")


@click.group()
def retention() -> None:
    """See and do what retention rules let go, and have it back."""


@retention.command()
@config_option
@click.option("--days", type=click.IntRange(0, 36_500), default=30, show_default=True, help="How far to look ahead.")
@listing
def plan(load: Load, days: int, output: Output) -> None:
    """Tell which studies go by which rule on which day, and which do not though their time is over. Changes nothing."""
    output.chosen(_PLANNED)
    config = load()
    with opened(lambda: config, read_only=True) as archive:
        rows = [_row(one) for one in care.plan(archive.index, _rules(config, archive), date.today(), days)]
    output.print(rows, _PLANNED)


@retention.command()
@config_option
@click.option("--rule", "name", default="", metavar="NAME", help="This rule alone.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def apply(load: Load, name: str, *, yes: bool) -> None:
    """Let go now what is due today, also by rules that are not enabled; at most `max_a_day` of each on a day.

    They can be had back for `grace_days`.
    """
    config = load()
    with opened(lambda: config) as archive, trail(config) as audit, stoppable() as is_stopping:
        rules = {rule.name: rule for rule in _rules(config, archive)}
        if name and name not in rules:
            raise MinipacsError(f"no [[retention]] has the name {name}")
        today = date.today()
        planned = care.plan(archive.index, list(rules.values()), today, 0)
        due = [one for one in planned if one.goes_on == today and name in ("", one.rule)]
        if not due:
            click.echo("nothing is due today")
            return
        counts = ", ".join(f"{count} by {rule}" for rule, count in Counter(one.rule for one in due).items())
        if not yes and not click.confirm(f"Let {len(due)} studies go ({counts})?"):
            raise MinipacsError("nothing was let go")
        care.see(archive.index, today)
        instances, studies = 0, 0
        for one in due:
            if is_stopping():
                break
            instances += care.expire(archive, audit, who(), rules[one.rule], one.study_uid)
            studies += 1
        log.to_system("studies let go by retention", {"by": caller(), "studies": studies, "instances": instances})
    click.echo(f"{studies} studies, {instances} instances let go; to have one back: minipacs retention restore UID")


@retention.command("list")
@config_option
@listing
def list_(load: Load, output: Output) -> None:
    """List the studies that went by rules: restorable, or removed for good; \"stored again\" ones came once more."""
    output.chosen(_GONE)
    with opened(load, read_only=True) as archive:
        rows = [
            {
                "rule": one.rule,
                "StudyInstanceUID": one.study_uid,
                "expired": shown_time(one.expired_at),
                "instances": one.instances,
                "state": ("removed" if one.removed_at else "restorable")
                + (", stored again" if archive.index.instances({"StudyInstanceUID": [one.study_uid]}) else ""),
            }
            for one in archive.index.expired.all()
        ]
    output.print(rows, _GONE)


@retention.command()
@config_option
@click.argument("study_uids", nargs=-1, required=True, metavar="STUDY_UID...")
def restore(load: Load, study_uids: Sequence[str]) -> None:
    """Store studies again whose time of grace is not over, and hold them, so that they do not go again."""
    config = load()
    classes = storage_classes(config.storage.sop_classes)
    with opened(lambda: config) as archive:
        for study_uid in study_uids:
            count = care.restore(archive, study_uid, classes, by=caller())
            log.to_system("study restored", {"by": caller(), "study_uid": study_uid, "instances": count})
            click.echo(f"{study_uid}: {count} instances restored, and held")


def _rules(config: Config, archive: Archive) -> list[Rule]:
    if not config.retention:
        raise MinipacsError("there is no [[retention]] in the configuration")
    return composition.retention(config, archive.index.keys)


def _row(one: Planned) -> dict[str, object]:
    return {
        "rule": one.rule,
        "StudyInstanceUID": one.study_uid,
        "expires_on": "" if one.expires_on == date.max else one.expires_on.isoformat(),
        "goes_on": one.goes_on.isoformat() if one.goes_on else "",
        "why_not": one.why_not,
    }
