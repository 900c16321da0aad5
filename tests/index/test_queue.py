"""The leased queue: one worker an item, no destination in another's way, no clock that loses anything."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minipacs.errors import Failure, Kind
from minipacs.index import Index
from minipacs.index.ledger import owner as owner_module
from minipacs.index.ledger import queue as queue_module
from minipacs.index.ledger.queue import Item, Queue

YEARS_S = 10 * 365 * 86400.0


@pytest.fixture
def queue(index: Index) -> Queue:
    return Queue(index._database, index._change, "routes")


@pytest.fixture
def put(index: Index, queue: Queue) -> Callable[..., None]:
    def put_(destination: str, *keys: str) -> None:
        for key in keys:
            queue.change(lambda connection, key=key: queue.put(connection, destination, key, f"payload {key}"))

    return put_


def postpone(queue: Queue, item: Item, delay_s: float, fault: str = "away", **options: bool) -> bool:
    return queue.change(lambda connection: queue.postpone(connection, item, delay_s, fault, **options))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the time of day forward or back by so many seconds."""
    set_by = [0.0]
    real = queue_module.time.time

    class Time:
        clock_gettime = staticmethod(queue_module.time.clock_gettime)
        CLOCK_BOOTTIME = queue_module.time.CLOCK_BOOTTIME

        @staticmethod
        def time() -> float:
            return real() + set_by[0]

    monkeypatch.setattr(queue_module, "time", Time)
    return lambda seconds: set_by.__setitem__(0, set_by[0] + seconds)


def claimed(item: Item | None) -> Item:
    assert item is not None
    return item


def test_an_item_is_claimed_once_in_the_order_of_its_destination(queue: Queue, put: Callable[..., None]):
    put("A", "1", "2")
    put("B", "3")
    found = [claimed(queue.claim("A", 10)) for _ in range(2)]
    assert [(item.key, item.payload, item.state) for item in found] == [
        ("1", "payload 1", "sending"),
        ("2", "payload 2", "sending"),
    ]
    assert queue.claim("A", 10) is None
    assert claimed(queue.claim("B", 10)).key == "3"


def test_a_name_is_one_of_its_queue_alone(index: Index, queue: Queue, put: Callable[..., None]):
    put("A", "1")
    with pytest.raises(Failure):
        put("A", "1")
    other = Queue(index._database, index._change, "webhooks")
    assert other.claim("A", 10) is None
    other.keep("1")
    other.keep("1")
    assert [item.key for item in other.items()] == ["1"]


def test_a_lease_that_is_over_is_lost(index: Index, queue: Queue, put: Callable[..., None]):
    put("A", "1")
    lost = claimed(queue.claim("A", 0))
    mine = claimed(queue.claim("A", 60))
    assert not queue.change(lambda connection: queue.done(connection, lost))
    assert not postpone(queue, lost, 0)
    assert queue.renew(lost, 60) is None
    renewed = queue.renew(mine, 60)
    assert renewed is not None
    assert queue.change(lambda connection: queue.done(connection, renewed))
    assert queue.items() == []


def test_what_is_put_off_is_due_later_and_counted(queue: Queue, put: Callable[..., None]):
    put("A", "1")
    postpone(queue, claimed(queue.claim("A", 10)), 100, "no answer")
    assert queue.claim("A", 10) is None
    assert queue.destinations() == []
    assert 99 < (queue.next_due_s() or 0) <= 100
    (item,) = queue.items()
    assert (item.state, item.attempts, item.waited_s, item.last_fault) == ("waiting", 1, 100, "no answer")
    assert claimed(queue.claim_key("1", 10)).attempts == 1


def test_who_is_away_is_tried_once_for_all_that_waits(queue: Queue, put: Callable[..., None]):
    put("A", "1", "2", "3")
    put("B", "4")
    postpone(queue, claimed(queue.claim("A", 10)), 100, all_of_destination=True)
    assert queue.claim("A", 10) is None
    assert queue.destinations() == ["B"]
    assert [item.attempts for item in queue.items()] == [1, 0, 0, 0]


def test_destinations_come_by_what_has_waited_longest(queue: Queue, put: Callable[..., None]):
    put("B", "1")
    put("A", "2")
    put("B", "3")
    assert queue.destinations() == ["B", "A"]
    claimed(queue.claim("B", 10))
    assert queue.destinations() == ["A", "B"]
    assert queue.next_due_s(["A", "B"]) is None


def test_one_destination_cannot_fill_the_queue(queue: Queue, put: Callable[..., None]):
    queue.limits = 2, 3
    put("A", "1", "2")
    with pytest.raises(Failure) as refused:
        put("A", "3")
    assert refused.value.kind is Kind.TOO_MANY
    put("B", "3")
    with pytest.raises(Failure):
        put("C", "4")


def test_what_is_held_or_given_up_waits_for_somebody(index: Index, queue: Queue, put: Callable[..., None]):
    put("A", "1", "2")
    given_up = claimed(queue.claim("A", 10))
    queue.change(lambda connection: queue.kill(connection, given_up, "refused"))
    assert queue.change(lambda connection: queue.hold(connection, "2"))
    assert [item.state for item in queue.items()] == ["dead", "held"]
    assert queue.claim("A", 10) is None
    assert queue.claim_key("2", 10) is None
    assert queue.next_due_s() is None
    for key in "12":
        assert queue.change(lambda connection, key=key: queue.retry(connection, key))
    assert [item.state for item in queue.items(["waiting"])] == ["waiting"] * 2
    assert queue.change(lambda connection: queue.drop(connection, ["1", "2"])) == 2


