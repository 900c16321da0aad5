"""Whether files are as long as their rows say, looked at while others are served: the rest of a recovery.

How far it has come is kept in the index, so that it goes on after a restart.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from minipacs.archive.archive import Archive
from minipacs.archive.care.recovery import Recovery, set_aside
from minipacs.archive.ports import PREFIXES, Catalogue

logger = logging.getLogger(__name__)

UNCHECKED = "sizes_unchecked_from"
IDLE_S = 3600.0
NOTED_S = 5.0
"""Between two notes of how far it is: each is a commit that waits for the disk."""


def begin(index: Catalogue) -> None:
    """Take note that all sizes are to be looked at."""
    index.remember(UNCHECKED, PREFIXES[0])


@dataclass(frozen=True, slots=True)
class SizeCheck:
    """The work in the background; `stopping` tells it to leave off."""

    archive: Archive
    stopping: Callable[[], bool] = lambda: False

    def work(self) -> float:
        """Look at all that is due; returns the seconds until it is worth to look again. Raises OSError and Failure."""
        begin_at = self.archive.index.recall(UNCHECKED)
        if not begin_at:
            return IDLE_S
        found, noted_at = Recovery(), time.monotonic()
        for prefix in PREFIXES[PREFIXES.index(begin_at) :]:
            if self.stopping():
                return 0.0
            if time.monotonic() - noted_at >= NOTED_S:
                self.archive.index.remember(UNCHECKED, prefix)
                noted_at = time.monotonic()
            self._check(prefix, found)
        self.archive.index.remember(UNCHECKED, "")
        logger.info("sizes of files checked", extra={"fields": {"files_quarantined": found.quarantined}})
        return IDLE_S

    def _check(self, prefix: str, found: Recovery) -> None:
        tree, index = self.archive.tree, self.archive.index
        for digest, size_bytes in index.digests(prefix):
            state = tree.stat(digest)
            if state is None or state.size_bytes == size_bytes:
                continue
            with tree.holding(digest, exclusive=True):
                state = tree.stat(digest)
                if state is not None and state.size_bytes != size_bytes and index.has_digest(digest):
                    reason = f"has {state.size_bytes} bytes instead of {size_bytes}"
                    set_aside(tree, index, digest, reason, found)
