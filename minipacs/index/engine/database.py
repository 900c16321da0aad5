"""The database, opened: connections, durability, transactions, and all else that only SQLite understands.

The writer's connection commits into the write-ahead log; readers see the last commit and never wait for it.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

from peewee import Field, Model, PeeweeException

from minipacs.errors import Failure, Kind, MinipacsError, OutcomeUnknown, system_words
from minipacs.index.engine import files
from minipacs.index.engine.connection import Connection, primary_code, told_errors
from minipacs.index.engine.lock import WriterLock
from minipacs.index.engine.readers import Allowance, Readers
from minipacs.index.engine.schema import Schema
from minipacs.index.engine.shape import differences
from minipacs.index.engine.statements import OTHER, SerialField, Statements, quoted, table_name

__all__ = ["Connection", "Database", "Sync"]

Sync = Literal["always", "recoverable", "batch"]

BUSY_TIMEOUT_S = 10
"""For so long a statement waits for a lock of SQLite's own: that of a program which is none of ours."""
OPEN_WAIT_S = 60.0
"""For so long whoever opens the file waits for those that write, or that bring it up to date."""
CLOSE_WAIT_S = 1.0
MIN_OPEN_BYTES = 1 << 20
"""With less room than that, a fault at opening may well be for want of it: log and shared memory are made then."""
MAX_IDLE_LOG_BYTES = 64 << 20
WRITER_CACHE_KIB = 32768
READER_CACHE_KIB = 8192
MAX_DIFFERENCES_TOLD = 5

