"""The table from kinds of failure to statuses: each service's own words for the same thing (PS3.7 C)."""

import pytest

from minipacs.dicom.data_set.command_set import CommandField, CommandSet
from minipacs.dicom.tables import statuses
from minipacs.errors import TEMPORARY, Failure, Kind
from minipacs.services.answers import MAY_NO_LONGER_BE_UPDATED, answer

STORE, FIND, MOVE, GET = (CommandField[f"C_{name}_RQ"] for name in ("STORE", "FIND", "MOVE", "GET"))
CREATE, SET, N_GET, ACTION = (CommandField[f"N_{name}_RQ"] for name in ("CREATE", "SET", "GET", "ACTION"))
CLASSIC, STEP, NORMALIZED = (STORE, FIND, MOVE, GET), (CREATE, SET, N_GET), (CREATE, SET, N_GET, ACTION)
TAG = 0x00100020

OFFENDING = [
    (Kind.UNREADABLE, (STORE,), 0xC000),
    (Kind.MISSING, (STORE,), 0xC001),
    (Kind.MALFORMED_UID, (STORE,), 0xC002),
    (Kind.OTHER_PARENT, (STORE,), 0xC003),
    (Kind.OTHER_CONTENT, (STORE,), 0xC004),
    (Kind.WRONG_ENCODING, (STORE,), 0xC005),
    (Kind.TOO_LARGE, (STORE,), 0xC006),
    (Kind.WRONG_IDENTITY, (STORE,), 0xA900),
    (Kind.INVALID, (FIND, MOVE, GET), 0xA900),
    (Kind.UNREADABLE, (FIND, MOVE, GET), 0xC001),
    (Kind.UNKNOWN_CHARSET, (FIND, MOVE, GET), 0xC001),
]
ATTRIBUTES = [
    (Kind.NOT_SETTABLE, STEP, 0x0105),
    (Kind.INVALID, STEP, 0x0106),
    (Kind.UNKNOWN_CHARSET, NORMALIZED, 0x0106),
    (Kind.MISSING, STEP, 0x0120),
    (Kind.EMPTY, STEP, 0x0121),
]
WORDS_ONLY = [
    (Kind.MISSING, (ACTION,), 0x0114),
    (Kind.EMPTY, (ACTION,), 0x0115),
    (Kind.INVALID, (ACTION,), 0x0115),
]
WITHOUT_TAGS = [
    (Kind.TOO_LARGE, (FIND, MOVE, GET), 0xC001),
    (Kind.TOO_LARGE, NORMALIZED, 0x0213),
    (Kind.TOO_MANY, (FIND,), 0xA700),
    (Kind.TOO_MANY, (ACTION,), 0x0213),
    (Kind.BUSY, (STORE, FIND), 0xA700),
    (Kind.BUSY, (MOVE, GET), 0xA701),
    (Kind.BUSY, NORMALIZED, 0x0213),
    (Kind.BROKEN, (STORE, *NORMALIZED), 0x0110),
    (Kind.BROKEN, (FIND, MOVE, GET), 0xC002),
    (Kind.UNREADABLE, NORMALIZED, 0x0110),
    (Kind.UNSUPPORTED, (ACTION,), 0x0123),
    (Kind.UNSUPPORTED, (STORE,), 0x0122),
    (Kind.NOT_FOUND, (MOVE,), 0xA801),
    (Kind.NOT_FOUND, NORMALIZED, 0x0112),
    (Kind.EXISTS, STEP, 0x0111),
    (Kind.MALFORMED_UID, STEP, 0x0117),
    (Kind.OTHER_CLASS, STEP, 0x0119),
]


@pytest.mark.parametrize(
    ("kind", "field", "status"),
    [(k, f, s) for rows in (OFFENDING, ATTRIBUTES, WORDS_ONLY, WITHOUT_TAGS) for k, fields, s in rows for f in fields],
)
def test_a_kind_of_failure_has_one_status_for_each_service(kind: Kind, field: CommandField, status: int) -> None:
    assert answer(Failure(kind, "why"), field).status == status


@pytest.mark.parametrize(("kind", "fields"), [row[:2] for row in OFFENDING])
def test_dimse_c_has_offending_elements(kind: Kind, fields: tuple[CommandField, ...]) -> None:
    for field in fields:
        given = answer(Failure(kind, "why", [TAG]), field)
        assert (given.comment, given.offending_elements, given.attributes) == ("why", (TAG,), ())


@pytest.mark.parametrize(("kind", "fields"), [row[:2] for row in ATTRIBUTES])
def test_dimse_n_has_an_attribute_identifier_list(kind: Kind, fields: tuple[CommandField, ...]) -> None:
    for field in fields:
        given = answer(Failure(kind, "why", [TAG]), field)
        assert (given.comment, given.offending_elements, given.attributes) == ("why", (), (TAG,))


@pytest.mark.parametrize("kind", [row[0] for row in WORDS_ONLY])
def test_an_action_names_its_arguments_in_the_comment(kind: Kind) -> None:
    given = answer(Failure(kind, "why", [TAG]), ACTION)
    assert (given.comment, given.offending_elements, given.attributes) == ("why (0010,0020)", (), ())


def test_a_final_state_is_told_by_an_error_id() -> None:
    given = answer(Failure(Kind.FINAL, "why"), SET)
    assert (given.status, given.error_id, given.is_ours) == (0x0110, MAY_NO_LONGER_BE_UPDATED, False)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("field", CommandField)
def test_whatever_fails_is_answered_with_a_failure(kind: Kind, field: CommandField) -> None:
    assert statuses.category(answer(Failure(kind, "why"), field).status) == "failure"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind in TEMPORARY])
@pytest.mark.parametrize("field", [*CLASSIC, *NORMALIZED])
def test_what_may_pass_is_told_so(kind: Kind, field: CommandField) -> None:
    status = answer(Failure(kind, "why"), field).status
    assert status >> 8 == 0xA7 or status == statuses.RESOURCE_LIMITATION


def test_a_long_comment_is_cut() -> None:
    response = CommandSet(command_field=CommandField.C_STORE_RSP)
    answer(Failure(Kind.BUSY, "x" * 100), STORE).put_into(response)
    assert response.error_comment == "x" * 64
