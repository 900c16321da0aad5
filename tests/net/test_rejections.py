"""How often an address may be rejected."""

from minipacs.net import rejections
from minipacs.net.rejections import BURST, INTERVAL_S, MAX_CALLERS, Rejections


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(rejections.time, "monotonic", lambda: self.now)


def test_an_address_is_not_answered_after_too_many_rejections_and_is_again_later(monkeypatch):
    clock, found = Clock(monkeypatch), Rejections()
    told = [found.note(("10.0.0.1", "")) for _ in range(BURST)]
    assert told == [False] * (BURST - 1) + [True], "told once"
    assert found.is_excessive(("10.0.0.1", ""))
    assert not found.is_excessive(("10.0.0.2", ""))
    clock.now += INTERVAL_S
    assert not found.is_excessive(("10.0.0.1", ""))
    assert found.note(("10.0.0.1", "")), "told again"
    assert found.is_excessive(("10.0.0.1", ""))
    clock.now += BURST * INTERVAL_S
    assert not any(found.note(("10.0.0.1", "")) for _ in range(BURST - 1))


def test_one_now_and_then_is_never_too_many(monkeypatch):
    clock, found = Clock(monkeypatch), Rejections()
    for _ in range(3 * BURST):
        assert not found.note(("10.0.0.1", ""))
        assert not found.is_excessive(("10.0.0.1", ""))
        clock.now += INTERVAL_S


def test_the_memory_is_bounded(monkeypatch):
    Clock(monkeypatch)
    found = Rejections()
    for n in range(MAX_CALLERS + 10):
        found.note((f"address {n}", "CT"))
    assert len(found._full_at) == MAX_CALLERS
    assert ("address 0", "CT") not in found._full_at
