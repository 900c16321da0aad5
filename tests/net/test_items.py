"""Presentation contexts and roles, as bytes and held against the library's reading of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import pdu, pdu_items

from minipacs.net.wire import items
from minipacs.net.wire.negotiation import ContextAnswer, ProposedContext
from minipacs.net.wire.stream import ProtocolError
from tests.support import wire

UIDS = st.from_regex(r"[12](\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)
IDS = st.integers(0, 127).map(lambda n: 2 * n + 1)


def bodies(data: bytes, kind: int) -> list[bytes]:
    found = list(items.split(data))
    assert {k for k, _ in found} <= {kind}
    return [body for _, body in found]


@given(st.lists(st.tuples(IDS, UIDS, st.lists(UIDS, max_size=4)), unique_by=lambda context: context[0]))
def test_proposed_contexts_survive_the_way_and_read_alike_in_the_library(contexts):
    proposed = [ProposedContext(i, abstract, tuple(transfer)) for i, abstract, transfer in contexts]
    written = items.write_contexts(proposed)
    assert list(items.read_contexts(bodies(written, items.PROPOSED_CONTEXT))) == proposed
    request = pdu.A_ASSOCIATE_RQ()
    request.decode(wire.associate_rq([written]))
    assert [
        ProposedContext(c.context_id, c.abstract_syntax, tuple(c.transfer_syntax)) for c in request.presentation_context
    ] == proposed


@given(st.lists(st.tuples(IDS, st.integers(0, 4), UIDS)))
def test_answers_survive_the_way(answers):
    given_answers = [ContextAnswer(*answer) for answer in answers]
    written = items.write_answers(given_answers)
    assert list(items.read_answers(bodies(written, items.CONTEXT_ANSWER))) == given_answers


@given(st.dictionaries(UIDS, st.tuples(st.booleans(), st.booleans()), max_size=5))
def test_roles_survive_the_way_and_read_alike_in_the_library(roles):
    written = items.write_roles(roles)
    assert items.read_roles(bodies(written, items.ROLE)) == roles
    for uid, body in zip(roles, bodies(written, items.ROLE), strict=True):
        found = pdu_items.SCP_SCU_RoleSelectionSubItem()
        found.decode(items.item(items.ROLE, body))
        assert (found.uid, bool(found.scu), bool(found.scp)) == (uid, *roles[uid])


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\0\x051.2.3", b"\0\x051.2.3\1", b"\0\x051.2.3\1\1\1", b"\0\x091.2.3\1\1"]
)
def test_roles_of_another_length_are_protocol_errors(body):
    with pytest.raises(ProtocolError):
        items.read_roles([body])


@pytest.mark.parametrize("body", [b"", b"\1\0\0", b"\1\0\0\0\x30\0\0\x09\x31"])
def test_contexts_cut_short_are_protocol_errors(body):
    with pytest.raises(ProtocolError):
        list(items.read_contexts([body]))
