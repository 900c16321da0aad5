"""Warnings that strangers can cause by the thousand."""

import logging

from minipacs.net import summed_log
from minipacs.net.summed_log import INTERVAL_S, MAX_KINDS, WRITTEN, SummedLog


def test_the_first_of_a_kind_are_written_and_the_others_summed(monkeypatch, caplog):
    now = [100.0]
    monkeypatch.setattr(summed_log.time, "monotonic", lambda: now[0])
    found = SummedLog(logging.getLogger("test"))
    for n in range(WRITTEN + 37):
        found.warn("refused", "10.0.0.1", {"n": n})
    found.warn("refused", "10.0.0.2", {"n": 0})
    found.tell()
    assert [r.fields["n"] for r in caplog.records] == [*range(WRITTEN), 0]
    now[0] += INTERVAL_S
    caplog.clear()
    found.tell()
    assert [(r.message, r.fields) for r in caplog.records] == [
        ("refused", {"address": "10.0.0.1", "more": 37, "within_s": 60})
    ]
    found.tell()
    found.warn("refused", "10.0.0.1", {"n": 1})
    assert len(caplog.records) == 2


def test_the_memory_is_bounded_and_who_comes_from_many_addresses_is_summed_as_one(caplog):
    found = SummedLog(logging.getLogger("test"))
    for n in range(MAX_KINDS + 100):
        found.warn("refused", f"10.0.{n >> 8}.{n & 255}", {})
    assert len(found._kinds) == MAX_KINDS + 1
    assert len(caplog.records) == MAX_KINDS + WRITTEN
