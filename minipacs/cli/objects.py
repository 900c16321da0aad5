"""`minipacs import`."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from minipacs import daemon
from minipacs.archive.media.importing import Imported, import_source, sources
from minipacs.cli.common import config_option, json_option, prepare, print_json, printable, progress
from minipacs.config import Config
from minipacs.index import Outcome
from minipacs.services.offered import storage_classes

_STORED, _PRESENT, _REFUSED = "stored", "already present", "refused"
_WORDS = {
    Outcome.ADDED: _STORED,
    Outcome.REPLACED: _STORED,
    Outcome.SAME: _PRESENT,
    Outcome.KEPT: _PRESENT,
}


@dataclass(slots=True)
class _Summary:
    """What became of the objects; `removable` tells of each file whether the archive has all that is in it."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)
    removable: dict[Path, bool] = field(default_factory=dict)
    not_removed: dict[str, str] = field(default_factory=dict)

    def note(self, item: Imported) -> None:
        """Count an object."""
        self.counts[_REFUSED if item.outcome is None else _WORDS[item.outcome]] += 1
        if item.outcome is None:
            self.refused[item.source.name] = item.reason
        has_its_bytes = item.outcome in (Outcome.ADDED, Outcome.REPLACED, Outcome.SAME)
        self.removable[item.source.path] = self.removable.get(item.source.path, True) and has_its_bytes

    def remove_sources(self) -> None:
        """Remove the files of which every object is in the archive, durably by now."""
        for path in (path for path, removable in self.removable.items() if removable):
            try:
                path.unlink()
            except OSError as error:
                self.not_removed[str(path)] = error.strerror or str(error)

    def print(self) -> None:
        """Print the counts, and on standard error what went wrong."""
        for what, faults in ((_REFUSED, self.refused), ("not removed", self.not_removed)):
            for name, reason in faults.items():
                click.echo(f"{what}: {printable(name)}: {printable(reason)}", err=True)
        click.echo(", ".join(f"{self.counts[word]} {word}" for word in (_STORED, _PRESENT, _REFUSED)))

    def print_json(self) -> None:
        """Print the same as one document."""
        counts = {word.replace(" ", "_"): self.counts[word] for word in (_STORED, _PRESENT)}
        print_json({**counts, "refused": self.refused, "not_removed": self.not_removed})


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
    summary = _Summary()
    try:
        with progress(sources(paths), "importing", lambda source: source.name) as found:
            for source in found:
                summary.note(import_source(archive, source, classes))
    finally:
        archive.close()
    if move:
        summary.remove_sources()
    summary.print_json() if as_json else summary.print()
    if summary.refused or summary.not_removed:
        sys.exit(1)