@pytest.mark.parametrize("years", [10, -10])
def test_a_clock_that_jumps_loses_nothing(
    queue: Queue, put: Callable[..., None], clock: Callable[[float], None], years: int
):
    put("A", "1", "2")
    sending = claimed(queue.claim("A", 60))
    clock(years / 10 * YEARS_S)
    assert claimed(queue.claim("A", 60)).key == "2", "what waits is due"
    assert queue.claim("A", 60) is None, "what is being sent is still leased"
    postpone(queue, sending, 60)
    clock(-years / 10 * YEARS_S)
    again = claimed(queue.claim("A", 60)) if years > 0 else claimed(queue.claim_key("1", 60))
    assert (again.key, again.waited_s) == ("1", 60), "waited for is what was meant to be waited"


CLAIMING = """
import sys
from pathlib import Path
from minipacs.index import Index
from minipacs.index.ledger.queue import Queue
index = Index.open(Path(sys.argv[1]))
print(Queue(index._database, index._change, "routes").claim("A", 3600).key, flush=True)
sys.stdin.read()
"""


def test_a_lease_ends_with_its_process_and_not_because_others_start(
    index: Index, queue: Queue, put: Callable[..., None], tmp_path: Path
):
    put("A", "1", "2")
    mine = claimed(queue.claim("A", 3600))
    command = [sys.executable, "-c", CLAIMING, str(tmp_path / "index.db")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "2\n"
    assert queue.end_leases_of_the_gone() == 0
    process.kill()
    process.communicate()
    assert queue.end_leases_of_the_gone() == 1
    assert claimed(queue.claim("A", 10)).key == "2"
    assert queue.change(lambda connection: queue.done(connection, mine))


def test_leases_end_with_the_boot_of_their_machine(
    queue: Queue, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    put("A", "1")
    queue._owner = f"another-boot:{owner_module._namespace()}:{os.getpid()}:1"
    claimed(queue.claim("A", 3600))
    queue._owner = owner_module.this_process()
    assert claimed(queue.claim("A", 10)).key == "1"


def test_of_another_namespace_nobody_knows_who_runs():
    boot, _, pid, started = owner_module.this_process().split(":")
    assert not owner_module.is_gone(f"{boot}:elsewhere:999999:1")
    assert owner_module.is_gone(f"{boot}:{owner_module._namespace()}:{pid}:{int(started) - 1}")
    assert not owner_module.is_gone(owner_module.this_process())


def test_progress_is_noted_by_whoever_has_the_lease(queue: Queue, put: Callable[..., None]):
    put("PACS", "a")
    item = queue.claim("PACS", 60)
    assert item is not None
    noted = queue.change(lambda connection: queue.note(connection, item, "half", 60))
    assert noted is not None
    assert (queue.item("a") or item).payload == "half"
    assert queue.change(lambda connection: queue.note(connection, item, "more", 60)) is None, "its lease began anew"
    queue.change(lambda connection: queue.drop(connection, ["a"]))
    assert queue.change(lambda connection: queue.note(connection, noted, "more", 60)) is None
    assert queue.item("a") is None


def test_what_is_over_is_kept_for_a_while(queue: Queue, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(queue_module, "MAX_WAITING_FOR_ONE", 3)
    for key, fault in (("a", ""), ("b", "away"), ("c", ""), ("d", ""), ("e", "")):
        put("PACS", key)
        item = queue.claim("PACS", 60)
        assert item is not None
        assert queue.change(lambda connection, item=item, fault=fault: queue.finish(connection, item, 3, fault))
    assert [item.key for item in queue.items(("done", "dead"))] == ["c", "d", "e"]
    assert queue.items() == []
    assert queue.next_due_s() is None


def test_what_waits_is_counted_for_each_route_without_reading_items(
    index: Index, queue: Queue, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    put("A", "ct A 1", "ct A 2", "ct A 3", "cts A 1")
    put("B", "ct B 1")
    queue.change(lambda connection: queue.hold(connection, "ct A 1"))
    item = claimed(queue.claim_key("ct A 2", 100))
    queue.change(lambda connection: queue.kill(connection, item, "refused"))
    monkeypatch.setattr(Queue, "items", None)
    found = index.routed.waiting(["ct", "cts", "mr"])
    assert {pair: (waiting, dead) for pair, (waiting, _, dead) in found.items()} == {
        ("ct", "A"): (2, 1),
        ("ct", "B"): (1, 0),
        ("cts", "A"): (1, 0),
    }
    assert all(0 <= oldest_s < 60 for _, oldest_s, _ in found.values())


def test_a_lease_of_another_process_is_looked_at_again_soon(index: Index, queue: Queue, put: Callable[..., None]):
    put("A", "1")
    claimed(queue.claim("A", 1000))
    assert (queue.next_due_s() or 0) > 900
    other = Queue(index._database, index._change, "routes")
    other._owner = "another"
    assert other.next_due_s() == queue_module.LOOK_AGAIN_S
