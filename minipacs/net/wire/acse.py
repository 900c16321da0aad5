"""A-ASSOCIATE PDUs to and from what the negotiation works on (PS3.8 9.3.2 to 9.3.4).

pynetdicom's codecs read and write all but what comes by the hundred: presentation contexts and roles (`items`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pynetdicom import pdu as pdus
from pynetdicom import pdu_items
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SOPClassExtendedNegotiation,
)

from minipacs import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from minipacs.net.identity.user_identity import UserIdentity
from minipacs.net.wire import items
from minipacs.net.wire.negotiation import (
    ACCEPTANCE,
    APPLICATION_CONTEXT_NAME,
    MIN_PDU_BYTES,
    STORAGE_SERVICE_CLASS_UID,
    Acceptance,
    PresentationContext,
    Proposal,
    ProposedContext,
)
from minipacs.net.wire.stream import INVALID_PARAMETER, ProtocolError, control_pdu

_HEADER_BYTES, _FIXED_BYTES = 6, 68
_CLASS_UID, _VERSION_NAME = 0x52, 0x55
_FOR_LIBRARY = frozenset({0x51, 0x53, 0x56, 0x57})
"""The user items that the library gets to see; unknown ones it refuses, where the standard says skip.

User identity is read by ourselves, so that a broken one can be refused as one. So are the names of the peer's
implementation, since the library refuses what some peers send: texts over 16 characters, UIDs that are none.
"""
MAX_IMPLEMENTATION_CHARS = 64


def decode_request(body: bytes) -> Proposal:
    """Read an A-ASSOCIATE-RQ without its header. Unknown items are skipped (PS3.8 9.3.1); raises ProtocolError."""
    called, calling = _titles(body)
    found = _Items(body)
    pdu = pdus.A_ASSOCIATE_RQ()
    _decode(pdu, body, found)
    info = pdu.user_information
    user_data = info.user_data if info is not None else []
    extended = _all(user_data, pdu_items.SOPClassExtendedNegotiationSubItem)
    return Proposal(
        called_ae_title=called,
        calling_ae_title=calling,
        contexts=tuple(items.read_contexts(found.all(items.PROPOSED_CONTEXT))),
        protocol_version=pdu.protocol_version,
        application_context=str(pdu.application_context_name or ""),
        max_pdu_bytes=(info.maximum_length if info is not None else 0) or 0,
        implementation_class_uid=found.user_text(_CLASS_UID),
        implementation_version_name=found.user_text(_VERSION_NAME),
        roles=items.read_roles(found.all_user(items.ROLE)),
        extended={str(i.uid): i.app_info for i in extended},
        general_classes=dict(_general_classes(user_data)),
        wants_async_window=any(_all(user_data, pdu_items.AsynchronousOperationsWindowSubItem)),
        user_identity=UserIdentity.read(found.all_user(items.USER_IDENTITY)),
    )


def encode_accept(
    proposal: Proposal,
    acceptance: Acceptance,
    raw_titles: bytes,
    max_pdu_bytes: int,
    identity_answer: bytes | None = None,
) -> bytes:
    """Build the A-ASSOCIATE-AC; `raw_titles` are the request's 64 bytes from the titles on, sent back as they came.

    `identity_answer` is what a user identity is answered with, None for no answer.

    Raises ProtocolError if the request asks for more answers than fit. PS3.8 9.3.3.
    """
    if sum(map(len, acceptance.extended.values())) > items.MAX_ITEM_BYTES:
        raise ProtocolError("answer to SOP Class Extended Negotiation would be too long", INVALID_PARAMETER)
    user_information = _user_information(max_pdu_bytes, acceptance.extended)
    if proposal.wants_async_window:
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 1
        user_information.append(window)
    encoded = _encode(pdus.A_ASSOCIATE_AC(), _primitive("ANY", "ANY", user_information))
    answers = items.write_answers(acceptance.answers)
    user_items = items.write_roles(acceptance.roles)
    if identity_answer is not None:
        user_items += items.write_user_identity_answer(identity_answer)
    return _with_items(encoded, raw_titles, answers, user_items)


def encode_reject(result: int, source: int, reason: int) -> bytes:
    """Build an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""
    return control_pdu(0x03, bytes((0, result, source, reason)))


def encode_request(
    calling_ae_title: str,
    called_ae_title: str,
    contexts: Sequence[ProposedContext],
    max_pdu_bytes: int,
    roles: Mapping[str, tuple[bool, bool]] | None = None,
) -> bytes:
    """Build an A-ASSOCIATE-RQ; `roles` are those as SCU and SCP that we propose for us, where not the default ones."""
    primitive = _primitive(calling_ae_title, called_ae_title, _user_information(max_pdu_bytes, {}))
    encoded = _encode(pdus.A_ASSOCIATE_RQ(), primitive)
    return _with_items(encoded, encoded[10:74], items.write_contexts(contexts), items.write_roles(roles or {}))


