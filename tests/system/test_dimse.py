"""What all DIMSE services have in common, on the real process."""

import pytest
from pydicom.uid import generate_uid

from tests.support import dcmtk, wire
from tests.support.objects import ct, encode
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, STUDY_FIND, VERIFICATION, Response, Wire

MR = "1.2.840.10008.5.1.4.1.1.4"
ECHO_ID, CT_ID, FIND_ID, GET_ONLY_ID = 1, 3, 5, 7
STUDY_LEVEL = wire.element(0x00080052, b"STUDY ")
NO_DATA_SET = 0x0101
STUDIES = 20


@pytest.fixture
def caller(shared_server: Server) -> Wire:
    """Open an association with a context for each service."""
    with Wire(shared_server.port) as found:
        contexts = [
            wire.context(ECHO_ID, VERIFICATION),
            wire.context(CT_ID, CT, EXPLICIT),
            wire.context(FIND_ID, STUDY_FIND),
            wire.context(GET_ONLY_ID, MR, EXPLICIT),
        ]
        body = found.accepted(*contexts, user=wire.user_information(16384, wire.role(MR, 0, 1)))
        assert {result for result, _ in wire.context_results(body).values()} == {0}
        yield found
        found.release()


@pytest.fixture(scope="module")
def studies(shared_server: Server) -> int:
    """Store some studies; returns how many."""
    with Wire(shared_server.port) as sender:
        sender.accepted(wire.context(CT_ID, CT, EXPLICIT))
        for _ in range(STUDIES):
            ds = ct(4, PatientID="DIMSE")
            assert store(sender, encode(ds), ds.SOPInstanceUID).status == 0
        sender.release()
    return STUDIES


def ask(caller: Wire, context_id: int, command_set: bytes, data: bytes | None = None) -> Response:
    caller.send(wire.message(context_id, command_set, data))
    found = caller.response()
    assert found.context_id == context_id
    return found


def echo(caller: Wire, message_id: int = 1) -> Response:
    return ask(caller, ECHO_ID, wire.command(0x30, VERIFICATION, message_id))


def store(caller: Wire, data: bytes, sop_instance_uid: str) -> Response:
    return ask(caller, CT_ID, wire.store_rq(CT, sop_instance_uid), data)


def find_rq(keys: bytes, message_id: int = 1) -> bytes:
    return wire.message(FIND_ID, wire.command(0x20, STUDY_FIND, message_id, data=True), keys)


def find(caller: Wire, keys: bytes, message_id: int = 1) -> list[Response]:
    """Return all responses, the final one last."""
    caller.send(find_rq(keys, message_id))
    found = [caller.response()]
    while found[-1].status >> 8 == 0xFF:
        found.append(caller.response())
    return found


ALL = STUDY_LEVEL + wire.element(0x00100020, b"DIMSE ")


def text(response: Response, tag: int) -> str:
    return response.elements[tag].decode().rstrip("\0 ")


@pytest.mark.parametrize("message_id", [0, 1, 4711, 65535])
def test_b1_message_id_and_class_are_mirrored(caller, studies, message_id):
    found = [(echo(caller, message_id), 0x8030, VERIFICATION)]
    found += [(r, 0x8020, STUDY_FIND) for r in find(caller, ALL, message_id)]
    for response, command_field, sop_class in found:
        assert response.us(0x100) == command_field
        assert response.us(0x120) == message_id
        assert 0x110 not in response.elements
        assert text(response, 0x2) == sop_class


def test_b1_command_data_set_type_says_whether_there_is_a_data_set(caller, studies):
    *pending, final = find(caller, ALL)
    assert {(r.us(0x800) != NO_DATA_SET, bool(r.data)) for r in pending} == {(True, True)}
    assert (final.us(0x800), final.data) == (NO_DATA_SET, b"")
    assert echo(caller).us(0x800) == NO_DATA_SET


def test_b1_the_instance_is_mirrored(caller):
    ds = ct(4)
    for status in (0, 0xA900):
        uid = ds.SOPInstanceUID if status == 0 else generate_uid()
        response = store(caller, encode(ds), uid)
        assert (response.status, text(response, 0x1000), text(response, 0x2)) == (status, uid, CT)


