"""Background work: jobs that wait for their time in one thread, apart from every association."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

Job = Callable[[], float]
"""Does what is due and returns the seconds until it wants to be called again."""

MAX_WAIT_S = 60.0
RETRY_S = 5.0
"""After a job that failed."""
NICENESS = 10
"""Beside associations the thread gets a small share of the processors."""


class Background:
    """Runs jobs, one after the other, from `start` to `stop`; each is called again when its time comes, or on `wake`.

    Jobs keep what they must not lose in the index: the thread may end between any two of their steps.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._due = dict.fromkeys(jobs, 0.0)
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    @property
    def stopping(self) -> bool:
        """Tell whether jobs that take long should come to an end."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Let every job look for work now; from any thread."""
        self._changed.set()

    def stop(self) -> None:
        """End the thread after the step it is in."""
        self._stopping.set()
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self.stopping:
            woken = self._changed.is_set()
            self._changed.clear()
            for job, due in self._due.items():
                if (woken or due <= time.monotonic()) and not self.stopping:
                    self._due[job] = time.monotonic() + self._call(job)
            wait_s = min(self._due.values(), default=MAX_WAIT_S + time.monotonic()) - time.monotonic()
            self._changed.wait(min(max(wait_s, 0), MAX_WAIT_S))

    def _call(self, job: Job) -> float:
        try:
            return job()
        except Exception:
            logger.exception("background job failed")
            return RETRY_S
