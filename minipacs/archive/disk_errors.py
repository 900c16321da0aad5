"""What the file system says while objects are stored: failures for those who send them, few lines for the log."""

import errno
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from minipacs.errors import NO_ROOM, Failure, Kind

INTERVAL_S = 60.0
"""A fault that stays is logged so often, whatever it keeps out meanwhile; each refusal has a line of its own anyway."""

logger = logging.getLogger(__name__)


class DiskErrors:
    """Of one archive. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, tuple[float, int]] = {}
        """By the error's name: when it was logged, how many there were since."""

    @contextmanager
    def as_failures(self) -> Iterator[None]:
        """Turn what the file system says into a failure that may pass."""
        try:
            yield
        except OSError as error:
            self._tell(error)
            kind = Kind.FULL if error.errno in NO_ROOM else Kind.BUSY
            raise Failure(kind, f"storage: {error.strerror or error}") from error

    def _tell(self, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "?")
        now = time.monotonic()
        with self._lock:
            told_at, since = self._told.get(name, (now - INTERVAL_S, 0))
            if now - told_at < INTERVAL_S:
                self._told[name] = told_at, since + 1
                return
            self._told[name] = now, 0
        fields = {"error": name, "reason": error.strerror, "path": error.filename, "before": since or None}
        logger.error("storage cannot be written", extra={"fields": fields})
