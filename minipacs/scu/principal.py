"""On whose behalf objects are sent, and waiting without losing sight of them."""

import select
import time
from typing import Protocol

from minipacs.net.wire.transport import Companion


class Stopped(Exception):
    """No further sub-operation is to begin."""


class Principal(Companion, Protocol):
    """Somebody who has objects sent: attended to whenever the receiver is waited for, and able to call it off."""

    @property
    def stopped(self) -> bool:
        """Tell whether no further sub-operation is to begin."""


class Nobody:
    """Stands for a command line, which sees for itself and stops by ending."""

    stopped = False

    def fileno(self) -> int:
        """Return no descriptor."""
        return -1

    def due_in_s(self) -> float:
        """Return that nothing will be due."""
        return float("inf")

    def attend(self) -> None:
        """Do nothing."""


def wait_attending(principal: Principal, fd: int, deadline: float) -> bool:
    """Wait for a descriptor to become readable, attending meanwhile; see `pixels.pool.Wait`. Raises Stopped."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if principal.fileno() >= 0:
        poll.register(principal, select.POLLIN)
    while not principal.stopped:
        left_s = max(deadline - time.monotonic(), 0)
        ready = dict(poll.poll(min(left_s, principal.due_in_s()) * 1000))
        if fd in ready:
            return True
        if not left_s:
            return False
        principal.attend()
    raise Stopped
