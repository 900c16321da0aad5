"""Removing instances and files for good: the row first, then the file."""

from collections.abc import Iterator, Sequence

from minipacs.index import Index
from minipacs.tree.files import FileTree

BATCH = 100
"""Rows removed in one commit: so many files at most are left without a row if the process is killed."""


def remove(tree: FileTree, index: Index, sop_instance_uids: Sequence[str]) -> Iterator[int]:
    """Remove instances with their files; yields how many there were, batch by batch. Raises OSError and DimseError."""
    for begin in range(0, len(sop_instance_uids), BATCH):
        digests = index.remove(sop_instance_uids[begin : begin + BATCH])
        for digest in digests:
            remove_unused(tree, index, digest)
        yield len(digests)


def remove_unused(tree: FileTree, index: Index, digest: str) -> None:
    """Remove a file, unless a row stands for it, perhaps again. Raises OSError and DimseError."""
    with tree.holding(digest, exclusive=True):
        if not index.has_digest(digest):
            tree.remove(digest)
