"""Amending what is stored: the document first, durably, then the rows; after that it is read so on every way out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from minipacs.archive.care import documents
from minipacs.archive.ports import Catalogue, Storage
from minipacs.dicom.data_set.amendments import Amendment, Part, Reason, decode
from minipacs.errors import Failure, Kind
from minipacs.index.ledger.amendments import KeptAmendment
from minipacs.index.workflow.people import PeopleChange

_T = TypeVar("_T")

_IDENTITY = frozenset({"PatientID", "IssuerOfPatientID"})
"""Values by which later amendments know what they are of."""


def correct(
    tree: Storage,
    index: Catalogue,
    parts: Sequence[Part],
    values: Mapping[str, str],
    *,
    by: str,
    source: str,
    reason: Reason = "CORRECT",
    people: PeopleChange | None = None,
) -> tuple[str, int]:
    """Give parts of studies new values, by keyword; returns the id of the amendment and how many instances changed.

    `source` is whoever the values up to now are of; `people` are patients who are corrected as a whole. Raises Failure,
    OSError.
    """
    amendment = Amendment(0, by, tuple(parts), values, reason, source)
    ids, changed = put(tree, index, [amendment], lambda found: index.amend(found[0], people))
    return ids[0], changed


def revoke(tree: Storage, index: Catalogue, amendment_id: str, *, by: str) -> tuple[str, int]:
    """Let an amendment count no more; returns as `correct` does.

    Raises Failure NOT_FOUND, INVALID if it counts no more or a later one corrects patients as this one calls them.
    """
    everything = index.amendments.all()
    known = next((kept for kept in everything if kept.id == amendment_id and not kept.amendment.revokes), None)
    if known is None:
        raise Failure(Kind.NOT_FOUND, f"there is no amendment {amendment_id}")
    if known.revoked_by:
        raise Failure(Kind.INVALID, "it is revoked already")
    for kept in everything[everything.index(known) + 1 :]:
        if not kept.revoked_by and _rests_on(index, kept.amendment, known):
            raise Failure(Kind.INVALID, f"a later one is about what this one made: revoke {kept.id} first")
    ids, changed = put(tree, index, [Amendment(0, by, revokes=amendment_id)], lambda found: index.amend(found[0]))
    return ids[0], changed


def _rests_on(index: Catalogue, later: Amendment, known: KeptAmendment) -> bool:
    """Tell whether a correction would be lost with an earlier amendment.

    What a RIS tells of the new patient, and merges of that one, are not about the old one.
    """
    made = known.amendment.values or {}
    is_told = later.reason == "COERCE" and not _IDENTITY & (later.values or {}).keys()
    if not _IDENTITY & made.keys() or later.merged or later.revokes or is_told:
        return False
    studies = {part.study_instance_uid for part in later.parts}
    if not known.amendment.merged:
        return not studies.isdisjoint(known.amendment.studies)
    patient_id = made.get("PatientID")
    named = {part.study_instance_uid for part in later.parts if patient_id in (None, part.patient_id)}
    found = index.instances({"StudyInstanceUID": sorted(named)}) if named else []
    return any(known.id in instance.amendments.split(",") for instance in found)


def adopt(tree: Storage, index: Catalogue) -> int:
    """Let rows and documents agree; tells how many instances changed. Raises as `documents.adopt` does.

    A document that is damaged is an error: without it objects would be read wrong.
    """
    rows = index.amendments
    return sum(documents.adopt(tree.amendments, rows.ids(), rows.get, decode, index.amend, "amendments"))


def put(
    tree: Storage,
    index: Catalogue,
    amendments: Sequence[Amendment],
    commit: Callable[[Sequence[Amendment]], _T],
) -> tuple[list[str], _T]:
    """Keep amendments, in their order, then have their rows committed; returns their ids and what `commit` did.

    It is given them with their times. Raises Failure as it does, and BUSY while rows of an older release are unread.
    """
    if amendments and index.unread_count():
        raise Failure(Kind.BUSY, "objects of an older release are still to be read: a running archive does that")
    timed: list[Amendment] = []
    for amendment in amendments:
        last_at = timed[-1].at if timed else index.amendments.last_at()
        timed.append(replace(amendment, at=documents.next_time(last_at)))
    return documents.put(tree.amendments, timed, commit)
