"""A-ASSOCIATE PDUs: read from bytes made by hand, written so that they can be taken apart by hand."""

import struct
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipacs import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from minipacs.net.access import RIGHTS
from minipacs.net.identity.user_identity import UserIdentity
from minipacs.net.wire import acse
from minipacs.net.wire.negotiation import Acceptance, Proposal, ProposedContext, negotiate
from minipacs.net.wire.stream import INVALID_PARAMETER, ProtocolError
from minipacs.services.offered import offered_classes
from tests.support import wire
from tests.support.wire import CT, EXPLICIT, IMPLICIT, STUDY_FIND, VERIFICATION, associate_rq, context, item

HEADER = 6
TITLES = slice(4, 68)
OFFERED = offered_classes()

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def request(*contexts: bytes, **arguments: object) -> Proposal:
    return acse.decode_request(associate_rq(list(contexts) or None, **arguments)[HEADER:])  # type: ignore[arg-type]


def accept(body: bytes, max_pdu_bytes: int = 16384) -> bytes:
    """Answer a request as the acceptor does; returns the body of the A-ASSOCIATE-AC."""
    proposal = acse.decode_request(body)
    pdu = acse.encode_accept(proposal, negotiate(proposal, OFFERED, RIGHTS), body[TITLES], max_pdu_bytes)
    assert pdu[0] == 2
    assert struct.unpack(">L", pdu[2:HEADER]) == (len(pdu) - HEADER,)
    return pdu[HEADER:]


def extended(uid: str, information: bytes) -> bytes:
    return item(0x56, struct.pack(">H", len(uid)) + uid.encode() + information)


def common_extended(uid: str, service_class: str, *general: str) -> bytes:
    related = b"".join(struct.pack(">H", len(g)) + g.encode() for g in general)
    parts = [struct.pack(">H", len(u)) + u.encode() for u in (uid, service_class)]
    return item(0x57, b"".join(parts) + struct.pack(">H", len(related)) + related)


def test_a_request_is_read_in_full():
    user = wire.user_information(
        32768,
        item(0x53, bytes((0, 5, 0, 6))),
        wire.role(CT, 1, 1),
        item(0x55, b"NAME"),
        extended(STUDY_FIND, b"\1\0"),
        common_extended("1.2.3", "1.2.840.10008.4.2", CT),
        item(0x58, b"\2\1\0\4user\0\4code"),
    )
    assert request(context(1, CT, EXPLICIT, IMPLICIT), context(3, STUDY_FIND), user=user) == Proposal(
        called_ae_title="MINIPACS",
        calling_ae_title="TEST",
        contexts=(ProposedContext(1, CT, (EXPLICIT, IMPLICIT)), ProposedContext(3, STUDY_FIND, (IMPLICIT,))),
        application_context="1.2.840.10008.3.1.1.1",
        max_pdu_bytes=32768,
        implementation_class_uid="1.2.3.4",
        implementation_version_name="NAME",
        roles={CT: (True, True)},
        extended={STUDY_FIND: b"\1\0"},
        general_classes={"1.2.3": (CT,)},
        wants_async_window=True,
        user_identity=UserIdentity(2, b"user", b"code", is_response_requested=True),
    )


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"  TITLE  ", "TITLE"),
        (b"Mixed Case", "Mixed Case"),
        (b"SIXTEEN.LONG.ONE", "SIXTEEN.LONG.ONE"),
        (b"NULS\0\0", "NULS"),
        (b" ", ""),
        (b"\x1b[31m\xff", "\x1b[31m\xff"),
        (b"A\\B", "A\\B"),
    ],
)
def test_a3_titles_lose_their_padding_and_nothing_else(sent, read):
    found = request(called=sent, calling=sent)
    assert (found.called_ae_title, found.calling_ae_title) == (read, read)


def test_a3_titles_are_sent_back_as_they_came():
    body = associate_rq(called=b" MINIPACS", calling=b"odd\xfftitle")[HEADER:]
    assert accept(body)[TITLES] == body[TITLES]


@pytest.mark.parametrize("context_ids", [(2,), (0,), (1, 1), (1, 3, 1)])
def test_a4_even_or_repeated_context_ids_are_a_protocol_error(context_ids):
    with pytest.raises(ProtocolError) as raised:
        request(*(context(i, VERIFICATION) for i in context_ids))
    assert raised.value.reason == INVALID_PARAMETER


def test_a5_128_contexts_are_answered_in_order():
    contexts = [context(2 * i + 1, CT, IMPLICIT if i % 2 else EXPLICIT) for i in range(128)]
    found = wire.context_results(accept(associate_rq(contexts)[HEADER:]))
    assert found == {2 * i + 1: (0, IMPLICIT if i % 2 else EXPLICIT) for i in range(128)}


