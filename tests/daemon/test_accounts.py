"""Accounts of associations on their way from workers to the index."""

import threading
from types import SimpleNamespace

from minipacs.daemon.processes import accounts
from minipacs.net.explanation import Explanation


def test_an_account_that_cannot_be_kept_does_not_end_the_keeping(caplog):
    kept: list[str] = []
    arrived = threading.Event()

    def add(batch: list[tuple[str, bytes]]) -> None:
        if batch[0][0] == "bad":
            raise ValueError("a bug")
        kept.extend(association_id for association_id, _ in batch)
        arrived.set()

    ours, theirs = accounts.channel()
    keeper = accounts.Keeper(theirs, SimpleNamespace(associations=SimpleNamespace(add=add)))
    accounts.send(ours, Explanation("bad", "127.0.0.1"))
    while "accounts of associations dropped" not in caplog.text:
        assert keeper.is_alive()
    accounts.send(ours, Explanation("good", "127.0.0.1"))
    assert arrived.wait(20)
    keeper.close()
    assert kept == ["good"]
    for sock in (ours, theirs):
        sock.close()


def test_what_was_sent_is_kept_at_the_end():
    kept: list[str] = []
    ours, theirs = accounts.channel()
    for number in range(3 * accounts.MAX_BATCH):
        accounts.send(ours, Explanation(str(number), "127.0.0.1"))
    keep = SimpleNamespace(associations=SimpleNamespace(add=lambda batch: kept.extend(name for name, _ in batch)))
    accounts.Keeper(theirs, keep).close()
    assert kept == [str(number) for number in range(len(kept))]
    assert len(kept) > accounts.MAX_BATCH
    for sock in (ours, theirs):
        sock.close()
