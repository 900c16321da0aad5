"""`minipacs correct` and `minipacs amendments`: what is read otherwise than it was stored."""

from collections.abc import Iterable, Mapping, Sequence

import click

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import by_patient, tell_amended, tell_merged
from minipacs.archive.care import patients
from minipacs.archive.care.amendments import correct as amend
from minipacs.archive.care.amendments import revoke as take_back
from minipacs.cli.auditing import tell_asked, tell_looked, trail, who
from minipacs.cli.commands.query import asked_keys
from minipacs.cli.common import Load, caller, config_option, json_option, opened, parse_choice, parse_keys
from minipacs.cli.tables import Output, listing, print_json, print_table, shown_time
from minipacs.dicom.data_set.amendments import AMENDABLE, Amendment, Identity, Part, check
from minipacs.dicom.tables.attributes import BY_KEYWORD, Level
from minipacs.errors import MinipacsError
from minipacs.index import Query
from minipacs.index.ledger.amendments import KeptAmendment, into
from minipacs.index.workflow.people import PeopleChange

_SHOWN = 50
_PART = ("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "SeriesInstanceUID")
_COLUMNS = ("id", "at", "by", "state", "studies", "values")
_OTHERS = ("merged", "reason", "revoked_by")
_MIN_ID_CHARS = 6


@click.command()
@config_option
@click.option("--set", "changes", multiple=True, required=True, metavar="KEY=VALUE", help="A new value.")
@click.option(
    "--reason",
    type=click.Choice(["correct", "coerce"]),
    default="correct",
    help="It was wrong, or is brought into line with another source.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=VALUE...")
def correct(load: Load, keys: Sequence[str], changes: Sequence[str], reason: str, *, dry_run: bool, yes: bool) -> None:
    """Correct what objects say of patient, study or series: PatientID=P1 --set PatientName=DOE^JANE.

    Stored files stay as they are: they are read so from now on, on every way out, with what they said before in
    Original Attributes Sequence. Objects that come to these studies later are corrected, too. An empty VALUE empties.
    """
    given, values = parse_choice(keys, "to be corrected"), parse_keys(changes)
    level = _level(values)
    config = load()
    with opened(lambda: config) as archive, trail(config) as audit:
        asked = asked_keys(given, archive.index.keys, level)
        returned = tuple(dict.fromkeys((*(_PART if level == "SERIES" else _PART[:-1]), *values)))
        query = Query(level, asked, [BY_KEYWORD[keyword] for keyword in returned], empty_value=True)
        rows = [dict(zip(returned, row, strict=True)) for row in archive.index.find(query)]
        if not rows:
            click.echo("nothing matches")
            return
        of_patients = any(BY_KEYWORD[keyword].level == "PATIENT" for keyword in values)
        if of_patients and len({(row["PatientID"], row["IssuerOfPatientID"]) for row in rows}) > 1:
            raise MinipacsError("several patients match: name one, with IssuerOfPatientID if the ID has several")
        _show(rows, values)
        if dry_run:
            tell_asked(audit, *keys)
            return
        if not yes and not click.confirm(f"Correct {len(rows)} {level.lower() if len(rows) == 1 else 'of them'}?"):
            tell_asked(audit, *keys)
            raise MinipacsError("nothing was corrected")
        parts = [Part(*(row.get(k, "") for k in _PART)) for row in rows]
        before = list(by_patient(archive.index, patients.instances(archive.index, parts))) if audit.is_on else []
        told = {"CORRECT": "CORRECT", "COERCE": "COERCE"}[reason.upper()]
        amendment_id, changed = amend(
            archive.tree,
            archive.index,
            parts,
            values,
            by=caller(),
            source=config.ae.title,
            reason=told,  # type: ignore[arg-type]  # one of the two
            people=_people(given, parts, values),
        )
        tell_amended(audit, who(), before, of_patients=of_patients)
    click.echo(f"{changed} instances corrected; to undo: minipacs amendments revoke {amendment_id[:12]}")


def _people(given: Mapping[str, str], parts: Iterable[Part], values: Mapping[str, str]) -> PeopleChange | None:
    """Give the patients who are corrected as a whole: keys named nothing else."""
    new = {AMENDABLE[k].tag: value for k, value in values.items() if AMENDABLE[k].level == "PATIENT"}
    if not new or any(BY_KEYWORD[keyword].level != "PATIENT" for keyword in given if keyword in BY_KEYWORD):
        return None
    return PeopleChange(tuple(dict.fromkeys(Identity(part.patient_id, part.issuer) for part in parts)), new)


def _level(values: Mapping[str, str]) -> Level:
    """Tell what is corrected, whole studies or series, and check the new values."""
    for keyword, text in values.items():
        try:
            check(keyword, text)
        except ValueError as error:
            raise click.UsageError(f"--set {keyword}: {error}") from None
    of_series = {AMENDABLE[keyword].level == "SERIES" for keyword in values}
    if len(of_series) > 1:
        raise click.UsageError("--set: attributes of series are corrected apart from those of patients and studies")
    return "SERIES" if of_series == {True} else "STUDY"


def _show(rows: Sequence[Mapping[str, str]], values: Mapping[str, str]) -> None:
    shown = [{**row, **{f"new {k}": text for k, text in values.items()}} for row in rows[:_SHOWN]]
    print_table(shown, tuple(shown[0]))
    if len(rows) > _SHOWN:
        click.echo(f"... and {len(rows) - _SHOWN} more")


@click.group()
def amendments() -> None:
    """What is read otherwise than it was stored."""


@amendments.command("list")
@config_option
@listing
def list_(load: Load, output: Output) -> None:
    """List the amendments, the oldest first; the state is active or revoked."""
    output.chosen(_COLUMNS, _OTHERS)
    with opened(load, read_only=True) as archive:
        tell_looked(load())
        rows = [_row(kept) for kept in archive.index.amendments.all() if not kept.amendment.revokes]
    output.print(rows, _COLUMNS, _OTHERS)


@amendments.command("show")
@config_option
@json_option
@click.argument("amendment_id", metavar="ID")
def show(load: Load, amendment_id: str, *, as_json: bool) -> None:
    """Show an amendment, with all that it is about; ID may be cut short."""
    with opened(load, read_only=True) as archive:
        tell_looked(load(), amendment_id)
        kept = _known(archive, amendment_id)
    parts = [part._asdict() for part in kept.amendment.parts]
    if as_json:
        print_json({**_row(kept), "parts": parts})
        return
    print_table([{"what": name, "value": value} for name, value in _row(kept).items()], ("what", "value"))
    click.echo()
    print_table(parts, Part._fields)


@amendments.command("revoke")
@config_option
@click.argument("amendment_id", metavar="ID")
def revoke(load: Load, amendment_id: str) -> None:
    """Take an amendment back: objects are read as they were before it. ID may be cut short."""
    config = load()
    with opened(lambda: config) as archive, trail(config) as audit:
        kept = _known(archive, amendment_id)
        amended = patients.amended(archive.index, kept) if audit.is_on else []
        before = list(by_patient(archive.index, amended))
        _, changed = take_back(archive.tree, archive.index, kept.id, by=caller())
        merged = kept.amendment.merged
        tell_amended(audit, who(), before, of_patients=not merged and _is_of_patients(kept.amendment))
        if merged:
            name = (kept.amendment.values or {}).get("PatientName", "")
            tell_merged(audit, who(), merged[0], into(kept.amendment, merged[0]), name, is_revoked=True)
    click.echo(f"revoked: {changed} instances are read as before")


def _is_of_patients(amendment: Amendment) -> bool:
    return any(AMENDABLE[keyword].level == "PATIENT" for keyword in amendment.values or {})


def _known(archive: Archive, amendment_id: str) -> KeptAmendment:
    found = [
        kept
        for kept in archive.index.amendments.all()
        if not kept.amendment.revokes and kept.id.startswith(amendment_id) and len(amendment_id) >= _MIN_ID_CHARS
    ]
    if len(found) != 1:
        raise MinipacsError(f"{'several amendments begin' if found else 'no amendment begins'} with {amendment_id!r}")
    return found[0]


def _row(kept: KeptAmendment) -> dict[str, object]:
    amendment = kept.amendment
    return {
        "id": kept.id,
        "at": shown_time(amendment.at),
        "by": amendment.by,
        "state": "revoked" if kept.revoked_by else "active",
        "studies": len(amendment.studies),
        "merged": [str(whose) for whose in amendment.merged],
        "values": dict(amendment.values or {}),
        "reason": amendment.reason,
        "revoked_by": kept.revoked_by,
    }
