"""`minipacs merge`: two patients that are one."""

import click

from minipacs.archive.auditing import by_patient, tell_amended, tell_merged
from minipacs.archive.care import patients
from minipacs.archive.care.amendments import put
from minipacs.archive.ports import Catalogue
from minipacs.cli.auditing import trail, who
from minipacs.cli.common import Load, caller, config_option, opened
from minipacs.cli.tables import print_table
from minipacs.dicom.data_set.amendments import Identity
from minipacs.errors import MinipacsError


@click.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Only show who would be merged.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("prior", metavar="PRIOR")
@click.argument("survivor", metavar="SURVIVOR")
def merge(load: Load, prior: str, survivor: str, *, dry_run: bool, yes: bool) -> None:
    """Merge a patient into another: each is a Patient ID, or ID^^^ISSUER.

    All that is PRIOR's is read as SURVIVOR's from now on, under that name, birth date and sex; so is what comes later
    under the old ID. Stored files stay as they are.
    """
    config = load()
    with opened(lambda: config) as archive, trail(config) as audit:
        index = archive.index
        author = patients.Author(caller(), config.ae.title, "CORRECT", config.hl7.authority)
        one, other = (_patient(index, text, author.authority) for text in (prior, survivor))
        planned = patients.merge(index, one.whose, other, author)
        if planned is None:
            click.echo(f"{one.whose} is merged into {other.whose} already")
            return
        print_table([_row("prior", one), _row("survivor", other)], ("who", "patient_id", "issuer", *patients.PERSON))
        if dry_run:
            return
        if not yes and not click.confirm(f"Merge {one.whose} into {other.whose}?"):
            raise MinipacsError("nobody was merged")
        before = list(by_patient(index, patients.merged_by(index, planned))) if audit.is_on else []
        ids, changed = put(archive.tree, index, [planned], lambda found: index.amend(found[0]))
        tell_amended(audit, who(), before, of_patients=False)
        tell_merged(audit, who(), one.whose, other.whose, other.values.get("PatientName", ""))
    click.echo(f"{changed} instances merged; to undo: minipacs amendments revoke {ids[0][:12]}")


def _patient(index: Catalogue, text: str, authority: str) -> patients.Person:
    patient_id, _, issuer = text.partition("^^^")
    found = patients.known_person(index, Identity(patient_id, issuer), authority)
    if found is None:
        raise MinipacsError(f"nothing is known of a patient {text!r}: `minipacs find --level patient` lists them")
    return found


def _row(role: str, person: patients.Person) -> dict[str, object]:
    named = {keyword: person.values.get(keyword, "") for keyword in patients.PERSON}
    return {"who": role, **person.whose._asdict(), **named}
