"""The index, opened: what reads, and the thread that writes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from peewee import Select

from minipacs.dicom.data_set.amendments import Amendment
from minipacs.dicom.data_set.values import Values
from minipacs.dicom.tables.keys import STANDARD_KEYS, KeyTable
from minipacs.dicom.workflow.orders import StudyOrder
from minipacs.errors import Failure, Kind, MinipacsError
from minipacs.index import schema
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.database import Database, Sync
from minipacs.index.engine.writer import Writer
from minipacs.index.ledger import settings
from minipacs.index.ledger.amendments import AmendmentRows, Amendments
from minipacs.index.ledger.associations import Associations
from minipacs.index.ledger.changes import MAX_READ, Changes, Event, Untold, after, between, forget, forgotten, last
from minipacs.index.ledger.checks import Checks
from minipacs.index.ledger.open_studies import OpenStudies
from minipacs.index.ledger.queue import Queue
from minipacs.index.ledger.removal.expired import Expired
from minipacs.index.ledger.removal.holds import Holds
from minipacs.index.ledger.removal.removals import EXPIRED, Notes, Removals
from minipacs.index.ledger.routed import Routed
from minipacs.index.ledger.sends import Sends
from minipacs.index.ledger.webhooks import Webhooks
from minipacs.index.objects.feed import tell_differences
from minipacs.index.objects.models import MODELS, Availability
from minipacs.index.objects.records import Duplicates, Form, InstanceRecord, Outcome, Placed
from minipacs.index.objects.rows import Rows
from minipacs.index.queries.queries import Reader
from minipacs.index.workflow.commitments import Commitments
from minipacs.index.workflow.hl7_messages import Hl7Messages, Received
from minipacs.index.workflow.orders import Ordered, Orders
from minipacs.index.workflow.people import People, PeopleChange
from minipacs.index.workflow.performed_steps import PerformedSteps
from minipacs.index.workflow.worklist import Worklist

_T = TypeVar("_T")


WHY_DISPLACED = {
    Outcome.REPLACED: "replaced by another file",
    Outcome.KEPT: "another file was first",
    Outcome.SAME: "",
}
"""Why the file goes that gave way to another; without a reason nothing is lost with it (see `Placed`)."""


class Accepted(NamedTuple):
    """What a message did: to studies on the worklist, to how many instances, worklist items and performed steps."""

    ordered: Sequence[Ordered] = ()
    instances: int = 0
    items: int = 0


class Index(Reader):
    """One index file; safe to use from any thread.

    Changes block until they are committed, see `Writer`. `worklist` holds the scheduled procedure steps,
    `performed_steps` the performed ones, `commitments` the storage commitments that were asked for, `associations` the
    accounts of the last associations, `removals` the files that are to go, `amendments` what is read otherwise than it
    was stored, `holds` which studies are not to be removed, `expired` those whose retention is over, `open_studies`
    those that objects come to, `routed` what is to be sent by rules and what was, `duties` the leases of work that one
    process is to do at a time, `webhooks` which events are to be told to whom, `sends` what people asked to be sent,
    `checks` when files were last checked.
    """

    def __init__(self, database: Database, keys: KeyTable, writer: Writer | None, *, tells_changes: bool) -> None:
        super().__init__(database)
        self._database = database
        self.keys = keys
        self._derived = schema.derived(database, keys)
        self._writer_or_none = writer
        self._objects_or_none: Rows | None = None
        told: Changes | None = None
        if writer is not None:
            told = (Changes if tells_changes else Untold)(database, writer.transaction)
            self._objects_or_none = Rows(database, writer.transaction, keys, told)
        self.worklist = Worklist(database, self._change)
        self.hl7_messages = Hl7Messages(database, self._change)
        self._orders = Orders(database, self.worklist)
        self.associations = Associations(database, self._change)
        self.performed_steps = PerformedSteps(database, self._change)
        self._people = People(database, self.worklist, self.performed_steps)
        self.commitments = Commitments(database, self._change)
        self.amendments = Amendments(database)
        self.expired = Expired(database, self._change)
        self.holds = Holds(database, self._change)
        self.removals = Removals(database, self._change)
        self.open_studies = OpenStudies(database, self._change, told)
        self.routed = Routed(database, self._change, self._change_lazily, told)
        self.webhooks = Webhooks(database, self._change)
        self.duties = Queue(database, self._change, "duties")
        self.sends = Sends(database, self._change)
        self._notes = Notes(database)
        self.checks = Checks(database, self._change)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        keys: KeyTable = STANDARD_KEYS,
        sync: Sync = "always",
        on_commit: Callable[[int], None] = lambda instances: None,
        read_only: bool = False,
        tells_changes: bool = True,
    ) -> "Index":
        """Open the file at `path`, made if missing unless `read_only`, which also starts no writer.

        `keys` are what is kept of each object; `on_commit` hears the instances of each commit. Without `tells_changes`
        there is no event for what changes. Raises MinipacsError.
        """
        database = schema.open_database(path, keys, sync=sync, read_only=read_only)
        writer = None if read_only else Writer(database, on_commit)
        return cls(database, keys, writer, tells_changes=tells_changes)

    @property
    def is_read_only(self) -> bool:
        """Tell whether there is no writer."""
        return self._writer_or_none is None

    def free_bytes(self) -> int:
        """Return the free space of the disk that the file is on. Raises OSError."""
        return self._database.free_bytes()

    def add(self, record: InstanceRecord, duplicates: Duplicates, *, recoverable: bool = False) -> Placed:
        """Give a stored file its row, see `Rows.add`. Raises Failure MISSING if a UID is missing."""
        objects = record.object_rows(self.keys)

        def work(connection: Connection) -> Placed:
            placed = self._objects.add(record, objects, duplicates, recoverable=recoverable)
            stands = placed.outcome is not Outcome.REJECTED and placed.displaced_digest != record.digest
            if stands and self._notes.drop(connection, record.digest):  # it would outlive the row and take the file
                self._writer.transaction.must_be_durable = True
            if placed.displaced_digest:
                self._notes.add(connection, [placed.displaced_digest], WHY_DISPLACED[placed.outcome])
            return placed

        return self._writer.change(work, recoverable=recoverable)

    def add_all(self, records: Sequence[InstanceRecord]) -> list[Placed]:
        """Give stored files their rows, in this order and in one commit; what is known stays as it is.

        Notes of files that are to go are neither made nor dropped.
        """
        objects = [(record, record.object_rows(self.keys)) for record in records]
        return self._change(lambda _: [self._objects.add(record, rows, "keep") for record, rows in objects])

    def remove(self, sop_instance_uids: Sequence[str]) -> list[str]:
        """Delete the rows of instances, with a note of their files in `removals`; give the digests of these.

        Raises Failure HELD, and deletes none, if one of their studies is held.
        """

        def work(connection: Connection) -> list[str]:
            digests = self._objects.remove(sop_instance_uids)
            self._notes.add(connection, digests)
            return digests

        return self._change(work)

    def expire(self, study_uid: str, sop_instance_uids: Sequence[str], rule: str, purge_day: int) -> list[str]:
        """Delete rows of a study whose retention is over, with notes of their files, to be kept until that day.

        Gives the digests of the files. Raises Failure HELD, and deletes none, if the study is held.
        """

        def work(connection: Connection) -> list[str]:
            digests = self._objects.remove(sop_instance_uids, "expired")
            self._notes.add(connection, digests, f"{EXPIRED}{rule}")
            self.expired.bury(connection, study_uid, rule, purge_day, digests)
            return digests

        return self._change(work)

    def set_availability(self, digests: Sequence[str], availability: Availability) -> None:
        """Set Instance Availability of the rows with these digests."""
        self._change(lambda _: self._objects.set_availability(digests, availability))

    def settle(self, digest: str, form: Form | None) -> bool:
        """Let a row stand for the compressed form of its file, or for the file for good; false if it is gone.

        The file that a form takes the place of is noted in `removals`, in the same commit.
        """

        def work(connection: Connection) -> bool:
            is_settled = self._objects.settle(digest, form)
            if is_settled and form is not None:
                self._notes.drop(connection, form.digest)
                self._notes.add(connection, [digest])
            return is_settled

        return self._change(work)

    def amend(self, amendment: Amendment, people: PeopleChange | None = None) -> int:
        """Keep an amendment that is durable, and let the rows follow it; tells how many instances changed.

        So do worklist items and performed steps, those of `people` whatever study they are of.
        """

        def work(connection: Connection) -> int:
            changed = self._amend(connection, amendment)
            self._people.update(connection, people, amendment.id)
            return changed

        return self._change(work)

    def accept(
        self,
        received: Received,
        orders: Sequence[StudyOrder] = (),
        amendments: Sequence[Amendment] = (),
        people: PeopleChange | None = None,
    ) -> Accepted:
        """Do what a message of HL7 says, and keep it, all in one commit or nothing.

        `amendments` are durable; `people` are those whose worklist items and performed steps it is about.
        """

        def work(connection: Connection) -> Accepted:
            done = self._orders.apply_within(connection, orders)
            changed = sum(self._amend(connection, amendment) for amendment in amendments)
            items = self._people.update(connection, people, amendments[0].id if amendments else "")
            self.hl7_messages.insert(connection, received)
            return Accepted(done, changed, items)

        return self._change(work)

    def _amend(self, connection: Connection, amendment: Amendment) -> int:
        concerned = AmendmentRows(self._database, connection).add(amendment)
        if concerned is None:
            return 0
        before = self.amendments.get(amendment.revokes) if amendment.revokes else None
        if before is not None:
            self._people.restore(connection, amendment.revokes, before.values or {})
        else:
            self._people.follow(connection, amendment)
        return self._objects.amend(concerned, "merged" if (before or amendment).merged else "corrected")

    def items_of_patient(self, patient_id: str) -> list[Values]:
        """List the worklist items and performed steps of whoever has a Patient ID."""
        with self._database.errors(), self._database.reader() as connection:
            return self._people.items(connection, patient_id)

    def recall(self, name: str) -> str:
        """Return what was to be remembered by this name, "" if nothing was."""
        with self._database.errors(), self._database.reader() as connection:
            return settings.read(self._database, connection, name)

    def remember(self, name: str, value: str) -> None:
        """Keep a fact about the archive, durably."""
        self._change(lambda connection: settings.write(self._database, connection, name, value))

    def is_in_place(self) -> bool:
        """Tell whether the file that was opened is still the one at its path: else what is committed will be lost."""
        return self._database.is_in_place()

    def changes(self, since: int, limit: int = MAX_READ) -> list[Event]:
        """Give the events after number `since`, at most `limit` and MAX_READ, in their order; none is ever left out.

        Raises Failure NOT_FOUND if some of them are forgotten.
        """
        found = self._events(after(since, limit))
        oldest = self.forgotten_changes()  # after reading: what went meanwhile is noticed
        if since < oldest:
            raise Failure(Kind.NOT_FOUND, f"the changes up to {oldest} are no longer kept: begin after that number")
        return found

    def forgotten_changes(self) -> int:
        """Return the number of the last event that is no longer kept, 0 if all are."""
        with self._database.errors(), self._database.reader() as connection:
            return forgotten(self._database, connection)

    def forget_changes(self, before: float) -> int:
        """Forget some events of before a time; tells how many, 0 once all are gone."""
        return self._change(lambda connection: forget(self._database, connection, before))

    def changes_between(self, start: float | None, end: float | None, offset: int, limit: int) -> list[Event]:
        """Give the events from `start` to before `end`, in seconds since 1970, from an offset on, in their order."""
        return self._events(between(start, end, offset, limit))

    def last_change(self) -> Event | None:
        """Give the last event."""
        return next(iter(self._events(last())), None)

    def unfilled_keys(self) -> list[str]:
        """List the keys, with their levels, that some objects were stored without: reindexing fills them."""
        with self._database.errors(), self._database.reader() as connection:
            return self._derived.unfilled_keys(connection)

    def fill(self, values: Mapping[str, Mapping[str, str] | None]) -> int:
        """Give rows of an older release what was read from their files, by digest; tells how many needed it."""
        return self._change(lambda _: self._objects.fill(values))

    def backup(self, path: Path, progress: Callable[[int, int], None] = lambda done, pages: None) -> None:
        """Copy the index to a new file, see `Database.backup`."""
        self._database.backup(path, progress)

    @contextmanager
    def fresh(self) -> Iterator["Index"]:
        """Lend an empty index, gone afterwards: to be filled and to take this one's place. One at a time.

        Raises MinipacsError.
        """
        with self._database.room_for_another() as path:
            fresh = Index.open(path, keys=self.keys, sync="batch", tells_changes=False)
            try:
                yield fresh
            finally:
                fresh.close()

    def take_over(self, fresh: "Index", catch_up: Callable[[], None]) -> None:
        """Let the patients, studies, series and instances of `fresh` take the place of this one's, all at once.

        `catch_up` is called first, when nobody can write here any more; `fresh` is closed after it. Everything else
        stays, and what is otherwise then is told in the changes. Raises Failure.
        """

        def catch_up_and_close() -> None:
            catch_up()
            fresh.close()

        def compare(connection: Connection) -> None:
            tell_differences(self._database, connection)
            self._derived.fill(connection)

        with self._database.errors():
            self._database.take_over(fresh._database.path, MODELS, catch_up_and_close, compare)

    def sync(self) -> None:
        """Make durable what was committed so far, as sync "batch" does not. Raises OSError."""
        self._database.sync_log()

    def close(self) -> None:
        """Finish the commits under way and close the file."""
        if self._writer_or_none is not None:
            self._writer_or_none.close()
        self._database.close()

    def _events(self, select: Select) -> list[Event]:
        with self._database.errors(), self._database.reader() as connection:
            return [Event(*row) for row in connection.execute(*self._database.compile(select))]

    def _change(self, work: Callable[[Connection], _T]) -> _T:
        return self._writer.change(work)

    def _change_lazily(self, work: Callable[[Connection], _T]) -> _T:
        """Commit without waiting for the disk, if recovery runs: what is lost with the power is done again."""
        return self._writer.change(work, recoverable=True)

    @property
    def _writer(self) -> Writer:
        if self._writer_or_none is None:
            raise MinipacsError("the index is open for reading only")
        return self._writer_or_none

    @property
    def _objects(self) -> Rows:
        if self._objects_or_none is None:
            raise MinipacsError("the index is open for reading only")
        return self._objects_or_none
