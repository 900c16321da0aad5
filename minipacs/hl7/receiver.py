"""What becomes of one message: read, done, kept, answered; THE table of the messages that are known."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple, Protocol

from minipacs.archive.archive import Archive
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.workflow.orders import ISSUER, PATIENT_ID, is_same_patient
from minipacs.errors import Failure, Kind
from minipacs.hl7.acknowledgement import Header, acknowledge
from minipacs.hl7.controls import APPOINTMENTS, ORDERS
from minipacs.hl7.faults import (
    ACCEPTED,
    EVENT,
    INTERNAL,
    MESSAGE_TYPE,
    UNKNOWN_KEY,
    VERSION,
    Refused,
    acknowledgement_code,
)
from minipacs.hl7.message import Message, read
from minipacs.hl7.orders import Rules, read_orders
from minipacs.index import Query
from minipacs.index.workflow.hl7_messages import Received
from minipacs.index.workflow.orders import Ordered

logger = logging.getLogger(__name__)

_IDENTITY = ("PatientID", "IssuerOfPatientID")
OTHER = "other"
"""How messages of types that are not known are counted."""
MAX_ID_LENGTH = 199
"""Of MSH-10, and of what is kept of MSH-3 and MSH-4."""


class Reply(NamedTuple):
    """What a message is answered, None if its sender reads no answer; the type that it is counted under; MSA-1; why."""

    answer: bytes | None
    kind: str
    code: str
    words: str = ""


class Trail(Protocol):
    """Tells the audit trail of what messages did."""

    def ordered(self, sender: str, address: str, done: Sequence[Ordered], patient: Values) -> None:
        """Tell what became of the steps of a patient."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose messages are taken: `senders` as `APPLICATION|FACILITY`, any if there are none; and how they are read."""

    charset: str = "8859/1"
    senders: frozenset[str] = frozenset()
    rules: Rules = field(default_factory=Rules)


class Receiver:
    """Takes messages, one at a time or from several threads."""

    def __init__(self, archive: Archive, policy: Policy, trail: Trail) -> None:
        self._archive = archive
        self._policy = policy
        self._trail = trail

    def take(self, data: bytes, address: str, *, again: bool = False) -> Reply:
        """Do what a message asks and say how that went; what is accepted is durable then.

        The same message within a day is answered as before and nothing is done, unless `again`.
        """
        header = Header.of(data)
        received = _received(data, header, address)
        try:
            message = read(data, self._policy.charset)
            received = received._replace(kind=_kind(message), control_id=message.head.control_id)
            before = None if again else self._repeated(received)
            if before is not None:
                logger.info("message repeated", extra={"fields": _fields(received)})
                return _reply(header, received, before)
            self._check(message)
            received = self._answered(received, header)
            _HANDLERS[message.head.type, message.head.event](self, message, received)
        except Refused as fault:
            received = self._answered(received, header, fault)
            self._keep(received)
        except Failure as failure:
            received = self._answered(received, header, Refused.of(failure, "PID^1^3"))
            self._keep(received)
        except Exception:
            logger.exception("message failed", extra={"fields": _fields(received)})
            received = self._answered(received, header, Refused(INTERNAL, "an error of the archive; its log says more"))
            self._keep(received)
        _log(received)
        return _reply(header, received, received.answer)

    def schedule(self, message: Message, received: Received) -> None:
        """Bring an order into the worklist. Raises Refused, Failure."""
        orders = read_orders(message, self._policy.rules)
        self._refuse_others_studies([(order.name.study_instance_uid, order.patient) for order in orders])
        done = self._archive.index.orders.apply(orders, received)
        self._trail.ordered(received.sender, received.address, done, orders[0].patient)

    def note(self, message: Message, received: Received) -> None:
        """Take a message that changes nothing here."""
        self._archive.index.hl7_messages.add(received)

    def _refuse_others_studies(self, named: Sequence[tuple[str, Values]]) -> None:
        """Refuse an order for a study whose images are of other patients alone."""
        for uid, patient in named:
            if not uid:
                continue
            query = Query("STUDY", [(BY_KEYWORD["StudyInstanceUID"], uid)], [BY_KEYWORD[name] for name in _IDENTITY])
            found = [dict(zip((PATIENT_ID, ISSUER), row, strict=True)) for row in self._archive.index.find(query)]
            if found and not any(is_same_patient(patient, owner) for owner in found):
                raise Failure(Kind.WRONG_IDENTITY, "the images of the study that is named are another patient's")

    def _check(self, message: Message) -> None:
        """Look at who sends what. Raises Refused."""
        head = message.head
        if self._policy.senders and head.sender not in self._policy.senders:
            raise Refused(UNKNOWN_KEY, "the sending application and facility are none of hl7.senders", "MSH^1^3")
        if not head.version.startswith("2."):
            raise Refused(VERSION, "only versions 2.x are understood", "MSH^1^12")
        if (head.type, head.event) not in _HANDLERS:
            known = any(head.type == kind for kind, _ in _HANDLERS)
            raise Refused(EVENT if known else MESSAGE_TYPE, "this message is not understood here", "MSH^1^9")

    def _repeated(self, received: Received) -> bytes | None:
        return self._archive.index.hl7_messages.answered(received.sender, received.control_id, received.digest)

    def _answered(self, received: Received, header: Header, fault: Refused | None = None) -> Received:
        condition = fault.condition if fault else ACCEPTED
        words, location = (str(fault), fault.location) if fault else ("", "")
        answer = acknowledge(header, condition, words, location)
        code = acknowledgement_code(condition)
        return received._replace(code=code, condition=condition, words=words, answer=answer)

    def _keep(self, received: Received) -> None:
        """Keep a message that was not accepted, if that is possible: its sender is told in any case."""
        try:
            self._archive.index.hl7_messages.add(received)
        except Failure as failure:
            logger.error("message not kept", extra={"fields": {**_fields(received), "reason": str(failure)}})


Handler = Callable[[Receiver, Message, Received], None]

_HANDLERS: Mapping[tuple[str, str], Handler] = MappingProxyType(
    {**dict.fromkeys(ORDERS, Receiver.schedule), **dict.fromkeys(APPOINTMENTS, Receiver.note)}
)
"""By message type and event."""

KINDS = (*(f"{kind}^{event}" for kind, event in _HANDLERS), OTHER)
"""What messages are counted under."""


def _kind(message: Message) -> str:
    named = f"{message.head.type}^{message.head.event}"
    return named if named in KINDS else OTHER


def _received(data: bytes, header: Header, address: str) -> Received:
    sender = f"{header.field(3)}|{header.field(4)}"[:MAX_ID_LENGTH]
    control_id = header.field(10)[:MAX_ID_LENGTH]
    return Received(time.time(), sender, address, control_id, OTHER, "", 0, "", sha256(data).hexdigest(), data)


def _reply(header: Header, received: Received, answer: bytes) -> Reply:
    return Reply(answer if header.wants_answer else None, received.kind, received.code or "AA", received.words)


def _fields(received: Received) -> dict[str, object]:
    return {"sender": received.sender, "control_id": received.control_id, "type": received.kind}


def _log(received: Received) -> None:
    fields = {**_fields(received), "ack": received.code, "reason": received.words or None}
    level = logging.INFO if received.condition == ACCEPTED else logging.WARNING
    logger.log(level, "message received", extra={"fields": fields})
