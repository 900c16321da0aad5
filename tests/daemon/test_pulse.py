"""When a process counts as stalled."""

from minipacs.daemon.processes.pulse import LATE_S, LOOK_INTERVAL_S, STALLED_S, Pulse


def test_a_main_loop_that_comes_round_is_healthy():
    pulse = Pulse()
    for beat in range(1, 20):
        pulse.look(beat, LOOK_INTERVAL_S)
        assert not pulse.is_late


def test_silence_makes_late_then_stalled():
    pulse = Pulse()
    pulse.look(1, LOOK_INTERVAL_S)
    looks = 0
    while not pulse.has_stalled:
        pulse.look(1, LOOK_INTERVAL_S)
        looks += 1
        assert pulse.is_late == (looks * LOOK_INTERVAL_S >= LATE_S)
    assert STALLED_S < looks * LOOK_INTERVAL_S <= STALLED_S + LOOK_INTERVAL_S
    pulse.look(2, LOOK_INTERVAL_S)
    assert not pulse.is_late


def test_a_pause_of_the_whole_machine_is_no_silence():
    pulse = Pulse()
    pulse.look(1, LOOK_INTERVAL_S)
    pulse.look(1, 3600.0)
    assert not pulse.is_late
    pulse.look(1, 3600.0)
    assert not pulse.has_stalled
    pulse.look(2, 1.0)
    assert pulse.silent_s == 0
