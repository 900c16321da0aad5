"""An audit message as a value, and as the XML that a collector takes (PS3.15 A.5.1)."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, IntEnum
from functools import cache, lru_cache
from ipaddress import ip_address

from minipacs.audit.codes import MEDIA_URI, NODE_ID, PATIENT_NUMBER, SOP_CLASS_UID, STUDY_INSTANCE_UID, URI, Code

UNKNOWN_PATIENT = "<none>"
UNKNOWN_STUDY = "2.25.0"
"""What stands where a failed store tells neither: an object needs an ID (PS3.15 A.5.2)."""

MAX_QUERY_BYTES = 16384
MAX_TEXT_CHARS = 1024
MAX_OBJECTS = 64
"""Bounds of one message: an identifier, any text from the wire, studies of one patient."""

MAX_PARTICIPANTS_KNOWN = 256
"""Written once and kept: the same few take part in everything."""

_APPLICATION_SERVER = "4"


class Action(Enum):
    """What was done (EventActionCode)."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class EventOutcome(IntEnum):
    """How it ended (EventOutcomeIndicator)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


@dataclass(frozen=True, slots=True)
class Participant:
    """Whoever took part: a process, an Application Entity, a person, a medium.

    `address` is an IP address or a host's name; `media` tells that `user_id` is the URI of a medium.
    """

    user_id: str
    role: Code | None = None
    is_requestor: bool = False
    alternative_user_id: str = ""
    user_name: str = ""
    address: str = ""
    is_media: bool = False


@dataclass(frozen=True, slots=True)
class StudyObject:
    """A study, with the number of its instances that were touched by SOP Class UID."""

    study_instance_uid: str
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    accession_numbers: Sequence[str] = ()
    performed_step_uids: Sequence[str] = ()
    is_anonymized: bool = False


@dataclass(frozen=True, slots=True)
class PatientObject:
    """A patient; "" is what is not known."""

    patient_id: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class QueryObject:
    """What was asked: an identifier as it came, or the URL of a search."""

    asked: bytes
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class ResourceObject:
    """A thing that security is about: a node (`id` is its title or address) or a URI, with what befell it."""

    id: str
    description: str = ""
    name: str = ""
    is_uri: bool = False


Object = StudyObject | PatientObject | QueryObject | ResourceObject


@dataclass(frozen=True, slots=True)
class Source:
    """Who reports (AuditSourceIdentification)."""

    id: str
    site: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One event that is told to the audit trail; `at` has a zone. Make it with a function of `events`."""

    event: Code
    action: Action
    participants: Sequence[Participant]
    objects: Sequence[Object] = ()
    types: Sequence[Code] = ()
    outcome: EventOutcome = EventOutcome.SUCCESS
    description: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def encode(message: Message, source: Source) -> bytes:
    """Write a message as one line of UTF-8 XML."""
    return "".join(_parts(message, source)).encode("utf-8", "replace")


def _parts(message: Message, source: Source) -> Iterator[str]:
    yield "<AuditMessage>"
    event = {
        "EventActionCode": message.action.value,
        "EventDateTime": message.at.isoformat(timespec="milliseconds"),
        "EventOutcomeIndicator": str(int(message.outcome)),
    }
    yield _open("EventIdentification", event)
    yield _code("EventID", message.event)
    for type_ in message.types:
        yield _code("EventTypeCode", type_)
    if message.description:
        yield f"<EventOutcomeDescription>{escape(_text(message.description))}</EventOutcomeDescription>"
    yield "</EventIdentification>"
    for participant in message.participants:
        yield _participant(participant)
    yield _open("AuditSourceIdentification", {"AuditEnterpriseSiteID": source.site, "AuditSourceID": source.id})
    yield f'<AuditSourceTypeCode csd-code="{_APPLICATION_SERVER}"/></AuditSourceIdentification>'
    for object_ in message.objects[:MAX_OBJECTS]:
        yield from _object(object_)
    yield "</AuditMessage>"


