"""Names of hosts to addresses, with a limit of time and a memory: a name server that is silent must hold up nobody."""

import socket
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from minipacs.net.wire.addresses import read_address

FRESH_S = 60.0
"""For so long an answer is not asked for again; names move."""
KEPT_S = 3600.0
"""For so long the last answer serves while the name server has none."""
FAULT_KEPT_S = 5.0
LOOKUP_TIMEOUT_S = 5.0
MAX_LOOKUPS = 16
"""At once; a system that answers none of them keeps each for up to a minute."""
MAX_NAMES = 4096


class NameNotResolved(OSError):
    """A name that has no address now, or none known in time; the message says which, and why."""


@dataclass(slots=True)
class _Name:
    """What is known of a name; times are of the monotonic clock."""

    addresses: tuple[str, ...] = ()
    found_at: float = 0.0
    fault: str = ""
    asked_at: float = float("-inf")
    running: threading.Event | None = None

    def is_due(self, now: float) -> bool:
        """Tell whether it is time to ask again."""
        return self.running is None and now - self.asked_at > (FAULT_KEPT_S if self.fault else FRESH_S)


class Names:
    """Looks names up, each in a thread of its own; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Name] = OrderedDict()
        self._running = 0

    def addresses(self, host: str, timeout_s: float = LOOKUP_TIMEOUT_S) -> tuple[str, ...]:
        """Return the addresses of a name, or of an address itself, waiting at most `timeout_s`.

        An answer that has grown old is used while it is asked for anew. Raises NameNotResolved.
        """
        if read_address(host) is not None:
            return (host,)
        now = time.monotonic()
        with self._lock:
            name = self._known.setdefault(host, _Name())
            self._known.move_to_end(host)
            if len(self._known) > MAX_NAMES:
                self._known.popitem(last=False)
            if name.is_due(now):
                self._ask(host, name)
            if name.addresses and now - name.found_at < KEPT_S:
                return name.addresses
            running = name.running
        if running is not None and not running.wait(timeout_s):
            raise NameNotResolved(f"{host}: no answer from the name server within {timeout_s:g} s")
        if not name.addresses or name.fault:
            raise NameNotResolved(f"{host}: {name.fault or 'too many names are being looked up'}")
        return name.addresses

    def _ask(self, host: str, name: _Name) -> None:
        if self._running >= MAX_LOOKUPS:
            return
        self._running += 1
        name.running = threading.Event()
        threading.Thread(target=self._look_up, args=(host, name, name.running), name="name", daemon=True).start()

    def _look_up(self, host: str, name: _Name, done: threading.Event) -> None:
        found: tuple[str, ...] = ()
        fault = "has no address"
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found = tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except (OSError, UnicodeError) as error:
            fault = getattr(error, "strerror", None) or str(error)
        with self._lock:
            name.asked_at = time.monotonic()
            name.fault = "" if found else fault
            if found:
                name.addresses, name.found_at = found, name.asked_at
            name.running = None
            self._running -= 1
        done.set()


NAMES = Names()
"""What this process knows."""
