"""Looking after the archive while it runs: every file read again, rows and files held against each other.

Nothing is changed unless it is to be repaired; then as after an unclean end: orphans are indexed or go to quarantine,
damaged files go to quarantine, rows without a good file are marked, and none is removed.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from minipacs.archive.care.arrivals import Arrivals
from minipacs.archive.care.recovery import Recovery, adopt, set_aside
from minipacs.archive.ports import Catalogue, Storage
from minipacs.archive.scan import CharsetOf, fault_of
from minipacs.errors import system_words
from minipacs.index import Availability

Fault = Literal["missing", "damaged", "orphaned", "unavailable", "unreadable"]
"""A row without its file; a file without the bytes of its name; a file without a row that is not noted to go; a row
marked as one of the first two whose file is there and whole; a file of which nothing can be told now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a file, and with the instance that it is, if that is known."""

    fault: Fault
    digest: str
    sop_instance_uid: str
    detail: str = ""


class Pace:
    """Holds reading to `rate` bytes a second; 0 sets no limit. `advance` is told how many bytes were read."""

    def __init__(self, rate: int, advance: Callable[[int], None] = lambda size_bytes: None) -> None:
        self._rate = rate
        self._advance = advance
        self._due_at = time.monotonic()

    def read(self, size_bytes: int) -> None:
        """Take note of bytes that were read; waits if they came too fast."""
        self._advance(size_bytes)
        if self._rate:
            now = time.monotonic()
            self._due_at = max(self._due_at, now) + size_bytes / self._rate
            time.sleep(self._due_at - now)


def check(tree: Storage, index: Catalogue, pace: Pace) -> Iterator[Finding]:
    """Find what is wrong, beside a daemon that runs. Raises OSError and Failure if it cannot look.

    Orphans come last, the first received first: what gave way to another file just now, its row swapped, is gone then.
    """
    with Arrivals(tree.scratch) as orphans:
        for digest in tree.walk():
            finding = _check_file(tree, index, digest, pace)
            if finding is not None and finding.fault == "orphaned":
                orphans.add(_came_at(tree, digest), digest)
            elif finding is not None:
                yield finding
        for digest, _ in index.digests():
            if tree.stat(digest) is not None:
                continue
            with tree.holding(digest, exclusive=True):  # whoever removes or replaces it has come to the end, then
                uid = index.uid_of(digest)
                is_missing = uid is not None and tree.stat(digest) is None
            if is_missing:
                yield Finding("missing", digest, uid or "")
        for digest in orphans:
            with tree.holding(digest, exclusive=True):
                is_orphan = index.uid_of(digest) is None and tree.stat(digest) is not None
                is_orphan = is_orphan and not index.removals.has(digest)
            if is_orphan:
                yield Finding("orphaned", digest, "")


def _came_at(tree: Storage, digest: str) -> float:
    state = tree.stat(digest)
    return 0.0 if state is None else state.receipt.received_at


def repair(tree: Storage, index: Catalogue, charset_of: CharsetOf, finding: Finding) -> None:
    """Do what can be done about a finding. Raises OSError and Failure."""
    if finding.fault == "orphaned":
        adopt(tree, index, charset_of, finding.digest, Recovery())
    elif finding.fault == "damaged":
        set_aside(tree, index, finding.digest, finding.detail, Recovery())
    elif finding.fault != "unreadable":
        availability: Availability = "ONLINE" if finding.fault == "unavailable" else "UNAVAILABLE"
        with tree.holding(finding.digest, exclusive=True):
            if (tree.stat(finding.digest) is not None) == (availability == "ONLINE"):
                index.set_availability([finding.digest], availability)


def _check_file(tree: Storage, index: Catalogue, digest: str, pace: Pace) -> Finding | None:
    try:
        fault = fault_of(tree, digest, pace.read)
    except FileNotFoundError:
        return None  # replaced or removed meanwhile
    except OSError as error:
        return Finding("unreadable", digest, index.uid_of(digest) or "", system_words(error))
    uid = index.uid_of(digest)
    if uid is None:
        with tree.holding(digest, exclusive=True):  # whoever published it has committed its row, then
            uid = index.uid_of(digest)
            if tree.stat(digest) is None or (uid is None and index.removals.has(digest)):
                return None
    if fault is not None:
        return Finding("damaged", digest, uid or "", fault)
    if uid is None:
        return Finding("orphaned", digest, "")
    stored = index.instance(uid)
    if stored is not None and stored.digest == digest and stored.availability != "ONLINE":
        return Finding("unavailable", digest, uid)
    return None
