"""Who the archive is: a random UUID that the files and the index both have, so that neither is taken for another's.

An archive of before gets it when it is opened for writing. If the index has it and the files have not, it depends on
whether they are those that the index knows: a disk that is not mounted has none of them.
"""

import random
from itertools import islice
from uuid import uuid4

from minipacs.archive.ports import PREFIXES, Catalogue, Storage
from minipacs.errors import MinipacsError

IDENTITY = "archive_id"
RECOVERY = "recovery"
DUE = "due"
PLACES, FILES_EACH = 16, 4
"""Where rows are picked, by chance, and how many, to see whether their files are there."""
MIN_PICKED_FOR_DOUBT = 32
"""In an archive whose marker is there; of fewer files all may be gone without a disk being so."""


def agree(tree: Storage, index: Catalogue) -> None:
    """Hold the identity of files and index against each other; an index that is new beside files is to be filled.

    Raises MinipacsError if they are not of one archive, or most files are not there. Raises OSError and Failure.
    """
    of_files, of_index = tree.identity(), index.recall(IDENTITY)
    if of_files and of_index and of_files != of_index:
        raise MinipacsError(
            f"the storage folder is that of archive {of_files}, the index that of {of_index}: is the right disk "
            "mounted, and is index.url right?"
        )
    if of_index and not of_files:
        _refuse_if_gone(tree, index, 1)
    if index.is_read_only:
        return
    if not of_index and not index.statistics().instances and next(tree.walk(), None) is not None:
        index.remember(RECOVERY, DUE)
    if not of_files:
        of_files = tree.claim(of_index or str(uuid4()))
    if not of_index:
        index.remember(IDENTITY, of_files)


def refuse_if_gone(tree: Storage, index: Catalogue) -> None:
    """Raise MinipacsError if most of the files that are looked for are not there."""
    _refuse_if_gone(tree, index, MIN_PICKED_FOR_DOUBT)


def _refuse_if_gone(tree: Storage, index: Catalogue, at_least: int) -> None:
    picked: set[str] = set()
    for prefix in random.sample(PREFIXES, PLACES):  # to look in many places, not to be unguessable
        picked.update(islice(index.online_digests(prefix), FILES_EACH))
    if not picked:
        picked.update(islice(index.online_digests(""), PLACES * FILES_EACH))
    gone = sum(tree.stat(digest) is None for digest in picked)
    if len(picked) >= at_least and gone * 2 > len(picked) and not _has_compressed_forms(tree, index):
        raise MinipacsError(
            f"most files are gone from the storage folder ({gone} of {len(picked)} that were looked for): is its disk "
            "mounted? If they are lost, `minipacs verify --repair` marks their rows"
        )


def _has_compressed_forms(tree: Storage, index: Catalogue) -> bool:
    """Tell whether files are there that were made of those that the index knows: it is an older copy, then."""
    for digest in islice(tree.walk(), PLACES * FILES_EACH):
        state = tree.stat(digest)
        if state is not None and state.receipt.received_digest and index.has_digest(state.receipt.received_digest):
            return True
    return False
