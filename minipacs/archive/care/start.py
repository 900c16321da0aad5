"""Getting a storage folder ready for its daemon, and saying what an administrator should know."""

import logging
from dataclasses import asdict

from minipacs.archive.archive import Archive
from minipacs.archive.care.recovery import Recovery, recover
from minipacs.archive.ports import DaemonLock
from minipacs.errors import MinipacsError

logger = logging.getLogger(__name__)


def prepare(archive: Archive, lock: DaemonLock) -> None:
    """Get a folder ready for its daemon: sweep what a dead one left, recover unless it ended cleanly.

    Raises MinipacsError if the folder cannot be used.
    """
    try:
        swept = archive.tree.sweep_incoming()
        if swept:
            logger.warning("unfinished files removed from incoming", extra={"fields": {"files": swept}})
        if not lock.ended_cleanly:
            _recover(archive, lock)
    except OSError as error:
        raise MinipacsError(f"cannot start: {error.filename or 'storage folder'}: {error.strerror}") from error


def tell_unfilled_keys(archive: Archive) -> None:
    """Log which keys are new since objects were stored: queries by them miss those until they are reindexed."""
    unfilled = archive.index.unfilled_keys()
    if unfilled:
        fields = {"keys": " ".join(unfilled), "remedy": "minipacs reindex"}
        logger.warning("keys not filled for what is stored", extra={"fields": fields})


def _recover(archive: Archive, lock: DaemonLock) -> None:
    found = recover(archive.tree, archive.index, archive.charset_of)
    if not lock.is_first or found != Recovery():
        fields = {f"files_{what}": count for what, count in asdict(found).items()}
        logger.warning("recovered after an unclean end", extra={"fields": fields})
