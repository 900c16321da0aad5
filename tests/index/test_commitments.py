"""The queue of storage commitments."""

import pytest

from minipacs.errors import Failure, Kind
from minipacs.index import Index
from minipacs.index.workflow import commitments

OBJECTS = [("1.2", "1.2.3")]


def ask(index: Index, transaction_uid: str) -> str:
    return index.commitments.ask("CT1", "MINIPACS", transaction_uid, OBJECTS, "", {})


def test_a_full_queue_takes_no_more_until_one_is_acknowledged(index: Index, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commitments, "MAX_OPEN", 2)
    assert [ask(index, "1.1"), ask(index, "1.2"), ask(index, "1.1")] == ["new", "new", "repeated"]
    with pytest.raises(Failure) as raised:
        ask(index, "1.3")
    assert raised.value.kind is Kind.BUSY
    found = index.commitments.next_asked()
    assert found is not None
    index.commitments.report(found[0].id, {})
    index.commitments.acknowledge(found[0].id)
    assert ask(index, "1.3") == "new"
