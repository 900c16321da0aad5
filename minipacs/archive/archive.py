"""The archive: a file tree and an index that agree, opened and closed as one."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from minipacs.archive.amended import Amending
from minipacs.archive.background_sync import BackgroundSync
from minipacs.archive.disk_errors import DiskErrors
from minipacs.archive.ingest import Incoming, StoragePolicy
from minipacs.archive.marker import agree
from minipacs.archive.ports import Catalogue, Spare, Storage
from minipacs.archive.reader import ObjectReader
from minipacs.archive.removal import Displaced
from minipacs.archive.scan import CharsetOf
from minipacs.dicom.tables.keys import STANDARD_KEYS, KeyTable
from minipacs.errors import MinipacsError, system_words
from minipacs.index import Index, Statistics
from minipacs.index.workflow.commitments import EXPIRED, OPEN
from minipacs.tree.objects import FileTree

Sync = Literal["always", "batch"]


@dataclass(frozen=True, slots=True)
class Figures(Statistics):
    """What there is, for metrics, where each number is a gauge of that name, and for `minipacs stats`."""

    storage_free_bytes: int
    index_free_bytes: int
    quarantined_files: int
    expired_files: int
    unavailable_instances: int
    worklist_broken_files: int
    conflicts: int
    commitments_pending: int
    commitments_given_up: int
    last_check_timestamp_seconds: float
    last_check_findings: int


class Archive:
    """One storage folder with its index. Safe to use from any thread.

    Several processes may have it open; only one of them as the daemon.
    """

    def __init__(
        self,
        tree: Storage,
        index: Catalogue,
        policy: StoragePolicy,
        background: BackgroundSync | None = None,
        charset_of: CharsetOf = lambda ae_title: "",
        displaced: Displaced | None = None,
    ) -> None:
        self.tree = tree
        self.index = index
        self.displaced = displaced or Displaced(tree, index, durable=background is None)
        self.charset_of = charset_of
        self._policy = policy
        self._disk_errors = DiskErrors()
        self._identity = tree.identity()
        self._background = background
        amending = Amending(tree, index.amendments.get, self._assumed_charset, policy.min_free_bytes)
        self._reader = ObjectReader(tree, index.instance, amending, policy.min_free_bytes)

    @classmethod
    def open(
        cls,
        path: Path,
        policy: StoragePolicy,
        *,
        sync: Sync = "always",
        keys: KeyTable = STANDARD_KEYS,
        charset_of: CharsetOf = lambda ae_title: "",
        index_path: Path | None = None,
        on_commit: Callable[[int], None] = lambda instances: None,
        read_only: bool = False,
        recovers: bool = False,
    ) -> "Archive":
        """Open the archive at `path`, making what is missing unless `read_only`.

        `keys` are what is indexed of each object, `charset_of` what is assumed of those that name none; `on_commit`
        hears the size of each group commit. `recovers` tells that the daemon's lock is held: after a power loss
        `prepare` makes rows again from their files, so new ones need no sync of their own. Raises MinipacsError with a
        word for the administrator.
        """
        tree = FileTree(path, durable=sync == "always") if read_only else create_tree(path, sync)
        index_path = index_path or tree.layout.index
        if read_only and not index_path.exists():
            raise MinipacsError(f"there is no archive in {path} yet")
        background = (
            BackgroundSync(lambda: _sync(tree, index, displaced)) if sync == "batch" and not read_only else None
        )

        def committed(instances: int) -> None:
            if instances:
                on_commit(instances)
            if background is not None:
                background.wake()

        index = Index.open(
            index_path,
            keys=keys,
            sync="recoverable" if recovers and sync == "always" else sync,
            on_commit=committed,
            read_only=read_only,
        )
        try:
            agree(tree, index)
        except MinipacsError:
            index.close()
            raise
        except OSError as error:
            index.close()
            raise MinipacsError(f"cannot use the storage folder {path}: {error.strerror}") from error
        displaced = Displaced(tree, index, durable=background is None)
        if background is not None:
            background.start()
        return cls(tree, index, policy, background, charset_of, displaced)

    def close(self) -> None:
        """Finish the commits under way, close the index, end codec processes, and leave nothing unsynced.

        Raises MinipacsError in the end if nobody knows whether some files have rows: a process that ends so leaves a
        recovery due.
        """
        in_doubt = 0
        self._reader.close()
        if self._background is not None:
            self._background.close()
        if not self.index.is_read_only:
            in_doubt = self.displaced.close()
        self.index.close()
        if self._background is not None:
            with suppress(OSError):  # what was committed meanwhile
                self.tree.sync()
        self.tree.close()
        if in_doubt:
            raise MinipacsError(f"the index does not tell whether {in_doubt} files have rows: the next start looks")

    def make_durable(self) -> None:
        """Return when all that was committed before is on the disk, also with `sync = "batch"`.

        Raises OSError, also if some of it may not have come there since the last call.
        """
        if self._background is not None:
            self._background.wait()

    def receive(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        source: str,
        charset: str = "",
        spare: Spare | None = None,
        study_instance_uid: str = "",
    ) -> Incoming:
        """Begin to store an object; see `Incoming`. `charset` is assumed if it names none; `spare` has a file ready.

        With a `study_instance_uid` it must be of that study.
        """
        return Incoming(
            self.tree,
            self.index,
            self.displaced,
            self._policy,
            self._disk_errors,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            source=source,
            charset=charset,
            spare=spare,
            study_instance_uid=study_instance_uid,
        )

    @property
    def max_instance_bytes(self) -> int:
        """Return the limit of an object, 0 if there is none."""
        return self._policy.max_instance_bytes

    @property
    def reader(self) -> ObjectReader:
        """Return what reads stored objects back."""
        return self._reader

    def _assumed_charset(self, sop_instance_uid: str) -> str:
        file = self.index.file(sop_instance_uid)
        return "" if file is None else self.charset_of(file.source)

    def figures(self) -> Figures:
        """Count what there is; cheap enough for a scrape."""
        found, commitments = self.index.statistics(), self.index.commitments.counts()
        last = self.index.checks.last()
        return Figures(
            **{field.name: getattr(found, field.name) for field in fields(found)},
            storage_free_bytes=self.tree.free_bytes(),
            index_free_bytes=self.index.free_bytes(),
            quarantined_files=self.tree.quarantine.count(),
            expired_files=self.index.expired.files(),
            unavailable_instances=self.index.unavailable_count(),
            worklist_broken_files=self.index.worklist.folder_state().broken_files,
            conflicts=self.index.conflict_count(),
            commitments_pending=sum(commitments.get(state, 0) for state in OPEN),
            commitments_given_up=commitments.get(EXPIRED, 0),
            last_check_timestamp_seconds=last.ended_at,
            last_check_findings=last.findings,
        )

    def shortage(self) -> str | None:
        """Say why nothing can be stored now, or None: for readiness."""
        if not self.index.is_in_place():
            return "the index file was removed or replaced: restart, so that it is filled from the files"
        try:
            free, identity = self.tree.free_bytes(), self.tree.identity()
        except OSError as error:
            return f"storage folder: {error.strerror}"
        if identity != self._identity:
            return "the storage folder is not the archive's any more: is its disk mounted?"
        if free < self._policy.min_free_bytes:
            return f"{free} bytes free, storage.min_free_bytes is {self._policy.min_free_bytes}"
        return None


def create_tree(path: Path, sync: Sync) -> FileTree:
    """Make the folders that are missing. Raises MinipacsError."""
    tree = FileTree(path, durable=sync == "always")
    try:
        tree.create()
    except OSError as error:
        raise MinipacsError(f"cannot use the storage folder {path}: {system_words(error)}") from error
    return tree


def _sync(tree: Storage, index: Catalogue, displaced: Displaced) -> None:
    """Bring files, then the rows that tell of them, to the disk; then what gave way to them may go."""
    waiting = displaced.waiting()
    tree.sync()
    index.sync()
    displaced.synced(waiting)
