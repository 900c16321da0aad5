"""Items of A-ASSOCIATE PDUs; read and written here are those that come by the hundred (PS3.8 9.3.2, PS3.7 D.3.3.4).

A getscu proposes 120 presentation contexts with a role each: through the library's objects that is 20 ms a request.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct

from minipacs.net.wire.negotiation import ContextAnswer, ProposedContext
from minipacs.net.wire.stream import INVALID_PARAMETER, ProtocolError

APPLICATION_CONTEXT, PROPOSED_CONTEXT, CONTEXT_ANSWER, USER_INFORMATION = 0x10, 0x20, 0x21, 0x50
ABSTRACT_SYNTAX, TRANSFER_SYNTAX, ROLE = 0x30, 0x40, 0x54
USER_IDENTITY, USER_IDENTITY_ANSWER = 0x58, 0x59

MAX_UID_CHARS = 64
MAX_ITEM_BYTES = 0xFFFF
"""Its length is 16 bits wide (PS3.8 9.3.2)."""

_HEADER = Struct(">BxH")
_CONTEXT_HEAD = Struct(">BxBx")
_LENGTH = Struct(">H")


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take items apart: type and body of each. Raises ProtocolError."""
    begin, end = 0, len(data)
    while begin < end:
        if begin + _HEADER.size > end:
            raise ProtocolError("item header cut short in an A-ASSOCIATE PDU", INVALID_PARAMETER)
        item_type, length = _HEADER.unpack_from(data, begin)
        begin += _HEADER.size
        if begin + length > end:
            raise ProtocolError(f"item {item_type:02X}H longer than its A-ASSOCIATE PDU", INVALID_PARAMETER)
        yield item_type, data[begin : begin + length]
        begin += length


def item(item_type: int, body: bytes) -> bytes:
    """Write an item. Raises ProtocolError for what is too long for one: the answer to hundreds of roles can be."""
    if len(body) > MAX_ITEM_BYTES:
        raise ProtocolError(f"item {item_type:02X}H would be too long: {len(body)} bytes", INVALID_PARAMETER)
    return _HEADER.pack(item_type, len(body)) + body


def read_contexts(bodies: Iterable[bytes]) -> Iterator[ProposedContext]:
    """Read proposed presentation contexts. Raises ProtocolError for IDs that are even or not unique."""
    seen: set[int] = set()
    for context_id, _, syntaxes in map(_read_context, bodies):
        if context_id % 2 == 0 or context_id in seen:
            raise ProtocolError(f"presentation context ID {context_id} is even or not unique", INVALID_PARAMETER)
        seen.add(context_id)
        abstract = next((uid for kind, uid in syntaxes if kind == ABSTRACT_SYNTAX), "")
        transfer = tuple(uid for kind, uid in syntaxes if kind == TRANSFER_SYNTAX and uid)
        yield ProposedContext(context_id, abstract, transfer)


def read_answers(bodies: Iterable[bytes]) -> Iterator[ContextAnswer]:
    """Read the answers to proposed presentation contexts. Raises ProtocolError."""
    for context_id, result, syntaxes in map(_read_context, bodies):
        yield ContextAnswer(context_id, result, next((uid for kind, uid in syntaxes if kind == TRANSFER_SYNTAX), ""))


def write_contexts(contexts: Sequence[ProposedContext]) -> bytes:
    """Write proposed presentation contexts."""
    return b"".join(
        item(
            PROPOSED_CONTEXT,
            _CONTEXT_HEAD.pack(c.context_id, 0)
            + item(ABSTRACT_SYNTAX, c.abstract_syntax.encode("latin-1"))
            + b"".join(item(TRANSFER_SYNTAX, uid.encode("latin-1")) for uid in c.transfer_syntaxes),
        )
        for c in contexts
    )


def write_answers(answers: Sequence[ContextAnswer]) -> bytes:
    """Write the answers to proposed presentation contexts; a refused one carries a syntax of no meaning."""
    return b"".join(
        item(
            CONTEXT_ANSWER,
            _CONTEXT_HEAD.pack(a.context_id, a.result) + item(TRANSFER_SYNTAX, a.transfer_syntax.encode("latin-1")),
        )
        for a in answers
    )


def read_roles(bodies: Iterable[bytes]) -> dict[str, tuple[bool, bool]]:
    """Read SCP/SCU role selections: the roles of the requestor, as SCU and as SCP. Raises ProtocolError."""
    found = {}
    for body in bodies:
        size = int.from_bytes(body[:2], "big")
        if len(body) != 2 + size + 2:
            raise ProtocolError("role selection of wrong length in an A-ASSOCIATE PDU", INVALID_PARAMETER)
        found[_uid(body[2 : 2 + size])] = body[-2] == 1, body[-1] == 1
    return found


def write_roles(roles: Mapping[str, tuple[bool, bool]]) -> bytes:
    """Write SCP/SCU role selections."""
    return b"".join(
        item(ROLE, _LENGTH.pack(len(uid)) + uid.encode("latin-1") + bytes(roles)) for uid, roles in roles.items()
    )


def write_user_identity_answer(response: bytes) -> bytes:
    """Write the server's response to a user identity (PS3.7 D.3.3.7.2)."""
    return item(USER_IDENTITY_ANSWER, _LENGTH.pack(len(response)) + response)


def _read_context(body: bytes) -> tuple[int, int, list[tuple[int, str]]]:
    if len(body) < _CONTEXT_HEAD.size:
        raise ProtocolError("presentation context item cut short", INVALID_PARAMETER)
    context_id, result = _CONTEXT_HEAD.unpack_from(body)
    return context_id, result, [(kind, _uid(data)) for kind, data in split(body[_CONTEXT_HEAD.size :])]


def _uid(data: bytes) -> str:
    uid = data.decode("latin-1").strip(" \0")
    if len(uid) > MAX_UID_CHARS:
        raise ProtocolError(f"UID of {len(uid)} characters in an A-ASSOCIATE PDU", INVALID_PARAMETER)
    return uid
