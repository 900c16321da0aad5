"""From an accepted socket to an established association, and to its end, in the association's own thread."""

import itertools
import logging
import os
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from minipacs.net import acse, stream
from minipacs.net.access import Access, Admission, Peer, Rejection
from minipacs.net.association import Association, AssociationEnded, Timeouts, violation
from minipacs.net.negotiation import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTANCE,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    USER_REJECTION,
    Acceptance,
    OfferedClass,
    Proposal,
    negotiate,
)
from minipacs.net.stream import ControlPdu, PduReader, ProtocolError
from minipacs.net.transport import ConnectionLost, TimedOut, Transport, Woken

logger = logging.getLogger(__name__)

_TITLES_IN_REQUEST = slice(4, 68)
_ids = itertools.count(1)

_REFUSALS = {
    USER_REJECTION: "not allowed",
    ABSTRACT_SYNTAX_NOT_SUPPORTED: "of an unknown SOP class",
    TRANSFER_SYNTAXES_NOT_SUPPORTED: "without a known transfer syntax",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The requestor of an association, as services and the log know it. `label` is from a closed set."""

    association_id: str
    ae_title: str
    called_ae_title: str
    address: str
    label: str
    peer: Peer | None


class Observer(Protocol):
    """Is told of associations; called from their threads."""

    def association_opened(self) -> None:
        """Count an association that was accepted."""

    def association_ended(self, peer: str, outcome: str, /) -> None:
        """Count the end of one that was accepted."""

    def association_rejected(self, peer: str, /) -> None:
        """Count one that was not."""


Serve = Callable[[Association, Caller], AssociationEnded]
"""Serves an association until it ends and tells how; raises nothing."""


class Acceptor:
    """Establishes associations as acceptor and hands them to `serve`. Shared by all association threads."""

    def __init__(
        self,
        offered: Mapping[str, OfferedClass],
        access: Access,
        timeouts: Timeouts,
        max_pdu_bytes: int,
        serve: Serve,
        observer: Observer,
    ) -> None:
        self.access = access
        self._offered = offered
        self._timeouts = timeouts
        self._max_pdu_bytes = max_pdu_bytes
        self._serve = serve
        self._observer = observer

    def run(self, transport: Transport, address: str) -> None:
        """Serve one connection to its end; the transport is closed then. Logs one line an association."""
        association_id = f"{os.getpid()}-{next(_ids)}"
        try:
            self._run(transport, address, association_id)
        except AssociationEnded as ended:
            if ended.abort is not None or ended.outcome == "timeout":
                fields = {"association": association_id, "address": address, "reason": ended.reason}
                logger.warning("association not established", extra={"fields": fields})
            Association(transport, PduReader(), {}, 0, self._timeouts).end(ended)
        except Exception:
            logger.exception("association failed", extra={"fields": {"association": association_id}})
            Association(transport, PduReader(), {}, 0, self._timeouts).abort()
        finally:
            transport.close()

    def _run(self, transport: Transport, address: str, association_id: str) -> None:
        reader = PduReader()
        body = self._first_pdu(transport, reader)
        try:
            proposal = acse.decode_request(body)
        except ProtocolError as error:
            raise violation(str(error), error.reason) from error
        admission = self.access.admit(proposal, address)
        caller = _caller(association_id, proposal, address, admission)
        if isinstance(admission, Rejection):
            self._reject(transport, admission, caller)
            return
        try:
            acceptance = negotiate(proposal, self._offered, admission.rights)
            answer = acse.encode_accept(proposal, acceptance, body[_TITLES_IN_REQUEST], self._max_pdu_bytes)
            association = Association(transport, reader, acceptance.contexts, proposal.max_pdu_bytes, self._timeouts)
            association.send_all([answer])
            ended = self._serve_and_log(association, caller, proposal, acceptance)
        finally:
            self.access.leave(admission)
        association.end(ended)

    def _first_pdu(self, transport: Transport, reader: PduReader) -> bytes:
        """Return the body of the A-ASSOCIATE-RQ that must come within the ARTIM time (PS3.8 9.1.5)."""
        deadline = time.monotonic() + self._timeouts.acse
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

    def _reject(self, transport: Transport, rejection: Rejection, caller: Caller) -> None:
        self._observer.association_rejected(caller.label)
        fields = {**_identity(caller), "reason": rejection.why}
        logger.warning("association rejected", extra={"fields": fields})
        pdu = acse.encode_reject(rejection.result, rejection.source, rejection.reason)
        try:
            transport.send([pdu], self._timeouts.acse)
        except (ConnectionLost, TimedOut):
            return
        transport.linger(self._timeouts.acse)

    def _serve_and_log(
        self, association: Association, caller: Caller, proposal: Proposal, acceptance: Acceptance
    ) -> AssociationEnded:
        started = time.monotonic()
        self._observer.association_opened()
        ended = AssociationEnded("failed")
        try:
            ended = self._serve(association, caller)
        finally:
            self._observer.association_ended(caller.label, ended.outcome)
            fields: dict[str, object] = {
                **_identity(caller),
                "implementation": proposal.implementation_version_name or proposal.implementation_class_uid,
                "contexts": f"{len(acceptance.contexts)}/{len(acceptance.answers)}",
                "refused": _refused(proposal, acceptance),
                "outcome": ended.outcome,
                "reason": ended.reason or None,
                "received_bytes": association.received_bytes,
                "sent_bytes": association.sent_bytes,
                "duration_s": round(time.monotonic() - started, 3),
            }
            level = logging.INFO if ended.outcome in ("released", "shutdown") else logging.WARNING
            logger.log(level, "association ended", extra={"fields": fields})
        return ended


def _caller(association_id: str, proposal: Proposal, address: str, admission: Admission | Rejection) -> Caller:
    known = admission if isinstance(admission, Admission) else Admission((), None)
    return Caller(association_id, proposal.calling_ae_title, proposal.called_ae_title, address, known.label, known.peer)


def _refused(proposal: Proposal, acceptance: Acceptance) -> str | None:
    """Tell why contexts were refused: for each reason how many, and the first SOP class."""
    found: dict[int, list[str]] = {}
    for proposed, answer in zip(proposal.contexts, acceptance.answers, strict=True):
        if answer.result != ACCEPTANCE:
            found.setdefault(answer.result, []).append(proposed.abstract_syntax)
    return "; ".join(f"{len(uids)} {_REFUSALS[result]}: {uids[0]}" for result, uids in found.items()) or None


def _identity(caller: Caller) -> dict[str, object]:
    return {
        "association": caller.association_id,
        "calling": caller.ae_title,
        "called": caller.called_ae_title,
        "address": caller.address,
    }
