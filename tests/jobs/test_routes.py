"""Hours, pace and the time until the next attempt."""

from datetime import datetime

import pytest

from minipacs.jobs.routing.hours import Hours
from minipacs.jobs.routing.outcomes import JITTER, Retries
from minipacs.scu import pace

MONDAY = datetime(2024, 1, 1)


@pytest.mark.parametrize(
    ("text", "day", "hour", "opens_h"),
    [
        ("", 1, 12, 0),
        ("18-6", 1, 12, 6),
        ("18-6", 1, 18, 0),
        ("18-6", 1, 5, 0),
        ("18-6", 1, 6, 12),
        ("mon-fri 18-6", 6, 5, 0),
        ("mon-fri 18-6", 6, 6, 60),
        ("sat-sun 0-24", 5, 23, 1),
        ("sat-mon 8-9", 1, 7, 1),
        ("sun 8-9, tue 8-9", 1, 8, 24),
    ],
)
def test_hours_open_when_they_say(text: str, day: int, hour: int, opens_h: int):
    assert Hours(text).opens_in_s(MONDAY.replace(day=day, hour=hour)) == opens_h * 3600


def test_they_open_at_the_full_hour():
    assert Hours("18-6").opens_in_s(MONDAY.replace(hour=17, minute=59, second=30)) == 30


@pytest.mark.parametrize("text", ["18", "24-3", "5-5", "1-25", "mo 1-2", "mon-xyz 1-2", "1-2,", "mon  1-2"])
def test_hours_that_cannot_be_meant_are_refused(text: str):
    with pytest.raises(ValueError):  # noqa: PT011  the text is told by who reads the configuration
        Hours(text)


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("sizes", [[1_000_000], [10, 3, 250_001], [16384] * 50])
def test_what_is_paced_is_whole_and_takes_its_time(monkeypatch: pytest.MonkeyPatch, sizes: list[int]):
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    rate = 100_000
    through = pace.paced(rate)
    made = [bytes([n % 256]) * size for n, size in enumerate(sizes)]
    parts = [bytes(part) for part in through([memoryview(piece) for piece in made])]
    assert b"".join(parts) == b"".join(made)
    whole_s = sum(sizes) / rate
    assert whole_s - 1 / pace.PIECES_A_SECOND <= clock.now - 100 <= whole_s
    assert list(through([memoryview(b"x")])) == [b"x"]
    assert clock.now - 100 == pytest.approx(whole_s), "the next object waits for the time of the last"


def test_without_a_rate_pieces_pass_as_they_are():
    pieces = [memoryview(b"x")]
    assert pace.paced(0)(pieces) is pieces


def test_attempts_come_later_and_later():
    retries = Retries(first_s=60, most_s=3600, give_up_s=10)
    for attempts, about_s in ((0, 60), (1, 120), (5, 1920), (6, 3600), (500, 3600)):
        for _ in range(20):
            assert (1 - JITTER) * about_s <= retries.delay_s(attempts) <= (1 + JITTER) * about_s
