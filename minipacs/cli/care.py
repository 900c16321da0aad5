"""`minipacs verify`, `minipacs delete` and `minipacs backup`."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click

from minipacs import daemon
from minipacs.archive.archive import Archive
from minipacs.archive.care.checking import Fault, Finding, Pace, check, heal, repair
from minipacs.archive.removal import finish_removals, remove
from minipacs.cli.common import config_option, json_option, parse_keys, prepare, print_json, print_table
from minipacs.cli.query import asked_keys
from minipacs.config import Config
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.errors import MinipacsError
from minipacs.index import Query

Load = Callable[..., Config]

_STUDY = ("PatientID", "PatientName", "StudyDate", "StudyDescription", "StudyInstanceUID")
_MAX_STUDIES_SHOWN = 50
_BACKUP_NAME = "index-%Y%m%d-%H%M%S.db"


@contextmanager
def opened(load: Load, *, read_only: bool = False) -> Iterator[Archive]:
    """Open the configured archive, beside a daemon that may run; faults of the disk are told in a line."""
    config = load()
    prepare(config)
    archive = daemon.open_archive(config, read_only=read_only)
    try:
        yield archive
    except OSError as error:
        raise MinipacsError(f"{error.filename or config.storage.path}: {error.strerror}") from error
    finally:
        archive.close()


@click.command()
@config_option
@click.option("--rate", type=click.IntRange(min=0), default=0, help="Bytes to read in a second; 0 sets no limit.")
@click.option("--repair", "is_repair", is_flag=True, help="Index orphans, set damaged files aside, mark their rows.")
@json_option
def verify(load: Load, rate: int, is_repair: bool, as_json: bool) -> None:
    """Read every file again and check it against its digest and its row; safe beside a running daemon.

    Tells what is missing, damaged or orphaned; exit status 1 if anything is. Changes nothing without --repair, which
    never removes a row: what is missing or damaged is UNAVAILABLE until it is sent again.
    """
    findings: list[Finding] = []
    healed = 0
    with opened(load, read_only=not is_repair) as archive:
        if is_repair:
            finish_removals(archive.tree, archive.index)
        with _bytes(archive.figures().stored_bytes) as advance:
            for finding in check(archive.tree, archive.index, Pace(rate, advance)):
                findings.append(finding)
                if is_repair:
                    repair(archive.tree, archive.index, archive.charset_of, finding)
                if not as_json:
                    facts = finding.digest, finding.sop_instance_uid, finding.detail
                    click.echo(f"{finding.fault}: {' '.join(filter(None, facts))}")
        if is_repair:
            healed = heal(archive.tree, archive.index, Pace(rate))
        figures = archive.figures()
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
        counts = ", ".join(f"{found[fault]} {fault}" for fault in get_args(Fault))
        click.echo(f"{figures.instances} instances: {counts}" + (f"; repaired, {healed} healed" if is_repair else ""))
    if findings:
        sys.exit(1)


@contextmanager
def _bytes(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar of bytes on a terminal."""
    if not sys.stderr.isatty():
        yield lambda size_bytes: None
        return
    with click.progressbar(length=total, label="verifying", file=sys.stderr) as bar:
        yield bar.update


@click.command()
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=VALUE...")
def delete(load: Load, yes: bool, keys: Sequence[str]) -> None:
    """Remove the instances that match, for good, after showing what and asking.

    Keys are those of every level: PatientID=P1 StudyDate=20240101, or SOPInstanceUID=... for one instance.
    """
    given = parse_keys(keys)
    if not any(value.strip("* ") for value in given.values()):
        raise click.UsageError("keys that match everything are not taken: name what is to go")
    returned = [BY_KEYWORD[keyword] for keyword in ("SOPInstanceUID", *_STUDY)]
    with opened(load) as archive:
        asked = asked_keys(given, archive.index.keys, "IMAGE")
        rows = list(archive.index.find(Query("IMAGE", asked, returned)))
        if not rows:
            click.echo("nothing matches")
            return
        studies = Counter(row[1:] for row in rows)
        _show(studies)
        question = f"Remove {len(rows)} instances of {len(studies)} studies for good?"
        if not yes and not click.confirm(question):
            raise MinipacsError("nothing was removed")
        finish_removals(archive.tree, archive.index)
        removed = sum(remove(archive.tree, archive.index, [row[0] for row in rows]))
    click.echo(f"{removed} instances removed")


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
@click.argument("target", type=click.Path(path_type=Path))
def backup(load: Load, target: Path) -> None:
    """Copy the index to a new file, or under a name with the time into a folder; safe beside a running daemon.

    Copy objects/ and quarantine/ after it: their files never change. docs/operations.md tells how to restore.
    """
    path = target / time.strftime(_BACKUP_NAME) if target.is_dir() else target
    with opened(load, read_only=True) as archive:
        try:
            archive.index.backup(path)
        except FileExistsError:
            raise MinipacsError(f"{path} exists already") from None
    click.echo(f"{path}")
