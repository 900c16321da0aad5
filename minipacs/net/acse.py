"""A-ASSOCIATE PDUs to and from what the negotiation works on, over pynetdicom's codecs (PS3.8 9.3.2 to 9.3.4)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any

from pynetdicom import pdu as pdus
from pynetdicom import pdu_items as items
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
)
from pynetdicom.presentation import PresentationContext as LibraryContext

from minipacs import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from minipacs.net.negotiation import (
    ACCEPTANCE,
    APPLICATION_CONTEXT_NAME,
    MIN_PDU_BYTES,
    STORAGE_SERVICE_CLASS_UID,
    Acceptance,
    PresentationContext,
    Proposal,
    ProposedContext,
)
from minipacs.net.stream import INVALID_PARAMETER, ProtocolError, control_pdu

_ITEM_HEADER = Struct(">BxH")
_FIXED_BYTES = 68
_USER_INFORMATION, _CLASS_UID, _VERSION_NAME = 0x50, 0x52, 0x55
_KNOWN_ITEMS = frozenset({0x10, 0x20, 0x21, _USER_INFORMATION})
_KNOWN_WITHIN = {
    0x20: (4, frozenset({0x30, 0x40})),
    0x21: (4, frozenset({0x40})),
    _USER_INFORMATION: (0, frozenset({0x51, 0x53, 0x54, 0x56, 0x57})),
}
"""For items that hold others: where these begin, and which the library gets to see.

User identity (58H, 59H) is left out: we have nothing to answer it with, which PS3.7 D.3.3.7 allows. So are the names of
the peer's implementation, since the library refuses what some peers send: texts over 16 characters, UIDs that are none.
"""
MAX_IMPLEMENTATION_CHARS = 64


def decode_request(body: bytes) -> Proposal:
    """Read an A-ASSOCIATE-RQ without its header. Unknown items are skipped (PS3.8 9.3.1); raises ProtocolError."""
    called, calling = _titles(body)
    pdu = pdus.A_ASSOCIATE_RQ()
    _decode(pdu, body)
    implementation = _implementation(body)
    info = pdu.user_information
    user_data = info.user_data if info is not None else []
    return Proposal(
        called_ae_title=called,
        calling_ae_title=calling,
        contexts=tuple(_proposed_contexts(pdu.presentation_context)),
        protocol_version=pdu.protocol_version,
        application_context=str(pdu.application_context_name or ""),
        max_pdu_bytes=(info.maximum_length if info is not None else 0) or 0,
        implementation_class_uid=implementation.get(_CLASS_UID, ""),
        implementation_version_name=implementation.get(_VERSION_NAME, ""),
        roles={str(i.uid): (bool(i.scu), bool(i.scp)) for i in _all(user_data, items.SCP_SCU_RoleSelectionSubItem)},
        extended={str(i.uid): i.app_info for i in _all(user_data, items.SOPClassExtendedNegotiationSubItem)},
        general_classes=dict(_general_classes(user_data)),
        wants_async_window=any(_all(user_data, items.AsynchronousOperationsWindowSubItem)),
    )


def encode_accept(proposal: Proposal, acceptance: Acceptance, raw_titles: bytes, max_pdu_bytes: int) -> bytes:
    """Build the A-ASSOCIATE-AC; `raw_titles` are the request's 64 bytes from the titles on, sent back as they came.

    PS3.8 9.3.3.
    """
    primitive = _primitive("ANY", "ANY")
    primitive.presentation_context_definition_results_list = [
        _library_context(a.context_id, None, (a.transfer_syntax,), a.result) for a in acceptance.answers
    ]
    primitive.user_information = _user_information(max_pdu_bytes, acceptance.roles, acceptance.extended)
    if proposal.wants_async_window:
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 1
        primitive.user_information.append(window)
    pdu = pdus.A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    encoded: bytes = pdu.encode()
    return encoded[:10] + raw_titles + encoded[10 + len(raw_titles) :]


def encode_reject(result: int, source: int, reason: int) -> bytes:
    """Build an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""
    return control_pdu(0x03, bytes((0, result, source, reason)))


def encode_request(
    calling_ae_title: str,
    called_ae_title: str,
    contexts: Sequence[ProposedContext],
    max_pdu_bytes: int,
) -> bytes:
    """Build an A-ASSOCIATE-RQ with the default roles."""
    primitive = _primitive(calling_ae_title, called_ae_title)
    primitive.presentation_context_definition_list = [
        _library_context(c.context_id, c.abstract_syntax, c.transfer_syntaxes) for c in contexts
    ]
    primitive.user_information = _user_information(max_pdu_bytes, {}, {})
    pdu = pdus.A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    encoded: bytes = pdu.encode()
    return encoded


