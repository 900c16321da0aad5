"""Events of Storage Commitment: what happens to those that cannot be delivered."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.index.workflow.commitments import EXPIRED, READY
from minipacs.jobs.commitment import GIVEN_UP_S, CommitmentJobs
from minipacs.net.access import Peer
from minipacs.net.association import Timeouts
from minipacs.net.requestor import Requestor

OBJECTS = [("1.2", "1.2.3")]


@pytest.fixture
def archive(tmp_path: Path):
    archive = Archive.open(tmp_path, StoragePolicy())
    yield archive
    archive.close()


def jobs(archive: Archive, destination: Callable[[str], Peer | None]) -> CommitmentJobs:
    requestor = Requestor("US", Timeouts(1, 1, 1, 1), 16384)
    return CommitmentJobs(
        "US", archive, requestor, destination, frozenset(), Audit(None, Source("US")), bool, lambda: None
    )


def ask(archive: Archive, ae_title: str, called: str = "US") -> str:
    """Ask, and let the objects be read; give the key of what is to be told."""
    archive.index.commitments.ask(ae_title, called, "1.2.3", OBJECTS, "", {})
    item = archive.index.commitments.reading.claim(ae_title, 10)
    archive.index.commitments.report(item, {})
    return item.key


def test_a_title_that_nobody_can_call_is_worth_one_line(archive: Archive, caplog: pytest.LogCaptureFixture):
    key = ask(archive, "NOBODY")
    tell = jobs(archive, {}.get)._tell
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            tell(archive.index.commitments.telling.claim_key(key, 10))
    assert [(r.levelname, r.message) for r in caplog.records] == [("WARNING", "N-EVENT-REPORT failed")]


def test_q4_a_peer_is_given_up_by_what_was_waited_and_never_by_the_clock(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
):
    key = ask(archive, "NOBODY")
    tell, queue = jobs(archive, {}.get)._tell, archive.index.commitments.telling
    now = queue_time()
    monkeypatch.setattr("minipacs.index.ledger.queue.time.time", lambda: now + 10 * 365 * 86400)
    tell(queue.claim("NOBODY", 10))
    assert archive.index.commitments.counts() == {READY: 1}
    item = queue.claim_key(key, 10)
    queue.change(lambda connection: queue.postpone(connection, item, GIVEN_UP_S, "away for long"))
    tell(queue.claim_key(key, 10))
    assert archive.index.commitments.counts() == {EXPIRED: 1}


def queue_time() -> float:
    from minipacs.index.ledger import queue

    return queue.time.time()
