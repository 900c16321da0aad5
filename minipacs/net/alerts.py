"""What the audit trail is told of callers: who was kept out, a flood of them as sums, and which users came in.

PS3.15 A.5.3.11, A.5.3.12.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from minipacs.audit import codes, events
from minipacs.audit.audit import Audit, application_entity, person
from minipacs.audit.codes import Code
from minipacs.audit.message import EventOutcome, Participant, ResourceObject
from minipacs.net.explanation import Explanation
from minipacs.net.summed_log import Summed


class Alerts:
    """Tells of refusals, and of users. Safe to use from any thread; `tell` is to be called now and then."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._sums = Summed(self._write)

    def refused(self, told: Explanation, reason: str, *, is_answered: bool = True) -> None:
        """Tell of a connection that became no association; some callers are refused too often to be answered."""
        outcome = EventOutcome.MINOR_FAILURE if is_answered else EventOutcome.SERIOUS_FAILURE
        self._note(codes.NODE_AUTHENTICATION, told, reason, outcome)

    def user_refused(self, told: Explanation, reason: str, *, is_answered: bool = True) -> None:
        """Tell of a caller whose user is not let in; one that names none is a node that is refused."""
        if not told.user:
            self.refused(told, reason, is_answered=is_answered)
            return
        outcome = EventOutcome.MINOR_FAILURE if is_answered else EventOutcome.SERIOUS_FAILURE
        self._note(codes.LOGIN, told, reason, outcome)

    def user(self, told: Explanation, *, login: bool, is_verified: bool) -> None:
        """Tell that an association was opened for a user, or is over; no sums are made of these."""
        if not self._audit.is_on:
            return
        who = person(told.user, told.calling, address=told.address)
        description = "" if is_verified else "by the name alone"
        self._audit.tell(events.user_authentication(who, login=login, node=self._audit.node, description=description))

    def denied(self, told: Explanation, rights: Sequence[str]) -> None:
        """Tell of a caller that asked for services without the rights to them."""
        reason = f"has no right to {', '.join(rights)}"
        self._note(codes.USE_OF_RESTRICTED_FUNCTION, told, reason, EventOutcome.MINOR_FAILURE)

    def forbidden(self, name: str, address: str, reason: str) -> None:
        """Tell that somebody asked over HTTP for what it has no right to."""
        told = Explanation("", address, calling=name)
        self._note(codes.USE_OF_RESTRICTED_FUNCTION, told, reason, EventOutcome.MINOR_FAILURE)

    def tell(self) -> None:
        """Tell the sums that are due."""
        self._sums.tell()

    def _note(self, kind: Code, told: Explanation, reason: str, outcome: EventOutcome) -> None:
        if self._audit.is_on:
            fields = {
                "kind": kind,
                "calling": told.calling,
                "user": told.user,
                "reason": reason,
                "outcome": outcome,
            }
            self._sums.warn(kind.meaning, told.address, fields)

    def _write(self, event: str, fields: Mapping[str, object]) -> None:
        address = str(fields["address"])
        if "more" in fields:
            kind = next(kind for kind in _KINDS if kind.meaning == event)
            reason = f"{fields['more']} more of this kind ({event}) within {fields['within_s']} s"
            kind = codes.NODE_AUTHENTICATION if kind is codes.LOGIN else kind
            self._alert(kind, Participant(address, address=address), address, reason, EventOutcome.MINOR_FAILURE)
            return
        calling = str(fields["calling"])
        them = application_entity(calling, address) if calling else Participant(address, address=address)
        kind, outcome = cast(Code, fields["kind"]), cast(EventOutcome, fields["outcome"])
        if kind is codes.LOGIN:
            who, node = person(str(fields["user"]), calling, address=address), self._audit.node
            reason = str(fields["reason"])
            self._audit.tell(
                events.user_authentication(who, login=True, node=node, outcome=outcome, description=reason)
            )
            return
        self._alert(kind, them, calling or address, str(fields["reason"]), outcome)

    def _alert(self, kind: Code, them: Participant, node: str, reason: str, outcome: EventOutcome) -> None:
        resource = ResourceObject(node, reason)
        alert = events.security_alert(
            kind, self._audit.node, performers=[them], resources=[resource], outcome=outcome, description=reason
        )
        self._audit.tell(alert)


_KINDS = (codes.NODE_AUTHENTICATION, codes.USE_OF_RESTRICTED_FUNCTION, codes.LOGIN)