def decode_accept(
    body: bytes, proposed: Sequence[ProposedContext], roles: Mapping[str, tuple[bool, bool]] | None = None
) -> tuple[dict[int, PresentationContext], int]:
    """Read an A-ASSOCIATE-AC: the contexts it opens, and the peer's maximum PDU length (0: no limit).

    We are SCU, or what `roles` proposed unless the peer says otherwise: some leave it out. Raises ProtocolError.
    """
    found = _Items(body)
    pdu = pdus.A_ASSOCIATE_AC()
    _decode(pdu, body, found)
    by_id = {c.context_id: c for c in proposed}
    agreed = {**(roles or {}), **items.read_roles(found.all_user(items.ROLE))} if roles else {}
    contexts = {
        answer.context_id: PresentationContext(
            answer.context_id,
            by_id[answer.context_id].abstract_syntax,
            answer.transfer_syntax,
            as_scp=agreed.get(by_id[answer.context_id].abstract_syntax, (True, False))[1],
            as_scu=agreed.get(by_id[answer.context_id].abstract_syntax, (True, False))[0],
        )
        for answer in items.read_answers(found.all(items.CONTEXT_ANSWER))
        if answer.result == ACCEPTANCE
        and answer.context_id in by_id
        and answer.transfer_syntax in by_id[answer.context_id].transfer_syntaxes
    }
    info = pdu.user_information
    max_pdu_bytes = (info.maximum_length if info is not None else 0) or 0
    if 0 < max_pdu_bytes < MIN_PDU_BYTES:
        raise ProtocolError(f"maximum PDU length {max_pdu_bytes} leaves no room", INVALID_PARAMETER)
    return contexts, max_pdu_bytes


def told_of_peer(body: bytes) -> tuple[tuple[str, str], dict[str, tuple[bool, bool]]]:
    """Read from an A-ASSOCIATE-AC the UID and version name of the peer's implementation, and the roles it grants us."""
    found = _Items(body)
    implementation = found.user_text(_CLASS_UID), found.user_text(_VERSION_NAME)
    return implementation, items.read_roles(found.all_user(items.ROLE))


def _titles(body: bytes) -> tuple[str, str]:
    if len(body) < _FIXED_BYTES:
        raise ProtocolError(f"A-ASSOCIATE PDU of length {len(body)}", INVALID_PARAMETER)
    called, calling = (body[i : i + 16].decode("latin-1").strip(" \0") for i in (4, 20))
    return called, calling


class _Items:
    """The items of an A-ASSOCIATE PDU, and those of its user information. Raises ProtocolError."""

    def __init__(self, body: bytes) -> None:
        self._items = list(items.split(body[_FIXED_BYTES:]))
        self._user = [found for data in self.all(items.USER_INFORMATION) for found in items.split(data)]

    def all(self, item_type: int) -> Iterator[bytes]:
        return (data for kind, data in self._items if kind == item_type)

    def all_user(self, item_type: int) -> Iterator[bytes]:
        return (data for kind, data in self._user if kind == item_type)

    def user_text(self, item_type: int) -> str:
        """Read what a peer says of its software, for the log, whatever it holds."""
        text = next(self.all_user(item_type), b"").decode("latin-1")
        return text.strip(" \0")[:MAX_IMPLEMENTATION_CHARS]

    def for_library(self) -> bytes:
        user = b"".join(items.item(kind, data) for kind, data in self._user if kind in _FOR_LIBRARY)
        names = (items.item(items.APPLICATION_CONTEXT, data) for data in self.all(items.APPLICATION_CONTEXT))
        return b"".join(names) + (items.item(items.USER_INFORMATION, user) if user else b"")


def _decode(pdu: Any, body: bytes, found: _Items) -> None:
    """Let the library decode what is left to it, with neutral AE titles, since it raises on odd ones."""
    fixed = body[:4] + b"ANY".ljust(16) * 2 + body[36:_FIXED_BYTES]
    try:
        pdu.decode(control_pdu(0, fixed + found.for_library()))
    except Exception as error:  # the library raises whatever its parsing runs into
        raise ProtocolError(f"unreadable A-ASSOCIATE PDU ({type(error).__name__})", INVALID_PARAMETER) from error


def _encode(pdu: Any, primitive: Any) -> bytes:
    pdu.from_primitive(primitive)
    encoded: bytes = pdu.encode()
    return encoded


def _with_items(encoded: bytes, raw_titles: bytes, contexts: bytes, user_items: bytes) -> bytes:
    """Put titles, presentation contexts and further user items into an encoded PDU without contexts."""
    body = encoded[_HEADER_BYTES:]
    fixed = body[:4] + raw_titles
    names, user = b"", user_items
    for kind, data in items.split(body[_FIXED_BYTES:]):
        if kind == items.USER_INFORMATION:
            user = data + user
        else:
            names += items.item(kind, data)
    return control_pdu(encoded[0], fixed + names + contexts + items.item(items.USER_INFORMATION, user))


def _general_classes(user_data: Iterable[Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for item in _all(user_data, pdu_items.SOPClassCommonExtendedNegotiationSubItem):
        if item.service_class_uid in (STORAGE_SERVICE_CLASS_UID, None, ""):
            yield str(item.sop_class_uid), tuple(map(str, item.related_general_sop_class_identification))


def _all(user_data: Iterable[Any], kind: type) -> Iterator[Any]:
    return (item for item in user_data if isinstance(item, kind))


def _primitive(calling_ae_title: str, called_ae_title: str, user_information: list[Any]) -> Any:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT_NAME
    primitive.calling_ae_title = calling_ae_title
    primitive.called_ae_title = called_ae_title
    primitive.result = 0
    primitive.result_source = 1
    primitive.presentation_context_definition_list = []
    primitive.presentation_context_definition_results_list = []
    primitive.user_information = user_information
    return primitive


def _user_information(max_pdu_bytes: int, extended: Mapping[str, bytes]) -> list[Any]:
    length = MaximumLengthNotification()
    length.maximum_length_received = max_pdu_bytes
    class_uid = ImplementationClassUIDNotification()
    class_uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    found: list[Any] = [length, class_uid, version]
    for uid, answer in extended.items():
        negotiation = SOPClassExtendedNegotiation()
        negotiation.sop_class_uid, negotiation.service_class_application_information = uid, answer
        found.append(negotiation)
    return found
