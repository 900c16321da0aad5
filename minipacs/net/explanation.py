"""What an association was, told so that one who was not there understands it: proposed, answered, why, what happened.

Kept in a table that `minipacs associations` reads. It answers the commonest question in the field: why does this
modality not connect?
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from minipacs.net.access import Rejection
from minipacs.net.association import Association
from minipacs.net.ending import AssociationEnded
from minipacs.net.identity.rights import MAX_NAME_CHARS
from minipacs.net.wire.negotiation import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTANCE,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    USER_REJECTION,
    Acceptance,
    Proposal,
)

MAX_SYNTAXES = 40
"""Transfer syntaxes told of each context: there are not many more."""
MAX_UID_CHARS = 64

REASONS: Mapping[int, tuple[str, str]] = {
    ACCEPTANCE: ("", ""),
    USER_REJECTION: (
        "not allowed",
        "peer.allow, or the rights of its user, if these lack the right to the service; else none: it proposes no role "
        "that is served",
    ),
    ABSTRACT_SYNTAX_NOT_SUPPORTED: (
        "of an unknown SOP class",
        "storage.sop_classes, if it is a storage class whose objects belong to a study",
    ),
    TRANSFER_SYNTAXES_NOT_SUPPORTED: (
        "without a known transfer syntax",
        "none here: let the peer propose another one, such as Implicit VR Little Endian",
    ),
}
"""For each result of a presentation context: why, and which setting would accept it (PS3.8 Table 9-18)."""


@dataclass(slots=True)
class Explanation:
    """One association, from its request to its end; a connection that got no further has no titles.

    `contexts` are rows of: context ID, abstract syntax, proposed transfer syntaxes, result, accepted transfer syntax.
    `remedy` tells which setting would accept what was rejected; `security` how it was encrypted, "" if it was not.
    `user` is who it was let in as; of what was rejected, who it claimed to be.
    """

    association_id: str
    address: str
    calling: str = ""
    called: str = ""
    peer: str = ""
    implementation: str = ""
    max_pdu_bytes: int = 0
    contexts: list[tuple[int, str, list[str], int, str]] = field(default_factory=list)
    operations: dict[str, int] = field(default_factory=dict)
    received_bytes: int = 0
    sent_bytes: int = 0
    outcome: str = ""
    reason: str = ""
    remedy: str = ""
    security: str = ""
    user: str = ""
    began_at: float = field(default_factory=time.time)
    duration_s: float = 0.0

    def proposed(self, proposal: Proposal) -> None:
        """Tell who calls and what is proposed."""
        self.calling, self.called = proposal.calling_ae_title, proposal.called_ae_title
        self.implementation = proposal.implementation_version_name or proposal.implementation_class_uid
        self.max_pdu_bytes = proposal.max_pdu_bytes
        if proposal.user_identity is not None:
            self.user = proposal.user_identity.name[:MAX_NAME_CHARS]
        self.contexts = [
            (
                c.context_id,
                c.abstract_syntax[:MAX_UID_CHARS],
                [uid[:MAX_UID_CHARS] for uid in c.transfer_syntaxes[:MAX_SYNTAXES]],
                -1,
                "",
            )
            for c in proposal.contexts
        ]

    def answered(self, acceptance: Acceptance) -> None:
        """Tell how each proposed context was answered."""
        self.contexts = [
            (*row[:3], answer.result, answer.transfer_syntax if answer.result == ACCEPTANCE else "")
            for row, answer in zip(self.contexts, acceptance.answers, strict=True)
        ]

    def rejected(self, rejection: Rejection) -> None:
        """Tell why there was no association."""
        self.outcome, self.reason, self.remedy = "rejected", rejection.why, rejection.remedy

    def ended(self, ended: AssociationEnded, duration_s: float, association: Association | None = None) -> None:
        """Tell how it ended, how long it took by a clock that is never set, and what went over it."""
        self.outcome, self.reason = ended.outcome, ended.reason
        self.duration_s = round(duration_s, 3)
        if association is not None:
            self.operations = dict(association.operations)
            self.received_bytes, self.sent_bytes = association.received_bytes, association.sent_bytes
