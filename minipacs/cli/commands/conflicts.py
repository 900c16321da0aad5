"""`minipacs conflicts`: what differs between objects that should agree."""

import click

from minipacs.archive.care import disagreements
from minipacs.cli.auditing import tell_looked
from minipacs.cli.common import Load, config_option, opened
from minipacs.cli.tables import Output, listing, shown_time
from minipacs.index import Disagreement

_USUAL = ("attribute", "value", "patient_id", "study_instance_uid", "series_instance_uid", "uids")
_OTHERS = ("level", "issuer_of_patient_id", "count", "found_at", "remedy")


@click.command()
@config_option
@listing
def conflicts(load: Load, output: Output) -> None:
    """List objects that disagree: in the name, birth date, sex or issuer of a patient, or in what a UID belongs to.

    A row for each value; `uids` are studies that have it, series within a study. With --json a document for each
    conflict.
    """
    output.chosen(_USUAL, _OTHERS)
    config = load()
    with opened(lambda: config, read_only=True) as archive:
        tell_looked(config)
        found = list(archive.index.conflicts())
        unread = archive.index.unread_count()
    rows = [row for conflict in found for row in _rows(conflict)]
    output.print(rows, _USUAL, _OTHERS, [_document(conflict) for conflict in found])
    if output.form == "table":
        for remedy in dict.fromkeys(disagreements.REMEDIES[conflict.keyword] for conflict in found):
            click.echo()
            click.echo(click.wrap_text(remedy, 80))
    if unread:
        click.echo(f"{unread} objects of an older release are not compared yet: a running archive reads them", err=True)


def _rows(conflict: Disagreement) -> list[dict[str, object]]:
    document = _document(conflict)
    return [{**document, **value} for value in disagreements.values_of(conflict)]


def _document(conflict: Disagreement) -> dict[str, object]:
    return {**disagreements.document_of(conflict), "found_at": shown_time(conflict.found_at)}
