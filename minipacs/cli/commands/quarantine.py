"""`minipacs quarantine`: what is set aside, and the only way it is emptied."""

import sys
import time
from collections.abc import Sequence

import click

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import by_patient
from minipacs.archive.care import quarantine as shelf
from minipacs.archive.ports import QuarantinedFile
from minipacs.audit import events
from minipacs.audit.audit import Audit
from minipacs.audit.message import Action
from minipacs.cli.auditing import tell_looked, trail, who
from minipacs.cli.common import Load, config_option, json_option, opened
from minipacs.cli.tables import Output, listing, print_json, shown_time
from minipacs.errors import MinipacsError
from minipacs.index import Outcome
from minipacs.log import printable
from minipacs.services.offered import storage_classes

DAY_S = 86400
_COLUMNS = ("since", "size_bytes", "reason", "digest")
_SHOWN = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "PatientName",
    "StudyDate",
    "Modality",
)


@click.group()
def quarantine() -> None:
    """See, put back or remove what is in quarantine: files that gave way to others, or were found damaged."""


@quarantine.command("list")
@config_option
@listing
def list_(load: Load, output: Output) -> None:
    """List the files, the oldest first."""
    with opened(load, read_only=True) as archive:
        rows = [_row(file) for file in archive.tree.quarantine.files()]
    output.print(rows, _COLUMNS)


@quarantine.command()
@config_option
@click.argument("digest")
@json_option
def show(load: Load, digest: str, *, as_json: bool) -> None:
    """Show a file: why it is there, what it holds, and what is stored in its place."""
    with opened(load, read_only=True) as archive:
        tell_looked(load(), digest)
        file = shelf.named(archive.tree, digest)
        facts = {
            **_row(file),
            "whole": shelf.is_whole(archive.tree.quarantine, file.digest),
            **_contents(archive, file),
        }
        current = archive.index.instance(str(facts.get("SOPInstanceUID", "")))
        facts["current"] = None if current is None else current.digest
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name:<18} {printable(str(value))}")


@quarantine.command()
@config_option
@click.argument("digests", nargs=-1, required=True)
def release(load: Load, digests: Sequence[str]) -> None:
    """Store files again, as if they were imported: under duplicates = "replace" what is current gives way to them."""
    failed = False
    config = load()
    classes = storage_classes(config.storage.sop_classes)
    with opened(lambda: config) as archive, trail(config) as audit:
        for digest in digests:
            file = shelf.named(archive.tree, digest)
            try:
                outcome = shelf.release(archive, archive.tree.quarantine, file.digest, classes)
                refused = "another file is current" if outcome is Outcome.KEPT else ""
            except MinipacsError as error:
                refused = str(error)
            if not refused:
                _tell_released(audit, archive, file.digest)
            failed = failed or bool(refused)
            click.echo(f"{file.digest}: {f'not released: {refused}' if refused else 'released'}")
    if failed:
        sys.exit(1)


def _tell_released(audit: Audit, archive: Archive, digest: str) -> None:
    found = archive.index.instance(archive.index.uid_of(digest) or "")
    for whose, studies in by_patient(archive.index, [found] if found and audit.is_on else []):
        audit.tell(events.instances_accessed(who(), studies, whose, action=Action.CREATE))


@quarantine.command()
@config_option
@click.argument("digests", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every file.")
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Files that came before so many days.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(load: Load, digests: Sequence[str], *, everything: bool, older_than: float | None, yes: bool) -> None:
    """Remove files for ever: those named, all, or the old ones."""
    if sum((bool(digests), everything, older_than is not None)) != 1:
        raise click.UsageError("name DIGESTS, or --all, or --older-than")
    before = time.time() - (older_than or 0) * DAY_S
    with opened(load) as archive:
        if digests:
            files = [shelf.named(archive.tree, digest) for digest in digests]
        else:
            files = [file for file in archive.tree.quarantine.files() if file.since <= before]
        size_bytes = sum(file.size_bytes for file in files)
        if files and not yes and not click.confirm(f"Remove {len(files)} files, {size_bytes} bytes, for ever?"):
            raise MinipacsError("nothing was removed")
        for file in files:
            archive.tree.quarantine.purge(file.digest)
    click.echo(f"{len(files)} files removed")


def _row(file: QuarantinedFile) -> dict[str, object]:
    return {
        "digest": file.digest,
        "since": shown_time(file.since),
        "size_bytes": file.size_bytes,
        "reason": file.reason,
    }


def _contents(archive: Archive, file: QuarantinedFile) -> dict[str, object]:
    """Read what the file says it is; it may be damaged in any way."""
    from pydicom import dcmread

    try:
        with archive.tree.quarantine.open(file.digest) as stream:
            found = dcmread(stream, stop_before_pixels=True, specific_tags=list(_SHOWN))
            return {keyword: str(found.get(keyword, "")) for keyword in _SHOWN}
    except Exception as error:
        return {"unreadable": type(error).__name__}
