"""Events of Storage Commitment: what the log is told of those that cannot be delivered."""

import logging
from types import SimpleNamespace

from minipacs.index.workflow.commitments import Pending
from minipacs.jobs import commitment


def test_a_title_that_nobody_can_call_is_worth_one_line(caplog):
    archive = SimpleNamespace(index=SimpleNamespace(commitments=SimpleNamespace(postpone=lambda *given: None)))
    jobs = commitment.CommitmentJobs("US", archive, None, {}.get, frozenset(), bool, print)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO):
        for attempts in range(5):
            jobs._tell(Pending(1, "NOBODY", "US", "1.2.3", "", True, commitment.time.time(), attempts))
    assert [(r.levelname, r.message) for r in caplog.records] == [("WARNING", "N-EVENT-REPORT failed")]
