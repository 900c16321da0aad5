"""From an accepted socket to an established association, and to its end, in the association's own thread."""

import itertools
import logging
import os
import secrets
import select
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from minipacs.net import ending
from minipacs.net.access import OTHER, PERMANENT, Access, Admission, Caller, Origin, Rejection
from minipacs.net.alerts import Alerts
from minipacs.net.association import Association, Timeouts
from minipacs.net.ending import SERVICE_USER, AssociationEnded, violation
from minipacs.net.explanation import REASONS, Explanation
from minipacs.net.identity.user_identity import Identification
from minipacs.net.rejections import BURST, Rejections
from minipacs.net.summed_log import SummedLog
from minipacs.net.wire import acse, stream
from minipacs.net.wire.channel import HandshakeFailed
from minipacs.net.wire.negotiation import ACCEPTANCE, Acceptance, OfferedClass, Proposal, negotiate
from minipacs.net.wire.stream import ControlPdu, PduReader, ProtocolError
from minipacs.net.wire.transport import ConnectionLost, TimedOut, Transport, Woken

logger = logging.getLogger(__name__)

TOKEN_BYTES = 3
"""Of an association's ID, which tells it from those of earlier processes with the same number."""
_TITLES_IN_REQUEST = slice(4, 68)
_TLS = "\\TLS"
"""Counted apart, as if it were a title, which has no backslash: handshakes refused at an address."""


class AssociationObserver(Protocol):
    """Is told of associations; called from their threads."""

    def association_opened(self) -> None:
        """Count an association that was accepted."""

    def association_ended(self, peer: str, outcome: str, /) -> None:
        """Count the end of one that was accepted."""

    def association_rejected(self, peer: str, /) -> None:
        """Count one that was not."""

    def handshake(self, outcome: str, /) -> None:
        """Count a TLS handshake that ended: with one of `channel.KINDS`."""


Serve = Callable[[Association, Caller], AssociationEnded]
"""Serves an association until it ends and tells how; raises nothing."""


