"""`minipacs conflicts`: what differs between objects that should agree."""

from collections.abc import Mapping
from types import MappingProxyType

import click

from minipacs.cli.common import Load, config_option, opened
from minipacs.cli.tables import Output, listing, shown_time
from minipacs.index import Disagreement

_USUAL = ("attribute", "value", "patient_id", "study_instance_uid", "series_instance_uid", "uids")
_OTHERS = ("level", "issuer_of_patient_id", "count", "found_at", "remedy")

_ONE_PERSON = (
    "One Patient ID for two persons, or one person whose name, birth date or sex was entered in two ways. Find out "
    "which, correct it where the objects come from, and send them again: they take the place of those stored."
)
_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "PatientName": _ONE_PERSON,
        "PatientBirthDate": _ONE_PERSON,
        "PatientSex": _ONE_PERSON,
        "IssuerOfPatientID": (
            "One Patient ID of several issuers: several patients, who are kept apart, or one whose objects do not "
            "all name the issuer. To retrieve a patient by ID, name the issuer too, or let all senders name it."
        ),
        "PatientID": (
            "One Study Instance UID under several patients, each with its own objects. Most often an ID was mistyped: "
            "correct it where the objects come from, and send them again: they move to the right patient."
        ),
        "StudyInstanceUID": (
            "One Series Instance UID in several studies, each with its own objects. Here they are kept apart; other "
            "systems may not. Have whoever made the UIDs set right, and send the objects again."
        ),
    }
)
"""What to do, by the attribute that differs."""


@click.command()
@config_option
@listing
def conflicts(load: Load, output: Output) -> None:
    """List objects that disagree: in the name, birth date, sex or issuer of a patient, or in what a UID belongs to.

    A row for each value; `uids` are studies that have it, series within a study. With --json a document for each
    conflict.
    """
    output.chosen(_USUAL, _OTHERS)
    with opened(load, read_only=True) as archive:
        found = list(archive.index.conflicts())
        unread = archive.index.unread_count()
    rows = [row for conflict in found for row in _rows(conflict)]
    output.print(rows, _USUAL, _OTHERS, [_document(conflict) for conflict in found])
    if output.form == "table":
        for remedy in dict.fromkeys(_REMEDIES[conflict.keyword] for conflict in found):
            click.echo()
            click.echo(click.wrap_text(remedy, 80))
    if unread:
        click.echo(f"{unread} objects of an older release are not compared yet: a running archive reads them", err=True)


def _about(conflict: Disagreement) -> dict[str, object]:
    subject = conflict.subject
    return {
        "level": conflict.level,
        "attribute": conflict.keyword,
        "patient_id": subject.patient_id,
        "issuer_of_patient_id": subject.issuer,
        "study_instance_uid": subject.study_instance_uid,
        "series_instance_uid": subject.series_instance_uid,
        "found_at": shown_time(conflict.found_at),
        "remedy": _REMEDIES[conflict.keyword],
    }


def _rows(conflict: Disagreement) -> list[dict[str, object]]:
    about = _about(conflict)
    return [{**about, "value": b.value, "count": b.count, "uids": list(b.uids)} for b in conflict.values]


def _document(conflict: Disagreement) -> dict[str, object]:
    values = [{"value": b.value, "count": b.count, "uids": list(b.uids)} for b in conflict.values]
    return {**_about(conflict), "values": values}
