"""The data sets of DIMSE-N requests: how much of memory they may take."""

import struct
from types import SimpleNamespace

import pytest

from minipacs.dicom.data_set.decode import MAX_ELEMENTS as MAX_IDENTIFIER_ELEMENTS
from minipacs.dicom.data_set.decode import decode_data_set
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.errors import Failure, Kind
from minipacs.services import data_sets
from minipacs.services.data_sets import LARGE_BYTES, MAX_ELEMENTS, MAX_LARGE_AT_ONCE, read_values
from tests.support.wire import IMPLICIT, element

PIECE_BYTES = 1 << 18


def empty_elements(count: int) -> bytes:
    return b"".join(struct.pack("<HHL", 0x0011 + 2 * (n >> 16), n & 0xFFFF, 0) for n in range(count))


def request(data: bytes, then: object = lambda: None) -> SimpleNamespace:
    """Make a request whose data set comes in pieces; `then` is called when all have come."""

    def fragments() -> object:
        yield from (data[begin : begin + PIECE_BYTES] for begin in range(0, len(data), PIECE_BYTES))
        then()

    message = SimpleNamespace(
        command=SimpleNamespace(has_data_set=True),
        fragments=fragments,
        context=SimpleNamespace(transfer_syntax=IMPLICIT),
    )
    return SimpleNamespace(message=message, charset="")


def test_16_mib_of_empty_elements_are_refused_before_they_fill_the_memory():
    with pytest.raises(Failure, match="too many elements") as raised:
        read_values(request(empty_elements(MAX_ELEMENTS + 1)))
    assert raised.value.kind is Kind.TOO_MANY


def test_an_identifier_has_fewer():
    syntax = TRANSFER_SYNTAXES[IMPLICIT]
    assert len(decode_data_set(empty_elements(1000), syntax).elements) > 900
    with pytest.raises(Failure, match="too many elements"):
        decode_data_set(empty_elements(MAX_IDENTIFIER_ELEMENTS + 1), syntax)


def test_so_many_large_ones_are_read_at_once_and_the_next_one_is_told_to_come_later():
    large = element(0x00104000, b"x" * LARGE_BYTES) + element(0x00110010, b"")
    told: list[Kind] = []

    def nested(depth: int) -> None:
        try:
            read_values(request(large, lambda: nested(depth - 1) if depth else None))
        except Failure as error:
            told.append(error.kind)

    nested(MAX_LARGE_AT_ONCE + 1)
    assert told == [Kind.BUSY]
    told.clear()
    nested(MAX_LARGE_AT_ONCE - 1)
    assert told == [], "what was taken was given back"
    assert data_sets._large._value == MAX_LARGE_AT_ONCE