class Acceptor:
    """Establishes associations as acceptor and hands them to `serve`. Shared by all association threads.

    `explain` is given the account of every association that has ended or was rejected, and of every connection that
    did not become one, save those that were closed without a word.
    """

    def __init__(
        self,
        offered: Mapping[str, OfferedClass],
        access: Access,
        timeouts: Timeouts,
        max_pdu_bytes: int,
        serve: Serve,
        observer: AssociationObserver,
        alerts: Alerts,
        explain: Callable[[Explanation], None] = lambda told: None,
    ) -> None:
        self.access = access
        self._offered = offered
        self._timeouts = timeouts
        self._max_pdu_bytes = max_pdu_bytes
        self._serve = serve
        self._observer = observer
        self.alerts = alerts
        self._explain = explain
        self._rejections = Rejections()
        self.summed = SummedLog(logger)
        self._ids = itertools.count(1)
        self._process = f"{os.getpid()}-{secrets.token_hex(TOKEN_BYTES)}"

    def run(self, transport: Transport, address: str) -> None:
        """Serve one connection to its end; the transport is closed then. Logs one line an association.

        A caller that was rejected too often is not answered.
        """
        told = Explanation(f"{self._process}-{next(self._ids)}", address)
        started = time.monotonic()
        try:
            self._run(transport, told, started)
        except AssociationEnded as ended:
            if ended.abort is not None or ended.outcome in ("timeout", "rejected"):
                fields = {"association": told.association_id, "reason": ended.reason}
                self.summed.warn("association not established", address, fields)
                told.ended(ended, time.monotonic() - started)
            if ended.outcome == "rejected":
                self.alerts.refused(told, ended.reason)
            ending.end(transport, ended, self._timeouts.acse)
        except Exception:
            logger.exception("association failed", extra={"fields": {"association": told.association_id}})
            ending.abort(transport, SERVICE_USER, 0, self._timeouts.acse)
        finally:
            transport.close()
            if told.outcome:
                self._explain(told)

    def _run(self, transport: Transport, told: Explanation, started: float) -> None:
        reader = PduReader()
        deadline = started + self._timeouts.acse
        if transport.channel.is_encrypted:
            self._establish(transport, told.address, deadline)
        told.security = transport.channel.description
        body = self._first_pdu(transport, reader, deadline)
        try:
            proposal = acse.decode_request(body)
        except ProtocolError as error:
            raise violation(str(error), error.reason) from error
        limited = self._limited(told.address, proposal)
        may_check = proposal.user_identity is not None and not self._rejections.is_excessive(limited)
        check_s = deadline - time.monotonic() if may_check else 0.0
        admission = self.access.admit(proposal, _origin(transport, told.address), check_s)
        shown = transport.channel.certificate
        caller = _caller(told, proposal, admission, "" if shown is None else shown.subject)
        told.proposed(proposal)
        told.peer = caller.label
        if isinstance(admission, Rejection):
            self._observer.association_rejected(caller.label)
            is_answered = admission.result != PERMANENT or self._is_answered(limited, admission.why)
            if admission.is_of_user:
                is_checked = is_answered and admission.result == PERMANENT
                self.alerts.user_refused(told, admission.why, is_answered=is_checked)
            elif admission.result == PERMANENT:
                self.alerts.refused(told, admission.why, is_answered=is_answered)
            if is_answered:
                told.rejected(admission)
                self._reject(transport, admission, caller)
            return
        told.user = caller.user
        transport.is_named = True
        try:
            acceptance = negotiate(proposal, self._offered, admission.rights)
            answer = self._answer(proposal, acceptance, body, admission.identification)
            association = Association(transport, reader, acceptance.contexts, proposal.max_pdu_bytes, self._timeouts)
            told.answered(acceptance)
            if denied := self._denied(proposal, admission):
                self.alerts.denied(told, denied)
            association.send_all([answer])
            ended = self._serve_user(association, caller, told, started)
        finally:
            self.access.leave(admission)
        association.end(ended)

    def _denied(self, proposal: Proposal, admission: Admission) -> list[str]:
        """List the rights that a caller lacks for what it proposes."""
        asked = {
            self._offered[context.abstract_syntax].right
            for context in proposal.contexts
            if context.abstract_syntax in self._offered
        }
        return sorted(asked.difference(admission.rights))

    def _answer(self, proposal: Proposal, acceptance: Acceptance, body: bytes, identification: Identification) -> bytes:
        titles = body[_TITLES_IN_REQUEST]
        try:
            return acse.encode_accept(proposal, acceptance, titles, self._max_pdu_bytes, identification.answer)
        except ProtocolError as error:
            raise violation(str(error), error.reason) from error

    def _establish(self, transport: Transport, address: str, deadline: float) -> None:
        """Do the TLS handshake, within the ARTIM time; a peer that it fails with gets to read why (PS3.15 B.12)."""
        outcome = "other"
        try:
            transport.establish(deadline, wakeable=True)
            outcome = "established"
        except HandshakeFailed as error:
            outcome = error.kind
            self._observer.association_rejected(OTHER)
            if not error.is_refusal or self._is_answered((address, _TLS), str(error)):
                transport.linger(min(self._timeouts.acse, ending.ABORT_LINGER_S))
            raise AssociationEnded("rejected", str(error)) from error
        except TimedOut:
            outcome = "timeout"
            raise AssociationEnded("timeout", f"TLS: no handshake within {self._timeouts.acse:g} s") from None
        except ConnectionLost as error:
            outcome = "closed"
            raise AssociationEnded("lost", str(error)) from error
        except Woken:
            raise AssociationEnded("shutdown") from None
        finally:
            self._observer.handshake(outcome)

    def _first_pdu(self, transport: Transport, reader: PduReader, deadline: float) -> bytes:
        """Return the body of the A-ASSOCIATE-RQ that must come within the ARTIM time (PS3.8 9.1.5)."""
        try:
            while (found := reader.next()) is None:
                transport.wait(select.POLLIN, deadline, wakeable=True)
                reader.filled(transport.receive_now(reader.space()))
        except ProtocolError as error:
            raise violation(str(error), error.reason) from error
        except TimedOut:
            raise AssociationEnded("timeout", f"no A-ASSOCIATE-RQ within {self._timeouts.acse:g} s") from None
        except ConnectionLost as error:
            raise AssociationEnded("lost", str(error)) from error
        except Woken:
            raise AssociationEnded("shutdown") from None
        if not isinstance(found, ControlPdu) or found.pdu_type not in (stream.A_ASSOCIATE_RQ, stream.A_ABORT):
            raise violation("the first PDU is no A-ASSOCIATE-RQ", stream.UNEXPECTED_PDU)
        if found.pdu_type == stream.A_ABORT:
            raise AssociationEnded("aborted")
        return found.body

    def _limited(self, address: str, proposal: Proposal) -> tuple[str, str]:
        """Return whose rejections are counted together: a configured title's, or all others', at an address."""
        title = proposal.calling_ae_title
        return address, title if self.access.is_configured(title) else ""

    def _is_answered(self, limited: tuple[str, str], why: str) -> bool:
        """Count a rejection; tells whether it is answered: those that come in a loop are not, for a while."""
        address, title = limited
        if self._rejections.is_excessive(limited):
            self.summed.warn("rejection not answered", address, {"calling": title or None, "reason": why})
            return False
        if self._rejections.note(limited):
            fields = {"address": address, "calling": title or None, "rejections": BURST}
            logger.warning("too many rejections: caller is not answered for a while", extra={"fields": fields})
        return True

    def _reject(self, transport: Transport, rejection: Rejection, caller: Caller) -> None:
        fields = {**_identity(caller), "reason": rejection.why}
        self.summed.warn("association rejected", caller.address, fields)
        pdu = acse.encode_reject(rejection.result, rejection.source, rejection.reason)
        try:
            transport.send([pdu], self._timeouts.acse)
        except (ConnectionLost, TimedOut):
            return
        transport.linger(self._timeouts.acse)

    def _serve_user(
        self, association: Association, caller: Caller, told: Explanation, started: float
    ) -> AssociationEnded:
        """Serve an association, and tell of its user, if it has one."""
        if not caller.user:
            return self._serve_and_log(association, caller, told, started)
        self.alerts.user(told, login=True, is_verified=caller.user_is_verified)
        try:
            return self._serve_and_log(association, caller, told, started)
        finally:
            self.alerts.user(told, login=False, is_verified=caller.user_is_verified)

    def _serve_and_log(
        self, association: Association, caller: Caller, told: Explanation, started: float
    ) -> AssociationEnded:
        self._observer.association_opened()
        ended = AssociationEnded("failed")
        try:
            ended = self._serve(association, caller)
        finally:
            self._observer.association_ended(caller.label, ended.outcome)
            told.ended(ended, time.monotonic() - started, association)
            fields: dict[str, object] = {
                **_identity(caller),
                "tls": told.security or None,
                "implementation": told.implementation,
                "contexts": f"{len(association.contexts)}/{len(told.contexts)}",
                "refused": _refused(told),
                "outcome": ended.outcome,
                "reason": ended.reason or None,
                "received_bytes": told.received_bytes,
                "sent_bytes": told.sent_bytes,
                "duration_s": told.duration_s,
            }
            level = logging.INFO if ended.outcome in ("released", "shutdown") else logging.WARNING
            logger.log(level, "association ended", extra={"fields": fields})
        return ended


