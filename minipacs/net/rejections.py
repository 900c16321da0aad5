"""How often one may be rejected: who tries titles, or asks in a loop, is not answered for a while.

Counted is a configured title at its address, all other titles of an address together, and its refused TLS handshakes,
so that those who are set up wrong do not take the answer from others behind the same address.
"""

import time
from collections import OrderedDict
from threading import Lock

BURST = 100
"""Rejections that a caller may have at once, by each worker; one more comes back every INTERVAL_S."""
INTERVAL_S = 1.0
MAX_CALLERS = 4096
"""Callers remembered; the one rejected longest ago is forgotten first."""

Caller = tuple[str, str]
"""An address, and a configured title or ""."""


class Rejections:
    """Counts rejections by caller. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._full_at: OrderedDict[Caller, float] = OrderedDict()

    def note(self, caller: Caller) -> bool:
        """Take note of a rejection; tells whether it was the one after which the caller is not answered."""
        now = time.monotonic()
        with self._lock:
            before = max(self._full_at.pop(caller, 0.0), now)
            self._full_at[caller] = before + INTERVAL_S
            if len(self._full_at) > MAX_CALLERS:
                self._full_at.popitem(last=False)
        return before - now <= (BURST - 1) * INTERVAL_S < self._full_at[caller] - now

    def is_excessive(self, caller: Caller) -> bool:
        """Tell whether the caller has been rejected too often to be answered now."""
        with self._lock:
            return self._full_at.get(caller, 0.0) - time.monotonic() > (BURST - 1) * INTERVAL_S
