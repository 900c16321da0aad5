"""The frames of MLLP."""

import pytest

from minipacs.hl7.framing import MAX_MESSAGE_BYTES, MAX_NOISE_BYTES, Frames, FramingError, framed


def taken(*pieces: bytes) -> list[bytes]:
    frames, found = Frames(), []
    for piece in pieces:
        frames.feed(piece)
        while (message := frames.next()) is not None:
            found.append(message)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_messages_come_whole_however_they_are_cut(size: int):
    stream = b"\r\n" + framed(b"MSH|1") + framed(b"MSH|2\x1c|\x0d") + b"\n" + framed(b"")
    assert taken(*(stream[at : at + size] for at in range(0, len(stream), size))) == [b"MSH|1", b"MSH|2\x1c|\x0d", b""]


def test_a_message_may_be_as_long_as_the_limit_and_no_longer():
    longest = b"x" * MAX_MESSAGE_BYTES
    assert taken(framed(longest)) == [longest]
    with pytest.raises(FramingError):
        taken(framed(longest + b"x"))
    with pytest.raises(FramingError):
        taken(b"\x0b", *[b"x" * 65536] * 17)


def test_noise_is_dropped_but_not_without_end():
    assert taken(b"noise", framed(b"MSH")) == [b"MSH"]
    with pytest.raises(FramingError):
        taken(*[b"x" * 1024] * (MAX_NOISE_BYTES // 1024 + 1))
