"""Background work: jobs that wait for their time, apart from every association."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from minipacs.errors import Failure

logger = logging.getLogger(__name__)

Job = Callable[[], float]
"""Does what is due and returns the seconds until it wants to be called again."""

MAX_WAIT_S = 60.0
MAX_TOLD = 10
"""Faults of one job that are remembered as told."""
RETRY_S = 5.0
"""After a job that failed."""
STOP_WAIT_S = 5.0
NICENESS = 10
"""Beside associations these threads get a small share of the processors."""


def once(work: Callable[[], None]) -> Job:
    """Make a job that has something to do the first time only."""
    todo = [work]

    def job() -> float:
        while todo:
            todo[0]()
            todo.clear()
        return MAX_WAIT_S

    return job


class Background:
    """Runs jobs from `start` to `stop`, each in a thread of its own, when its time comes and after every `wake`.

    Jobs keep what they must not lose in the index: a thread may end between any two of their steps.
    """

    def __init__(self) -> None:
        self._wanted: list[threading.Event] = []
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def stopping(self) -> bool:
        """Tell whether jobs that take long should leave off."""
        return self._stopping.is_set()

    def start(self, jobs: Sequence[Job]) -> None:
        """Start the threads."""
        for job in jobs:
            wanted = threading.Event()
            self._wanted.append(wanted)
            thread = threading.Thread(target=self._run, args=(job, wanted), name="background", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Let every job look for work now; from any thread."""
        for wanted in self._wanted:
            wanted.set()

    def stop(self) -> None:
        """End the threads after the steps they are in; one that waits for a slow peer is left to itself."""
        self._stopping.set()
        self.wake()
        deadline = time.monotonic() + STOP_WAIT_S
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _run(self, job: Job, wanted: threading.Event) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # Linux: of this thread alone
        told: set[str] = set()
        while not self.stopping():
            wanted.clear()
            wanted.wait(min(self._call(job, told), MAX_WAIT_S))

    def _call(self, job: Job, told: set[str]) -> float:
        """Call a job; a fault that stays, such as a full disk, is logged once until the job succeeds again."""
        try:
            wait_s = job()
            told.clear()
            return wait_s
        except (OSError, Failure) as error:
            words = str(error)
            if not self.stopping() and words not in told and len(told) < MAX_TOLD:
                told.add(words)
                logger.error("background job failed", extra={"fields": {"reason": words}})
            return RETRY_S
        except Exception:
            if not self.stopping():
                logger.exception("background job failed")
            return RETRY_S
