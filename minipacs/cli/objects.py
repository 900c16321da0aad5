"""`minipacs import`."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from minipacs import daemon
from minipacs.archive.importing import Imported, import_source, sources
from minipacs.cli.common import config_option, json_option, prepare, print_json, printable
from minipacs.config import Config
from minipacs.index import Outcome
from minipacs.services.offered import storage_classes

_WORDS = {
    Outcome.ADDED: "stored",
    Outcome.REPLACED: "stored",
    Outcome.SAME: "already present",
    Outcome.KEPT: "already present",
}


@click.command("import")
@config_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--move", is_flag=True, help="Remove files whose objects are safely in the archive.")
@json_option
def import_(load: Callable[..., Config], paths: Sequence[Path], move: bool, as_json: bool) -> None:
    """Store DICOM files, folders of them and zip archives."""
    config = load()
    prepare(config)
    archive = daemon.open_archive(config)
    classes = storage_classes(config.storage.sop_classes)
    found: list[Imported] = []
    try:
        with click.progressbar(
            sources(paths), label="importing", file=sys.stderr, item_show_func=_name, show_pos=True
        ) as bar:
            for source in bar:
                found.append(import_source(archive, source, classes))
    finally:
        archive.close()
    if move:
        _remove(found)
    _summarise(found, as_json)
    if any(item.outcome is None for item in found):
        sys.exit(1)


def _name(source: object) -> str:
    return "" if source is None else printable(getattr(source, "name", ""))


def _remove(found: Sequence[Imported]) -> None:
    """Remove the files of which every object is stored."""
    kept = {item.source.path for item in found if item.outcome not in (Outcome.ADDED, Outcome.REPLACED, Outcome.SAME)}
    for path in {item.source.path for item in found} - kept:
        path.unlink()


def _summarise(found: Sequence[Imported], as_json: bool) -> None:
    counts = Counter("refused" if item.outcome is None else _WORDS[item.outcome] for item in found)
    refused = {item.source.name: item.reason for item in found if item.outcome is None}
    if as_json:
        names = ("stored", "already present")
        print_json({**{name.replace(" ", "_"): counts[name] for name in names}, "refused": refused})
        return
    for name, reason in refused.items():
        click.echo(f"refused: {printable(name)}: {reason}", err=True)
    click.echo(", ".join(f"{counts[word]} {word}" for word in ("stored", "already present", "refused")))
