"""What `sync = "batch"` means for files: they reach the disk within about a second of their commit, not before it."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0


class BackgroundSync:
    """A thread that calls `sync` after `wake`, at most once in `interval_s`, and a last time when it is closed."""

    def __init__(self, sync: Callable[[], None], interval_s: float = INTERVAL_S) -> None:
        self._sync = sync
        self._interval_s = interval_s
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._syncing = threading.Lock()
        self._fault: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="background-sync", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Tell that something was committed; from any thread."""
        self._wanted.set()

    def wait(self) -> None:
        """Return when all that was committed before is on the disk.

        Raises OSError, also if a sync has failed since the last call: what it was to bring to the disk may be lost,
        and no later sync tells of it.
        """
        with self._syncing:
            try:
                self._sync()
            except OSError as error:
                self._fault = self._fault or error
            fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def close(self) -> None:
        """Return when all that was committed before is on the disk, if it can be."""
        self._closing.set()
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wanted.wait()
            self._wanted.clear()  # before the sync: what is committed during it needs the next one
            closing = self._closing.is_set()
            with self._syncing:
                try:
                    self._sync()
                except OSError as error:
                    self._fault = self._fault or error
                    logger.error("files not synced", extra={"fields": {"reason": error.strerror}})
            self._closing.wait(self._interval_s)
