"""Looks now and then whether anything can be stored at all, and tells the log when that changes."""

import logging
from dataclasses import dataclass

from minipacs.archive.archive import Archive

logger = logging.getLogger(__name__)

INTERVAL_S = 15.0


@dataclass(slots=True)
class FaultWatch:
    """Watches an archive: its disk, its storage folder, and whether its index is still the file that was opened."""

    archive: Archive
    _is_told: bool = False

    def work(self) -> float:
        """Look once; returns the seconds until the next time."""
        reason = self.archive.shortage()
        if reason is not None and not self._is_told:
            logger.error("nothing can be stored", extra={"fields": {"reason": reason}})
        elif reason is None and self._is_told:
            logger.warning("objects can be stored again")
        self._is_told = reason is not None
        return INTERVAL_S
