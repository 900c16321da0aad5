"""`minipacs find` and `minipacs stats`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from minipacs import daemon
from minipacs.cli.common import config_option, json_option, parse_keys, prepare, print_json, print_table
from minipacs.config import Config
from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.json_values import by_keyword, dumps, parse
from minipacs.dicom.tables.attributes import BY_KEYWORD, LEVELS, Attribute, Level
from minipacs.dicom.tables.keys import KeyTable
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
    """List what matches, by the rules of C-FIND: PatientName=DOE* StudyDate=20240101-20240131.

    Within a sequence: RequestAttributesSequence.ScheduledProcedureStepID=SPS1.
    """
    at = next(known for known in LEVELS if known.lower() == level)
    config = load()
    table = daemon.key_table(config)
    asked = asked_keys(parse_keys(keys), table, at)
    prepare(config)
    returned = _all(table, at) if as_json else _shown(at, asked)
    archive = daemon.open_archive(config, read_only=True)
    try:
        rows = [
            {a.keyword: _value(a, text) for a, text in zip(returned, row, strict=True)}
            for row in archive.index.find(Query(at, asked, returned))
        ]
    finally:
        archive.close()
    if as_json:
        print_json(rows)
    else:
        print_table(rows, [a.keyword for a in returned])


def asked_keys(given: Mapping[str, str], table: KeyTable, level: Level) -> list[tuple[Attribute, str]]:
    """Look keys up, those within the same sequence make one item. Raises a usage error for what is none at `level`."""
    found: list[tuple[Attribute, str]] = []
    sequences: dict[Attribute, dict[str, Any]] = {}
    for name, value in given.items():
        head, *path = [name] if name in table.by_keyword else name.split(".")
        attribute = table.by_keyword.get(head)
        if attribute is None or attribute.level not in _within(level) or bool(path) != (attribute.vr == "SQ"):
            raise click.UsageError(f"{name} is no key at {level.lower()} level; see docs/conformance.md for the keys")
        if not path:
            found.append((attribute, value))
            continue
        item = sequences.setdefault(attribute, {})
        for keyword in path[:-1]:
            item = item.setdefault(keyword, {})
        item[path[-1]] = value
    return found + [(attribute, _item(attribute, item)) for attribute, item in sequences.items()]


def _item(attribute: Attribute, item: object) -> str:
    try:
        return dumps({attribute.tag: (parse(item),)})
    except ValueError as error:
        raise click.UsageError(f"{attribute.keyword}: {error}") from None


def _value(attribute: Attribute, text: str) -> object:
    return [by_keyword(item) for item in items.from_text(text)] if attribute.vr == "SQ" else text


def _within(level: Level) -> Sequence[Level]:
    return LEVELS[: LEVELS.index(level) + 1]


def _all(table: KeyTable, level: Level) -> list[Attribute]:
    return [a for a in table.attributes if a.level in _within(level)]


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
