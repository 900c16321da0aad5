"""How it goes with what is sent by rules: for how long it is tried, and what came of each instance."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minipacs.archive.archive import Archive
from minipacs.dicom.tables import statuses
from minipacs.index import StoredInstance
from minipacs.index.ledger.queue import Item
from minipacs.index.ledger.routed import LEASE_S
from minipacs.jobs.routing.router import received_digest
from minipacs.scu.delivery import AWAY, BROKE_OFF
from minipacs.scu.principal import Nobody
from minipacs.scu.tally import Tally

JITTER = 0.2
"""Of the time until something is tried again, so that not all archives call a peer at the same moment."""
RENEW_INTERVAL_S = 300.0


@dataclass(frozen=True, slots=True)
class Retries:
    """When what failed is tried again, and after how many seconds in all it is given up."""

    first_s: float
    most_s: float
    give_up_s: float

    def delay_s(self, attempts: int) -> float:
        """Return the seconds until the next attempt: each time about twice as many."""
        spread = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311  nobody gains by guessing it
        return float(min(self.first_s * 2 ** min(attempts, 30), self.most_s) * spread)


class Going(Nobody):
    """On whose behalf an item is sent: it is over when the item was dropped, or when the process is to end.

    `mark` is under which name is noted what was delivered.
    """

    def __init__(self, archive: Archive, item: Item, mark: str, stopping: Callable[[], bool]) -> None:
        self._routed = archive.index.routed
        self.item: Item | None = item
        self._mark = mark
        self._stopping = stopping
        self._renewed_at = time.monotonic()

    @property
    def stopped(self) -> bool:  # type: ignore[override]
        """Tell whether no further instance is to go."""
        return self.item is None or self._stopping()

    def note(self, instance: StoredInstance) -> None:
        """Note that an instance was delivered; now and then the lease begins anew."""
        self._routed.note(self._mark, instance.sop_instance_uid, received_digest(instance))
        if self.item is not None and time.monotonic() - self._renewed_at >= RENEW_INTERVAL_S:
            self._renewed_at = time.monotonic()
            self.item = self._routed.queue.renew(self.item, LEASE_S)


class Outcomes(Tally):
    """Counts, and tells apart: `refused` for good, each for its fault; `temporary`; `broken` off in the middle."""

    def __init__(self, total: int, settled: Callable[[StoredInstance, str], None]) -> None:
        super().__init__(total, on_settled=settled)
        self.refused: dict[str, str] = {}
        self.temporary = 0
        self.broken: list[str] = []
        self.is_away = False
        self._is_temporary = False

    def answered(self, instance: StoredInstance, status: int) -> None:
        """Count an instance by the status it was answered with."""
        self._is_temporary = not statuses.is_permanent(status)
        super().answered(instance, status)
        self._is_temporary = False

    def fail(self, instances: Sequence[StoredInstance], reason: str) -> None:
        """Count instances as failed: by their own fault, unless the peer or the network is at fault."""
        if self._is_temporary:
            self.temporary += len(instances)
        elif reason.startswith(AWAY):
            self.is_away = not reason.startswith(BROKE_OFF)
            self.broken += [] if self.is_away else [instance.sop_instance_uid for instance in instances[:1]]
            self.first_reason = self.first_reason or reason
            return
        else:
            self.refused.update((instance.sop_instance_uid, reason) for instance in instances)
        super().fail(instances, reason)
