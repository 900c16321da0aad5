"""The queue of storage commitments."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from minipacs.errors import Failure, Kind
from minipacs.index import Index
from minipacs.index.ledger.queue import Item
from minipacs.index.workflow import commitments

OBJECTS = [("1.2", "1.2.3")]
REPORT = {0x00081195: "1.1"}


def ask(index: Index, transaction_uid: str, ae_title: str = "CT1") -> str:
    return index.commitments.ask(ae_title, "MINIPACS", transaction_uid, OBJECTS, "", {})


def claimed(item: Item | None) -> Item:
    assert item is not None
    return item


def read(index: Index, ae_title: str = "CT1") -> Item:
    """Write the report of the next request; give what is to be told then, its lease taken."""
    index.commitments.report(claimed(index.commitments.reading.claim(ae_title, 10)), REPORT)
    return claimed(index.commitments.telling.claim(ae_title, 10))


def test_a_full_queue_takes_no_more_until_one_is_acknowledged(index: Index, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commitments, "MAX_OPEN", 2)
    assert [ask(index, "1.1"), ask(index, "1.2"), ask(index, "1.1")] == ["new", "new", "repeated"]
    with pytest.raises(Failure) as raised:
        ask(index, "1.3", "CT2")
    assert raised.value.kind is Kind.TOO_MANY
    index.commitments.acknowledge(read(index))
    assert ask(index, "1.3") == "new"


def test_one_peer_cannot_fill_the_queue(index: Index, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commitments, "MAX_OPEN_OF_ONE", 2)
    assert [ask(index, "1.1"), ask(index, "1.2")] == ["new", "new"]
    with pytest.raises(Failure, match="of this peer"):
        ask(index, "1.3")
    assert ask(index, "1.3", "CT2") == "new"


def test_what_was_reported_is_told_by_who_has_the_lease(index: Index):
    ask(index, "1.1")
    item = read(index)
    assert index.commitments.event(int(item.key)) == REPORT
    assert index.commitments.telling.claim("CT1", 10) is None
    index.commitments.postpone(item, 0, "away")
    (account,) = index.commitments.accounts()
    assert (account.pending.state, account.attempts, account.last_fault) == (commitments.READY, 1, "away")
    assert (account.objects, account.report) == (OBJECTS, REPORT)
    index.commitments.acknowledge(item)
    assert index.commitments.counts() == {commitments.READY: 1}, "its lease was given back"
    index.commitments.acknowledge(claimed(index.commitments.telling.claim("CT1", 10)))
    assert index.commitments.counts() == {commitments.ACKNOWLEDGED: 1}


def test_who_has_lost_the_lease_changes_nothing(index: Index):
    index.commitments.ask("CT1", "MINIPACS", "1.1", OBJECTS, "bell", {})
    lost = read(index)._replace(leased_until=1.0)
    index.commitments.leave_to_bell(lost, 1)
    index.commitments.postpone(lost, 1, "away")
    index.commitments.acknowledge(lost)
    index.commitments.expire(lost)
    (account,) = index.commitments.accounts()
    assert (account.pending.state, account.pending.bell, account.pending.was_rung) == (commitments.READY, "bell", False)


def test_what_was_given_up_can_be_tried_again(index: Index):
    ask(index, "1.1")
    item = read(index)
    index.commitments.expire(item)
    assert index.commitments.counts() == {commitments.EXPIRED: 1}
    assert index.commitments.telling.claim("CT1", 10) is None
    assert index.commitments.retry(int(item.key))
    again = claimed(index.commitments.telling.claim("CT1", 10))
    assert (again.key, again.attempts, again.waited_s) == (item.key, 0, 0)
    assert not index.commitments.retry(int(item.key)), "it is being told"
    assert not index.commitments.retry(99)


def test_closed_commitments_are_forgotten_by_number_not_by_time(index: Index, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commitments, "MAX_CLOSED", 2)
    for i in range(4):
        ask(index, f"1.{i}")
        item = read(index)
        index.commitments.acknowledge(item) if i % 2 else index.commitments.expire(item)
    ask(index, "1.9")
    found = [account.pending.transaction_uid for account in index.commitments.accounts()]
    assert found == ["1.2", "1.3", "1.9"]
    assert [item.state for item in index.commitments.telling.items()] == ["dead"]


def test_an_index_of_schema_7_puts_its_commitments_into_the_queue(open_index: Callable[..., Index], tmp_path: Path):
    index = open_index()
    for i in range(4):
        ask(index, f"1.{i}")
    index.close()
    with closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None)) as connection:
        connection.execute("DROP TABLE queue_item")
        connection.execute("ALTER TABLE commitment ADD COLUMN attempts INTEGER NOT NULL DEFAULT 7")
        connection.execute("ALTER TABLE commitment ADD COLUMN due_at REAL NOT NULL DEFAULT 0")
        connection.execute("CREATE INDEX commitment_due_at ON commitment (due_at)")
        for row_id, state in enumerate(("asked", "ready", "acknowledged", "expired"), 1):
            connection.execute("UPDATE commitment SET state = ?, report = '{}' WHERE id = ?", (state, row_id))
        connection.execute("PRAGMA user_version = 7")
    index = open_index()
    assert [item.key for item in index.commitments.reading.items()] == ["1"]
    assert [(item.key, item.state) for item in index.commitments.telling.items()] == [("2", "waiting"), ("4", "dead")]
    assert claimed(index.commitments.telling.claim("CT1", 10)).key == "2"
    assert ask(index, "1.5") == "new"
    with index._database.reader() as reader:
        names = {row[1] for row in reader.execute("PRAGMA table_info(commitment)")}
    assert names.isdisjoint({"attempts", "due_at"})
