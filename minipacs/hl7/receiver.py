"""What becomes of one message: read, done, kept, answered; THE table of the messages that are known."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple, Protocol

from minipacs.archive.archive import Archive
from minipacs.archive.care import patients
from minipacs.archive.care.amendments import put
from minipacs.dicom.data_set.amendments import AMENDABLE, Identity
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.workflow.orders import ISSUER, PATIENT_ID, StudyOrder, is_same_patient
from minipacs.errors import Failure, Kind
from minipacs.hl7 import patient
from minipacs.hl7.acknowledgement import Header, acknowledge
from minipacs.hl7.controls import ACCOUNTS, APPOINTMENTS, MERGES, NEW_IDENTIFIERS, ORDERS, UPDATES
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
from minipacs.index import Accepted, Query
from minipacs.index.workflow.hl7_messages import Received
from minipacs.index.workflow.orders import Ordered
from minipacs.index.workflow.people import PeopleChange

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

    def ordered(self, sender: str, address: str, done: Sequence[Ordered], whose: Values) -> None:
        """Tell what became of the steps of a patient."""

    def updated(self, sender: str, address: str, people: PeopleChange) -> None:
        """Tell that something else is said of a patient."""

    def merged(self, sender: str, address: str, prior: Identity, survivor: patients.Person) -> None:
        """Tell that a patient is another one."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose messages are taken: `senders` as `APPLICATION|FACILITY`, any if there are none; how they are read.

    `ae_title` is under which title values were read up to now that they change.
    """

    charset: str = "8859/1"
    senders: frozenset[str] = frozenset()
    rules: Rules = field(default_factory=Rules)
    ae_title: str = ""


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
        """Bring an order into the worklist, and what it says of its patient to all else. Raises Refused, Failure."""
        orders = read_orders(message, self._policy.rules)
        change = self._change(patient.told(orders[0].patient), received)
        if change.survivor is not None:
            orders = [_given_to(order, change.survivor) for order in orders]
        self._refuse_others_studies([(order.name.study_instance_uid, order.patient) for order in orders])
        done = self._accept(received, change, orders)
        self._trail.ordered(received.sender, received.address, done.ordered, orders[0].patient)

    def update(self, message: Message, received: Received) -> None:
        """Bring what a message says of a patient to objects, worklist items and performed steps."""
        told = patient.read_patient(message, self._policy.rules.authority)
        self._accept(received, self._change(told, received))

    def merge(self, message: Message, received: Received) -> None:
        """Let one patient be another from now on."""
        index, author = self._archive.index, self._author(received)
        named = [
            (prior, survivor.person) for prior, survivor in patient.read_merges(message, self._policy.rules.authority)
        ]
        if (message.head.type, message.head.event) in NEW_IDENTIFIERS:
            for prior, survivor in named:
                patients.refuse_known(index, prior, survivor.whose, author)
        planned = [(one, patients.merge(index, *one, author)) for one in named]
        amendments = [amendment for _, amendment in planned if amendment is not None]
        put(self._archive.tree, index, amendments, lambda found: index.accept(received, (), found))
        for (prior, survivor), amendment in planned:
            if amendment is not None:
                self._trail.merged(received.sender, received.address, prior, survivor)

    def _change(self, told: patient.Told, received: Received) -> patients.Change:
        return patients.update(self._archive.index, told.person, _texts(told.more), self._author(received))

    def _author(self, received: Received) -> patients.Author:
        return patients.Author(received.sender, self._policy.ae_title, authority=self._policy.rules.authority)

    def _accept(self, received: Received, change: patients.Change, orders: Sequence[StudyOrder] = ()) -> Accepted:
        """Have all of a message done in one commit, and tell of the patient if something changed."""
        index = self._archive.index
        amendments = [change.amendment] if change.amendment else []
        _, done = put(
            self._archive.tree, index, amendments, lambda found: index.accept(received, orders, found, change.people)
        )
        if done.instances or done.items:
            self._trail.updated(received.sender, received.address, change.people)
        return done

    def note(self, message: Message, received: Received) -> None:
        """Take a message that changes nothing here."""
        self._archive.index.hl7_messages.add(received)

    def _refuse_others_studies(self, named: Sequence[tuple[str, Values]]) -> None:
        """Refuse an order for a study whose images are of other patients alone."""
        for uid, whose in named:
            if not uid:
                continue
            query = Query("STUDY", [(BY_KEYWORD["StudyInstanceUID"], uid)], [BY_KEYWORD[name] for name in _IDENTITY])
            found = [dict(zip((PATIENT_ID, ISSUER), row, strict=True)) for row in self._archive.index.find(query)]
            if found and not any(is_same_patient(whose, owner) for owner in found):
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


def _given_to(order: StudyOrder, survivor: patients.Person) -> StudyOrder:
    """Give an order to the patient that its own was merged into."""
    theirs: Values = {AMENDABLE[keyword].tag: value for keyword, value in survivor.values.items()}
    requests: list[Values] = [{**request, **theirs} for request in order.requests]
    return replace(order, patient={**order.patient, **theirs}, requests=requests)


def _texts(values: Values) -> dict[int, str]:
    return {tag: value for tag, value in values.items() if isinstance(value, str)}


Handler = Callable[[Receiver, Message, Received], None]

_HANDLERS: Mapping[tuple[str, str], Handler] = MappingProxyType(
    {
        **dict.fromkeys(ORDERS, Receiver.schedule),
        **dict.fromkeys(UPDATES, Receiver.update),
        **dict.fromkeys((*MERGES, *NEW_IDENTIFIERS), Receiver.merge),
        **dict.fromkeys((*APPOINTMENTS, *ACCOUNTS), Receiver.note),
    }
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
