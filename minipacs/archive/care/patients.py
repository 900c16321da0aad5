"""Patients as a RIS or an administrator tells of them: two that are one, and what is said of one.

Who is meant is told by Patient ID and issuer. Objects and items without an issuer are those of `authority`; if none is
set, of whoever has the ID, unless several issuers gave it to somebody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minipacs.archive.ports import Catalogue
from minipacs.dicom.data_set.amendments import AMENDABLE, Amendment, Identity, Part, Reason, check
from minipacs.dicom.data_set.values import text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.dicom.workflow.orders import ISSUER
from minipacs.errors import Failure, Kind
from minipacs.index import StoredInstance
from minipacs.index.ledger.amendments import KeptAmendment
from minipacs.index.workflow.people import PeopleChange

PERSON = ("PatientName", "PatientBirthDate", "PatientSex")
"""What objects are told of a patient beside the identity; more would put words into a modality's mouth."""


class Person(NamedTuple):
    """A patient, and what is said of it: values by keyword."""

    whose: Identity
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Author:
    """Who amends: `by`, under our title `source`, for a `reason`; `authority` is whose identifiers name no issuer."""

    by: str
    source: str
    reason: Reason = "COERCE"
    authority: str = ""


class Change(NamedTuple):
    """What is to become of a patient: of objects by an amendment, if there is need, and of the other items.

    Nothing is if the patient was merged into a `survivor`.
    """

    amendment: Amendment | None
    people: PeopleChange
    survivor: Person | None = None


def identities(index: Catalogue, whose: Identity, authority: str) -> tuple[Identity, ...]:
    """Give all that somebody who is named so may be filed under. Raises Failure WRONG_IDENTITY for several patients."""
    issuer = whose.issuer or authority
    nameless = Identity(whose.patient_id)
    known = _known(index, whose.patient_id)
    others = {found.issuer for found in known} - {"", issuer}
    if not issuer:
        if len(others) > 1:
            raise Failure(Kind.WRONG_IDENTITY, "several patients have this Patient ID: the issuer must be named")
        return (nameless, *(Identity(whose.patient_id, other) for other in others))
    named = Identity(whose.patient_id, issuer)
    return (named, nameless) if (issuer == authority if authority else not others) else (named,)


def merge(index: Catalogue, prior: Identity, survivor: Person, author: Author) -> Amendment | None:
    """Say how the objects of one patient become another's, those that come later too; None if they are already.

    Raises Failure: INVALID for one patient, EXISTS for a circle, or a prior patient that was merged into a third.
    """
    into = identities(index, survivor.whose, author.authority)
    of_prior = tuple(one for one in identities(index, prior, author.authority) if one not in into)
    if not of_prior or prior == survivor.whose:
        raise Failure(Kind.INVALID, "a patient cannot be merged into itself")
    before, after = _moved(index, of_prior), _moved(index, into)
    if set(of_prior) & {person.whose for person in after}:
        raise Failure(Kind.EXISTS, "the surviving patient was merged into the prior one: a circle")
    if after:
        survivor = after[-1]
        into = identities(index, survivor.whose, author.authority)
    if before and before[-1].whose in into:
        return None
    if before:
        raise Failure(Kind.EXISTS, "the prior patient was merged into another one already")
    values = {"PatientID": survivor.whose.patient_id, **_issuer(index, of_prior, into, prior, survivor.whose)}
    values |= {keyword: value for keyword in PERSON if (value := survivor.values.get(keyword, ""))}
    _check(values)
    parts = tuple(Part("", *one) for one in of_prior)
    return Amendment(0, author.by, parts, values, author.reason, author.source)


def update(index: Catalogue, person: Person, more: Mapping[int, str], author: Author) -> Change:
    """Say what is to become of a patient: of objects by PERSON, of the other items by that and `more`, values by tag.

    Nothing becomes of one that was merged into another, who is told of under its own ID.
    """
    whose = identities(index, person.whose, author.authority)
    if moved := _moved(index, whose):
        return Change(None, PeopleChange((), {}), moved[-1])
    new = {keyword: person.values[keyword] for keyword in PERSON if keyword in person.values}
    _check(new)
    said = [one for one in index.said_of_patient(person.whose.patient_id) if one.whose in whose]
    differing = {k: v for k, v in new.items() if any(_differ(k, one.values.get(k, ""), v) for one in said)}
    parts = dict.fromkeys(
        Part(one.study_instance_uid, *one.whose)
        for one in said
        if any(_differ(k, one.values.get(k, ""), v) for k, v in differing.items())
    )
    amendment = Amendment(0, author.by, tuple(parts), differing, author.reason, author.source)
    return Change(
        amendment if parts else None,
        PeopleChange(whose, {**more, **{AMENDABLE[keyword].tag: value for keyword, value in new.items()}}),
    )