def test_b2_command_sets_are_implicit_vr_with_the_right_group_length(caller, studies):
    ds = ct(4)
    responses = [echo(caller), store(caller, encode(ds), ds.SOPInstanceUID), *find(caller, ALL), *find(caller, b"")]
    for response in responses:
        assert list(response.elements) == sorted(response.elements)
        others = sum(8 + len(value) for tag, value in response.elements.items() if tag)
        assert response.elements[0] == others.to_bytes(4, "little")
        assert all(len(value) % 2 == 0 for value in response.elements.values())


def test_b2_unknown_command_elements_and_a_wrong_group_length_are_ignored(caller):
    unknown = wire.element(0x1, b"\1\2\3\4") + wire.element(0x10, b"ACR-NEMA") + wire.element(0x5110, b"x" * 300)
    command_set = wire.command(0x30, VERIFICATION, 9, more=unknown)
    for sent in (command_set, wire.element(0, b"\7\0\0\0") + command_set[12:], command_set[12:]):
        response = ask(caller, ECHO_ID, sent)
        assert (response.status, response.us(0x120)) == (0, 9)


@pytest.mark.parametrize("command_field", [0x02, 0x100, 0x110, 0x120, 0x130, 0x140, 0x150, 0x7FFF])
@pytest.mark.parametrize("data", [None, b"12345678" * 9000])
def test_b3_an_unknown_operation_is_0211(caller, command_field, data):
    response = ask(caller, ECHO_ID, wire.command(command_field, VERIFICATION, 3, data=data is not None), data)
    assert (response.status, response.us(0x100), response.us(0x120)) == (0x0211, command_field | 0x8000, 3)
    assert echo(caller).status == 0


@pytest.mark.parametrize(
    ("context_id", "command_set"),
    [
        (CT_ID, wire.command(0x30, VERIFICATION)),
        (ECHO_ID, wire.command(0x30, CT)),
        (CT_ID, wire.store_rq(MR, "1.2.3")),
        (GET_ONLY_ID, wire.store_rq(MR, "1.2.3")),
        (FIND_ID, wire.command(0x20, "1.2.840.10008.5.1.4.1.2.1.1", data=True)),
    ],
)
def test_b3_a_class_that_is_not_of_the_context_is_0122(caller, context_id, command_set):
    has_data = b"\0\x08\x02\0\0\0\1\0" in command_set
    response = ask(caller, context_id, command_set, bytes(100_000) if has_data else None)
    assert (response.status, bool(response.comment)) == (0x0122, True)
    assert echo(caller).status == 0


@pytest.mark.parametrize(
    ("context_id", "sop_class", "command_field"),
    [(CT_ID, CT, 0x20), (CT_ID, CT, 0x10), (CT_ID, CT, 0x30), (FIND_ID, STUDY_FIND, 0x21), (FIND_ID, STUDY_FIND, 0x01)],
)
def test_b3_an_operation_that_is_not_of_the_class_is_0211(caller, context_id, sop_class, command_field):
    keys = b"\x08\0\x52\0CS\6\0STUDY " if context_id == CT_ID else STUDY_LEVEL
    response = ask(caller, context_id, wire.command(command_field, sop_class, data=True), keys)
    assert response.status == 0x0211
    assert echo(caller).status == 0


def test_b3_a_request_without_message_id_is_0212(caller):
    body = wire.element(2, VERIFICATION.encode()) + wire.us(0x100, 0x30) + wire.us(0x800, NO_DATA_SET)
    assert ask(caller, ECHO_ID, body).status == 0x0212


def test_b3_requests_that_come_while_another_runs_are_answered_in_turn(caller, studies):
    echoes = [wire.message(ECHO_ID, wire.command(0x30, VERIFICATION, i)) for i in range(100, 116)]
    caller.send(find_rq(ALL, 7) + b"".join(echoes))
    found = [caller.response() for _ in range(studies + 1 + len(echoes))]
    assert [r.us(0x120) for r in found] == [7] * (studies + 1) + list(range(100, 116))
    assert {r.status for r in found[studies:]} == {0}


