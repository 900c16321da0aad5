"""Who may call, from where, for what (contract: `[access]`, `[[peer]]`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

from minipacs.net.identity.user_identity import NOBODY, Identification, IdentityRefused, UserCheck
from minipacs.net.identity.users import CheckingIsBusy
from minipacs.net.places import Limit, Places
from minipacs.net.wire.addresses import read_address, read_network
from minipacs.net.wire.certificate import Certificate
from minipacs.net.wire.names import NAMES, NameNotResolved
from minipacs.net.wire.negotiation import APPLICATION_CONTEXT_NAME, MIN_PDU_BYTES, Proposal, Right

RIGHTS: tuple[Right, ...] = get_args(Right)
"""Bits before the IPv4 address in one that is mapped into IPv6 (RFC 4291 2.5.5.2)."""
OTHER = "other"
"""The label of callers that are not configured."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A known remote AE. `host` is a name, an address or a network; empty: from anywhere, and no move destination.

    `charset` is assumed for its identifiers and objects that name none. `max_associations` 0 means no limit of its own.
    `transfer_syntaxes` are those in which objects are rather sent to it than as stored, the best first. With `tls` it
    is called with TLS and has to call with it; `certificate` is how the one it shows is named, empty: in any way.
    """

    title: str
    host: str = ""
    port: int = 104
    allow: tuple[Right, ...] = RIGHTS
    charset: str = ""
    max_associations: int = 0
    transfer_syntaxes: tuple[str, ...] = ()
    tls: bool = False
    certificate: str = ""

    @property
    def is_destination(self) -> bool:
        """Tell whether an association can be opened to it."""
        return bool(self.host) and "/" not in self.host

    def covers(self, address: str) -> bool:
        """Tell whether a caller at `address` is this peer. Raises NameNotResolved."""
        if not self.host:
            return True
        caller = read_address(address)
        network = read_network(self.host)
        if network is not None:
            return caller in network
        return any(caller == read_address(found) for found in NAMES.addresses(self.host))

    def credentials_fault(self, origin: "Origin") -> "Rejection | None":
        """Say what is wrong with how a caller of this title shows who it is, whatever address it calls from."""
        if not origin.is_encrypted:
            return _NOT_ENCRYPTED if self.tls or self.certificate else None
        if self.certificate and (origin.certificate is None or not origin.certificate.is_named(self.certificate)):
            shown = origin.certificate.subject if origin.certificate is not None else "none"
            return replace(_OTHER_CERTIFICATE, why=f"{_OTHER_CERTIFICATE.why}: {shown}")
        return None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from; if it is encrypted, with the certificate that was shown, if one was."""

    address: str
    certificate: Certificate | None = None
    is_encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """The requestor of an association, as services and the log know it. `label` is from a closed set.

    `certificate` is the subject of the one it has shown, "" for none. `user` is who it was let in as, by a passcode if
    `user_is_verified`; of one that was rejected, who it claims to be.
    """

    association_id: str
    ae_title: str
    called_ae_title: str
    address: str
    label: str
    peer: Peer | None
    certificate: str = ""
    user: str = ""
    user_is_verified: bool = False


@dataclass(frozen=True, slots=True)
class Rejection:
    """An A-ASSOCIATE-RJ (PS3.8 Table 9-21) with the reason for the log, and the setting to change.

    `is_of_user` tells that it is for the user of the caller, not for the caller itself.
    """

    result: int
    source: int
    reason: int
    why: str
    remedy: str = ""
    is_of_user: bool = False


PERMANENT, TRANSIENT = 1, 2
_USER, _ACSE, _PRESENTATION = 1, 2, 3
_NOT_OUR_PROTOCOL = Rejection(PERMANENT, _ACSE, 2, "protocol version not supported")
_NOT_OUR_CONTEXT = Rejection(PERMANENT, _USER, 2, "application context name not supported")
_CALLED_UNKNOWN = Rejection(PERMANENT, _USER, 7, "called AE title not recognized", "ae.title, or ae.check_called_title")
_CALLING_UNKNOWN = Rejection(PERMANENT, _USER, 3, "calling AE title not recognized", "a [[peer]] of this title")
_CALLING_ELSEWHERE = Rejection(
    PERMANENT, _USER, 3, "calling AE title is that of a peer at another address", "peer.host"
)
_NOT_ENCRYPTED = Rejection(
    PERMANENT, _USER, 3, "calling AE title is that of a peer that has to call with TLS", "peer.tls"
)
_OTHER_CERTIFICATE = Rejection(
    PERMANENT, _USER, 3, "certificate is not that of the calling AE title", "peer.certificate"
)
_NOT_RESOLVED = Rejection(
    TRANSIENT, _PRESENTATION, 1, "the host of the calling AE title cannot be looked up", "peer.host"
)
_IDENTITY = Rejection(
    PERMANENT, _ACSE, 1, "user identity refused", "access.identity, or minipacs passwd", is_of_user=True
)
_IDENTITY_BUSY = Rejection(
    TRANSIENT,
    _PRESENTATION,
    1,
    "too many passcodes are being checked, or too many were wrong: try again",
    is_of_user=True,
)
_NO_ROOM = Rejection(PERMANENT, _USER, 1, "maximum PDU length too small")
_LIMIT = Rejection(TRANSIENT, _PRESENTATION, 2, "limit of associations reached", "ae.max_associations")
_PEER_LIMIT = Rejection(
    TRANSIENT, _PRESENTATION, 2, "the peer's limit of associations reached", "peer.max_associations"
)
_SHUTTING_DOWN = Rejection(TRANSIENT, _PRESENTATION, 1, "shutting down")
_LIMITS: Mapping[Limit, Rejection] = {"all": _LIMIT, "peer": _PEER_LIMIT}


