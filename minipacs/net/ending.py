"""How associations end, established or not: outcomes, and what is sent last (PS3.8 7.2 to 7.4, 9.1.5)."""

from contextlib import suppress
from typing import Literal

from minipacs.net.wire import stream
from minipacs.net.wire.transport import ConnectionLost, TimedOut, Transport

ABORT_LINGER_S = 5

SERVICE_USER, SERVICE_PROVIDER = 0, 2
"""Sources of an A-ABORT (PS3.8 9.3.8)."""

Ending = Literal["released", "aborted", "lost", "timeout", "protocol_error", "shutdown", "rejected", "failed"]
"""How an association can end: a closed set, since metrics are labelled with it."""


class AssociationEnded(Exception):
    """The association is over; `reason` is for the log, `abort` the source and reason of the A-ABORT to send."""

    def __init__(self, outcome: Ending, reason: str = "", abort: tuple[int, int] | None = None) -> None:
        super().__init__(reason or outcome)
        self.outcome: Ending = outcome
        self.reason = reason
        self.abort = abort


def violation(what: str, reason: int = 0) -> AssociationEnded:
    """The end that a peer brings about by breaking the protocol (PS3.8 9.3.8: source 2, the provider)."""
    return AssociationEnded("protocol_error", what, (SERVICE_PROVIDER, reason))


def timed_out(what: str) -> AssociationEnded:
    """The end of an association whose peer does not go on."""
    return AssociationEnded("timeout", what, (SERVICE_USER, 0))


def end(transport: Transport, cause: AssociationEnded, artim_s: float) -> None:
    """Answer the release or send the A-ABORT that is due, and close, after the peer if it does so within `artim_s`."""
    if cause.abort is not None:
        abort(transport, *cause.abort, artim_s)
    elif cause.outcome == "released":
        with suppress(ConnectionLost, TimedOut):
            transport.send([stream.control_pdu(stream.A_RELEASE_RP)], artim_s)
        transport.linger(artim_s)
    transport.close()


def abort(transport: Transport, source: int, reason: int, artim_s: float) -> None:
    """Send an A-ABORT if the socket takes it at once, let the peer read it, and close (PS3.8 9.1.5)."""
    with suppress(ConnectionLost, TimedOut):
        transport.send([stream.abort_pdu(source, reason)], 0)
    transport.linger(min(artim_s, ABORT_LINGER_S))
