"""`minipacs find` and `minipacs stats`."""

from collections.abc import Callable, Sequence

import click

from minipacs import daemon
from minipacs.cli.common import config_option, json_option, parse_keys, prepare, print_json, print_table
from minipacs.config import Config
from minipacs.dicom.attributes import ATTRIBUTES, BY_KEYWORD, LEVELS, Attribute, Level
from minipacs.index import Query

_COLUMNS: dict[Level, tuple[str, ...]] = {
    "PATIENT": ("PatientID", "PatientName", "PatientBirthDate", "NumberOfPatientRelatedStudies"),
    "STUDY": (
        "PatientID",
        "PatientName",
        "StudyDate",
        "AccessionNumber",
        "ModalitiesInStudy",
        "StudyDescription",
        "NumberOfStudyRelatedInstances",
        "StudyInstanceUID",
    ),
    "SERIES": ("Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances", "SeriesInstanceUID"),
    "IMAGE": ("InstanceNumber", "SOPClassUID", "SOPInstanceUID"),
}


@click.command()
@config_option
@click.option(
    "--level",
    type=click.Choice([level.lower() for level in LEVELS]),
    default="study",
    show_default=True,
    help="What to list.",
)
@click.argument("keys", nargs=-1, metavar="KEY=VALUE...")
@json_option
def find(load: Callable[..., Config], level: str, keys: Sequence[str], as_json: bool) -> None:
    """List what matches, by the rules of C-FIND: PatientName=DOE* StudyDate=20240101-20240131."""
    at = next(known for known in LEVELS if known.lower() == level)
    asked = [(attribute_named(name, at), value) for name, value in parse_keys(keys).items()]
    config = load()
    prepare(config)
    returned = _all(at) if as_json else _shown(at, asked)
    archive = daemon.open_archive(config, read_only=True)
    try:
        rows = [
            dict(zip((a.keyword for a in returned), row, strict=True))
            for row in archive.index.find(Query(at, asked, returned))
        ]
    finally:
        archive.close()
    if as_json:
        print_json(rows)
    else:
        print_table(rows, [a.keyword for a in returned])


def attribute_named(name: str, level: Level) -> Attribute:
    """Return the key of that name, if it can be asked for at `level`; else a usage error."""
    within = LEVELS[: LEVELS.index(level) + 1]
    known = BY_KEYWORD.get(name)
    if known is None or known.level not in within:
        raise click.UsageError(f"{name} is no key at {level.lower()} level; see docs/conformance.md for the keys")
    return known


def _all(level: Level) -> list[Attribute]:
    return [a for a in ATTRIBUTES if a.level in LEVELS[: LEVELS.index(level) + 1]]


def _shown(level: Level, asked: Sequence[tuple[Attribute, str]]) -> list[Attribute]:
    extra = [a for a, _ in asked if a.keyword not in _COLUMNS[level]]
    return [*extra, *(BY_KEYWORD[keyword] for keyword in _COLUMNS[level])]


@click.command()
@config_option
@json_option
def stats(load: Callable[..., Config], as_json: bool) -> None:
    """Count patients, studies, series, instances and bytes."""
    config = load()
    prepare(config)
    archive = daemon.open_archive(config, read_only=True)
    try:
        found = archive.figures()
    finally:
        archive.close()
    values: dict[str, object] = {
        "patients": found.patients,
        "studies": found.studies,
        "series": found.series,
        "instances": found.instances,
        "stored_bytes": found.stored_bytes,
        "free_bytes": found.free_bytes,
        "quarantined_files": found.quarantined_files,
    }
    if as_json:
        print_json({**values, "instances_by_modality": dict(found.by_modality)})
        return
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' '):<18} {value}")
    for modality, count in sorted(found.by_modality.items()):
        click.echo(f"  {modality or '(none)':<16} {count}")