@dataclass(frozen=True, slots=True)
class Admission:
    """A caller let in: the rights it has, the peer it is, if configured, and its user, if it named one."""

    rights: tuple[Right, ...]
    peer: Peer | None
    identification: Identification = NOBODY

    @property
    def label(self) -> str:
        """Return the caller's name in metrics: from a closed set."""
        return self.peer.title if self.peer is not None else OTHER


class PeerTable:
    """The configured peers, by their titles."""

    def __init__(self, peers: Iterable[Peer]) -> None:
        self.by_title: Mapping[str, Peer] = MappingProxyType({peer.title: peer for peer in peers})

    def destination(self, ae_title: str) -> Peer | None:
        """Return the peer to open an association to, or None if there is none of that title that has a host to call."""
        peer = self.by_title.get(ae_title)
        return peer if peer is not None and peer.is_destination else None


class Access:
    """Admits callers and counts them. Under policy "open" anybody may call, and configured peers keep their rights.

    `places` are shared with the other workers, if there are any. Without `users` nobody's user is looked at. Safe to
    call from any thread.
    """

    def __init__(
        self,
        ae_title: str,
        policy: Literal["open", "peers"],
        peers: PeerTable,
        max_associations: int,
        *,
        check_called_title: bool = False,
        places: Places | None = None,
        users: UserCheck | None = None,
    ) -> None:
        self._ae_title = ae_title
        self.policy = policy
        self._peers = peers.by_title
        self._max_associations = max_associations
        self._check_called_title = check_called_title
        self._places = places or Places.alone(self._peers)
        self._users = users
        self._is_closed = False

    @property
    def active(self) -> int:
        """Return how many associations this process has open."""
        return self._places.taken

    def close(self) -> None:
        """Reject whoever calls from now on: the archive is shutting down."""
        self._is_closed = True

    def is_configured(self, ae_title: str) -> bool:
        """Tell whether a peer has this title."""
        return ae_title in self._peers

    def admit(self, proposal: Proposal, origin: Origin, check_s: float = 0) -> Admission | Rejection:
        """Let a caller in, or say why not. What is admitted must be given back with `leave`.

        A passcode that is not remembered has its turn to be checked within `check_s`; no place is held meanwhile.
        """
        rejection = _SHUTTING_DOWN if self._is_closed else self._unfit(proposal)
        if rejection is not None:
            return rejection
        peer = self._identify(proposal.calling_ae_title, origin)
        if isinstance(peer, Rejection):
            return peer
        found = self._identify_user(proposal, check_s)
        if isinstance(found, Rejection):
            return found
        if self._is_closed:
            return _SHUTTING_DOWN
        title, limit = ("", 0) if peer is None else (peer.title, peer.max_associations)
        full = self._places.take(title, self._max_associations, limit)
        if full is not None:
            return _LIMITS[full]
        allowed = RIGHTS if peer is None else peer.allow
        if found.rights is not None:
            allowed = tuple(right for right in allowed if right in found.rights)
        return Admission(allowed, peer, found)

    def _identify_user(self, proposal: Proposal, check_s: float) -> Identification | Rejection:
        """Find the user that calls, whose rights bound those of the peer (PS3.7 D.3.3.7)."""
        if self._users is None:
            return NOBODY
        try:
            return self._users.identify(proposal.user_identity, check_s)
        except IdentityRefused as error:
            return replace(_IDENTITY, why=f"{_IDENTITY.why}: {error}")
        except CheckingIsBusy:
            return _IDENTITY_BUSY

    def _identify(self, ae_title: str, origin: Origin) -> Peer | Rejection | None:
        """Find the peer that calls, None for a stranger who may; who falls short of a peer's proof is never one."""
        known = self._peers.get(ae_title)
        if known is None:
            return _CALLING_UNKNOWN if self.policy == "peers" else None
        fault = known.credentials_fault(origin)
        if fault is not None:
            return fault
        try:
            if known.covers(origin.address):
                return known
        except NameNotResolved as error:
            if self.policy == "peers":
                return replace(_NOT_RESOLVED, why=f"{_NOT_RESOLVED.why}: {error}")
        return _CALLING_ELSEWHERE if self.policy == "peers" else None

    def leave(self, admission: Admission) -> None:
        """Give an admission back, once."""
        self._places.give_back("" if admission.peer is None else admission.peer.title)

    def _unfit(self, proposal: Proposal) -> Rejection | None:
        if not proposal.protocol_version & 1:
            return _NOT_OUR_PROTOCOL
        if proposal.application_context != APPLICATION_CONTEXT_NAME:
            return _NOT_OUR_CONTEXT
        wrong_title = self._check_called_title and proposal.called_ae_title != self._ae_title
        if not proposal.called_ae_title or wrong_title:
            return _CALLED_UNKNOWN
        if not proposal.calling_ae_title:
            return _CALLING_UNKNOWN
        if 0 < proposal.max_pdu_bytes < MIN_PDU_BYTES:
            return _NO_ROOM
        return None