def test_b3_a_message_id_in_use_is_0210(caller, studies):
    ds = ct(4)
    duplicate = wire.message(CT_ID, wire.store_rq(CT, ds.SOPInstanceUID, 7), encode(ds))
    caller.send(find_rq(ALL, 7) + duplicate + wire.message(ECHO_ID, wire.command(0x30, VERIFICATION, 8)))
    found = [caller.response() for _ in range(studies + 3)]
    assert [r.status for r in found[-3:]] == [0, 0x0210, 0]
    assert [r.us(0x100) for r in found[-3:]] == [0x8020, 0x8001, 0x8030]
    assert store(caller, encode(ds), ds.SOPInstanceUID).status == 0


def test_b3_more_than_16_at_once_are_aborted(shared_server, studies):
    with Wire(shared_server.port) as caller:
        caller.accepted(wire.context(ECHO_ID, VERIFICATION), wire.context(FIND_ID, STUDY_FIND))
        caller.send(find_rq(ALL) + wire.message(ECHO_ID, wire.command(0x30, VERIFICATION, 2)) * 17)
        while (pdu := caller.pdu())[0] == 4:
            pass
        assert pdu == (7, bytes((0, 0, 2, 0)))


def test_a_cancel_and_a_response_to_nothing_are_ignored(caller):
    caller.send(wire.message(FIND_ID, wire.cancel(7)))
    caller.send(
        wire.message(
            CT_ID,
            wire.element(2, CT.encode())
            + wire.us(0x100, 0x8001)
            + wire.us(0x120, 7)
            + wire.us(0x800, NO_DATA_SET)
            + wire.us(0x900, 0),
        )
    )
    assert echo(caller).status == 0


@pytest.mark.parametrize(
    ("keys", "status", "offending"),
    [
        (b"", 0xA900, [0x00080052]),
        (
            wire.element(0x00080052, b"NO SUCH LEVEL, AND A VALUE THAT GOES ON FOR MORE THAN 64 CHARACTERS"),
            0xA900,
            [0x00080052],
        ),
        (wire.element(0x00080005, b"KLINGON ") + STUDY_LEVEL, 0xC001, [0x00080005]),
        (b"\x08\0\x52\0\xff\0\0\0STUDY ", 0xC001, None),
    ],
)
def test_b4_a_failure_says_why_in_64_characters(caller, keys, status, offending):
    (response,) = find(caller, keys)
    assert response.status == status
    assert 0 < len(response.elements[0x902]) <= 64
    assert response.comment.isascii()
    assert response.comment.isprintable()
    if offending is not None:
        assert response.offending == offending


def test_b4_success_carries_neither_comment_nor_offending_elements(caller, studies):
    ds = ct(4)
    for response in (echo(caller), store(caller, encode(ds), ds.SOPInstanceUID), *find(caller, ALL)):
        assert not {0x901, 0x902} & set(response.elements)


def test_b4_dcmtk_shows_the_comment(shared_server):
    shown = dcmtk.client("findscu", shared_server.port, "-d", "-S", "-k", "QueryRetrieveLevel=FOO", check=False).stdout
    assert "0xa900" in shown
    assert "Query/Retrieve Level" in shown


def test_b5_many_operations_in_turn_on_one_association(caller):
    keys = STUDY_LEVEL + wire.element(0x00100020, b"B5")
    for n in range(1, 6):
        assert echo(caller, n).status == 0
        ds = ct(4, PatientID="B5")
        assert store(caller, encode(ds), ds.SOPInstanceUID).status == 0
        assert echo(caller, n).status == 0
        assert [r.status for r in find(caller, keys, n)] == [0xFF00] * n + [0]


def test_b6_group_lengths_and_retired_elements_in_identifiers_are_ignored(caller, studies):
    plain = find(caller, ALL)
    odd = b"".join(
        [
            wire.element(0x00080000, (999).to_bytes(4, "little")),
            wire.element(0x00080001, bytes(4)),
            wire.element(0x00080010, b"ACR-NEMA 2.0"),
            wire.element(0x00080052, b"STUDY "),
            wire.element(0x00100000, bytes(4)),
            wire.element(0x00100020, b"DIMSE "),
            wire.element(0x00200070, b"x "),
        ]
    )
    found = find(caller, odd)
    assert [r.data for r in found] == [r.data for r in plain]
    assert {r.status for r in found[:-1]} <= {0xFF00, 0xFF01}
    assert found[-1].status == 0
