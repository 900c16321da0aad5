"""Getting a storage folder ready for its daemon, and saying what an administrator should know."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict

from minipacs.archive.archive import Archive
from minipacs.archive.care import amendments, holds, sizes
from minipacs.archive.care.recovery import Recovery, recover
from minipacs.archive.marker import DUE, RECOVERY, refuse_if_gone
from minipacs.archive.ports import DaemonLock
from minipacs.errors import MinipacsError

logger = logging.getLogger(__name__)

PROGRESS_S = 5.0
"""Between two lines that tell how far a recovery is."""


def prepare(archive: Archive, lock: DaemonLock, tell: Callable[[str], None] = lambda text: None) -> None:
    """Get a folder ready for its daemon: sweep what a dead one left, recover unless it ended cleanly.

    So it is after the index was lost, however the last end was. `tell` hears how far it is, in words for a person.
    Raises MinipacsError if the folder cannot be used, or most files are not there.
    """
    try:
        swept = archive.tree.sweep_incoming()
        if swept:
            logger.warning("unfinished files removed from incoming", extra={"fields": {"files": swept}})
        is_lost = archive.index.recall(RECOVERY) == DUE
        if is_lost:
            fields = {"lost": "worklist, performed steps, commitments", "remedy": "restore a backup of the index"}
            logger.error("index is new: filled from the files", extra={"fields": fields})
        elif lock.is_first and not archive.index.statistics().instances:
            remedy = "if images should be there, stop, mount their disk and start again"
            logger.warning("archive is new and empty", extra={"fields": {"remedy": remedy}})
        refuse_if_gone(archive.tree, archive.index)
        amendments.adopt(archive.tree, archive.index)
        holds.adopt(archive.tree, archive.index)
        if is_lost or not lock.ended_cleanly:
            _recover(archive, lock, _Progress(tell))
    except OSError as error:
        raise MinipacsError(f"cannot start: {error.filename or 'storage folder'}: {error.strerror}") from error


def tell_unfilled_keys(archive: Archive) -> None:
    """Log which keys are new since objects were stored: queries by them miss those until they are reindexed."""
    unfilled = archive.index.unfilled_keys()
    if unfilled:
        fields = {"keys": " ".join(unfilled), "remedy": "minipacs reindex"}
        logger.warning("keys not filled for what is stored", extra={"fields": fields})


class _Progress:
    """Tells how far a recovery is, now and then."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._due_at = time.monotonic() + PROGRESS_S

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + PROGRESS_S
        logger.info("recovering", extra={"fields": {"what": what, "done": done, "total": total or None}})
        self._tell(f"recovering: {done}{f' of {total}' if total else ''} {what}")


def _recover(archive: Archive, lock: DaemonLock, progress: _Progress) -> None:
    if archive.index.statistics().instances:
        sizes.begin(archive.index)
    found = recover(archive.tree, archive.index, archive.charset_of, progress)
    archive.index.remember(RECOVERY, "")
    if not lock.is_first or found != Recovery():
        fields = {f"files_{what}": count for what, count in asdict(found).items()}
        logger.warning("recovered after an unclean end", extra={"fields": fields})
