"""`minipacs verify`, `minipacs reindex`, `minipacs delete` and `minipacs backup`."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from minipacs import log
from minipacs.archive.auditing import by_patient, tell_deleted
from minipacs.archive.care.checking import Fault, Finding, Pace, check, repair
from minipacs.archive.care.leftovers import finish_removals
from minipacs.archive.care.reindex import reindex as rebuild
from minipacs.archive.removal import remove
from minipacs.audit import events
from minipacs.audit.message import PatientObject
from minipacs.cli.auditing import address, tell_asked, tell_damage, trail, who
from minipacs.cli.commands.query import asked_keys
from minipacs.cli.common import Load, caller, config_option, json_option, opened, parse_choice
from minipacs.cli.progress import steps
from minipacs.cli.tables import print_json, print_table
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.errors import MinipacsError, system_words
from minipacs.index import Query
from minipacs.index.ledger.checks import LastCheck
from minipacs.index.ledger.removal.holds import refusal
from minipacs.log import printable

_STUDY = ("PatientID", "PatientName", "StudyDate", "StudyDescription", "StudyInstanceUID")
_MAX_STUDIES_SHOWN = 50
_MAX_STUDIES_LOGGED = 3
_ALWAYS_COUNTED: tuple[Fault, ...] = ("missing", "damaged", "orphaned")
_BACKUP_NAME = "index-%Y%m%d-%H%M%S.db"


@click.command()
@config_option
@click.option("--rate", type=click.IntRange(min=0), default=0, help="Bytes to read in a second; 0 sets no limit.")
@click.option("--repair", "is_repair", is_flag=True, help="Index orphans, set damaged files aside, mark their rows.")
@json_option
def verify(load: Load, rate: int, *, is_repair: bool, as_json: bool) -> None:
    """Read every file again and check it against its digest and its row; safe beside a running daemon.

    Tells what is missing, damaged, orphaned or marked unavailable though it is whole; exit status 1 if anything is.
    Changes nothing without --repair, which never removes a row: what is missing or damaged is UNAVAILABLE until it is
    sent again or its file is back.
    """
    findings: list[Finding] = []
    healed = 0
    with opened(load, read_only=not is_repair) as archive:
        if is_repair:
            finish_removals(archive.tree, archive.index, archive.charset_of)
        with steps(archive.figures().stored_bytes, "verifying") as advance:
            for finding in check(archive.tree, archive.index, Pace(rate, advance)):
                if is_repair:
                    repair(archive.tree, archive.index, archive.charset_of, finding)
                if is_repair and finding.fault == "unavailable":
                    healed += 1
                    continue
                findings.append(finding)
                if not as_json:
                    facts = finding.digest, finding.sop_instance_uid, finding.detail
                    click.echo(f"{finding.fault}: {' '.join(filter(None, facts))}")
        figures = archive.figures()
    tell_damage(load(), [(f.digest, f.fault) for f in findings if f.fault in ("missing", "damaged")])
    _note(load, LastCheck(time.time(), len(findings)))
    if as_json:
        print_json(
            {
                "instances": figures.instances,
                "stored_bytes": figures.stored_bytes,
                "findings": [asdict(finding) for finding in findings],
                "repaired": is_repair,
                "healed": healed,
            }
        )
    else:
        found = Counter(finding.fault for finding in findings)
        counts = ", ".join(f"{found[fault]} {fault}" for fault in _ALWAYS_COUNTED)
        if found["unreadable"]:
            counts += f", {found['unreadable']} that cannot be read now"
        if found["unavailable"]:
            counts += f", {found['unavailable']} unavailable but whole: --repair gives them out again"
        click.echo(f"{figures.instances} instances: {counts}" + (f"; repaired, {healed} healed" if is_repair else ""))
    if findings:
        sys.exit(1)


def _note(load: Load, check: LastCheck) -> None:
    """Let the metrics tell of the check; whoever may only read the archive may check it all the same."""
    try:
        with opened(load) as archive:
            archive.index.checks.note(check)
    except (MinipacsError, OSError) as error:
        click.echo(f"minipacs: the metrics will not tell of this check: {printable(system_words(error))}", err=True)


@click.command()
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=VALUE...")
def delete(load: Load, *, yes: bool, keys: Sequence[str]) -> None:
    """Remove the instances that match, for good, after showing what and asking.

    Keys are those of every level: PatientID=P1 StudyDate=20240101, or SOPInstanceUID=... for one instance.
    """
    given = parse_choice(keys, "to go")
    returned = [BY_KEYWORD[keyword] for keyword in ("SOPInstanceUID", *_STUDY)]
    config = load()
    with opened(lambda: config) as archive, trail(config) as audit:
        asked = asked_keys(given, archive.index.keys, "IMAGE")
        rows = list(archive.index.find(Query("IMAGE", asked, returned, empty_value=True)))
        if not rows:
            click.echo("nothing matches")
            return
        studies = Counter(row[1:] for row in rows)
        for held in archive.index.holds.of(study[-1] for study in studies).values():
            raise refusal(held)
        _show(studies)
        question = f"Remove {len(rows)} instances of {len(studies)} studies for good?"
        if not yes and not click.confirm(question):
            tell_asked(audit, *keys)
            raise MinipacsError("nothing was removed")
        finish_removals(archive.tree, archive.index, archive.charset_of)
        uids = [row[0] for row in rows]
        gone = list(by_patient(archive.index, filter(None, map(archive.index.instance, uids)))) if audit.is_on else []
        try:
            removed = sum(remove(archive.tree, archive.index, uids))
        finally:
            tell_deleted(audit, archive.index, who(), gone)
        _log_removal(keys=" ".join(given), instances=removed, studies=[study[-1] for study in studies])
    click.echo(f"{removed} instances removed")


def _log_removal(keys: str, instances: int, studies: Sequence[str]) -> None:
    """Leave a line in the system's log that images were removed, how many, and by whom."""
    shown = " ".join(studies[:_MAX_STUDIES_LOGGED])
    fields = {"by": caller(), "keys": keys, "instances": instances, "studies": len(studies), "study_uids": shown}
    log.to_system("instances deleted", fields)


