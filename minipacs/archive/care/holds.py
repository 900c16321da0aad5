"""Holding studies, so that nothing removes them, and releasing them."""

from collections.abc import Sequence

from minipacs.archive.care import documents
from minipacs.archive.ports import Catalogue, Storage
from minipacs.index.ledger.removal.holds import Hold, decode


def hold(tree: Storage, index: Catalogue, studies: Sequence[str], *, by: str, reason: str, releases: bool) -> str:
    """Hold studies by their UIDs, or release them; returns the id of the document when it is durable.

    Raises MinipacsError, Failure.
    """
    document = Hold(documents.next_time(index.holds.last_at()), by, reason, tuple(studies), releases)
    ids, _ = documents.put(tree.holds, [document], lambda found: index.holds.add(found[0]))
    return ids[0]


def adopt(tree: Storage, index: Catalogue) -> int:
    """Let rows and documents agree; tells how many documents were new to the rows. Raises as `documents.adopt` does."""
    holds = index.holds
    return len(documents.adopt(tree.holds, holds.ids(), holds.get, decode, holds.add, "holds"))