@pytest.mark.parametrize(("response", "items"), [(None, []), (b"", [b"\0\0"]), (b"ticket", [b"\0\6ticket"])])
def test_a_user_identity_is_answered_with_one_item_or_none(response, items):
    body = associate_rq()[HEADER:]
    proposal = acse.decode_request(body)
    answer = acse.encode_accept(proposal, negotiate(proposal, OFFERED, RIGHTS), body[TITLES], 16384, response)
    assert wire.sub_items(answer[HEADER:], 0x59) == items


ODD = item(0x99, b"whatever")


@pytest.mark.parametrize(
    "body",
    [
        associate_rq(more=ODD),
        associate_rq(user=wire.user_information(16384, ODD, item(0x5F, b""))),
        associate_rq(
            [item(0x20, b"\1\0\0\0" + item(0x30, VERIFICATION.encode()) + ODD + item(0x40, IMPLICIT.encode()))]
        ),
        associate_rq(user=wire.user_information(16384, item(0x58, b"\1\1\0\4user\0\0"), item(0x59, b"\0\0"))),
        associate_rq(user=wire.user_information(16384, item(0x58, b"\1"), item(0x58, b""))),
    ],
)
def test_a7_unknown_items_are_skipped(body):
    answer = accept(body[HEADER:])
    assert wire.context_results(answer) == {1: (0, IMPLICIT)}
    assert {kind for kind, _ in wire.items_of(answer)} == {0x10, 0x21, 0x50}


@pytest.mark.parametrize(
    ("class_uid", "name", "read"),
    [
        (b"1.2.3\0", b" NAME ", ("1.2.3", "NAME")),
        (b"no uid", b"A name of more than 16 characters", ("no uid", "A name of more than 16 characters")),
        (b"", b"", ("", "")),
        (b"1." + b"2" * 200, b"\xff\0\x1b", (("1." + "2" * 62), "\xff\0\x1b")),
    ],
)
def test_what_a_peer_calls_its_software_is_never_a_reason_to_refuse_it(class_uid, name, read):
    user = item(0x50, item(0x51, bytes(4)) + item(0x52, class_uid) + item(0x55, name))
    found = request(user=user)
    assert (found.implementation_class_uid, found.implementation_version_name) == read


def test_a9_the_answer_names_this_implementation_by_its_own_root():
    answer = accept(associate_rq()[HEADER:])
    assert wire.sub_items(answer, 0x52) == [IMPLEMENTATION_CLASS_UID.encode()]
    assert wire.sub_items(answer, 0x55) == [IMPLEMENTATION_VERSION_NAME.encode()]
    assert IMPLEMENTATION_CLASS_UID.startswith("2.25.")
    assert 0 < len(IMPLEMENTATION_VERSION_NAME) <= 16


@pytest.mark.parametrize("max_pdu_bytes", [0, 4096, 262144])
def test_a8_the_announced_maximum_length(max_pdu_bytes):
    assert wire.sub_items(accept(associate_rq()[HEADER:], max_pdu_bytes), 0x51) == [struct.pack(">L", max_pdu_bytes)]


def test_a10_an_asynchronous_window_is_answered_with_one_and_one_only_if_offered():
    offered = associate_rq(user=wire.user_information(0, item(0x53, bytes((0, 0, 0, 8)))))
    assert wire.sub_items(accept(offered[HEADER:]), 0x53) == [bytes((0, 1, 0, 1))]
    assert wire.sub_items(accept(associate_rq()[HEADER:]), 0x53) == []


def test_a11_role_items_are_answered_for_what_was_asked():
    user = wire.user_information(0, wire.role(CT, 0, 1), wire.role("1.2.3", 1, 1))
    answer = accept(associate_rq([context(1, CT), context(3, "1.2.3"), context(5, VERIFICATION)], user=user)[HEADER:])
    assert wire.sub_items(answer, 0x54) == [wire.role(CT, 0, 1)[4:]]


def test_a12_extended_items_are_answered_for_what_was_offered():
    user = wire.user_information(0, extended(STUDY_FIND, b"\1\1\1"), extended("1.2.3", b"\1"), extended(CT, b""))
    answer = accept(associate_rq([context(1, STUDY_FIND), context(3, "1.2.3"), context(5, CT)], user=user)[HEADER:])
    assert wire.sub_items(answer, 0x56) == [extended(STUDY_FIND, b"\1\1\1")[4:], extended(CT, b"")[4:]]


def test_s11_common_extended_negotiation_is_read_for_the_storage_service():
    private = [context(1, "1.2.3", EXPLICIT)]
    for service, result in (("1.2.840.10008.4.2", 0), ("1.2.840.10008.4.1", 3)):
        user = wire.user_information(0, common_extended("1.2.3", service, CT))
        assert wire.context_results(accept(associate_rq(private, user=user)[HEADER:]))[1][0] == result