def _show(studies: Counter[tuple[str, ...]]) -> None:
    shown = studies.most_common(_MAX_STUDIES_SHOWN)
    print_table(
        [{**dict(zip(_STUDY, study, strict=True)), "Instances": count} for study, count in shown],
        (*_STUDY, "Instances"),
    )
    if len(studies) > len(shown):
        click.echo(f"... and {len(studies) - len(shown)} more studies")


@click.command()
@config_option
@click.argument("target", type=click.Path())
def backup(load: Load, target: str) -> None:
    """Copy the index to a new file, or under a name with the time into a folder; safe beside a running daemon.

    A folder that is missing is made; a name that ends with a slash is one. Copy objects/, quarantine/ and
    amendments/ after it: their files never change. To restore: stop the archive, put all of it back, remove
    daemon.lock, start.
    """
    config = load()
    with opened(lambda: config, read_only=True) as archive, trail(config) as audit:
        path = _backup_path(str(target))
        held = archive.index.statistics()
        everybody = f"the index, of {held.patients} patients and {held.studies} studies"
        audit.tell(events.export(who(), address(path), (), [PatientObject("")], everybody))
        try:
            archive.index.backup(path)
        except FileExistsError:
            raise MinipacsError(f"{path} exists already") from None
        except OSError as error:
            raise MinipacsError(f"cannot write {path}: {system_words(error)}") from error
    click.echo(f"{path}")


def _backup_path(target: str) -> Path:
    """Return the file to write, its folder being made if it is missing: what is named like one ends with a slash."""
    path = Path(target)
    is_folder = target.endswith("/") or path.is_dir()
    folder = path if is_folder else path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MinipacsError(f"cannot make the folder {folder}: {system_words(error)}") from error
    return folder / time.strftime(_BACKUP_NAME) if is_folder else path


@click.command()
@config_option
@json_option
def reindex(load: Load, *, as_json: bool) -> None:
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
        click.echo(f"{counts}, {found.refused} not indexed")
    if found.faults:
        sys.exit(1)
