"""Files whose rows an older release made, read again in the background for what it did not keep of them.

Until then a study calls its patient what the patient's first object did. So the first object of each study goes first:
then names are right. What objects share with none but their own is found out with all the others.
"""

import logging
import time
from collections.abc import Callable

from minipacs.archive.archive import Archive
from minipacs.archive.care.rereading import contradicting
from minipacs.archive.scan import record_of
from minipacs.errors import MinipacsError
from minipacs.index import InstanceRecord, StoredFile

logger = logging.getLogger(__name__)

BATCH_FILES = 100
"""Files whose rows are changed in one commit."""
IDLE_S = 60.0
PROGRESS_S = 60.0
"""Between two lines in the log."""


class Unread:
    """Reads them, batch by batch; between two it rests as long as it was at work."""

    def __init__(self, archive: Archive, stopping: Callable[[], bool]) -> None:
        self._archive = archive
        self._stopping = stopping
        self._firsts_only = True
        self._read = self._unreadable = 0
        self._told_at = float("-inf")

    def work(self) -> float:
        """Read one batch; returns the seconds until the next one is due. Raises Failure."""
        began_at = time.monotonic()
        rows = self._next()
        if not rows:
            if self._read:
                fields = {"files": self._read, "unreadable": self._unreadable}
                logger.info("files of an older release are read", extra={"fields": fields})
            self._read = self._unreadable = 0
            return IDLE_S
        records = {row: self._record(row, whole=False) for row in rows if not self._stopping()}
        online = [record for row, record in records.items() if record is not None and row.availability == "ONLINE"]
        doubted = contradicting(self._archive.index, online)
        records |= {row: self._record(row, whole=True) for row in records if row.digest in doubted}
        self._read += self._archive.index.fill(
            {row.digest: None if record is None else record.values for row, record in records.items()}
        )
        if began_at - self._told_at >= PROGRESS_S:
            self._told_at = began_at
            fields = {"read": self._read, "left": self._archive.index.unread_count()}
            logger.info("reading files of an older release", extra={"fields": fields})
        return time.monotonic() - began_at

    def _next(self) -> list[StoredFile]:
        rows = self._archive.index.unread(firsts_only=self._firsts_only, limit=BATCH_FILES)
        if not rows and self._firsts_only:
            self._firsts_only = False
            rows = self._archive.index.unread(firsts_only=False, limit=BATCH_FILES)
        return rows

    def _record(self, row: StoredFile, *, whole: bool) -> InstanceRecord | None:
        """Read a file; None if it is missing or damaged: what the index has will do, then."""
        archive = self._archive
        try:
            charset = archive.charset_of(row.source)
            whole = whole or row.availability != "ONLINE"
            return record_of(archive.tree, row, archive.index.keys, charset, whole=whole)
        except (OSError, MinipacsError) as error:
            self._unreadable += 1
            fields = {"digest": row.digest, "reason": str(error)}
            logger.warning("attributes not read from a file", extra={"fields": fields})
            return None
