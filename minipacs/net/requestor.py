"""Associations that this AE opens: to a C-MOVE destination, or for `minipacs echo` and `send` (PS3.8 7.1)."""

import select
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from minipacs.errors import MinipacsError
from minipacs.net import ending
from minipacs.net.access import Peer
from minipacs.net.association import Association, Timeouts
from minipacs.net.wire import stream
from minipacs.net.wire.negotiation import ProposedContext
from minipacs.net.wire.stream import ControlPdu, PduReader, ProtocolError
from minipacs.net.wire.transport import Companion, ConnectionLost, TimedOut, Transport

MAX_CONTEXTS = 128
_REASONS = {
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""By source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""


class AssociationRefused(MinipacsError):
    """No association could be opened; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Requestor:
    """Opens associations under `ae_title`; `tls` is for peers that are called with TLS."""

    ae_title: str
    timeouts: Timeouts
    max_pdu_bytes: int
    tls: ssl.SSLContext | None = None

    def called(self, ae_title: str) -> "Requestor":
        """Return one under another title: that by which the peer called us."""
        return replace(self, ae_title=ae_title)

    def open(
        self,
        peer: Peer,
        contexts: Sequence[ProposedContext],
        companion: Companion | None = None,
        roles: Mapping[str, tuple[bool, bool]] | None = None,
    ) -> Association:
        """Connect to `peer` and negotiate `contexts` (1 to 128), with us as SCU, or in the `roles` (SCU, SCP) given.

        `companion` is attended to while the peer is waited for, then and as long as the association lives. Raises
        AssociationRefused, and what the companion raises.
        """
        from minipacs.net.wire import acse  # and pynetdicom: only who calls somebody waits for it

        try:
            transport = Transport.connect(peer.host, peer.port, self.timeouts.connect, companion)
        except OSError as error:
            raise AssociationRefused(f"cannot connect: {error.strerror or error}") from error
        reader = PduReader()
        try:
            if peer.tls:
                self._secure(transport, peer)
            request = acse.encode_request(self.ae_title, peer.title, contexts, self.max_pdu_bytes, roles)
            transport.send([request], self.timeouts.acse)
            answer = self._answer(transport, reader)
            accepted, max_pdu_bytes = acse.decode_accept(answer, contexts, roles)
        except ProtocolError as error:
            ending.abort(transport, ending.SERVICE_PROVIDER, error.reason, self.timeouts.acse)
            raise AssociationRefused(str(error)) from error
        except (ConnectionLost, TimedOut) as error:
            transport.close()
            reason = str(error) or f"no answer within {self.timeouts.acse:g} s"
            raise AssociationRefused(f"no association: {reason}") from error
        except BaseException:
            transport.close()
            raise
        association = Association(transport, reader, accepted, max_pdu_bytes, self.timeouts)
        association.implementation, association.granted_roles = acse.told_of_peer(answer)
        return association

    def _secure(self, transport: Transport, peer: Peer) -> None:
        """Do the TLS handshake, and look whether the certificate is the peer's. Raises ConnectionLost, TimedOut."""
        if self.tls is None:
            raise AssociationRefused("peer.tls is set, but there is no TLS here")
        transport.secure(self.tls, peer.host)
        transport.establish(time.monotonic() + self.timeouts.acse)
        shown = transport.channel.certificate
        if peer.certificate and (shown is None or not shown.is_named(peer.certificate)):
            raise AssociationRefused(f"TLS: the certificate is not {peer.certificate}: {shown and shown.subject}")

    def _answer(self, transport: Transport, reader: PduReader) -> bytes:
        deadline = time.monotonic() + self.timeouts.acse
        while (found := reader.next()) is None:
            transport.wait(select.POLLIN, deadline)
            reader.filled(transport.receive_now(reader.space()))
        if not isinstance(found, ControlPdu) or found.pdu_type == stream.A_ABORT:
            raise AssociationRefused("aborted")
        if found.pdu_type == stream.A_ASSOCIATE_RJ:
            _, result, source, reason = found.body
            words = _REASONS.get((source, reason), "no reason given")
            raise AssociationRefused(f"rejected: {words} ({result}/{source}/{reason})")
        if found.pdu_type != stream.A_ASSOCIATE_AC:
            raise AssociationRefused(f"answered with a PDU of type {found.pdu_type:02X}H")
        return found.body
