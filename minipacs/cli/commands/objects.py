"""`minipacs import`."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import Importing
from minipacs.archive.media.importing import Imported, count, import_source, sources
from minipacs.cli.auditing import address, trail, who
from minipacs.cli.common import Load, config_option, json_option, opened
from minipacs.cli.progress import progress, stoppable
from minipacs.cli.tables import print_json
from minipacs.config import Config
from minipacs.errors import system_words
from minipacs.index import Outcome
from minipacs.log import printable
from minipacs.services.offered import storage_classes

_STORED, _PRESENT, _REFUSED, _SKIPPED = "stored", "already present", "refused", "skipped"
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
    was_stopped: bool = False

    def note(self, item: Imported) -> None:
        """Count an object."""
        without = _SKIPPED if item.is_skipped else _REFUSED
        self.counts[without if item.outcome is None else _WORDS[item.outcome]] += 1
        if item.outcome is None and not item.is_skipped:
            self.refused[item.source.name] = item.reason
        has_its_bytes = item.outcome in (Outcome.ADDED, Outcome.REPLACED, Outcome.SAME)
        self.removable[item.source.path] = self.removable.get(item.source.path, True) and has_its_bytes

    def remove_sources(self, archive: Archive) -> None:
        """Remove the files of which every object is in the archive, durably; none if that cannot be known."""
        try:
            archive.make_durable()
        except OSError as error:
            self.not_removed |= {str(p): system_words(error) for p, removable in self.removable.items() if removable}
            return
        for path in (path for path, removable in self.removable.items() if removable):
            try:
                path.unlink()
            except OSError as error:
                self.not_removed[str(path)] = system_words(error)

    def print(self) -> None:
        """Print the counts, and on standard error what went wrong."""
        for what, faults in ((_REFUSED, self.refused), ("not removed", self.not_removed)):
            for name, reason in faults.items():
                click.echo(f"{what}: {printable(name)}: {printable(reason)}", err=True)
        words = [_STORED, _PRESENT, _REFUSED, *[_SKIPPED] * bool(self.counts[_SKIPPED])]
        stopped = "stopped: " if self.was_stopped else ""
        click.echo(stopped + ", ".join(f"{self.counts[word]} {word}" for word in words))

    def print_json(self) -> None:
        """Print the same as one document."""
        counts = {word.replace(" ", "_"): self.counts[word] for word in (_STORED, _PRESENT, _SKIPPED)}
        faults = {"refused": self.refused, "not_removed": self.not_removed}
        print_json({**counts, **faults, "stopped": self.was_stopped})


@contextmanager
def _told(config: Config, paths: Sequence[Path]) -> Iterator[Importing]:
    """Tell the audit trail what is imported; the places it comes from are named together."""
    with trail(config) as audit, closing(Importing(audit, who(), " ".join(map(address, paths)))) as told:
        yield told


@click.command("import")
@config_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--move", is_flag=True, help="Remove files whose objects are safely in the archive.")
@click.option(
    "--lenient",
    is_flag=True,
    help="Also take files without preamble or File Meta Information, or with one that does not fit, if their data set "
    "is sound.",
)
@json_option
def import_(load: Load, paths: Sequence[Path], *, move: bool, lenient: bool, as_json: bool) -> None:
    """Store DICOM files, folders of them and zip archives.

    A DICOMDIR is skipped: the files that it tells of are imported themselves. Ctrl-C ends after the object under way,
    and says what was done.
    """
    config = load()
    classes = storage_classes(config.storage.sop_classes)
    summary = _Summary()
    shown = progress(sources(paths), "importing", lambda source: source.name, partial(count, paths))
    with opened(lambda: config) as archive, _told(config, paths) as told, stoppable() as is_stopping, shown as found:
        for source in found:
            item = import_source(archive, source, classes, lenient=lenient)
            summary.note(item)
            if item.record is not None:
                told.add(item.record)
            if is_stopping():
                summary.was_stopped = True
                break
        if move:
            summary.remove_sources(archive)
    summary.print_json() if as_json else summary.print()
    if summary.refused or summary.not_removed or summary.was_stopped:
        sys.exit(1)