def test_without_user_information_no_limit_is_assumed():
    assert request(user=b"").max_pdu_bytes == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(67),
        associate_rq()[HEADER:-1],
        associate_rq()[HEADER:] + b"\x20",
        associate_rq(more=b"\x99\0\0\xff")[HEADER:],
        associate_rq(user=item(0x50, item(0x51, b"\0\0")))[HEADER:],
        associate_rq(user=item(0x50, b"\x51\0\0\x09\0"))[HEADER:],
        associate_rq([context(1, "1." + "2" * 70)])[HEADER:],
    ],
)
def test_a17_unreadable_requests_are_protocol_errors(body):
    with pytest.raises(ProtocolError) as raised:
        acse.decode_request(body)
    assert raised.value.reason == INVALID_PARAMETER


SAMPLE = associate_rq(
    [context(1, CT, EXPLICIT, IMPLICIT), context(3, STUDY_FIND)],
    user=wire.user_information(4096, wire.role(CT, 1, 1), extended(STUDY_FIND, b"\1"), common_extended("1.2", "", CT)),
)[HEADER:]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a17_a_damaged_request_is_answered_or_a_protocol_error(changes):
    body = bytearray(SAMPLE)
    for position, value in changes:
        body[position] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = accept(bytes(body))
        except ProtocolError:
            return
    assert wire.items_of(answer)


CONTEXTS = [ProposedContext(1, CT, (EXPLICIT, IMPLICIT)), ProposedContext(3, VERIFICATION, (IMPLICIT,))]


def test_what_we_request_is_read_back_and_so_is_the_answer():
    pdu = acse.encode_request("MINIPACS", "STORE", CONTEXTS, 65536)
    assert pdu[0] == 1
    proposal = acse.decode_request(pdu[HEADER:])
    assert (proposal.calling_ae_title, proposal.called_ae_title) == ("MINIPACS", "STORE")
    assert (proposal.contexts, proposal.max_pdu_bytes) == (tuple(CONTEXTS), 65536)
    assert proposal.roles == {}
    contexts, max_pdu_bytes = acse.decode_accept(accept(pdu[HEADER:], 8192), CONTEXTS)
    assert max_pdu_bytes == 8192
    assert {i: (c.transfer_syntax, c.as_scp, c.as_scu) for i, c in contexts.items()} == {
        1: (EXPLICIT, False, True),
        3: (IMPLICIT, False, True),
    }


def answer_of(results: dict[int, tuple[int, str]], max_pdu_bytes: int = 16384) -> bytes:
    """Make the body of an A-ASSOCIATE-AC by hand."""
    items = [
        item(0x21, bytes((i, 0, result, 0)) + (item(0x40, syntax.encode()) if syntax else b""))
        for i, (result, syntax) in results.items()
    ]
    head = associate_rq()[HEADER : HEADER + 68] + item(0x10, b"1.2.840.10008.3.1.1.1")
    return head + b"".join(items) + wire.user_information(max_pdu_bytes, ODD) + ODD


def test_an_answer_opens_only_what_was_proposed_and_accepted():
    body = answer_of({1: (0, "1.2.840.10008.1.2.4.70"), 3: (3, ""), 5: (0, IMPLICIT)})
    assert acse.decode_accept(body, CONTEXTS) == ({}, 16384)
    contexts, _ = acse.decode_accept(answer_of({1: (0, IMPLICIT), 3: (4, IMPLICIT)}), CONTEXTS)
    assert [(c.context_id, c.transfer_syntax) for c in contexts.values()] == [(1, IMPLICIT)]


def test_a_peer_that_leaves_no_room_for_a_fragment_is_refused():
    with pytest.raises(ProtocolError):
        acse.decode_accept(answer_of({1: (0, IMPLICIT)}, max_pdu_bytes=7), CONTEXTS)


def test_a_rejection():
    assert acse.encode_reject(2, 3, 2) == bytes((3, 0, 0, 0, 0, 4, 0, 2, 3, 2))


def test_an_acceptance_of_nothing_is_still_an_answer():
    body = associate_rq([])[HEADER:]
    proposal = acse.decode_request(body)
    nothing = Acceptance((), {}, {}, {})
    assert wire.context_results(acse.encode_accept(proposal, nothing, body[TITLES], 0)[HEADER:]) == {}


def test_an_answer_that_is_too_long_for_an_item_is_refused_in_the_words_of_the_protocol():
    """Two user information items can propose more roles than one can answer."""
    uid = "1.2.840.10008.5.1.4.1.1.2." + "1" * 30
    roles = [item(0x50, b"".join(wire.role(uid + f"{n}{i:04}", 1, 1) for i in range(900))) for n in (1, 2)]
    contexts = [wire.context(1, CT, EXPLICIT)]
    body = associate_rq(contexts, more=roles[0], user=roles[1])[HEADER:]
    proposal = acse.decode_request(body)
    answer = Acceptance((), {}, dict.fromkeys(proposal.roles, (True, True)), {})
    with pytest.raises(ProtocolError, match="too long"):
        acse.encode_accept(proposal, answer, body[TITLES], 0)
    answer = Acceptance((), {}, {}, dict.fromkeys(proposal.roles, bytes(60)))
    with pytest.raises(ProtocolError, match="too long"):
        acse.encode_accept(proposal, answer, body[TITLES], 0)
