"""Removing instances and files for good: the rows first, with a note of their files in the same commit, then the files.

Whoever is killed in between leaves the note, so that recovery does not take the files for orphans and index them again.
"""

from collections.abc import Iterator, Sequence

from minipacs.archive.ports import Storage
from minipacs.index import Index

BATCH = 100
"""Rows removed in one commit."""


def remove(tree: Storage, index: Index, sop_instance_uids: Sequence[str]) -> Iterator[int]:
    """Remove instances with their files; yields how many there were, batch by batch. Raises OSError and Failure."""
    for begin in range(0, len(sop_instance_uids), BATCH):
        digests = index.remove(sop_instance_uids[begin : begin + BATCH])
        _remove_files(tree, index, digests)
        yield len(digests)


def finish_removals(tree: Storage, index: Index) -> int:
    """Remove the files that somebody who was killed has left; returns how many. Raises OSError and Failure."""
    digests = index.removals.unfinished()
    for begin in range(0, len(digests), BATCH):
        _remove_files(tree, index, digests[begin : begin + BATCH])
    return len(digests)


def remove_unused(tree: Storage, index: Index, digest: str) -> None:
    """Remove a file, unless a row stands for it, perhaps again. Raises OSError and Failure."""
    with tree.holding(digest, exclusive=True):
        if not index.has_digest(digest):
            tree.delete(digest)


def _remove_files(tree: Storage, index: Index, digests: Sequence[str]) -> None:
    for digest in digests:
        remove_unused(tree, index, digest)
    if digests:
        tree.sync()
        index.removals.forget(digests)