_UNREADABLE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What SQLite also says of a schema that the disk failed to give; it was whole when the file was opened."""

_REMEDY = "Restore it from a backup, or move it away: it is then made anew from the files"

logger = logging.getLogger(__name__)


class Database(Statements):
    """An index file, opened: connections to write and to read, and a lock among the writers of all processes.

    Opening creates the file or brings an older schema up to date; `read_only` does neither. "always" makes each commit
    durable before it returns, "recoverable" each that the writer asks it of, "batch" only together with `sync_log`.
    To be opened after a fork, by each process for itself. Raises MinipacsError if the file cannot be used, has a newer
    schema, or other tables than its schema says.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        *,
        sync: Sync = "always",
        read_only: bool = False,
    ) -> None:
        super().__init__()
        self.path = path
        self.read_only = read_only
        self.sync = sync
        self._inode: tuple[int, int] | None = None
        self._readers = Readers(self._open_reader)
        self._lock: WriterLock | None = None
        try:
            if not read_only:
                self._lock = WriterLock(Path(f"{path}.lock"))
                with self.exclusive(OPEN_WAIT_S):
                    self._prepare_with_reserve(self._lock, schema)
            with closing(self._connect()) as connection:
                self._check_version(connection, schema, may_be_older=False)
                self._check_tables(connection, schema)
            self._inode = files.inode(path)
        except (sqlite3.Error, PeeweeException, OSError) as error:
            self.close()
            words = system_words(error) if isinstance(error, OSError) else error
            remedy = f". {_REMEDY}" if primary_code(error) in _UNREADABLE else _shortage(path)
            raise MinipacsError(f"index {path} cannot be used: {words}{remedy}") from error
        except MinipacsError:
            self.close()
            raise

    def exclusive(self, timeout_s: float = OPEN_WAIT_S) -> AbstractContextManager[None]:
        """Hold the lock that the writers of all processes queue on. Raises Failure BUSY, and OSError."""
        assert self._lock is not None  # noqa: S101  nobody writes what is open for reading
        return self._lock.held(timeout_s)

    def writer(self) -> sqlite3.Connection:
        """Open a connection that writes; for use under `exclusive`, closed by its owner."""
        connection = self._connect()
        connection.execute("PRAGMA foreign_keys = ON")
        self.set_synced(connection, synced=self.sync == "always")
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {files.CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_LOG_BYTES}")
        return connection

    def lay_out_log(self, connection: Connection) -> None:
        """Get the log ready for commits that are synced, and the shared memory for a full disk, see `files`."""
        with self.exclusive():
            connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()  # makes both if there are none
            files.lay_out_shared_memory(self.path)
            files.lay_out_log(self.path)

    def set_synced(self, connection: Connection, *, synced: bool) -> None:
        """Make each commit from now on wait for the disk, and with it all before, or none; not within a transaction."""
        connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")

    def reader(self, allowance: Allowance | None = None) -> AbstractContextManager[Connection]:
        """Lend a connection that only reads, for a moment: no peer is waited for meanwhile, see `Readers.lend`."""
        return self._readers.lend(allowance)

    def errors(self) -> AbstractContextManager[None]:
        """Turn errors of the database into Failure: FULL or BUSY where trying again may help, else BROKEN."""
        return told_errors()

    @contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Commit what is done within, or undo it if it fails. Raises OutcomeUnknown if the disk failed at its end."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            _undo(connection)
            raise
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _undo(connection)
            # What could not be written lacks its commit frame; what could not be synced may have it.
            if primary_code(error) == sqlite3.SQLITE_IOERR and error.sqlite_errorcode != sqlite3.SQLITE_IOERR_WRITE:
                raise OutcomeUnknown("index disk error, outcome unknown") from error
            raise

    def backup(self, path: Path, progress: files.Progress = lambda done, pages: None) -> None:
        """Copy the index as it is at one instant to a new file, while others read and write; the copy is durable.

        `progress` gets pages done and pages in all. A copy that fails leaves nothing. Raises OSError (FileExistsError
        if there is one) and Failure.
        """
        with self.errors(), self._readers.lend() as connection:
            files.copy(connection, path, progress)

    def take_over(
        self,
        path: Path,
        models: Sequence[type[Model]],
        catch_up: Callable[[], None],
        compare: Callable[[Connection], None],
    ) -> None:
        """Let the rows of another index file take the place of this one's in the tables of `models`, all at once.

        `catch_up` is called first, when nobody can write any more; the other file must be closed after it. Then
        `compare`, in the transaction that swaps the rows: it sees both, see `statements.table`. The rows get numbers
        that none had here before.
        """
        with self.exclusive():
            catch_up()
            with closing(self._connect()) as connection:
                self.set_synced(connection, synced=True)
                connection.execute(f"ATTACH ? AS {OTHER}", (str(path),))
                with self.transaction(connection):
                    compare(connection)
                    last_numbers = dict(connection.execute("SELECT name, seq FROM main.sqlite_sequence").fetchall())
                    for model in models:
                        table, fields = table_name(model), model._meta.sorted_fields
                        columns = ", ".join(map(quoted, fields))
                        values = ", ".join(_renumbered(field, last_numbers) for field in fields)
                        connection.execute(f"DELETE FROM main.{table}")  # noqa: S608  names of our own
                        connection.execute(
                            f"INSERT INTO main.{table} ({columns}) SELECT {values} FROM {OTHER}.{table}"  # noqa: S608
                        )
                connection.execute(f"DETACH {OTHER}")

    def room_for_another(self) -> AbstractContextManager[Path]:
        """Lend a path beside the file, on the same disk, where a second index can be made; it is gone afterwards."""
        return files.lent(self.path.with_name(f"{self.path.name}.new"))

    def free_bytes(self) -> int:
        """Return the free space of the disk that the file is on. Raises OSError."""
        return files.free_bytes(self.path)

    def is_in_place(self) -> bool:
        """Tell whether the file that was opened is still the one at its path."""
        return files.inode(self.path) == self._inode

    def sync_log(self) -> None:
        """Make durable what was committed so far: the log, if it is still there, and its entry in the folder."""
        files.sync_log(self.path)

    def finish_log(self, connection: Connection) -> None:
        """Move the log into the file, as far as readers allow; for the writer before it closes.

        The log keeps its length, for other processes; the last one to close the database leaves an empty one.
        """
        connection.execute(f"PRAGMA busy_timeout = {int(CLOSE_WAIT_S * 1000)}")
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def close(self) -> None:
        """Close the readers that are idle now, the others as they are given back, and the lock."""
        self._readers.close()
        if self._lock is not None:
            with suppress(MinipacsError, sqlite3.Error, OSError):
                self._leave_log(self._lock)
            self._lock.reserve()  # what else was given back has left some room
            self._lock.close()
            self._lock = None

    def _leave_log(self, lock: WriterLock) -> None:
        with self.exclusive(CLOSE_WAIT_S):
            if self._inode and self.is_in_place() and lock.becomes_alone():
                files.leave_log(self.path)

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self.read_only else "rw"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute("PRAGMA case_sensitive_like = ON")
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
            connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if primary_code(error) in _UNREADABLE:
                raise Failure(Kind.BUSY, "index disk error") from error
            raise
        return connection

    def _prepare_with_reserve(self, lock: WriterLock, schema: Schema) -> None:
        """Prepare the file; on a full disk with the room that is kept for it: log and shared memory are made anew."""
        if lock.is_alone and files.free_bytes(self.path) < MIN_OPEN_BYTES:
            lock.give_up_reserve()  # beforehand: shared memory that finds no room is no error but a signal
        try:
            self._prepare(lock, schema)
        except sqlite3.Error:
            if files.free_bytes(self.path) >= MIN_OPEN_BYTES:
                raise
            lock.give_up_reserve()
            self._prepare(lock, schema)
        else:
            lock.reserve()

    def _prepare(self, lock: WriterLock, schema: Schema) -> None:
        """Create the file and its tables, or bring those of an older release up to date, in one transaction."""
        files.create(self.path)
        was_cut_off = files.begin_log(self.path) and lock.is_alone
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            self.set_synced(connection, synced=True)
            with self.transaction(connection):
                version = self._check_version(connection, schema, may_be_older=True)
                schema.migrate(self, connection, version, was_cut_off=was_cut_off)
                if version != schema.version:
                    connection.execute(f"PRAGMA user_version = {schema.version}")

    def _check_version(self, connection: Connection, schema: Schema, *, may_be_older: bool) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > schema.version:
            raise MinipacsError(
                f"index {self.path} has schema {version} of a newer release; this one knows up to {schema.version}"
            )
        if version < schema.version and not may_be_older:
            raise MinipacsError(
                f"index {self.path} has the older schema {version}: start the archive once to update it"
            )
        return version

    def _check_tables(self, connection: Connection, schema: Schema) -> None:
        found = differences(connection, schema.models)
        if found:
            told = "; ".join(found[:MAX_DIFFERENCES_TOLD]) + ("; ..." if len(found) > MAX_DIFFERENCES_TOLD else "")
            raise MinipacsError(f"index {self.path} is not what its schema {schema.version} says: {told}. {_REMEDY}")


def _renumbered(field: Field, last_numbers: Mapping[str, int]) -> str:
    """Write the value of a column, moved beyond the last numbers, by table, if it is the number of a row."""
    model: type[Model] = getattr(field, "rel_model", None) or field.model
    is_number = isinstance(model._meta.primary_key, SerialField) and (field.primary_key or model is not field.model)
    return f"{quoted(field)} + {last_numbers.get(model._meta.table_name, 0)}" if is_number else quoted(field)


def _shortage(path: Path) -> str:
    """Say so if the disk has no room to open an index: what SQLite says then reads as if the disk were broken."""
    try:
        free = files.free_bytes(path)
    except OSError:
        return ""
    return f"; its disk has {free} bytes free, make room and start again" if free < MIN_OPEN_BYTES else ""


def _undo(connection: sqlite3.Connection) -> None:
    if not connection.in_transaction:  # a full disk has undone it already
        return
    try:
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:  # what went wrong before is what has to be told
        logger.error("transaction not undone", extra={"fields": {"reason": str(error)}})
