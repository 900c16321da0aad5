"""The objects of one request on their way in: each is written as it comes, and committed beside the next (PS3.18 10.5).

One answer is for many objects, so their commits may run at the same time and share flushes. Nothing is answered before
the last of them is durable.
"""

import logging
from collections import deque
from collections.abc import Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import tell_refused, tell_stored
from minipacs.archive.part10 import IncomingFile
from minipacs.audit.audit import Transfers
from minipacs.dicom.data_set.part10 import FileMeta
from minipacs.errors import Failure, Kind
from minipacs.index import Outcome

logger = logging.getLogger(__name__)

MAX_COMMITS = 8
"""That run at once, of all requests of a process."""
MAX_WAITING = 8
"""Objects of one request, written and not yet committed: each is an open file."""
MAX_LOGGED = 20
"""Refused objects of one request that get a line in the log."""

DICOM = "application/dicom"

_commits = ThreadPoolExecutor(MAX_COMMITS, "commit")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one part: where it is now, or why it is not stored. UIDs are "" where they are not known.

    `kept_other` tells that other content under its UID stays, `is_other_type` that the part is no DICOM file.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    kept_other: bool = False
    is_other_type: bool = False
    kind: Kind | None = None
    words: str = ""


class _Waiting(NamedTuple):
    """A commit that is under way, and the place of its result."""

    place: int
    sop_instance_uid: str
    future: Future[Result]


class Intake:
    """Takes the parts of a request, one after the other; for one thread at a time. `close` it, whatever happens.

    `source` is who they come from, as their receipts have it; with a `study_instance_uid` they must be of that study.
    """

    def __init__(
        self,
        archive: Archive,
        sop_classes: Set[str],
        source: str,
        study_instance_uid: str,
        log_id: str,
        told: Transfers,
    ):
        self._archive = archive
        self._sop_classes = sop_classes
        self._source = source
        self._study_instance_uid = study_instance_uid
        self._log_id = log_id
        self._told = told
        self._incoming: IncomingFile | None = None
        self._waiting: deque[_Waiting] = deque()
        self._failed = 0
        self._results: list[Result | None] = []

    def begin(self, content_type: str) -> None:
        """Begin a part."""
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type and media_type != DICOM:
            self._note(Result(is_other_type=True, kind=Kind.UNSUPPORTED, words=f"a part must be {DICOM}"))
            return
        self._incoming = IncomingFile(self._archive, self._sop_classes, self._source, self._study_instance_uid)

    def write(self, piece: bytes | memoryview) -> None:
        """Take more of the part; it is not kept. What was refused already is passed over."""
        incoming = self._incoming
        if incoming is None:
            return
        try:
            incoming.write(piece)
        except Failure as failure:
            self._drop()
            self._note(_refused(incoming.meta, failure.kind, str(failure)))

    def end(self) -> None:
        """End the part: its commit begins. Waits while too many are under way."""
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        uid = incoming.meta.sop_instance_uid if incoming.meta is not None else ""
        if any(uid == waiting.sop_instance_uid for waiting in self._waiting):
            self._wait_for_commits(0)  # which of two comes first matters
        self._wait_for_commits(MAX_WAITING - 1)
        self._waiting.append(_Waiting(len(self._results), uid, _commits.submit(_commit, incoming, self._told)))
        self._results.append(None)

    def break_off(self, words: str) -> None:
        """Tell that the request is broken from here on: what was being written is no part."""
        self._drop()
        self._note(Result(kind=Kind.UNREADABLE, words=words))

    def finish(self) -> list[Result]:
        """Return what became of each part, in their order; what is stored is durable."""
        self._wait_for_commits(0)
        return [result for result in self._results if result is not None]

    def close(self) -> None:
        """Leave nothing half-done."""
        self._drop()
        self._wait_for_commits(0)

    def _wait_for_commits(self, most: int) -> None:
        """Wait until no more than `most` commits are under way."""
        while len(self._waiting) > most:
            waiting = self._waiting.popleft()
            self._results[waiting.place] = waiting.future.result()
            self._log(waiting.future.result())

    def _drop(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            with incoming:
                pass

    def _note(self, result: Result) -> None:
        self._results.append(result)
        self._log(result)

    def _log(self, result: Result) -> None:
        if result.kind is None:
            return
        self._failed += 1
        if self._failed <= MAX_LOGGED:
            fields = {"id": self._log_id, "sop_instance_uid": result.sop_instance_uid, "reason": result.words}
            logger.warning("object refused", extra={"fields": {k: v for k, v in fields.items() if v}})


def _commit(incoming: IncomingFile, told: Transfers) -> Result:
    """Commit an object and let go of its file."""
    meta = incoming.meta
    try:
        with incoming:
            stored = incoming.commit()
    except Failure as failure:
        tell_refused(told, meta.sop_class_uid if meta is not None else "", failure)
        return _refused(meta, failure.kind, str(failure))
    except Exception:
        logger.exception("store failed")
        return _refused(meta, Kind.BROKEN, "this is a fault of the archive")
    tell_stored(told, stored)
    outcome, record = stored
    study, series = (record.values.get(keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID"))
    kept = outcome is Outcome.KEPT
    return Result(record.sop_class_uid, record.sop_instance_uid, study or "", series or "", kept)


def _refused(meta: FileMeta | None, kind: Kind, words: str) -> Result:
    if meta is None:
        return Result(kind=kind, words=words)
    return Result(meta.sop_class_uid, meta.sop_instance_uid, kind=kind, words=words)
