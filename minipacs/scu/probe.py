"""What a peer would accept, found out by negotiating alone: nothing is sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from minipacs.dicom.tables.sop_classes import (
    INSTANCE_AVAILABILITY,
    MODALITY_WORKLIST,
    PERFORMED_STEP,
    QUERY_RETRIEVE,
    STORAGE_COMMITMENT,
    VERIFICATION,
)
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.net.access import Peer
from minipacs.net.requestor import MAX_CONTEXTS, Requestor
from minipacs.net.wire.negotiation import ProposedContext
from minipacs.pixels.codecs import can_transcode
from minipacs.scu.sub_operations import usable

_MESSAGE_SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
SERVICES = (
    VERIFICATION,
    *QUERY_RETRIEVE,
    MODALITY_WORKLIST,
    PERFORMED_STEP,
    STORAGE_COMMITMENT,
    INSTANCE_AVAILABILITY,
)
"""Classes beside storage that a peer is asked for."""
BOTH_ROLES = True, True
"""Proposed for all classes: as SCU, and as SCP (PS3.7 D.3.3.4), as which we would be told or sent objects."""

Kind = tuple[str, str]
"""A SOP class and a transfer syntax."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a peer accepts. `roles` are those that it grants us, as SCU and SCP, by SOP class, where it tells.

    `max_pdu_bytes` 0 means no limit; `implementation` is a UID and a version name, as it tells them.
    """

    accepted: frozenset[Kind]
    roles: Mapping[str, tuple[bool, bool]]
    max_pdu_bytes: int
    implementation: tuple[str, str]
    associations: int

    def syntaxes(self, sop_class_uid: str) -> list[str]:
        """List the transfer syntaxes in which a class is accepted."""
        return sorted(syntax for sop_class, syntax in self.accepted if sop_class == sop_class_uid)

    def way(self, sop_class_uid: str, stored: str, preferred: Sequence[str]) -> str | None:
        """Return the transfer syntax that an object would be sent in, None if in none; as `Sender` chooses it."""
        granted_as_scu, _ = self.roles.get(sop_class_uid, (True, False))
        ways = usable(stored, self.syntaxes(sop_class_uid), preferred) if granted_as_scu else []
        return next(iter(ways), None)


def kinds_to_send(held: Iterable[Kind], preferred: Sequence[str]) -> list[Kind]:
    """List what would be proposed for objects: as stored, as the peer prefers it, and uncompressed."""
    found: dict[Kind, None] = {}
    for sop_class, stored in held:
        others = [uid for uid in (*preferred, *_MESSAGE_SYNTAXES) if can_transcode(stored, uid)]
        found |= {(sop_class, syntax): None for syntax in (stored, *others)}
    return list(found)


def probe(
    requestor: Requestor, peer: Peer, kinds: Sequence[Kind], on_association: Callable[[], object] = lambda: None
) -> Found:
    """Ask for each of these kinds, and for services, over as many associations as it takes. Raises MinipacsError."""
    wanted = list(dict.fromkeys([*((uid, syntax) for uid in SERVICES for syntax in _MESSAGE_SYNTAXES), *kinds]))
    accepted: set[Kind] = set()
    roles: dict[str, tuple[bool, bool]] = {}
    limits, implementation, count = 0, ("", ""), 0
    for begin in range(0, len(wanted), MAX_CONTEXTS):
        part = wanted[begin : begin + MAX_CONTEXTS]
        contexts = [ProposedContext(2 * n + 1, uid, (syntax,)) for n, (uid, syntax) in enumerate(part)]
        association = requestor.open(peer, contexts, roles=dict.fromkeys((uid for uid, _ in part), BOTH_ROLES))
        for context in association.contexts.values():
            accepted.add((context.abstract_syntax, context.transfer_syntax))
        roles.update(association.granted_roles)
        limits, implementation, count = association.max_pdu_bytes, association.implementation, count + 1
        association.release()
        on_association()
    return Found(frozenset(accepted), roles, limits, implementation, count)
