"""`minipacs send` and `minipacs export`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from minipacs import daemon
from minipacs.archive.archive import Archive
from minipacs.archive.auditing import Sending, by_patient
from minipacs.archive.media.dicomdir import Directory
from minipacs.archive.media.exporting import DICOMDIR, KEYWORDS, Exported, FolderTarget, ZipTarget, export
from minipacs.audit import events
from minipacs.audit.audit import Audit, application_entity
from minipacs.cli.auditing import address, trail, who
from minipacs.cli.commands.network import known_peer
from minipacs.cli.commands.query import asked_keys
from minipacs.cli.common import Load, config_option, opened, parse_keys
from minipacs.cli.progress import progress, steps
from minipacs.config import Config
from minipacs.daemon import composition
from minipacs.dicom.tables.attributes import BY_KEYWORD, Attribute
from minipacs.errors import MinipacsError, system_words
from minipacs.index import Query, StoredInstance
from minipacs.log import printable
from minipacs.scu.delivery import Delivery
from minipacs.scu.principal import Nobody
from minipacs.scu.tally import Tally

ZIP_NAME = "export.zip"
NOTHING = "nothing matches"


@click.command()
@config_option
@click.argument("title", metavar="PEER")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=VALUE...")
def send(load: Load, title: str, keys: Sequence[str]) -> None:
    """Send what matches to a configured peer, by C-STORE: WORKSTATION PatientID=P1."""
    config = load()
    asked = _asked(config, keys)
    peer = known_peer(config, title)
    with opened(lambda: config, read_only=True) as archive:
        uids = [row["SOPInstanceUID"] for row in _matching(archive, asked, ("SOPInstanceUID",))]
        if not uids:
            click.echo(NOTHING)
            return
        instances = archive.index.instances({"SOPInstanceUID": uids})
        there = application_entity(title, peer.host)
        with (
            trail(config) as audit,
            Sending(audit, archive.index, instances, there, [who()]) as told,
            steps(len(instances), "sending") as step,
        ):
            sent = Tally(len(instances), on_counted=step, on_settled=told.answered)
            comment = Delivery(archive.reader, composition.requestor(config), peer).send(instances, sent, Nobody())
    if comment:
        raise MinipacsError(f"{title}: {comment}; {sent.completed + sent.warning} of {sent.total} sent")
    warned = f", {sent.warning} of them with a warning" if sent.warning else ""
    click.echo(f"{sent.completed + sent.warning} sent{warned}, {len(sent.failed)} failed")
    if sent.failed:
        sys.exit(1)


@click.command("export")
@config_option
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Target folder.")
@click.option("--zip", "zipped", is_flag=True, help=f"Write one file, {ZIP_NAME}, instead of folders.")
@click.option("--dicomdir", "with_dicomdir", is_flag=True, help="Write a DICOM file-set: File IDs, and a DICOMDIR.")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=VALUE...")
def export_(load: Load, folder: Path, *, zipped: bool, with_dicomdir: bool, keys: Sequence[str]) -> None:
    """Write what matches as DICOM files, in folders of patients, studies and series: --to out PatientID=P1."""
    config = load()
    asked = _asked(config, keys)
    existing = folder / (ZIP_NAME if zipped else DICOMDIR)
    if (zipped or with_dicomdir) and existing.exists():
        raise MinipacsError(f"{existing} exists already")
    with opened(lambda: config, read_only=True) as archive, trail(config) as audit:
        rows = list(_matching(archive, asked, KEYWORDS))
        if not rows:
            click.echo(NOTHING)
            return
        try:
            with ZipTarget(folder / ZIP_NAME) if zipped else FolderTarget(folder) as target:
                copies = export(archive.reader, _stored(archive, rows), target, Directory() if with_dicomdir else None)
                with progress(copies, "exporting", lambda item: item.name, lambda: len(rows)) as bar:
                    found = list(bar)
        except OSError as error:
            raise MinipacsError(f"cannot write to {folder}: {system_words(error)}") from error
        finally:
            _tell(audit, archive, folder, rows)
    _summarise(found)


def _tell(audit: Audit, archive: Archive, folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Tell the audit trail what was to be copied, and perhaps was."""
    instances = (instance for instance, _ in _stored(archive, rows)) if audit.is_on else ()
    for whose, studies in by_patient(archive.index, instances):
        audit.tell(events.export(who(), address(folder), studies, [whose]))


def _asked(config: Config, words: Sequence[str]) -> list[tuple[Attribute, str]]:
    return asked_keys(parse_keys(words), daemon.key_table(config), "IMAGE")


def _matching(
    archive: Archive, asked: Sequence[tuple[Attribute, str]], returned: Sequence[str]
) -> Iterator[Mapping[str, str]]:
    """Give the values of each instance that matches, by the rules of C-FIND."""
    query = Query("IMAGE", asked, [BY_KEYWORD[keyword] for keyword in returned], empty_value=True)
    return (dict(zip(returned, row, strict=True)) for row in archive.index.find(query))


def _stored(archive: Archive, rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[StoredInstance, Mapping[str, str]]]:
    for values in rows:
        instance = archive.index.instance(values["SOPInstanceUID"])
        if instance is not None:
            yield instance, values


def _summarise(found: Sequence[Exported]) -> None:
    faults = [item for item in found if item.fault]
    for item in faults:
        click.echo(f"not exported: {printable(item.sop_instance_uid)}: {printable(item.fault)}", err=True)
    click.echo(f"{len(found) - len(faults)} exported, {len(faults)} failed")
    if faults:
        sys.exit(1)
