"""`minipacs find` and `minipacs stats`."""

from collections.abc import Mapping, Sequence

import click

from minipacs import daemon
from minipacs.archive.archive import Archive
from minipacs.cli.auditing import tell_asked, trail
from minipacs.cli.common import Load, config_option, opened, parse_keys
from minipacs.cli.tables import Output, listing, shown_time
from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.json_values import by_keyword
from minipacs.dicom.matching import words as words_
from minipacs.dicom.tables.attributes import LEVELS, Attribute, Level
from minipacs.dicom.tables.keys import KeyTable
from minipacs.index import Query

_RECEIVED, _SOURCES = "Received", "Sources"
"""Of objects, and of the studies and series that hold them: when the last one came, and from whom they came."""

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
        _RECEIVED,
        _SOURCES,
        "StudyInstanceUID",
    ),
    "SERIES": (
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "NumberOfSeriesRelatedInstances",
        _RECEIVED,
        _SOURCES,
        "SeriesInstanceUID",
    ),
    "IMAGE": ("InstanceNumber", _RECEIVED, _SOURCES, "SOPClassUID", "SOPInstanceUID"),
}
_UID: dict[Level, str] = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
"""By which receipts are looked up."""


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
@listing
def find(load: Load, level: str, keys: Sequence[str], output: Output) -> None:
    """List what matches, by the rules of C-FIND: PatientName=DOE* StudyDate=20240101-20240131.

    Within a sequence: RequestAttributesSequence.ScheduledProcedureStepID=SPS1. Without a value: 'AccessionNumber=""'.
    Columns are keywords, and Received and Sources: when the last of the objects came, and from which AE titles.
    """
    at = next(known for known in LEVELS if known.lower() == level)
    config = load()
    table = daemon.key_table(config)
    asked = asked_keys(parse_keys(keys), table, at)
    every = {a.keyword: a for a in table.attributes if a.level in _within(at)}
    usual = (*(a.keyword for a, _ in asked if a.keyword not in _COLUMNS[at]), *_COLUMNS[at])
    known = (*every, *((_RECEIVED, _SOURCES) if at in _UID else ()))
    columns = output.chosen(known if output.is_json else usual, known)
    wanted = dict.fromkeys((*columns, _UID[at]) if at in _UID else columns)
    returned = [every[name] for name in wanted if name in every]
    with opened(lambda: config, read_only=True) as archive, trail(config) as audit:
        tell_asked(audit, "--level", level, *keys)
        rows: list[dict[str, object]] = [
            {a.keyword: _value(a, text) for a, text in zip(returned, row, strict=True)}
            for row in archive.index.find(Query(at, asked, returned, empty_value=True))
        ]
        if {_RECEIVED, _SOURCES} & wanted.keys():
            _add_receipts(archive, at, rows)
    output.print(rows, usual, known)


def _add_receipts(archive: Archive, level: Level, rows: Sequence[dict[str, object]]) -> None:
    found = archive.index.receipts(_UID[level], [str(row[_UID[level]]) for row in rows])
    for row in rows:
        receipt = found.get(str(row[_UID[level]]))
        row[_RECEIVED] = None if receipt is None else shown_time(receipt.received_at)
        row[_SOURCES] = [] if receipt is None else list(receipt.sources)


def asked_keys(given: Mapping[str, str], table: KeyTable, level: Level) -> list[tuple[Attribute, str]]:
    """Look keys up, see `words.asked`. Raises a usage error for what is none at `level`."""
    try:
        return words_.asked(given, table, level)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _value(attribute: Attribute, text: str) -> object:
    return [by_keyword(item) for item in items.from_text(text)] if attribute.vr == "SQ" else text


def _within(level: Level) -> Sequence[Level]:
    return LEVELS[: LEVELS.index(level) + 1]


@click.command()
@config_option
@listing
def stats(load: Load, output: Output) -> None:
    """Count patients, studies, series, instances and bytes."""
    with opened(load, read_only=True) as archive:
        found = archive.figures()
    values: dict[str, object] = {
        "patients": found.patients,
        "studies": found.studies,
        "series": found.series,
        "instances": found.instances,
        "stored_bytes": found.stored_bytes,
        "free_bytes": found.storage_free_bytes,
        "quarantined_files": found.quarantined_files,
        "conflicts": found.conflicts,
    }
    rows = [{"figure": name.replace("_", " "), "value": value} for name, value in values.items()]
    modalities = sorted(found.by_modality.items())
    rows += [{"figure": f"instances of {modality or '(none)'}", "value": count} for modality, count in modalities]
    document = {**values, "instances_by_modality": dict(found.by_modality)}
    output.print(rows, ("figure", "value"), document=document)