def decode_accept(body: bytes, proposed: Sequence[ProposedContext]) -> tuple[dict[int, PresentationContext], int]:
    """Read an A-ASSOCIATE-AC: the contexts it opens, with us as SCU, and the peer's maximum PDU length (0: no limit).

    Raises ProtocolError.
    """
    pdu = pdus.A_ASSOCIATE_AC()
    _decode(pdu, body)
    by_id = {c.context_id: c for c in proposed}
    contexts = {
        item.context_id: PresentationContext(
            item.context_id,
            by_id[item.context_id].abstract_syntax,
            str(item.transfer_syntax),
            as_scp=False,
            as_scu=True,
        )
        for item in pdu.presentation_context
        if item.result == ACCEPTANCE
        and item.context_id in by_id
        and item.transfer_syntax in by_id[item.context_id].transfer_syntaxes
    }
    info = pdu.user_information
    max_pdu_bytes = (info.maximum_length if info is not None else 0) or 0
    if 0 < max_pdu_bytes < MIN_PDU_BYTES:
        raise ProtocolError(f"maximum PDU length {max_pdu_bytes} leaves no room", INVALID_PARAMETER)
    return contexts, max_pdu_bytes


def _titles(body: bytes) -> tuple[str, str]:
    if len(body) < _FIXED_BYTES:
        raise ProtocolError(f"A-ASSOCIATE PDU of length {len(body)}", INVALID_PARAMETER)
    called, calling = (body[i : i + 16].decode("latin-1").strip(" \0") for i in (4, 20))
    return called, calling


def _decode(pdu: Any, body: bytes) -> None:
    """Let the library decode `body`, with neutral AE titles, since it raises on odd ones, and without unknown items."""
    fixed = body[:4] + b"ANY".ljust(16) * 2 + body[36:_FIXED_BYTES]
    known = _known_items(body[_FIXED_BYTES:], _KNOWN_ITEMS)
    try:
        pdu.decode(control_pdu(0, fixed + known))
    except Exception as error:  # the library raises whatever its parsing runs into
        raise ProtocolError(f"unreadable A-ASSOCIATE PDU ({type(error).__name__})", INVALID_PARAMETER) from error


def _known_items(data: bytes, known: frozenset[int]) -> bytes:
    found = []
    for item_type, body in _split(data):
        if item_type in known:
            begin, within = _KNOWN_WITHIN.get(item_type, (len(body), frozenset()))
            body = body[:begin] + _known_items(body[begin:], within)
            found.append(_ITEM_HEADER.pack(item_type, len(body)) + body)
    return b"".join(found)


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take items apart: type and body of each. Raises ProtocolError."""
    begin = 0
    while begin < len(data):
        if begin + _ITEM_HEADER.size > len(data):
            raise ProtocolError("item header cut short in an A-ASSOCIATE PDU", INVALID_PARAMETER)
        item_type, length = _ITEM_HEADER.unpack_from(data, begin)
        begin += _ITEM_HEADER.size
        if begin + length > len(data):
            raise ProtocolError(f"item {item_type:02X}H longer than its A-ASSOCIATE PDU", INVALID_PARAMETER)
        yield item_type, data[begin : begin + length]
        begin += length


def _implementation(body: bytes) -> dict[int, str]:
    """Read what a peer says of its software, for the log, whatever it holds."""
    users = (data for item_type, data in _split(body[_FIXED_BYTES:]) if item_type == _USER_INFORMATION)
    return {
        item_type: data.decode("latin-1").strip(" \0")[:MAX_IMPLEMENTATION_CHARS]
        for user in users
        for item_type, data in _split(user)
        if item_type in (_CLASS_UID, _VERSION_NAME)
    }


def _proposed_contexts(contexts: Iterable[Any]) -> Iterator[ProposedContext]:
    seen: set[int] = set()
    for item in contexts:
        if item.context_id % 2 == 0 or item.context_id in seen:
            raise ProtocolError(f"presentation context ID {item.context_id} is even or not unique", INVALID_PARAMETER)
        seen.add(item.context_id)
        syntaxes = tuple(str(uid) for uid in item.transfer_syntax if uid)
        yield ProposedContext(item.context_id, str(item.abstract_syntax or ""), syntaxes)


def _general_classes(user_data: Iterable[Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for item in _all(user_data, items.SOPClassCommonExtendedNegotiationSubItem):
        if item.service_class_uid in (STORAGE_SERVICE_CLASS_UID, None, ""):
            yield str(item.sop_class_uid), tuple(map(str, item.related_general_sop_class_identification))


def _all(user_data: Iterable[Any], kind: type) -> Iterator[Any]:
    return (item for item in user_data if isinstance(item, kind))


def _primitive(calling_ae_title: str, called_ae_title: str) -> Any:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT_NAME
    primitive.calling_ae_title = calling_ae_title
    primitive.called_ae_title = called_ae_title
    primitive.result = 0
    primitive.result_source = 1
    return primitive


def _library_context(context_id: int, abstract_syntax: str | None, syntaxes: Iterable[str], result: int = 0) -> Any:
    context = LibraryContext()
    context.context_id = context_id
    if abstract_syntax is not None:
        context.abstract_syntax = abstract_syntax
    context.transfer_syntax = list(syntaxes)
    context.result = result
    return context


def _user_information(
    max_pdu_bytes: int, roles: Mapping[str, tuple[bool, bool]], extended: Mapping[str, bytes]
) -> list[Any]:
    length = MaximumLengthNotification()
    length.maximum_length_received = max_pdu_bytes
    class_uid = ImplementationClassUIDNotification()
    class_uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    found: list[Any] = [length, class_uid, version]
    for uid, (scu, scp) in roles.items():
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = uid, scu, scp
        found.append(role)
    for uid, answer in extended.items():
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = uid, answer
        found.append(item)
    return found
