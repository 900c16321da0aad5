"""What is accepted of a proposal, over the table that the archive offers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipacs.dicom.tables import transfer_syntaxes
from minipacs.dicom.tables.sop_classes import QUERY_RETRIEVE, STORAGE, VERIFICATION
from minipacs.net.access import RIGHTS
from minipacs.net.wire.negotiation import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTANCE,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    USER_REJECTION,
    Acceptance,
    PresentationContext,
    Proposal,
    ProposedContext,
    negotiate,
)
from minipacs.services.offered import offered_classes

IMPLICIT = transfer_syntaxes.IMPLICIT_VR_LITTLE_ENDIAN
EXPLICIT = transfer_syntaxes.EXPLICIT_VR_LITTLE_ENDIAN
BIG_ENDIAN = transfer_syntaxes.EXPLICIT_VR_BIG_ENDIAN
DEFLATED = transfer_syntaxes.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
JPEG = "1.2.840.10008.1.2.4.70"
UNKNOWN = "1.2.3.4"
OFFERED = offered_classes()


def answer(*contexts: tuple[str, tuple[str, ...]], rights: tuple[str, ...] = RIGHTS, **more: object) -> Acceptance:
    proposed = tuple(ProposedContext(2 * i + 1, uid, syntaxes) for i, (uid, syntaxes) in enumerate(contexts))
    proposal = Proposal(called_ae_title="A", calling_ae_title="B", contexts=proposed, **more)  # type: ignore[arg-type]
    return negotiate(proposal, OFFERED, rights)


@pytest.mark.parametrize(
    ("uid", "syntaxes", "result", "chosen"),
    [
        (VERIFICATION, (IMPLICIT,), ACCEPTANCE, IMPLICIT),
        (UNKNOWN, (IMPLICIT,), ABSTRACT_SYNTAX_NOT_SUPPORTED, None),
        (CT, (UNKNOWN,), TRANSFER_SYNTAXES_NOT_SUPPORTED, None),
        (CT, (), TRANSFER_SYNTAXES_NOT_SUPPORTED, None),
        (FIND, (JPEG,), TRANSFER_SYNTAXES_NOT_SUPPORTED, None),
        (CT, (JPEG, EXPLICIT), ACCEPTANCE, JPEG),
        (CT, (EXPLICIT, JPEG), ACCEPTANCE, EXPLICIT),
        (CT, (IMPLICIT, JPEG), ACCEPTANCE, JPEG),
        (CT, (UNKNOWN, IMPLICIT), ACCEPTANCE, IMPLICIT),
        (FIND, (IMPLICIT, EXPLICIT), ACCEPTANCE, EXPLICIT),
        (MOVE, (BIG_ENDIAN, IMPLICIT), ACCEPTANCE, IMPLICIT),
    ],
)
def test_a4_result_and_transfer_syntax_of_a_context(uid, syntaxes, result, chosen):
    acceptance = answer((uid, syntaxes))
    (context,) = acceptance.answers
    assert (context.context_id, context.result) == (1, result)
    if result == ACCEPTANCE:
        assert context.transfer_syntax == chosen
        assert acceptance.contexts == {1: PresentationContext(1, uid, chosen)}
    else:
        assert acceptance.contexts == {}


def test_a4_a_denied_service_is_rejected_by_the_user():
    acceptance = answer((CT, (EXPLICIT,)), (FIND, (EXPLICIT,)), (UNKNOWN, (EXPLICIT,)), rights=("find",))
    assert [a.result for a in acceptance.answers] == [USER_REJECTION, ACCEPTANCE, ABSTRACT_SYNTAX_NOT_SUPPORTED]


def test_a5_contexts_of_one_class_are_accepted_each_with_its_own_syntax():
    syntaxes = list(transfer_syntaxes.TRANSFER_SYNTAXES)[:20]
    contexts = answer(*((CT, (uid,)) for uid in syntaxes)).contexts
    assert [c.transfer_syntax for c in contexts.values()] == syntaxes
    assert list(contexts) == list(range(1, 40, 2))


def test_a6_implicit_vr_is_accepted_for_every_class_and_the_other_uncompressed_ones_for_storage():
    for uid in OFFERED:
        assert answer((uid, (IMPLICIT,))).answers[0].result == ACCEPTANCE, uid
    for uid in STORAGE:
        for syntax in (EXPLICIT, BIG_ENDIAN, DEFLATED):
            assert answer((uid, (syntax,))).answers[0].result == ACCEPTANCE, (uid, syntax)


@pytest.mark.parametrize(
    ("uid", "asked", "answered", "as_scp", "as_scu", "result"),
    [
        (CT, (False, True), (False, True), False, True, ACCEPTANCE),
        (CT, (True, True), (True, True), True, True, ACCEPTANCE),
        (CT, (True, False), (True, False), True, False, ACCEPTANCE),
        (CT, (False, False), None, None, None, USER_REJECTION),
        (FIND, (True, True), (True, False), True, False, ACCEPTANCE),
        (FIND, (False, True), None, None, None, USER_REJECTION),
    ],
)
def test_a11_roles_are_granted_where_asked_for_and_possible(uid, asked, answered, as_scp, as_scu, result):
    acceptance = answer((uid, (EXPLICIT,)), roles={uid: asked})
    assert acceptance.answers[0].result == result
    assert acceptance.roles == ({} if answered is None else {uid: answered})
    if result == ACCEPTANCE:
        assert (acceptance.contexts[1].as_scp, acceptance.contexts[1].as_scu) == (as_scp, as_scu)


def test_a11_no_role_is_answered_that_was_not_asked_for():
    acceptance = answer((CT, (EXPLICIT,)), roles={MOVE: (True, True)})
    assert acceptance.roles == {}
    assert not acceptance.contexts[1].as_scu


@pytest.mark.parametrize(
    ("uid", "offered", "answered"),
    [
        (FIND, bytes((1, 1, 1)), bytes((1, 1, 1))),
        (FIND, bytes((0, 1)), bytes((0, 1))),
        (FIND, bytes((1,)), bytes((1,))),
        (FIND, bytes([1] * 8), bytes((1, 1, 1, 1, 0, 0, 0, 0))),
        (FIND, b"", b""),
        (MOVE, bytes((1, 1)), bytes((1, 0))),
        (CT, bytes((0, 0, 0, 0)), bytes((2, 0, 3, 0))),
        (CT, bytes((2, 0, 3, 0, 1, 0)), bytes((2, 0, 3, 0, 0, 0))),
    ],
)
def test_a12_extended_negotiation_answers_as_many_bytes_as_were_offered(uid, offered, answered):
    assert answer((uid, (EXPLICIT,)), extended={uid: offered}).extended == {uid: answered}


def test_a12_no_extended_answer_without_an_offer_or_for_a_refused_context():
    assert answer((FIND, (EXPLICIT,))).extended == {}
    assert answer((FIND, (JPEG,)), extended={FIND: b"\1", UNKNOWN: b"\1"}).extended == {}


def test_s11_a_class_is_accepted_by_the_general_class_it_is_related_to():
    acceptance = answer((UNKNOWN, (EXPLICIT,)), general_classes={UNKNOWN: ("1.9", CT)})
    assert acceptance.contexts == {1: PresentationContext(1, UNKNOWN, EXPLICIT)}
    only_find = answer((UNKNOWN, (EXPLICIT,)), general_classes={UNKNOWN: (FIND,)})
    assert only_find.answers[0].result == ABSTRACT_SYNTAX_NOT_SUPPORTED


UIDS = st.sampled_from([VERIFICATION, CT, FIND, MOVE, UNKNOWN, "", *QUERY_RETRIEVE])
SYNTAXES = st.sampled_from([IMPLICIT, EXPLICIT, JPEG, UNKNOWN])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(UIDS, st.lists(SYNTAXES, max_size=4).map(tuple)), max_size=128),
    st.sets(st.sampled_from(RIGHTS)).map(tuple),
    st.dictionaries(UIDS, st.tuples(st.booleans(), st.booleans())),
)
def test_a4_each_context_gets_exactly_one_answer(proposed, rights, roles):
    acceptance = answer(*proposed, rights=rights, roles=roles)
    assert [a.context_id for a in acceptance.answers] == [2 * i + 1 for i in range(len(proposed))]
    accepted = {a.context_id: a.transfer_syntax for a in acceptance.answers if a.result == ACCEPTANCE}
    assert accepted == {c.context_id: c.transfer_syntax for c in acceptance.contexts.values()}
    for context_id, syntax in accepted.items():
        uid, syntaxes = proposed[context_id // 2]
        assert syntax in syntaxes
        assert OFFERED[uid].right in rights
    assert {a.result for a in acceptance.answers} <= {0, 1, 3, 4}
