"""Amending what is stored: the document first, durably, then the rows; after that it is read so on every way out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from minipacs.archive.ports import Catalogue, Storage
from minipacs.dicom.data_set.amendments import Amendment, Part, Reason, decode
from minipacs.errors import Failure, Kind, MinipacsError, OutcomeUnknown, system_words

LEAST_STEP_S = 1e-3
"""Between the times of two amendments, which decide their order, also if the clock is set back."""

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
) -> tuple[str, int]:
    """Give parts of studies new values, by keyword; returns the id of the amendment and how many instances changed.

    `source` is whoever the values up to now are of. Raises Failure, OSError.
    """
    if index.unread_count():
        raise Failure(Kind.BUSY, "objects of an older release are still to be read: a running archive does that")
    amendment = Amendment(time.time(), by, tuple(parts), values, reason, source)
    return _put(tree, index, amendment)


def revoke(tree: Storage, index: Catalogue, amendment_id: str, *, by: str) -> tuple[str, int]:
    """Let an amendment count no more; returns as `correct` does.

    Raises Failure NOT_FOUND, INVALID if it counts no more or a later one is about patients as this one calls them.
    """
    everything = index.amendments.all()
    known = next((kept for kept in everything if kept.id == amendment_id and not kept.amendment.revokes), None)
    if known is None:
        raise Failure(Kind.NOT_FOUND, f"there is no amendment {amendment_id}")
    if known.revoked_by:
        raise Failure(Kind.INVALID, "it is revoked already")
    if _IDENTITY & (known.amendment.values or {}).keys():
        studies = set(known.amendment.studies)
        for kept in everything[everything.index(known) + 1 :]:
            if not kept.revoked_by and not kept.amendment.revokes and studies.intersection(kept.amendment.studies):
                raise Failure(Kind.INVALID, f"a later one is about what this one made: revoke {kept.id} first")
    return _put(tree, index, Amendment(time.time(), by, revokes=amendment_id))


def adopt(tree: Storage, index: Catalogue) -> int:
    """Let rows and documents agree: what either has, and the other has not, it gets; tells how many instances changed.

    So an index that was lost, or an older copy of it, follows the documents. Raises OSError and Failure, and
    MinipacsError for a document that is damaged: without it objects would be read wrong.
    """
    here, there = tree.amendments.ids(), index.amendments.ids()
    found = []
    for amendment_id in here - there:
        try:
            found.append(decode(tree.amendments.read(amendment_id)))
        except ValueError as error:
            raise MinipacsError(f"amendments/{amendment_id}.json: {error}: put back a good copy of it") from error
    changed = sum([index.amend(amendment) for amendment in sorted(found, key=lambda a: (a.at, a.id))])
    for amendment_id in there - here:
        amendment = index.amendments.get(amendment_id)
        if amendment is not None:
            tree.amendments.keep(amendment.encode())
    return changed


def _put(tree: Storage, index: Catalogue, amendment: Amendment) -> tuple[str, int]:
    amendment = replace(amendment, at=max(amendment.at, index.amendments.last_at() + LEAST_STEP_S))
    try:
        amendment_id = tree.amendments.keep(amendment.encode())
    except OSError as error:
        raise MinipacsError(f"the amendment cannot be written: {system_words(error)}") from error
    try:
        return amendment_id, index.amend(amendment)
    except OutcomeUnknown:
        raise
    except Failure:
        tree.amendments.discard(amendment_id)
        raise
