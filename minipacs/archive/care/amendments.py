"""Amending what is stored: the document first, durably, then the rows; after that it is read so on every way out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from minipacs.archive.care import documents
from minipacs.archive.ports import Catalogue, Storage
from minipacs.dicom.data_set.amendments import Amendment, Part, Reason, decode
from minipacs.errors import Failure, Kind

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
    amendment = Amendment(0, by, tuple(parts), values, reason, source)
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
    return _put(tree, index, Amendment(0, by, revokes=amendment_id))


def adopt(tree: Storage, index: Catalogue) -> int:
    """Let rows and documents agree; tells how many instances changed. Raises as `documents.adopt` does.

    A document that is damaged is an error: without it objects would be read wrong.
    """
    rows = index.amendments
    return sum(documents.adopt(tree.amendments, rows.ids(), rows.get, decode, index.amend, "amendments"))


def _put(tree: Storage, index: Catalogue, amendment: Amendment) -> tuple[str, int]:
    amendment = replace(amendment, at=documents.next_time(index.amendments.last_at()))
    return documents.put(tree.amendments, amendment, index.amend)
