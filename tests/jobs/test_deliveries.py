"""Working a queue off: nobody waits for a destination that is away."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipacs.errors import Failure, Kind
from minipacs.index import Index
from minipacs.index.ledger.queue import Item, Queue
from minipacs.jobs import deliveries as deliveries_module
from minipacs.jobs.deliveries import Deliveries

WAIT_S = 60


class Work:
    """What is delivered: destinations in `away` are waited for until `back` is set, those in `broken` fail."""

    def __init__(self, index: Index, away: str = "", broken: str = "") -> None:
        self.queue = Queue(index._database, index._change, "routes")
        self.index = index
        self.away, self.broken = away, broken
        self.back = threading.Event()
        self.delivered: list[str] = []
        self.at_once: list[int] = []
        self._running = 0
        self._changed = threading.Condition()

    def put(self, destination: str, *keys: str) -> None:
        for key in keys:
            self.index._change(lambda connection, key=key: self.queue.put(connection, destination, key))

    def handle(self, item: Item) -> None:
        with self._changed:
            self._running += 1
            self.at_once.append(self._running)
            self._changed.notify_all()
        try:
            if item.destination in self.broken:
                raise UnicodeEncodeError("ascii", item.destination, 0, 1, "not a title")
            if item.destination in self.away:
                assert self.back.wait(WAIT_S)
            self.index._change(lambda connection: self.queue.done(connection, item))
            with self._changed:
                self.delivered.append(item.key)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def ended(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, WAIT_S)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index.open(tmp_path / "index.db", sync="batch")
    yield index
    index.close()


def deliveries(work: Work, **options: int) -> Deliveries:
    return Deliveries(work.queue, work.handle, 60, bool, work.ended, **options)


def served(found: Deliveries) -> set[str]:
    return found._served


def test_a_destination_that_is_away_delays_no_other(index: Index):
    work = Work(index, away="A")
    work.put("A", "1", "2")
    work.put("B", "3", "4")
    found = deliveries(work)
    found.work()
    work.wait_for(lambda: sorted(work.delivered) == ["3", "4"])
    work.back.set()
    work.wait_for(lambda: work.delivered[2:] == ["1", "2"] and not served(found))
    assert max(work.at_once) == 2, "one thread a destination"


def test_what_fails_is_put_off_and_harms_nothing_else(index: Index, caplog: pytest.LogCaptureFixture):
    work = Work(index, broken="A")
    work.put("A", "1")
    work.put("B", "2")
    found = deliveries(work, max_threads=1)
    found.work()
    work.wait_for(lambda: not served(found))
    found.work()
    work.wait_for(lambda: work.delivered == ["2"] and not served(found))
    (item,) = work.queue.items()
    assert (item.state, item.attempts, item.last_fault) == ("waiting", 1, "UnicodeEncodeError")
    assert 0 < found.work() <= 5


def test_threads_have_a_limit(index: Index):
    work = Work(index, away="ABCD")
    for destination in "ABCD":
        work.put(destination, destination)
    found = deliveries(work, max_threads=2)
    assert found.work() > 1, "who ends wakes us"
    work.wait_for(lambda: len(work.at_once) == 2)
    found.work()
    assert served(found) == {"A", "B"}
    work.back.set()
    work.wait_for(lambda: not served(found))
    found.work()
    work.wait_for(lambda: sorted(work.delivered) == list("ABCD") and not served(found))
    assert max(work.at_once) == 2


def full(*_: object) -> None:
    raise Failure(Kind.FULL, "index disk full")


def test_a_queue_that_cannot_be_written_is_left_in_peace_for_a_while(
    index: Index, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    work = Work(index)
    work.put("A", "1")
    work.put("B", "2")
    found = deliveries(work)
    with monkeypatch.context() as patch:
        patch.setattr(work.queue, "claim", full)
        found.work()
        work.wait_for(lambda: not served(found))
        monkeypatch.setattr(work.queue, "destinations", lambda: pytest.fail("asked at once again"))
        assert 0 < found.work() <= deliveries_module.REST_S
    assert 1 <= len(caplog.records) <= 2
    assert not any(record.exc_info for record in caplog.records)


def test_what_cannot_be_put_off_is_not_kept_until_its_lease_ends(index: Index, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deliveries_module, "REST_S", 0.0)
    work = Work(index, broken="A")
    work.put("A", "1")
    found = deliveries(work)
    with monkeypatch.context() as patch:
        patch.setattr(work.queue, "postpone", full)
        found.work()
        work.wait_for(lambda: not served(found))
        assert [item.state for item in work.queue.items()] == ["sending"]
        with pytest.raises(Failure, match="full"):
            found.work()
    assert 0 < found.work() <= deliveries_module.FIRST_RETRY_S
    (item,) = work.queue.items()
    assert (item.state, item.attempts) == ("waiting", 1)
