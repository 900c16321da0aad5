"""The index, opened: what reads, and the thread that writes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from minipacs.dicom.tables.keys import STANDARD_KEYS, KeyTable
from minipacs.errors import MinipacsError
from minipacs.index.engine.database import Connection, Database, Sync
from minipacs.index.ledger.associations import Associations
from minipacs.index.ledger.removals import Removals
from minipacs.index.objects.models import REBUILT, Availability
from minipacs.index.objects.queries import Reader
from minipacs.index.objects.refresh import Reread
from minipacs.index.objects.rows import Duplicates, Form, InstanceRecord, Placed
from minipacs.index.workflow.commitments import Commitments
from minipacs.index.workflow.procedure_steps import ProcedureSteps
from minipacs.index.workflow.worklist import Worklist
from minipacs.index.writer import Writer

_T = TypeVar("_T")


def _no_values(digest: str, source_ae_title: str) -> Mapping[str, str]:
    raise MinipacsError(f"nothing can read the file {digest} again")


class Index(Reader):
    """One index file; safe to use from any thread. Changes block until they are committed, see `Writer`.

    `worklist` holds the scheduled procedure steps, `procedure_steps` the performed ones, `commitments` the
    storage commitments that were asked for, `associations` the accounts of the last associations, `removals` the
    files that are to go.
    """

    def __init__(self, database: Database, keys: KeyTable, writer: Writer | None) -> None:
        super().__init__(database)
        self.keys = keys
        self._writer_or_none = writer
        self.worklist = Worklist(database, self._change)
        self.associations = Associations(database, self._change)
        self.procedure_steps = ProcedureSteps(database, self._change)
        self.commitments = Commitments(database, self._change)
        self.removals = Removals(database, self._change)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        keys: KeyTable = STANDARD_KEYS,
        sync: Sync = "always",
        on_commit: Callable[[int], None] = lambda instances: None,
        reread: Reread = _no_values,
        read_only: bool = False,
    ) -> "Index":
        """Open the file at `path`, made if missing unless `read_only`, which also starts no writer.

        `keys` are what is kept of each object; `on_commit` hears the instances of each commit, `reread` gives the
        values of a stored file by its digest.
        Raises MinipacsError.
        """
        database = Database(path, keys=keys, sync=sync, read_only=read_only)
        writer = None if read_only else Writer(database, keys=keys, reread=reread, on_commit=on_commit)
        return cls(database, keys, writer)

    @property
    def path(self) -> Path:
        """Return where the file is."""
        return self._database.path

    def add(self, record: InstanceRecord, duplicates: Duplicates, *, recoverable: bool = False) -> Placed:
        """Give a stored file its row, see `Writer.add`."""
        return self._writer.add(record, duplicates, recoverable=recoverable)

    def remove(self, sop_instance_uids: Sequence[str]) -> list[str]:
        """Delete the rows of instances, with a note of their files in `removals`; give the digests of these."""
        return self._writer.remove(sop_instance_uids)

    def set_availability(self, digests: Sequence[str], availability: Availability) -> None:
        """Set Instance Availability of the rows with these digests."""
        self._writer.set_availability(digests, availability)

    def settle(self, digest: str, form: Form | None) -> bool:
        """Let a row stand for the compressed form of its file, or for the file for good; false if it is gone."""
        return self._writer.settle(digest, form)

    def backup(self, path: Path, progress: Callable[[int, int], None] = lambda done, pages: None) -> None:
        """Copy the index to a new file, see `Database.backup`."""
        self._database.backup(path, progress)

    def add_all(self, records: Sequence[InstanceRecord]) -> list[Placed]:
        """Give stored files their rows, in this order and in one commit; what is known stays as it is."""
        return self._writer.add_all(records)

    def take_over(self, path: Path, catch_up: Callable[[], None]) -> None:
        """Let the patients, studies, series and instances of another index take the place of this one's, all at once.

        `catch_up` is called first, when nobody can write any more; the other index must be closed after it. Everything
        else stays. Raises Failure.
        """
        with self._database.errors():
            self._database.take_over(path, REBUILT, catch_up)

    def sync(self) -> None:
        """Make durable what was committed so far, as sync "batch" does not. Raises OSError."""
        self._database.sync_log()

    def close(self) -> None:
        """Finish the commits under way and close the file."""
        if self._writer_or_none is not None:
            self._writer_or_none.close()
        self._database.close()

    def _change(self, work: Callable[[Connection], _T]) -> _T:
        return self._writer.change(work)

    @property
    def _writer(self) -> Writer:
        if self._writer_or_none is None:
            raise MinipacsError("the index is open for reading only")
        return self._writer_or_none
