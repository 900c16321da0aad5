"""After an unclean end: files without a row are indexed or quarantined, rows without their file are marked.

Nothing is deleted, save the files that were to go, and what an object was received as whose compressed form is stored
and whole. Any other orphan whose SOP Instance UID already has a row goes to quarantine, never over the row.

What is done before anybody is served is what answers depend on: each file has its row, each row its file, by name. That
costs a listing of the folders and of the index, not a look at each file. Whether sizes are right is looked at
afterwards (`care.sizes`): who reads a file holds its size and its digest against the row before giving it out, save
what came within the hour, whose last part is read here; and who sends it again has every byte compared.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from minipacs.archive.care.arrivals import Arrivals
from minipacs.archive.care.leftovers import finish_removals
from minipacs.archive.intact import NotReadableNow, is_intact
from minipacs.archive.ports import Catalogue, Storage
from minipacs.archive.removal import remove_unused
from minipacs.archive.scan import CharsetOf, orphan, record_of, scan, tells_of_damage
from minipacs.errors import Failure, MinipacsError, system_words
from minipacs.index import Form, InstanceRecord, Outcome, StoredInstance

logger = logging.getLogger(__name__)

RECHECKED_S = 60.0
"""Files received this long before the last one are read again: the ones that a power loss may have cut short."""
BATCH_FILES = 256
"""Files whose rows are committed together."""
READERS = 4
"""Threads that read files, so that one waits for the disk while another is understood."""
MIN_ROWS_FOR_DOUBT = 100
"""Of an archive with fewer files, most may be gone without a disk being so."""

Tell = Callable[[str, int, int], None]
"""Hears what is being done, how far it is, and of how many; 0 if that is not known."""


@dataclass(slots=True)
class Recovery:
    """What was found and done, in files."""

    indexed: int = 0
    quarantined: int = 0
    missing: int = 0


def recover(
    tree: Storage, index: Catalogue, charset_of: CharsetOf, tell: Tell = lambda what, done, total: None
) -> Recovery:
    """Make files and rows agree again; of objects with one UID the first that came is indexed.

    Memory: one folder's names, and one batch of rows. Raises OSError and Failure, and MinipacsError before anything is
    changed if most files are gone, as they are when a disk is not mounted.
    """
    found = Recovery()
    with Arrivals(tree.scratch) as orphans, Arrivals(tree.scratch) as missing:
        _compare(tree, index, orphans, missing, tell)
        finish_removals(tree, index, charset_of)
        adopt_all(tree, index, charset_of, orphans, found, lambda done: tell("files indexed", done, len(orphans)))
        _mark_missing(tree, index, missing, found)
    recheck_last(tree, index, found)
    return found


def recheck_last(tree: Storage, index: Catalogue, found: Recovery) -> None:
    """Read again what came last, for blocks that a power loss has taken."""
    for digest in index.received_last(RECHECKED_S):
        try:
            scan(tree, digest, index.keys)
        except FileNotFoundError:
            pass
        except (Failure, OSError) as error:
            if tells_of_damage(error):
                set_aside(tree, index, digest, str(error), found)
            else:
                leave(digest, error)


def leave(digest: str, error: Exception) -> None:
    """Log that a file stays as it is, since what it could not be read for says nothing of it."""
    fields = {"digest": digest, "reason": system_words(error)}
    logger.error("file cannot be read now: left as it is", extra={"fields": fields})


def differences(tree: Storage, index: Catalogue) -> Iterator[tuple[str, bool]]:
    """Give the digests of files without a row (True) and of rows without a file (False), in their order."""
    return merged(tree.walk(), (digest for digest, _ in index.digests()))


def merged(first: Iterator[str], second: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """Give what only one of two sorted iterators has, and whether that is the first."""
    other = next(second, "")
    for one in first:
        while other and other < one:
            yield other, False
            other = next(second, "")
        if other == one:
            other = next(second, "")
        else:
            yield one, True
    if other:
        yield other, False
    yield from ((left, False) for left in second)


def _compare(tree: Storage, index: Catalogue, orphans: Arrivals, missing: Arrivals, tell: Tell) -> None:
    """Find what differs, and refuse to go on if most files are gone."""
    compressed_forms = 0
    for digest, is_file in differences(tree, index):
        if not is_file:
            missing.add(0.0, digest)
        elif (state := tree.stat(digest)) is not None:
            orphans.add(state.receipt.received_at, digest)
            compressed_forms += bool(state.receipt.received_digest)
        if (len(orphans) + len(missing)) % BATCH_FILES == 0:
            tell("differences found", len(orphans) + len(missing), 0)
    rows = index.statistics().instances
    if rows >= MIN_ROWS_FOR_DOUBT and len(missing) * 2 > rows:
        gone = len(missing) - compressed_forms - index.unavailable_count()
        if gone * 2 > rows:
            raise MinipacsError(
                f"{gone} of {rows} files are gone: is the disk of the storage folder mounted? If they are lost, "
                "`minipacs verify --repair` marks their rows"
            )


def _mark_missing(tree: Storage, index: Catalogue, missing: Iterable[str], found: Recovery) -> None:
    """Mark rows whose files are missing still; a compressed form may have been found for some."""
    gone = (digest for digest in missing if tree.stat(digest) is None and index.has_digest(digest))
    while batch := list(islice(gone, BATCH_FILES)):
        index.set_availability(batch, "UNAVAILABLE")
        found.missing += len(batch)
        for digest in batch:
            logger.error("file missing", extra={"fields": {"digest": digest}})


class _Read(NamedTuple):
    """An orphan as the index is told of it, or why it cannot be."""

    digest: str
    record: InstanceRecord | None
    reason: str


def adopt_all(
    tree: Storage,
    index: Catalogue,
    charset_of: CharsetOf,
    digests: Iterable[str],
    found: Recovery,
    advance: Callable[[int], None] = lambda done: None,
) -> None:
    """Index files that have no row, in this order, or quarantine them; not those that are to go."""
    orphans = (digest for digest in digests if not index.removals.has(digest))
    done = 0
    with ThreadPoolExecutor(READERS) as pool:
        while batch := list(islice(orphans, BATCH_FILES)):
            reads = [read for read in pool.map(lambda d: _read(tree, index, charset_of, d), batch) if read is not None]
            for read in _add_rows(tree, index, reads, found):
                _deal_with(tree, index, read, found)
            done += len(batch)
            advance(done)


def adopt(tree: Storage, index: Catalogue, charset_of: CharsetOf, digest: str, found: Recovery) -> None:
    """Index a file that has no row, or quarantine it; not one that is to go."""
    adopt_all(tree, index, charset_of, [digest], found)


def _read(tree: Storage, index: Catalogue, charset_of: CharsetOf, digest: str) -> _Read | None:
    try:
        file = orphan(tree, digest)
        return _Read(digest, record_of(tree, file, index.keys, charset_of(file.source), whole=True), "")
    except FileNotFoundError:
        return None
    except (Failure, OSError) as error:
        if isinstance(error, Failure) and error.temporary:
            raise  # the index is at fault, not the file
        if tells_of_damage(error):
            return _Read(digest, None, str(error))
        leave(digest, error)
        return None


def _add_rows(tree: Storage, index: Catalogue, reads: list[_Read], found: Recovery) -> Iterator[_Read]:
    """Give rows to what nothing speaks against, in one commit; gives back the others, one by one."""
    with ExitStack() as held:
        for digest in sorted(read.digest for read in reads):  # in one order, so that nobody waits in a circle
            held.enter_context(tree.holding(digest))
        known = [read for read in reads if read.record is not None and tree.stat(read.digest) is not None]
        placed = index.add_all([read.record for read in known if read.record is not None])
    outcomes = {read.digest: outcome for read, outcome in zip(known, placed, strict=True)}
    for read in reads:
        if read.record is None:
            yield read
        elif (outcome := outcomes.get(read.digest)) is not None:
            if outcome.outcome in (Outcome.ADDED, Outcome.REPLACED):
                found.indexed += 1
            elif outcome.displaced_digest:
                yield read


def _deal_with(tree: Storage, index: Catalogue, read: _Read, found: Recovery) -> None:
    """See to a file that cannot have a row of its own, or whose object has one for another form of it."""
    reason = read.reason or "its SOP Instance UID is stored with other content"
    if read.record is not None:
        known = index.instance(read.record.sop_instance_uid)
        try:
            if known is not None and _belongs(tree, index, read.record, known):
                found.indexed += 1
                return
        except NotReadableNow as error:
            leave(read.digest, error)
            return
    with tree.holding(read.digest, exclusive=True):
        if index.has_digest(read.digest) or tree.stat(read.digest) is None:
            return
        tree.set_aside(read.digest, reason)
    found.quarantined += 1
    logger.warning("orphan quarantined", extra={"fields": {"digest": read.digest, "reason": reason}})


def _belongs(tree: Storage, index: Catalogue, record: InstanceRecord, known: StoredInstance) -> bool:
    """Deal with another form of the object that a row stands for: received and compressed, whichever is whole."""
    if known.received_digest == record.digest:
        if not is_intact(tree, index, known):
            with tree.holding(record.digest):
                index.add(record, "keep")
            return True
    elif not record.received_digest or known.digest != record.received_digest:
        return False
    elif tree.stat(known.digest) is None or not is_intact(tree, index, known):
        form = Form(
            record.digest,
            record.size_bytes,
            record.transfer_syntax_uid,
            record.values.get("PhotometricInterpretation", ""),
        )
        with tree.holding(record.digest):
            index.settle(known.digest, form)
            index.set_availability([record.digest], "ONLINE")
        return True
    remove_unused(tree, index, record.digest)  # whoever compressed it was killed before
    return True


def set_aside(tree: Storage, index: Catalogue, digest: str, reason: str, found: Recovery) -> None:
    """Quarantine a damaged file and mark its row: a re-send heals it."""
    with tree.holding(digest, exclusive=True):  # for both: a re-send in between would find its row, but no file
        index.set_availability([digest], "UNAVAILABLE")
        tree.set_aside(digest, reason)
    found.quarantined += 1
    found.missing += 1
    logger.error("damaged file quarantined", extra={"fields": {"digest": digest, "reason": reason}})
