"""Files that were to go and are still there: each goes, unless what it gave way to is not whole.

Somebody was killed before, or the disk refused; so this is done in a recovery, and now and then while a daemon runs.

A note tells that a file was deleted, replaced or compressed, in a commit that may have come to the disk before the file
that took its place. So that one is read first; if it is damaged or missing, the file that was to go gets its row back.
"""

import logging
import time
from dataclasses import dataclass

from minipacs.archive.archive import Archive
from minipacs.archive.intact import NotReadableNow, is_intact
from minipacs.archive.ports import Catalogue, Storage
from minipacs.archive.removal import BATCH, let_go
from minipacs.archive.scan import CharsetOf, orphan, record_of, tells_of_damage
from minipacs.errors import Failure
from minipacs.index import InstanceRecord, ToGo

logger = logging.getLogger(__name__)


INTERVAL_S = 3600.0


@dataclass(slots=True)
class Leftovers:
    """The work in the background."""

    archive: Archive
    _due_at: float = 0.0

    def work(self) -> float:
        """See to them if that is due; returns the seconds until it is again. Raises OSError and Failure."""
        wait_s = self._due_at - time.monotonic()
        if wait_s > 0:
            return wait_s
        archive = self.archive
        archive.displaced.clear_doubts()
        finish_removals(archive.tree, archive.index, archive.charset_of)
        self._due_at = time.monotonic() + INTERVAL_S
        return INTERVAL_S


def finish_removals(tree: Storage, index: Catalogue, charset_of: CharsetOf) -> int:
    """See to all files that are to go; returns how many there were. Raises OSError and Failure."""
    done, last = 0, ""
    while files := index.removals.unfinished(last):
        tree.sync()  # with `sync = "batch"` what took their place may not be on the disk
        index.sync()
        for begin in range(0, len(files), BATCH):
            gone = [f.digest for f in files[begin : begin + BATCH] if _finish(tree, index, charset_of, f)]
            tree.sync()
            index.removals.forget(gone)
        done, last = done + len(files), files[-1].digest
    return done


def _finish(tree: Storage, index: Catalogue, charset_of: CharsetOf, file: ToGo) -> bool:
    """See to a file; false if it cannot be told now whether it is needed again."""
    try:
        record = _needed_again(tree, index, charset_of, file)
    except NotReadableNow as error:
        fields = {"digest": file.digest, "reason": str(error)}
        logger.error("file that is to go left for now", extra={"fields": fields})
        return False
    if record is None:
        let_go(tree, index, file)
        return True
    with tree.holding(file.digest):
        if tree.stat(file.digest) is not None:
            index.add(record, "replace")
    fields = {"digest": file.digest, "sop_instance_uid": record.sop_instance_uid}
    logger.error("file that gave way is needed again", extra={"fields": fields})
    return True


def _needed_again(tree: Storage, index: Catalogue, charset_of: CharsetOf, file: ToGo) -> InstanceRecord | None:
    """Return what the index is told of a file whose successor is not whole; None if it may go."""
    try:
        found = orphan(tree, file.digest)
        record = record_of(tree, found, index.keys, charset_of(found.source), whole=True)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or tells_of_damage(error):
            return None
        raise NotReadableNow(f"file cannot be read now: {error.strerror}") from error
    except Failure as error:
        if error.temporary:
            raise
        return None  # it is damaged itself
    known = index.instance(record.sop_instance_uid)
    if known is None or known.digest == file.digest:
        return None
    if not file.reason and known.received_digest != file.digest:
        return None  # it was deleted, and another object has its UID since
    if is_intact(tree, index, known):
        return None
    now = index.instance(record.sop_instance_uid)
    return record if now is not None and now.digest == known.digest else None  # else it was replaced meanwhile
