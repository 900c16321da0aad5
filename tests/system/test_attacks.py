"""Short forms of tools/crash.py, tools/faults.py and tools/soak.py."""

import pytest

from tests.support.attack import Attack
from tools import crash, faults, soak


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Attack:
    return Attack(tmp_path_factory.mktemp("attack"))


@pytest.fixture(scope="module")
def calls(attack: Attack) -> dict[str, int]:
    return attack.calls()


@pytest.mark.parametrize("name", ["rename", "unlink", "fdatasync"])
def test_nothing_is_lost_or_comes_back_after_a_kill(attack: Attack, calls: dict[str, int], name: str) -> None:
    assert name in crash.CHANGING
    for number in (1, calls[name]):
        outcome = attack.run_injected(name, number, "signal=SIGKILL")
        assert outcome.was_killed
        assert not outcome.faults


@pytest.mark.parametrize(("error", "name"), [("EIO", "fdatasync"), ("ENOSPC", "writev"), ("EIO", "rename")])
def test_what_fails_is_told_and_leaves_nothing_half_done(
    attack: Attack, calls: dict[str, int], error: str, name: str
) -> None:
    assert name in faults.FAULTS[error]
    outcome = attack.run_injected(name, 1, f"error={error}")
    assert calls[name]
    assert outcome.failed
    assert not outcome.faults


def test_a_daemon_at_work_does_not_grow() -> None:
    assert soak.grown([(100, 10, 5)] * 4 + [(soak.GROWTH_KIB + 200, 10, 5)])
    assert soak.soak(seconds=3, every=1, clients=3) == []
