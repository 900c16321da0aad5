"""A bell at the door of an association: any process of the archive can ring it, and its thread hears it when idle.

A datagram socket with a name that the system chooses and forgets with its last descriptor, so that a bell whose
association is over cannot be rung. What rings is only a hint to look into the index: it carries nothing.
"""

import contextlib
import socket

_MAX_PENDING_BYTES = 64


class Bell:
    """Belongs to the thread of one association; close it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.bind("")  # Linux: a free name in the abstract namespace
        self.address = bytes(self._socket.getsockname()).hex()

    def fileno(self) -> int:
        """Return the descriptor that is readable while the bell has been rung."""
        return self._socket.fileno()

    def answer(self) -> None:
        """Forget that it was rung."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(_MAX_PENDING_BYTES)

    def close(self) -> None:
        """Take the bell away."""
        self._socket.close()


def ring(address: str) -> bool:
    """Ring the bell at an address; False if there is none any more. Never waits."""
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as caller:
        try:
            caller.sendto(b"!", bytes.fromhex(address))
        except BlockingIOError:  # it rings so much already that one more makes no difference
            return True
        except OSError:
            return False
    return True
