"""What an association may carry: proposals in, accepted presentation contexts out (PS3.7 D.3, PS3.8 7.1.1.13)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from minipacs.dicom.tables.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.net.identity.user_identity import UserIdentity

Right = Literal["echo", "store", "find", "retrieve", "worklist", "mpps", "commit"]
"""The service group that a peer may be allowed or denied."""

ACCEPTANCE, USER_REJECTION, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 1, 3, 4
"""Results of a presentation context (PS3.8 Table 9-18)."""

APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"
STORAGE_SERVICE_CLASS_UID = "1.2.840.10008.4.2"

MIN_PDU_BYTES = 16
"""A peer that takes less than this leaves no room for a fragment."""


@dataclass(frozen=True, slots=True)
class OfferedClass:
    """A SOP class that this AE accepts.

    `transfer_syntaxes` stand in our order of preference, unless `keep_proposed_order`: then the requestor's first
    choice holds, but Implicit VR Little Endian only if nothing else is proposed, since senders must not decompress
    for us. `scu` tells that we also act as SCU of the class if the requestor asks for it (C-GET).
    `extended` is our answer to SOP Class Extended Negotiation, cut or filled to the length offered; with
    `extended_flags` it holds flags, granted where they are asked for.
    """

    abstract_syntax: str
    right: Right
    transfer_syntaxes: tuple[str, ...]
    keep_proposed_order: bool = False
    scu: bool = False
    extended: bytes = b""
    extended_flags: bool = False

    def choose(self, proposed: Sequence[str]) -> str | None:
        """Return the transfer syntax to accept, or None."""
        if not self.keep_proposed_order:
            return next((uid for uid in self.transfer_syntaxes if uid in proposed), None)
        known = [uid for uid in proposed if uid in self.transfer_syntaxes]
        return next((uid for uid in known if uid != IMPLICIT_VR_LITTLE_ENDIAN), known[0] if known else None)

    def answer_extended(self, offered: bytes) -> bytes:
        """Answer as many bytes as were offered (PS3.4 C.5.1.1, B.3.1)."""
        ours = self.extended[: len(offered)].ljust(len(offered), b"\0")
        return bytes(map(min, ours, offered)) if self.extended_flags else ours


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as a requestor proposes it."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """An accepted presentation context; the roles are those of this AE.

    `extended` is what both sides agreed on in SOP Class Extended Negotiation, empty if nothing was offered.
    """

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    as_scp: bool = True
    as_scu: bool = False
    extended: bytes = b""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An A-ASSOCIATE-RQ as far as the negotiation needs it. `max_pdu_bytes` 0 means no limit.

    `roles` maps a SOP class to the (SCU, SCP) roles that the requestor proposes for itself, `extended` to its
    application information, `general_classes` to the classes it says it is related to, the service class included.
    """

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    protocol_version: int = 1
    application_context: str = ""
    max_pdu_bytes: int = 0
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    general_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wants_async_window: bool = False
    user_identity: UserIdentity | None = None


@dataclass(frozen=True, slots=True)
class ContextAnswer:
    """The one answer to a proposed context; `transfer_syntax` is only significant for an acceptance."""

    context_id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What an A-ASSOCIATE-AC says, and the contexts it opens."""

    answers: tuple[ContextAnswer, ...]
    contexts: Mapping[int, PresentationContext]
    roles: Mapping[str, tuple[bool, bool]]
    extended: Mapping[str, bytes]


def negotiate(proposal: Proposal, offered: Mapping[str, OfferedClass], rights: Iterable[str]) -> Acceptance:
    """Answer every proposed context, once and on its own, in the order proposed (PS3.8 9.3.3.2).

    Classes outside `rights` are refused by the user (result 1).
    """
    allowed = frozenset(rights)
    answers: list[ContextAnswer] = []
    contexts: dict[int, PresentationContext] = {}
    roles: dict[str, tuple[bool, bool]] = {}
    extended: dict[str, bytes] = {}
    for proposed in proposal.contexts:
        ours = _find_class(proposed.abstract_syntax, proposal, offered)
        result, chosen = _judge(ours, proposed, allowed)
        if ours is not None and result == ACCEPTANCE:
            context, role = _accept(proposed, chosen, ours, proposal)
            if context.as_scp or context.as_scu:
                contexts[proposed.context_id] = context
                if role is not None:
                    roles[proposed.abstract_syntax] = role
                if proposed.abstract_syntax in proposal.extended:
                    extended[proposed.abstract_syntax] = context.extended
            else:
                result = USER_REJECTION
        answers.append(ContextAnswer(proposed.context_id, result, chosen))
    return Acceptance(tuple(answers), contexts, roles, extended)


def _find_class(uid: str, proposal: Proposal, offered: Mapping[str, OfferedClass]) -> OfferedClass | None:
    """Look a class up, or the general class that Common Extended Negotiation relates it to (PS3.7 D.3.3.6)."""
    if uid in offered:
        return offered[uid]
    general = (offered.get(g) for g in proposal.general_classes.get(uid, ()))
    return next((g for g in general if g is not None and g.right == "store"), None)


def _judge(ours: OfferedClass | None, proposed: ProposedContext, allowed: frozenset[str]) -> tuple[int, str]:
    any_syntax = proposed.transfer_syntaxes[0] if proposed.transfer_syntaxes else IMPLICIT_VR_LITTLE_ENDIAN
    if ours is None:
        return ABSTRACT_SYNTAX_NOT_SUPPORTED, any_syntax
    if ours.right not in allowed:
        return USER_REJECTION, any_syntax
    chosen = ours.choose(proposed.transfer_syntaxes)
    return (TRANSFER_SYNTAXES_NOT_SUPPORTED, any_syntax) if chosen is None else (ACCEPTANCE, chosen)


def _accept(
    proposed: ProposedContext, transfer_syntax: str, ours: OfferedClass, proposal: Proposal
) -> tuple[PresentationContext, tuple[bool, bool] | None]:
    """Open a context; the second value is the role item to answer with, if one was proposed (PS3.7 D.3.3.4)."""
    asked = proposal.roles.get(proposed.abstract_syntax)
    requestor_scu, requestor_scp = (True, False) if asked is None else (asked[0], asked[1] and ours.scu)
    context = PresentationContext(
        proposed.context_id,
        proposed.abstract_syntax,
        transfer_syntax,
        as_scp=requestor_scu,
        as_scu=requestor_scp,
        extended=ours.answer_extended(proposal.extended.get(proposed.abstract_syntax, b"")),
    )
    return context, None if asked is None else (requestor_scu, requestor_scp)