def _caller(told: Explanation, proposal: Proposal, admission: Admission | Rejection, certificate: str) -> Caller:
    known = admission if isinstance(admission, Admission) else Admission((), None)
    titles = proposal.calling_ae_title, proposal.called_ae_title
    user = known.identification
    name = told.user if isinstance(admission, Rejection) else user.user
    return Caller(
        told.association_id,
        *titles,
        told.address,
        known.label,
        known.peer,
        certificate,
        name,
        user.is_verified,
    )


def _origin(transport: Transport, address: str) -> Origin:
    return Origin(address, transport.channel.certificate, is_encrypted=transport.channel.is_encrypted)


def _refused(told: Explanation) -> str | None:
    """Tell why contexts were refused: for each reason how many, and the first SOP class."""
    found: dict[int, list[str]] = {}
    for _, abstract_syntax, _, result, _ in told.contexts:
        if result != ACCEPTANCE:
            found.setdefault(result, []).append(abstract_syntax)
    return "; ".join(f"{len(uids)} {REASONS[result][0]}: {uids[0]}" for result, uids in found.items()) or None


def _identity(caller: Caller) -> dict[str, object]:
    return {
        "association": caller.association_id,
        "calling": caller.ae_title,
        "called": caller.called_ae_title,
        "address": caller.address,
        **({"user": caller.user} if caller.user else {}),
    }
