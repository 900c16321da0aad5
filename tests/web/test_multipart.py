"""Bodies of several parts, cut anywhere; broken ones; what is kept of them."""

import email
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs.web.representations.multipart import (
    MAX_HEAD_BYTES,
    MAX_PARTS,
    BadMultipart,
    PartBegins,
    PartEnds,
    Reader,
    Writer,
)

Parts = list[tuple[dict[str, str], bytes]]


def read(pieces: list[bytes], boundary: bytes = b"b") -> Parts:
    reader, found = Reader(boundary), []
    headers, data, is_open = {}, b"", False
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, PartBegins):
                assert not is_open
                headers, data, is_open = dict(event.headers), b"", True
            elif isinstance(event, PartEnds):
                assert is_open
                found.append((headers, data))
                is_open = False
            else:
                assert is_open
                assert len(event)
                data += event
    reader.finish()
    return found


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"--b\r\nA: 1\r\n\r\nx\r\n--b--", [({"a": "1"}, b"x")]),
        (b"\r\n--b\r\nA: 1\r\n\r\nx\r\n--b--\r\n", [({"a": "1"}, b"x")]),
        (b"to be ignored\r\n--b\r\n\r\nx\r\n--b--\r\nepilogue --b\r\n", [({}, b"x")]),
        (
            b"--b \t\r\nA:1\r\nB : 2 \r\nno field\r\n\r\n\r\n--b\r\n\r\n\r\n\r\n--b--",
            [({"a": "1", "b": "2"}, b""), ({}, b"\r\n")],
        ),
        (b"--b\r\nA: 1\r\n\r\n--b--", [({"a": "1"}, b"")]),
        (b"--b--", []),
        (b"--b\r\n\r\n-\r\n--c\r\n-b\r--b\n--b\r\n--b--", [({}, b"-\r\n--c\r\n-b\r--b\n--b")]),
    ],
)
def test_bodies(body: bytes, wanted: Parts):
    assert read([body]) == wanted
    assert read([body[i : i + 1] for i in range(len(body))]) == wanted


DATA = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--", b"b", b"\r\n", b"\r\n--", b"x" * 50, b"\0"]), max_size=12
).map(b"".join)


@given(st.lists(DATA, max_size=5), st.lists(st.integers(0, 2000), max_size=20))
def test_what_is_written_is_read_again_wherever_it_is_cut(data: list[bytes], cuts: list[int]):
    writer = Writer("application/dicom")
    boundary = writer.content_type.rpartition("=")[2].encode()
    body = b"".join(writer.head("application/dicom", location=f"/{i}", length=len(d)) + d for i, d in enumerate(data))
    body += writer.close()
    places = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    found = read([body[a:b] for a, b in pairwise(places)], boundary)
    assert [d for _, d in found] == data
    for i, (headers, d) in enumerate(found):
        assert headers == {
            "content-type": "application/dicom",
            "content-location": f"/{i}",
            "content-length": str(len(d)),
        }


def test_another_reader_understands_what_is_written():
    writer = Writer("application/dicom")
    body = writer.head("application/dicom; transfer-syntax=1.2") + b"one" + writer.head("application/dicom") + b"two"
    text = f"Content-Type: {writer.content_type}\r\n\r\n".encode() + body + writer.close()
    message = email.message_from_bytes(text)
    assert [part.get_payload() for part in message.get_payload()] == ["one", "two"]
    assert message.get_param("type") == "application/dicom"
    assert not message.defects


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "without a boundary"),
        (b"x" * 100_000, "without a boundary"),
        (b"--b\r\nA: 1\r\n\r\nx", "without its closing boundary"),
        (b"--b\r\nA: 1\r\n\r\nx\r\n--b", "without its closing boundary"),
        (b"--b\r\nA: 1", "without its closing boundary"),
        (b"--bc\r\nA: 1\r\n\r\nx\r\n--b--", "followed by other text"),
        (b"--b" + b" " * 100_000, "followed by other text"),
        (b"--b\r\nA: " + b"1" * 100_000, "header of part 1 is longer"),
        (b"--b\r\nA: " + b"1" * MAX_HEAD_BYTES + b"\r\n\r\nx\r\n--b--", "header of part 1 is longer"),
        (b"--b\r\n\r\n\r\n" * (MAX_PARTS + 1) + b"--b--", "more than 100000 parts"),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_broken_bodies_are_refused_with_a_reason(body: bytes, what: str, step: int):
    with pytest.raises(BadMultipart, match=what):
        read([body[i : i + step] for i in range(0, len(body), step)])


@pytest.mark.parametrize("boundary", [b"", b"x" * 201, b'a"b', b"a\r\nb"])
def test_boundaries_that_cannot_be(boundary: bytes):
    with pytest.raises(BadMultipart, match="the boundary must have"):
        Reader(boundary)


def test_no_more_than_a_piece_is_kept():
    reader = Reader(b"b")
    list(reader.feed(b"--b\r\n\r\n"))
    for _ in range(1000):
        assert sum(len(view) for view in reader.feed(b"\r\n--" * 250)) >= 990
        assert len(reader._rest) < 8


def test_data_are_views_of_the_pieces_not_copies():
    reader = Reader(b"b")
    list(reader.feed(b"--b\r\n\r\n"))
    list(reader.feed(b"x"))
    piece = b"y" * 100_000
    (view,) = reader.feed(piece)
    assert view.obj is piece