@lru_cache(MAX_PARTICIPANTS_KNOWN)
def _participant(participant: Participant) -> str:
    attributes = {
        "UserID": participant.user_id or "?",
        "AlternativeUserID": participant.alternative_user_id,
        "UserName": participant.user_name,
        "UserIsRequestor": "true" if participant.is_requestor else "false",
        "NetworkAccessPointID": participant.address,
        "NetworkAccessPointTypeCode": _kind_of(participant.address) if participant.address else "",
    }
    role = "" if participant.role is None else _code("RoleIDCode", participant.role)
    media = f"<MediaIdentifier>{_code('MediaType', MEDIA_URI)}</MediaIdentifier>" if participant.is_media else ""
    return f"{_open('ActiveParticipant', attributes)}{role}{media}</ActiveParticipant>"


def _kind_of(address: str) -> str:
    """Tell an IP address (2) from a machine's name (1)."""
    try:
        ip_address(address)
    except ValueError:
        return "1"
    return "2"


def _object(object_: Object) -> Iterator[str]:
    match object_:
        case StudyObject():
            yield from _study(object_)
        case PatientObject():
            yield _identified(object_.patient_id or UNKNOWN_PATIENT, "1", "1", PATIENT_NUMBER)
            yield f"{_name(object_.name or object_.patient_id or UNKNOWN_PATIENT)}{_END}"
        case QueryObject():
            yield from _query(object_)
        case ResourceObject():
            yield _identified(object_.id or "?", "2", "13", URI if object_.is_uri else NODE_ID)
            yield _name(object_.name or object_.id or "?")
            if object_.description:
                yield _detail("Alert Description", _text(object_.description))
            yield _END


def _study(study: StudyObject) -> Iterator[str]:
    uid = study.study_instance_uid or UNKNOWN_STUDY
    yield f"{_identified(uid, '2', '3', STUDY_INSTANCE_UID)}{_name(uid)}<ParticipantObjectDescription>"
    for step in study.performed_step_uids:
        yield _open("MPPS", {"UID": step}, end="/>")
    for number in study.accession_numbers:
        yield _open("Accession", {"Number": number}, end="/>")
    for sop_class_uid, instances in study.sop_classes.items():
        yield _open("SOPClass", {"UID": sop_class_uid, "NumberOfInstances": str(instances)}, end="/>")
    if study.is_anonymized:
        yield "<Anonymized>true</Anonymized>"
    yield f"</ParticipantObjectDescription>{_END}"


def _query(query: QueryObject) -> Iterator[str]:
    kind = URI if query.url else SOP_CLASS_UID
    yield _identified(query.url or query.sop_class_uid or "?", "2", "3", kind)
    yield f"<ParticipantObjectQuery>{_base64(query.asked[:MAX_QUERY_BYTES])}</ParticipantObjectQuery>"
    if query.transfer_syntax_uid:
        yield _detail("TransferSyntax", query.transfer_syntax_uid)
    if len(query.asked) > MAX_QUERY_BYTES:
        yield _detail("TruncatedFromBytes", str(len(query.asked)))
    yield _END


_END = "</ParticipantObjectIdentification>"


def _identified(id_: str, kind: str, role: str, of: Code) -> str:
    attributes = {
        "ParticipantObjectID": id_,
        "ParticipantObjectTypeCode": kind,
        "ParticipantObjectTypeCodeRole": role,
    }
    return _open("ParticipantObjectIdentification", attributes) + _code("ParticipantObjectIDTypeCode", of)


def _name(text: str) -> str:
    return f"<ParticipantObjectName>{escape(_text(text))}</ParticipantObjectName>"


def _detail(type_: str, value: str) -> str:
    return f'<ParticipantObjectDetail type="{type_}" value="{_base64(value.encode())}"/>'


@cache  # codes are a closed set
def _code(tag: str, code: Code) -> str:
    return _open(tag, {"csd-code": code.value, "codeSystemName": code.system, "originalText": code.meaning}, end="/>")


def _open(tag: str, attributes: Mapping[str, str], end: str = ">") -> str:
    """Begin an element; attributes without a value are left out."""
    shown = "".join(f' {name}="{escape(_text(value))}"' for name, value in attributes.items() if value)
    return f"<{tag}{shown}{end}"


def _base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
"""The library's `escape` would load an HTTP client along with it."""


def escape(text: str) -> str:
    """Write text as XML has it, in content and between double quotes."""
    return text.translate(_ESCAPES)


def _text(text: str) -> str:
    """Cut a text, and show what XML or a line of a log cannot hold as U+FFFD."""
    if text.isascii() and text.isprintable() and len(text) <= MAX_TEXT_CHARS:
        return text
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:MAX_TEXT_CHARS])
