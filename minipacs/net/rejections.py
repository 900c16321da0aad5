"""How often an address may be rejected: who tries titles, or asks in a loop, is not answered for a while."""

import time
from collections import OrderedDict
from threading import Lock

BURST = 100
"""Rejections that an address may have at once, by each worker; one more comes back every INTERVAL_S."""
INTERVAL_S = 1.0
MAX_ADDRESSES = 4096
"""Addresses remembered; the one rejected longest ago is forgotten first."""


class Rejections:
    """Counts rejections by address. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def note(self, address: str) -> bool:
        """Take note of a rejection; tells whether it was the one after which the address is not answered."""
        now = time.monotonic()
        with self._lock:
            before = max(self._full_at.pop(address, 0.0), now)
            self._full_at[address] = before + INTERVAL_S
            if len(self._full_at) > MAX_ADDRESSES:
                self._full_at.popitem(last=False)
        return before - now <= (BURST - 1) * INTERVAL_S < self._full_at[address] - now

    def is_excessive(self, address: str) -> bool:
        """Tell whether the address has been rejected too often to be answered now."""
        with self._lock:
            return self._full_at.get(address, 0.0) - time.monotonic() > (BURST - 1) * INTERVAL_S