def refuse_known(index: Catalogue, prior: Identity, new: Identity, author: Author) -> None:
    """Raise Failure EXISTS for a new identifier that is somebody else's already."""
    theirs = set(identities(index, new, author.authority)) - set(identities(index, prior, author.authority))
    if theirs & _known(index, new.patient_id):
        raise Failure(Kind.EXISTS, "the new identifier is another patient's: two that are one are merged (A40)")


def known_person(index: Catalogue, whose: Identity, authority: str) -> Person | None:
    """Tell what is known of a patient, by objects or else by worklist items and performed steps; who was merged is.

    Raises Failure as `identities` does.
    """
    named = identities(index, whose, authority)
    for said in index.said_of_patient(whose.patient_id):
        if said.whose in named:
            return Person(said.whose, said.values)
    for values in index.items_of_patient(whose.patient_id):
        found = Identity(whose.patient_id, text(values, ISSUER))
        if found in named:
            return Person(found, {keyword: text(values, tag_named(keyword)) for keyword in PERSON})
    return Person(whose, {}) if _moved(index, named) else None


def instances(index: Catalogue, parts: Iterable[Part]) -> list[StoredInstance]:
    """List the instances of parts of studies."""
    found: list[StoredInstance] = []
    for part in parts:
        keys = {"StudyInstanceUID": [part.study_instance_uid]}
        if part.series_instance_uid:
            keys["SeriesInstanceUID"] = [part.series_instance_uid]
        found += index.instances(keys)
    return found


def merged_by(index: Catalogue, merge: Amendment) -> list[StoredInstance]:
    """List the instances that a merge will be about."""
    return instances(index, _studies(index, merge.merged))


def amended(index: Catalogue, kept: KeptAmendment) -> list[StoredInstance]:
    """List the instances that an amendment applies to."""
    whose = [moved[-1].whose for one in kept.amendment.merged if (moved := _moved(index, [one]))]
    found = instances(index, [*(p for p in kept.amendment.parts if p.study_instance_uid), *_studies(index, whose)])
    return [instance for instance in found if kept.id in instance.amendments.split(",")]


def _studies(index: Catalogue, whose: Iterable[Identity]) -> list[Part]:
    studies = {
        said.study_instance_uid: Part(said.study_instance_uid, *one)
        for one in whose
        for said in index.said_of_patient(one.patient_id)
        if said.whose == one
    }
    return list(studies.values())


def _moved(index: Catalogue, whose: Iterable[Identity]) -> list[Person]:
    """Give who a patient was merged into, one after the other."""
    found = (index.amendments.survivors(one) for one in whose)
    moved = next(filter(None, found), [])
    return [Person(Identity(said["PatientID"], said["IssuerOfPatientID"]), said) for said in moved]


def _known(index: Catalogue, patient_id: str) -> set[Identity]:
    found = {said.whose for said in index.said_of_patient(patient_id)}
    return found | {Identity(patient_id, text(values, ISSUER)) for values in index.items_of_patient(patient_id)}


def _issuer(
    index: Catalogue, of_prior: Sequence[Identity], into: Sequence[Identity], prior: Identity, survivor: Identity
) -> Mapping[str, str]:
    """Give the issuer that brings both under one row, if that of the prior objects does not."""
    theirs = {said.whose.issuer for said in index.said_of_patient(survivor.patient_id) if said.whose in into}
    ours = {said.whose.issuer for said in index.said_of_patient(prior.patient_id) if said.whose in of_prior}
    issuer = survivor.issuer if len(theirs) != 1 else next(iter(theirs))
    differ = bool(prior.issuer and survivor.issuer) and prior.issuer != survivor.issuer
    return {"IssuerOfPatientID": issuer} if differ or (theirs and ours - {issuer}) else {}


def _differ(keyword: str, ours: str, theirs: str) -> bool:
    if AMENDABLE[keyword].vr == "PN":
        ours, theirs = (
            "=".join(group.rstrip("^ ") for group in name.split("=")).rstrip("=") for name in (ours, theirs)
        )
    return ours != theirs


def _check(values: Mapping[str, str]) -> None:
    for keyword, value in values.items():
        try:
            check(keyword, value)
        except ValueError as error:
            raise Failure(Kind.INVALID, f"{keyword} {error}", (AMENDABLE[keyword].tag,)) from None
