"""After an unclean end: files without a row are indexed or quarantined, rows without their file are marked.

Nothing is deleted, save the files of instances whose removal was under way, and what an object was received as whose
compressed form is stored and whole. Any other orphan whose SOP Instance UID already has a row goes to quarantine,
never over the row.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from minipacs.archive.intact import is_intact
from minipacs.archive.ports import Storage
from minipacs.archive.removal import finish_removals, remove_unused
from minipacs.archive.scan import CharsetOf, orphan, record_of, scan
from minipacs.errors import Failure
from minipacs.index import Index, Outcome

logger = logging.getLogger(__name__)

RECHECKED_S = 60.0
"""Files received this long before the last one are read again: the ones that a power loss may have cut short."""


@dataclass(slots=True)
class Recovery:
    """What was found and done, in files."""

    indexed: int = 0
    quarantined: int = 0
    missing: int = 0


def recover(tree: Storage, index: Index, charset_of: CharsetOf) -> Recovery:
    """Make files and rows agree again; of objects with one UID the first that came is indexed.

    Holds the digests of all rows in memory.
    """
    finish_removals(tree, index)
    found = Recovery()
    rows = dict(index.digests())
    unknown: list[str] = []
    for digest in tree.walk():
        expected = rows.pop(digest, None)
        state = tree.stat(digest)
        if state is None:
            continue
        if expected is None:
            unknown.append(digest)
        elif expected != state.size_bytes:
            set_aside(tree, index, digest, f"has {state.size_bytes} bytes instead of {expected}", found)
    for digest in in_order(tree, unknown):
        adopt(tree, index, charset_of, digest, found)
    if rows:
        index.set_availability(list(rows), "UNAVAILABLE")
        found.missing += len(rows)
        for digest in rows:
            logger.error("file missing", extra={"fields": {"digest": digest}})
    for digest in index.received_last(RECHECKED_S):
        try:
            scan(tree, digest, index.keys)
        except FileNotFoundError:
            pass
        except (Failure, OSError) as error:
            set_aside(tree, index, digest, str(error), found)
    return found


def in_order(tree: Storage, digests: Iterable[str]) -> list[str]:
    """Sort files by when they came; one that is gone comes first."""
    states = ((tree.stat(digest), digest) for digest in digests)
    return [digest for _, digest in sorted((state.receipt.received_at if state else 0.0, d) for state, d in states)]


def adopt(tree: Storage, index: Index, charset_of: CharsetOf, digest: str, found: Recovery) -> None:
    """Index a file that has no row, or quarantine it; not one that is being removed."""
    if index.removals.has(digest):
        return
    try:
        added = _add(tree, index, charset_of, digest)
        reason = "its SOP Instance UID is stored with other content"
    except (Failure, OSError) as error:
        if isinstance(error, Failure) and error.temporary:
            raise  # the index is at fault, not the file
        added, reason = False, str(error)
    if added:
        found.indexed += 1
        return
    with tree.holding(digest, exclusive=True):
        if not index.has_digest(digest):
            tree.set_aside(digest, reason)
            found.quarantined += 1
            logger.warning("orphan quarantined", extra={"fields": {"digest": digest, "reason": reason}})


def _add(tree: Storage, index: Index, charset_of: CharsetOf, digest: str) -> bool:
    """Give an orphan its row, unless its SOP Instance UID has one for another object. Raises OSError, Failure."""
    file = orphan(tree, digest)
    record = record_of(tree, file, index.keys, charset_of(file.source_ae_title), whole=True)
    known = index.instance(record.sop_instance_uid)
    if known is not None and known.received_digest != digest:
        return False
    if known is not None and is_intact(tree, index, known):
        remove_unused(tree, index, digest)  # whoever compressed it was killed before
        return True
    return index.add(record, "keep").outcome in (Outcome.ADDED, Outcome.REPLACED)


def set_aside(tree: Storage, index: Index, digest: str, reason: str, found: Recovery) -> None:
    """Quarantine a damaged file and mark its row: a re-send heals it."""
    with tree.holding(digest, exclusive=True):  # for both: a re-send in between would find its row, but no file
        index.set_availability([digest], "UNAVAILABLE")
        tree.set_aside(digest, reason)
    found.quarantined += 1
    found.missing += 1
    logger.error("damaged file quarantined", extra={"fields": {"digest": digest, "reason": reason}})
