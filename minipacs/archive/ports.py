"""What an archive needs of whatever keeps its files and its rows: the protocols that `tree` and `index` fulfil.

Nobody outside an implementation joins, stats or renames a path, or names a table. What each method promises is said by
`tests/tree/test_contract.py` and `tests/index/test_contract.py`, for every implementation alike. Staged files are on
this machine, whatever keeps the published ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import Protocol, Self

from minipacs.dicom.data_set.amendments import Amendment
from minipacs.dicom.tables.keys import KeyTable
from minipacs.index import (
    Allowance,
    Availability,
    Disagreement,
    Duplicates,
    Form,
    InstanceRecord,
    Order,
    Placed,
    Query,
    Statistics,
    StoredFile,
    StoredInstance,
    Subject,
)
from minipacs.index.ledger.amendments import Amendments
from minipacs.index.ledger.associations import Associations
from minipacs.index.ledger.changes import MAX_READ, Event
from minipacs.index.ledger.checks import Checks
from minipacs.index.ledger.open_studies import OpenStudies
from minipacs.index.ledger.queue import Queue
from minipacs.index.ledger.removal.expired import Expired
from minipacs.index.ledger.removal.holds import Holds
from minipacs.index.ledger.removal.removals import Removals
from minipacs.index.ledger.routed import Routed
from minipacs.index.ledger.sends import Sends
from minipacs.index.ledger.webhooks import Webhooks
from minipacs.index.queries.growth import Day
from minipacs.index.queries.queries import Receipts
from minipacs.index.workflow.commitments import Commitments
from minipacs.index.workflow.hl7_messages import Hl7Messages
from minipacs.index.workflow.orders import Orders
from minipacs.index.workflow.performed_steps import PerformedSteps
from minipacs.index.workflow.worklist import Worklist
from minipacs.tree.layout import PREFIXES
from minipacs.tree.locks import DaemonLock, Held
from minipacs.tree.objects import ObjectState, Published, Receipt
from minipacs.tree.quarantine import QuarantinedFile
from minipacs.tree.staging import Spare, StagedFile

__all__ = [
    "PREFIXES",
    "Catalogue",
    "DaemonLock",
    "DigestLocks",
    "Documents",
    "Held",
    "ObjectState",
    "ObjectStore",
    "Published",
    "Quarantine",
    "QuarantinedFile",
    "Receipt",
    "Spare",
    "StagedFile",
    "Storage",
]


class ObjectStore(Protocol):
    """Objects under the digests of their bytes. Calls raise OSError; safe to use from any thread."""

    def stage(self) -> StagedFile:
        """Open a new file, to be written."""

    def put(self, staged: StagedFile, digest: str, receipt: Receipt, held: Held) -> Published:
        """Publish a staged file, durably; ends it unless the same bytes, all compared, are there already.

        What is there with other bytes is damaged and gives way. Within `holding(digest)`, which gives `held`.
        """

    def open(self, digest: str) -> FileIO:
        """Open an object as a local file, unbuffered; FileNotFoundError if there is none."""

    def stat(self, digest: str) -> ObjectState | None:
        """Return size and receipt, None if there is no such object."""

    def delete(self, digest: str) -> None:
        """Remove an object, if it is there. Within `holding(digest, exclusive=True)`."""

    def walk(self, prefix: str = "") -> Iterator[str]:
        """Give the digests that begin with one of `PREFIXES`, or all, in their order."""

    def expire(self, digest: str, reason: str) -> None:
        """Move an object to `expired`, if it is there. Within `holding(digest, exclusive=True)`. Raises OSError."""

    def set_aside(self, digest: str, reason: str) -> None:
        """Move an object to quarantine, if it is there. Within `holding(digest, exclusive=True)`.

        One that is damaged takes no whole one's place there: it goes.
        """


class DigestLocks(Protocol):
    """Locks of digests, among threads, processes, and whoever else has the archive; gone with their holder."""

    def holding(self, digest: str, *, exclusive: bool = False) -> AbstractContextManager[Held]:
        """Hold the lock of a digest: shared to publish and commit a row, exclusive to remove.

        A thread may ask again for what it holds; to ask for more is a RuntimeError.
        """


class Quarantine(Protocol):
    """What gave way."""

    def count(self) -> int:
        """Count the files."""

    def files(self) -> Iterator[QuarantinedFile]:
        """List the files, the oldest first."""

    def open(self, digest: str) -> FileIO:
        """Open a file. Raises OSError."""

    def purge(self, digest: str) -> None:
        """Remove a file and its note, for ever. Raises OSError."""


class Documents(Protocol):
    """Documents beside the objects, under the SHA-256 of their bytes. Calls raise OSError."""

    def keep(self, document: bytes) -> str:
        """Keep a document, durably; returns its id."""

    def discard(self, document_id: str) -> None:
        """Remove a document whose row was refused; may be called again."""

    def ids(self) -> set[str]:
        """List the ids of what is kept."""

    def read(self, document_id: str) -> bytes:
        """Read a document. Raises ValueError if its bytes are not those that were kept."""


class Storage(ObjectStore, DigestLocks, Protocol):
    """All that an archive keeps files with."""

    @property
    def amendments(self) -> Documents:
        """Return the documents of amendments."""

    @property
    def holds(self) -> Documents:
        """Return the documents of holds."""

    @property
    def quarantine(self) -> Quarantine:
        """Return what gave way."""

    @property
    def expired(self) -> Quarantine:
        """Return what outlived its retention rule."""

    def spare(self) -> Spare:
        """Return what has a staged file ready."""

    def scratch(self) -> FileIO:
        """Open a nameless file, gone when it is closed. Raises OSError."""

    def identity(self) -> str:
        """Return who the archive is whose files these are, "" if it is not known. Raises OSError."""

    def claim(self, identity: str) -> str:
        """Let the files be those of an archive, unless they are; returns of which, durably. Raises OSError."""

    def daemon_lock(self) -> DaemonLock:
        """Take the lock of the one daemon. Raises MinipacsError if another has it."""

    def sweep_incoming(self) -> int:
        """Remove what dead processes staged; returns how many files."""

    def free_bytes(self) -> int:
        """Return the room that is left. Raises OSError."""

    def contains(self, path: Path) -> bool:
        """Tell whether a path of this machine lies where the archive keeps its files."""

    def sync(self) -> None:
        """Bring to disk whatever was written without being durable. Raises OSError, also for earlier faults, once."""

    def close(self) -> None:
        """Let go of whatever is held open."""


class Objects(Protocol):
    """Rows of what is stored, to be read; safe to use from any thread.

    Calls raise Failure: BUSY where trying again may help, INVALID for a key that cannot be understood, else BROKEN.
    """

    def find(self, query: Query, *, allowance: Allowance | None = None) -> Iterator[tuple[str, ...]]:
        """Give the rows that match, each with the texts of `query.returns`, in no promised order.

        What changes meanwhile is seen as before or as after. Keys are checked before this returns; the iterator raises
        QueryCancelled as `allowance` does, and Failure BUSY if its time is over.
        """

    def find_ordered(
        self,
        query: Query,
        order: Sequence[Order] = (),
        *,
        offset: int = 0,
        limit: int | None = None,
        allowance: Allowance | None = None,
    ) -> Iterator[tuple[str, ...]]:
        """Give a part of the rows that match, in an order: without one, the latest studies first."""

    def count(self, query: Query, limit: int, *, allowance: Allowance | None = None) -> int:
        """Count the rows that match, up to `limit`."""

    def instances(
        self, keys: Mapping[str, Sequence[str]], *, allowance: Allowance | None = None
    ) -> list[StoredInstance]:
        """List every instance that the values of unique keys, by keyword, lead to: once for all, in their order.

        By study and series as first stored, then by Instance Number. Raises Failure TOO_MANY.
        """

    def instance(self, sop_instance_uid: str) -> StoredInstance | None:
        """Look up an instance."""

    def subjects(self, sop_instance_uids: Sequence[str]) -> dict[str, Subject]:
        """Tell of instances whom and what they are about."""

    def file(self, sop_instance_uid: str) -> StoredFile | None:
        """Look up what the row of an instance has of its file."""

    def heading(self, sop_instance_uid: str) -> Mapping[str, str] | None:
        """Return what an instance says itself of its patient, study and series; None if that is not known yet."""

    def receipts(self, keyword: str, uids: Sequence[str]) -> dict[str, Receipts]:
        """Tell when and from whom the objects came that these values of a unique key lead to."""

    def last_received(self) -> dict[str, float]:
        """Tell when the last object of each AE title came, in seconds since 1970. Reads every row."""

    def kinds(self) -> dict[tuple[str, str], int]:
        """Count the instances that can be retrieved by SOP class and transfer syntax. Reads every row."""

    def has_digest(self, digest: str) -> bool:
        """Tell whether a row stands for this file."""

    def uid_of(self, digest: str) -> str | None:
        """Return the SOP Instance UID of the row that stands for this file."""

    def digests(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Give digest and size in bytes of the files that have rows, those that begin with `prefix`, in their order."""

    def online_digests(self, begin: str) -> Iterator[str]:
        """Give the digests of files that can be retrieved, from `begin` on in their order."""

    def unavailable_count(self) -> int:
        """Count the instances that cannot be retrieved."""

    def files(self) -> Iterator[StoredFile]:
        """Give every file that has a row, in the order in which they were first stored."""

    def compressible(self) -> Iterator[StoredInstance]:
        """Give the instances that nobody has tried to compress, though one might, in the order they were stored."""

    def received_last(self, seconds: float) -> Iterator[str]:
        """Give the digests of what was received in the last `seconds` up to the latest of all; one perhaps twice."""

    def statistics(self) -> Statistics:
        """Count what there is: cheap at any size."""

    def growth(self, since: float) -> list[Day]:
        """Count what came from a time on, in seconds since 1970, by days, of what is still there."""

    def has_several_issuers(self, patient_id: str) -> bool:
        """Tell whether a Patient ID alone may mean several patients."""

    def conflicts(self) -> Iterator[Disagreement]:
        """Give what differs between objects that should agree."""

    def conflict_count(self) -> int:
        """Count them: cheap at any size that people could still deal with."""

    def unread_count(self) -> int:
        """Count the rows of an older release whose files are still to be read."""

    def unread(self, *, firsts_only: bool, limit: int) -> list[StoredFile]:
        """List rows of an older release whose files are still to be read; or those alone that speak for a study."""

    def unfilled_keys(self) -> list[str]:
        """List the keys, with their levels, that some objects were stored without: reindexing fills them."""


