"""What the audit trail is told of callers that are kept out (PS3.15 A.5.3.11, A.5.3.12)."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipacs.audit.audit import Audit, open_audit
from minipacs.audit.message import Source
from minipacs.audit.spool import SpoolReader
from minipacs.net.alerts import Alerts
from minipacs.net.explanation import Explanation
from tests.support.audit_messages import check

NODE, LOGIN = "110126", "110122"


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    found = open_audit(tmp_path, Source("MINIPACS"), max_bytes=1 << 30, queries=True)
    yield found
    found.close()


def told(folder: Path) -> list[tuple[str, str, str]]:
    """Return type, outcome and description of each event."""
    events = [check(record.payload).find("EventIdentification") for record in SpoolReader(folder, "test").read(1000)]
    return [
        (
            event.find("EventTypeCode").get("csd-code"),
            event.get("EventOutcomeIndicator"),
            event.findtext("EventOutcomeDescription"),
        )
        for event in events
    ]


def test_one_that_is_refused_too_often_to_be_answered_is_graver(audit: Audit, tmp_path: Path):
    alerts = Alerts(audit)
    caller, user = Explanation("1", "10.0.0.9", calling="CT1"), Explanation("2", "10.0.0.9", calling="CT1", user="anna")
    for is_answered in (True, False):
        alerts.refused(caller, "unknown", is_answered=is_answered)
        alerts.user_refused(user, "wrong", is_answered=is_answered)
    assert told(tmp_path) == [
        (NODE, "4", "unknown"),
        (LOGIN, "4", "wrong"),
        (NODE, "8", "unknown"),
        (LOGIN, "8", "wrong"),
    ]


def test_a_caller_whose_user_is_missing_is_a_node_that_is_refused(audit: Audit, tmp_path: Path):
    Alerts(audit).user_refused(Explanation("1", "10.0.0.9", calling="CT1"), "no user identity")
    assert told(tmp_path) == [(NODE, "4", "no user identity")]


def test_a_flood_is_told_as_a_sum(audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    alerts = Alerts(audit)
    for number in range(500):
        alerts.refused(Explanation(str(number), "10.0.0.9", calling=f"T{number}"), "unknown")
    first = told(tmp_path)
    assert len(first) < 20
    later = time.monotonic() + 3600
    monkeypatch.setattr("minipacs.net.summed_log.time.monotonic", lambda: later)
    alerts.tell()
    *_, (kind, outcome, description) = told(tmp_path)
    assert (kind, outcome) == (NODE, "4")
    assert description.startswith(f"{500 - len(first)} more of this kind")
