"""Files that are to go: noted in the commit that lets go of them, gone when that commit is durable.

Whoever is killed in between leaves the note, so that recovery takes no file for an orphan that was deleted, replaced or
compressed. After a commit whose outcome is unknown nothing is removed, since either outcome needs its file, until a
later one is durable: that takes its place in the log, so what is not there by then will never be.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from minipacs.archive.ports import Catalogue, Storage
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.errors import Failure
from minipacs.index import Query, ToGo

logger = logging.getLogger(__name__)

_PERSON = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
BATCH = 100
"""Rows removed, or notes dropped, in one commit."""
MAX_WAITING = 10_000
"""Files that wait to be synced away from; what comes beyond them is left to its note."""
MAX_DOUBTED = 1_000
"""Files of commits whose outcome is unknown; of more, the first are left to the next recovery, or to `verify`."""


class Displaced:
    """Sees to files that gave way to others, their notes committed. Safe to use from any thread.

    With `durable` it does so at once, else when `synced` tells that what they gave way to is on the disk.
    """

    def __init__(self, tree: Storage, index: Catalogue, *, durable: bool) -> None:
        self._tree = tree
        self._index = index
        self._durable = durable
        self._waiting: deque[ToGo] = deque()
        self._gone: list[str] = []
        self._doubted: deque[str] = deque(maxlen=MAX_DOUBTED)
        self._lock = threading.Lock()

    def take(self, digest: str, reason: str) -> None:
        """See to a file: to quarantine for a reason, else for good. What fails is logged and left to the note."""
        if self._durable:
            self._finish(ToGo(digest, reason))
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(ToGo(digest, reason))

    def waiting(self) -> list[ToGo]:
        """Return what waits for a sync that has not begun yet."""
        return list(self._waiting)

    def synced(self, files: Sequence[ToGo]) -> None:
        """See to files that waited before a sync that has succeeded."""
        for file in files:
            self._waiting.popleft()
            self._finish(file)

    def doubt(self, digest: str) -> None:
        """Keep in mind a file whose row may or may not be there, until `clear_doubts` can tell."""
        self._doubted.append(digest)

    def clear_doubts(self) -> None:
        """Remove the files that were doubted and have no row after all; call when a commit has succeeded again."""
        while self._durable and self._doubted:
            try:
                digest = self._doubted.popleft()
            except IndexError:  # another thread has it
                return
            try:
                self._clear(digest)
            except (OSError, Failure) as error:
                self._doubted.append(digest)
                logger.error("file still in doubt", extra={"fields": {"digest": digest, "reason": str(error)}})
                return

    def _clear(self, digest: str) -> None:
        removals = self._index.removals
        with self._tree.holding(digest, exclusive=True):
            if self._index.has_digest(digest) or removals.has(digest):
                return
            removals.note(digest)  # durable, and with it known what became of the commit before
            if not self._index.has_digest(digest):
                self._tree.delete(digest)
        removals.forget([digest])

    def close(self) -> int:
        """See to what is in doubt, and drop the notes of the files that are gone; returns how many stay in doubt."""
        self.clear_doubts()
        with suppress(OSError, Failure):
            self._forget(0)
        in_doubt = len(self._doubted)
        self._doubted.clear()  # whoever closes again has been told
        return in_doubt

    def _finish(self, file: ToGo) -> None:
        try:
            let_go(self._tree, self._index, file)
            with self._lock:
                self._gone.append(file.digest)
            self._forget(BATCH)
        except (OSError, Failure) as error:
            fields = {"digest": file.digest, "reason": str(error)}
            logger.error("file that gave way not moved", extra={"fields": fields})

    def _forget(self, more_than: int) -> None:
        """Drop notes together: one alone would cost each object that is replaced a commit."""
        with self._lock:
            if len(self._gone) <= more_than:
                return
            gone, self._gone = self._gone, []
        self._index.removals.forget([digest for digest in gone if self._tree.stat(digest) is None])


class Going(NamedTuple):
    """What a removal would take; of each patient the ID, its issuer, the name and the birth date.

    `held` are the reasons why it is refused, if there are any.
    """

    patients: tuple[tuple[str, str, str, str], ...]
    studies: tuple[str, ...]
    series: int
    instances: int
    size_bytes: int
    held: tuple[str, ...]


def what_goes(index: Catalogue, keys: Mapping[str, str]) -> Going:
    """Look what would go with the instances that unique keys, by keyword, lead to. Raises Failure."""
    stored = index.instances({keyword: [uid] for keyword, uid in keys.items()})
    returned = [BY_KEYWORD[keyword] for keyword in (*_PERSON, "StudyInstanceUID", "SeriesInstanceUID")]
    query = Query("IMAGE", [(BY_KEYWORD[keyword], uid) for keyword, uid in keys.items()], returned)
    rows = dict.fromkeys(index.find(query))
    return Going(
        tuple(dict.fromkeys((row[0], row[1], row[2], row[3]) for row in rows)),
        tuple(dict.fromkeys(row[-2] for row in rows)),
        len(rows),
        len(stored),
        sum(instance.size_bytes for instance in stored),
        tuple(dict.fromkeys(held.reason for held in index.holds.of(row[-2] for row in rows).values())),
    )


def remove(tree: Storage, index: Catalogue, sop_instance_uids: Sequence[str]) -> Iterator[int]:
    """Remove instances with their files; yields how many there were, batch by batch. Raises OSError and Failure."""
    for begin in range(0, len(sop_instance_uids), BATCH):
        digests = index.remove(sop_instance_uids[begin : begin + BATCH])
        for digest in digests:
            let_go(tree, index, ToGo(digest, ""))
        if digests:
            tree.sync()  # the note is to outlive the file
            index.removals.forget(digests)
        yield len(digests)


def let_go(tree: Storage, index: Catalogue, file: ToGo) -> None:
    """Remove a file or set it aside, unless a row stands for it, perhaps again. Raises OSError and Failure."""
    with tree.holding(file.digest, exclusive=True):
        if not index.has_digest(file.digest):
            if file.is_expired:
                tree.expire(file.digest, file.reason)
            elif file.reason:
                tree.set_aside(file.digest, file.reason)
            else:
                tree.delete(file.digest)


def remove_unused(tree: Storage, index: Catalogue, digest: str) -> None:
    """Remove a file, unless a row stands for it or it is noted: then it goes in time. Raises OSError and Failure."""
    with tree.holding(digest, exclusive=True):
        if not index.has_digest(digest) and not index.removals.has(digest):
            tree.delete(digest)