class Catalogue(Objects, Protocol):
    """All rows that an archive keeps, and the changes of them. Each change returns once it is committed, or raises.

    The rooms within, such as `worklist`, are classes over the port of the engine (`index.engine.port`): the same over
    every database.
    """

    keys: KeyTable
    worklist: Worklist
    performed_steps: PerformedSteps
    commitments: Commitments
    hl7_messages: Hl7Messages
    orders: Orders
    associations: Associations
    checks: Checks
    removals: Removals
    amendments: Amendments
    holds: Holds
    expired: Expired
    open_studies: OpenStudies
    routed: Routed
    webhooks: Webhooks
    duties: Queue
    sends: Sends

    @property
    def is_read_only(self) -> bool:
        """Tell whether nothing can be changed."""

    def add(self, record: InstanceRecord, duplicates: Duplicates, *, recoverable: bool = False) -> Placed:
        """Give a stored file its row, or deal with the one its SOP Instance UID has; notes the file that gives way.

        `recoverable` tells that a row that is lost with the power would be made again from its file. Raises Failure
        MISSING if a UID is missing.
        """

    def add_all(self, records: Sequence[InstanceRecord]) -> list[Placed]:
        """Give stored files their rows, in this order and in one commit; what is known stays as it is."""

    def remove(self, sop_instance_uids: Sequence[str]) -> list[str]:
        """Delete the rows of instances, with a note of their files in `removals`; give the digests of these."""

    def expire(self, study_uid: str, sop_instance_uids: Sequence[str], rule: str, purge_day: int) -> list[str]:
        """Delete rows of a study whose retention is over, with notes of their files; give the digests of these."""

    def received_in(self, study_instance_uids: Sequence[str]) -> dict[str, float]:
        """Tell when the last object of each of these studies came, in seconds since 1970."""

    def amend(self, amendment: Amendment) -> int:
        """Keep an amendment that is durable, and let the rows follow it; tells how many instances changed."""

    def set_availability(self, digests: Sequence[str], availability: Availability) -> None:
        """Set Instance Availability of the rows with these digests."""

    def settle(self, digest: str, form: Form | None) -> bool:
        """Let a row stand for the compressed form of its file, or for the file for good; false if it is gone."""

    def fill(self, values: Mapping[str, Mapping[str, str] | None]) -> int:
        """Give rows of an older release what was read from their files, by digest; tells how many needed it."""

    def changes(self, since: int, limit: int = MAX_READ) -> list[Event]:
        """Give the events after number `since`, at most `limit` and MAX_READ, in their order; none is ever left out.

        Raises Failure NOT_FOUND if some of them are forgotten.
        """

    def forgotten_changes(self) -> int:
        """Return the number of the last event that is no longer kept, 0 if all are."""

    def forget_changes(self, before: float) -> int:
        """Forget some events of before a time; tells how many, 0 once all are gone."""

    def changes_between(self, start: float | None, end: float | None, offset: int, limit: int) -> list[Event]:
        """Give the events from `start` to before `end`, in seconds since 1970, from an offset on, in their order."""

    def last_change(self) -> Event | None:
        """Give the last event."""

    def recall(self, name: str) -> str:
        """Return what was to be remembered by this name, "" if nothing was."""

    def remember(self, name: str, value: str) -> None:
        """Keep a fact about the archive, durably."""

    def fresh(self) -> AbstractContextManager[Self]:
        """Lend an empty catalogue, gone afterwards: to be filled and to take this one's place. One at a time."""

    def take_over(self, fresh: Self, catch_up: Callable[[], None]) -> None:
        """Let the objects of `fresh` take the place of this one's, all at once; it is closed then.

        `catch_up` is called first, when nobody can write here any more. What is otherwise then is told in the changes.
        """

    def backup(self, path: Path, progress: Callable[[int, int], None] = lambda done, steps: None) -> None:
        """Copy all rows as they are at one instant to a new file, durably; a copy that fails leaves nothing.

        Raises OSError, FileExistsError if there is one.
        """

    def is_in_place(self) -> bool:
        """Tell whether what is committed will be found when the archive is opened again."""

    def free_bytes(self) -> int:
        """Return the room that is left. Raises OSError."""

    def sync(self) -> None:
        """Make durable what was committed so far. Raises OSError."""

    def close(self) -> None:
        """Finish the commits under way and let go of whatever is held open."""
