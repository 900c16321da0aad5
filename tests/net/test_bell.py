"""Bells of associations."""

import select

from minipacs.net.wire.bell import Bell, ring


def is_rung(bell: Bell) -> bool:
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    return bool(poll.poll(0))


def test_a_bell_is_heard_once():
    bell = Bell()
    assert not is_rung(bell)
    assert ring(bell.address)
    assert ring(bell.address)
    assert is_rung(bell)
    bell.answer()
    assert not is_rung(bell)
    bell.close()


def test_ringing_too_often_never_waits():
    bell = Bell()
    assert all(ring(bell.address) for _ in range(1000))
    bell.close()


def test_a_bell_that_is_gone_cannot_be_rung():
    bell = Bell()
    bell.close()
    assert not ring(bell.address)
    assert not ring("")
