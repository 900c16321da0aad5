"""Sums over an association, interim and final, and the gap that is told."""

from pathlib import Path

import pytest

from minipacs.audit import audit as audit_module
from minipacs.audit.audit import Audit, application_entity, open_audit
from minipacs.audit.message import Action, EventOutcome, PatientObject, Source
from minipacs.audit.spool import SpoolReader
from tests.support.audit_messages import check

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
THEM, US = application_entity("CT1", "10.0.0.2", is_requestor=True), application_entity("MINIPACS", "10.0.0.1")


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return open_audit(tmp_path, Source("MINIPACS"), max_bytes=100_000_000, queries=True)


def told(folder: Path) -> list[tuple[str, str, dict[str, int]]]:
    found = []
    for record in SpoolReader(folder, "test").read(10_000):
        root = check(record.payload)
        classes = {c.get("UID"): int(c.get("NumberOfInstances")) for c in root.iter("SOPClass")}
        event = root.find("EventIdentification")
        found.append((event.get("EventActionCode"), event.get("EventOutcomeIndicator"), classes))
    return found


def test_what_went_the_same_way_is_one_message(tmp_path: Path, audit: Audit):
    transfers = audit.transfers(THEM, US)
    for number in range(30):
        transfers.add("1.2", PatientObject("P"), MR if number % 3 else CT, action=Action.CREATE)
    transfers.add("1.2", PatientObject("P"), CT, action=Action.READ)
    transfers.add("1.3", PatientObject("P"), CT, action=Action.CREATE)
    transfers.add("1.3", PatientObject("P"), CT, action=Action.CREATE, outcome=EventOutcome.MINOR_FAILURE)
    transfers.close()
    transfers.close()
    assert told(tmp_path) == [
        ("C", "0", {CT: 10, MR: 20}),
        ("R", "0", {CT: 1}),
        ("C", "0", {CT: 1}),
        ("C", "4", {CT: 1}),
    ]


def test_a_sum_is_told_after_a_thousand_instances_or_a_minute(
    tmp_path: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch
):
    now = 1000.0
    monkeypatch.setattr(audit_module.time, "monotonic", lambda: now)
    transfers = audit.transfers(THEM, US)
    for _ in range(1001):
        transfers.add("1.2", PatientObject("P"), CT, action=Action.CREATE)
    assert told(tmp_path) == [("C", "0", {CT: 1000})]
    now += 60
    audit.tick()
    assert told(tmp_path) == [("C", "0", {CT: 1000}), ("C", "0", {CT: 1})]


def test_a_kill_loses_five_seconds_at_the_most(tmp_path: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr(audit_module.time, "monotonic", lambda: now)
    transfers = audit.transfers(THEM, US)
    transfers.add("1.2", PatientObject("P"), CT, action=Action.CREATE)
    now += 5
    audit.tick()
    transfers.add("1.2", PatientObject("P"), CT, action=Action.CREATE)
    assert told(tmp_path) == []
    audit._spool.close()  # as a kill does
    assert told(tmp_path) == [("C", "0", {CT: 1})]


def test_the_studies_of_one_association_are_bounded(tmp_path: Path, audit: Audit):
    transfers = audit.transfers(THEM, US)
    for number in range(audit_module.MAX_SUMS + 5):
        transfers.add(f"1.{number}", PatientObject("P"), CT, action=Action.CREATE)
    assert len(told(tmp_path)) == 5
    audit.close()
    assert len(told(tmp_path)) == audit_module.MAX_SUMS + 5


def test_a_gap_is_told_when_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("minipacs.audit.spool.SPACE_CHECK_S", 0.0)
    monkeypatch.setattr("minipacs.audit.spool.MAX_SEGMENT_BYTES", 3000)
    audit = open_audit(tmp_path, Source("MINIPACS"), max_bytes=6000, queries=True)
    transfers = audit.transfers(THEM, US)
    for number in range(30):
        transfers.add(f"1.{number}", PatientObject("P"), CT, action=Action.CREATE)
    transfers.close()
    reader = SpoolReader(tmp_path, "file")
    kept = len(reader.read(100))
    for name in reader.finished():
        (tmp_path / name).unlink()
    audit.tick()
    stopped, started = SpoolReader(tmp_path, "file").read(100)[-2:]
    assert b"110133" in stopped.payload
    assert f"{30 - kept} messages were lost".encode() in stopped.payload
    assert b"110134" in started.payload


def test_without_a_spool_nothing_is_told():
    audit = Audit(None, Source("MINIPACS"))
    transfers = audit.transfers(THEM, US)
    transfers.add("1.2", PatientObject("P"), CT, action=Action.CREATE)
    transfers.close()
    audit.tick()
    audit.close()
    assert not audit.is_on
    assert not audit.tells_queries
