"""Documents beside objects and the rows that follow from them: the document first, durably; afterwards they agree."""

import time
from collections.abc import Callable, Sequence
from errno import EDQUOT, ENOSPC
from typing import Protocol, TypeVar

from minipacs.archive.ports import Documents
from minipacs.errors import Failure, Kind, MinipacsError, OutcomeUnknown, system_words

LEAST_STEP_S = 1e-3
"""Between the times of two documents, which decide their order, also if the clock is set back."""


class Document(Protocol):
    """What is written once and has its place in time, in seconds since 1970."""

    @property
    def at(self) -> float: ...  # noqa: D102

    @property
    def id(self) -> str: ...  # noqa: D102

    def encode(self) -> bytes: ...  # noqa: D102


_D = TypeVar("_D", bound=Document)
_T = TypeVar("_T")


def next_time(last_at: float) -> float:
    """Return the time of a new document: now, and after the last."""
    return max(time.time(), last_at + LEAST_STEP_S)


def put(files: Documents, documents: Sequence[_D], add: Callable[[Sequence[_D]], _T]) -> tuple[list[str], _T]:
    """Keep documents, then give them their rows, all of them or none; returns their ids and what `add` does.

    Raises Failure.
    """
    kept: list[str] = []
    try:
        for document in documents:
            kept.append(_keep(files, document))
        return kept, add(documents)
    except OutcomeUnknown:
        raise
    except Exception:
        for document_id in kept:
            files.discard(document_id)
        raise


def _keep(files: Documents, document: Document) -> str:
    try:
        return files.keep(document.encode())
    except OSError as error:
        kind = Kind.FULL if error.errno in (ENOSPC, EDQUOT) else Kind.BROKEN
        raise Failure(kind, f"the document cannot be written: {system_words(error)}") from error


def adopt(
    files: Documents,
    known: set[str],
    get: Callable[[str], _D | None],
    decode: Callable[[bytes], _D],
    add: Callable[[_D], _T],
    folder: str,
) -> list[_T]:
    """Let rows and documents agree: what either has, and the other has not, it gets; returns what `add` did.

    So an index that was lost, or an older copy of it, follows the documents. Raises OSError and Failure, and
    MinipacsError for a document that is damaged.
    """
    here, found = files.ids(), []
    for document_id in here - known:
        try:
            found.append(decode(files.read(document_id)))
        except ValueError as error:
            raise MinipacsError(f"{folder}/{document_id}.json: {error}: put back a good copy of it") from error
    done = [add(document) for document in sorted(found, key=lambda document: (document.at, document.id))]
    for document_id in known - here:
        document = get(document_id)
        if document is not None:
            files.keep(document.encode())
    return done
