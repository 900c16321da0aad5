"""The SQLite file: connections, durability, schema, errors, and all SQL that only SQLite understands.

The writer's connection commits into the write-ahead log; readers see the last commit and never wait for it. Statements
are composed with peewee, which is given no connection: `compile` makes text of them, to be run on a borrowed one.
"""

import fcntl
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

from peewee import Field, Model, Node, PeeweeException, SchemaManager, SqliteDatabase

from minipacs.dicom.tables.keys import STANDARD_KEYS, KeyTable
from minipacs.dicom.text.phonetics import sounds_like
from minipacs.errors import Failure, Kind, MinipacsError
from minipacs.index.objects.conditions import any_value_matches
from minipacs.index.objects.models import MODELS
from minipacs.index.objects.sequences import items_match
from minipacs.index.objects.zones import moment_matches, time_matches
from minipacs.index.state import State
from minipacs.index.workflow.models import WORKFLOW_MODELS

Connection = sqlite3.Connection
Sync = Literal["always", "recoverable", "batch"]

SCHEMA_VERSION = 3
MIGRATIONS: Mapping[int, Sequence[str]] = {
    1: (),
    2: ("ALTER TABLE instance ADD COLUMN received_digest TEXT NOT NULL DEFAULT ''",),
}
"""By schema version, the statements that lead to the next; tables and indexes that are new are made by themselves."""

MAX_READERS = 8
"""Read connections open at once."""
READER_WAIT_S = 30.0
BUSY_TIMEOUT_S = 10
CLOSE_WAIT_MS = 1000
CHECKPOINT_PAGES = 4000
LOG_BYTES = CHECKPOINT_PAGES * (4096 + 24) + 32
"""The log's length when a checkpoint is due: pages with their frame headers, behind the log's own."""
MAX_IDLE_LOG_BYTES = 64 << 20
WRITER_CACHE_KIB = 32768
READER_CACHE_KIB = 8192
CANCEL_CHECK_STEPS = 50_000
"""Steps of SQLite's virtual machine, well under a microsecond each, between two looks at `cancelled`."""

_FUNCTIONS: tuple[Callable[..., bool], ...] = (
    any_value_matches,
    items_match,
    sounds_like,
    time_matches,
    moment_matches,
)
"""What SQL may call: of stored values and a key."""

BACKUP_STEP_PAGES = 2000
BACKUP_MODE = 0o640
PARTIAL_SUFFIX = ".part"

_SHORT_OF = {
    sqlite3.SQLITE_FULL: "disk full",
    sqlite3.SQLITE_IOERR: "disk error",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_PROTOCOL: "busy",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "cannot be written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
}


class QueryCancelled(MinipacsError):
    """The caller gave up a query while it ran."""


class _Dialect(SqliteDatabase):
    operations = {"LIKE": "LIKE"}  # noqa: RUF012  peewee would write GLOB, where `[` is special


class Database:
    """An index file, opened: a connection for the writer, a few for readers, a lock among the writers of all processes.

    Opening creates the file or brings an older schema up to date; `read_only` does neither. "always" makes each commit
    durable before it returns, "recoverable" each that the writer asks it of, "batch" only together with `sync_log`. To
    be opened after a fork, by each process for itself. Raises MinipacsError if the file cannot be used or has a newer
    schema.
    """

    def __init__(
        self, path: Path, *, keys: KeyTable = STANDARD_KEYS, sync: Sync = "always", read_only: bool = False
    ) -> None:
        self.path = path
        self.read_only = read_only
        self.sync = sync
        self.state = State(self, keys)
        self._dialect = _Dialect(None)
        self._free = threading.BoundedSemaphore(MAX_READERS)
        self._idle: deque[Connection] = deque()
        self._closed = False
        self._lock_fd = -1
        try:
            if not read_only:
                self._lock_fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                with self.exclusive():
                    self._prepare()
            self._check()
        except (sqlite3.Error, PeeweeException, OSError) as error:
            self.close()
            raise MinipacsError(f"index {path} cannot be used: {error}") from error
        except MinipacsError:
            self.close()
            raise

    def compile(self, query: Node) -> tuple[str, list[object]]:
        """Turn a peewee query into SQL text and its parameters."""
        sql, parameters = self._dialect.get_sql_context().parse(query)  # type: ignore[no-untyped-call]
        return sql, parameters

    def insert(self, fields: Sequence[Field]) -> str:
        """Write an INSERT of `fields` of one model, its parameters in their order, that returns the id of the row."""
        columns = ", ".join(self._quoted(f) for f in fields)
        marks = ", ".join([self._dialect.param] * len(fields))
        return f"INSERT INTO {self._table(fields)} ({columns}) VALUES ({marks}) RETURNING id"  # noqa: S608  names of our own

    def update(self, fields: Sequence[Field]) -> str:
        """Write an UPDATE of `fields` of one model for the row whose id is the last parameter."""
        mark = self._dialect.param
        changes = ", ".join(f"{self._quoted(f)} = {mark}" for f in fields)
        return f"UPDATE {self._table(fields)} SET {changes} WHERE id = {mark}"  # noqa: S608  names of our own

    def _quoted(self, field: Field) -> str:
        return f'"{field.column_name}"'

    def _table(self, fields: Sequence[Field]) -> str:
        return f'"{fields[0].model._meta.table_name}"'

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock that the writers of all processes queue on."""
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def writer(self) -> Connection:
        """Open a connection that writes; for use under `exclusive`, closed by its owner."""
        connection = self._connect()
        connection.execute("PRAGMA foreign_keys = ON")
        self.set_synced(connection, self.sync == "always")
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_LOG_BYTES}")
        with self.exclusive():
            self._lay_out_log(connection)
        return connection

    def set_synced(self, connection: Connection, synced: bool) -> None:
        """Make each commit from now on wait for the disk, and with it all before, or none; not within a transaction."""
        connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")

    def _lay_out_log(self, connection: Connection) -> None:
        """Fill the log with zeros up to where a checkpoint is due.

        To sync a commit that makes the file longer takes a file system several times as long as one that writes over
        what is there. SQLite reads a log up to the first frame that is not whole, and under the lock nobody appends.
        """
        connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()  # makes the log if there is none
        fd = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)
        try:
            length = os.fstat(fd).st_size
            try:
                os.pwrite(fd, bytes(max(LOG_BYTES - length, 0)), length)
                os.fsync(fd)
            except OSError:  # no room: commits then say so, or find some
                os.ftruncate(fd, length)
        finally:
            os.close(fd)

    @contextmanager
    def reader(self, cancelled: Callable[[], bool] | None = None) -> Iterator[Connection]:
        """Lend a connection that only reads, for a moment: no peer is waited for meanwhile.

        `cancelled` is asked now and then while a statement runs; if it answers True, or raises, the statement ends
        with QueryCancelled, or with what it raised. Raises Failure BUSY if none is free within READER_WAIT_S.
        """
        if not self._free.acquire(timeout=READER_WAIT_S):
            raise Failure(Kind.BUSY, "index busy: no free reader")
        try:
            connection = self._idle.pop() if self._idle else self._open_reader()
            try:
                with _interruptible(connection, cancelled):
                    yield connection
            finally:
                self._idle.append(connection)
                if self._closed:
                    self._close_idle()
        finally:
            self._free.release()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of the database into Failure: FULL or BUSY where trying again may help, else BROKEN."""
        try:
            yield
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code in _SHORT_OF:
                kind = Kind.FULL if code == sqlite3.SQLITE_FULL else Kind.BUSY
                raise Failure(kind, f"index {_SHORT_OF[code]}") from error
            raise Failure(Kind.BROKEN, "index error") from error

    @contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        """Commit what is done within, or undo it if it fails."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has undone it already
                connection.execute("ROLLBACK")
            raise

    def backup(self, path: Path, progress: Callable[[int, int], None] = lambda done, pages: None) -> None:
        """Copy the index as it is at one instant to a new file, while others read and write; the copy is durable.

        `progress` gets pages done and pages in all. Raises OSError (FileExistsError if there is one) and Failure.
        """
        partial = path.with_name(path.name + PARTIAL_SUFFIX)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, BACKUP_MODE))
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, BACKUP_MODE))
            with self.errors(), self.reader() as connection:
                connection.execute("BEGIN")  # one snapshot: a copy in steps would begin anew with every commit
                try:
                    connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
                    with closing(sqlite3.connect(partial)) as copy:
                        connection.backup(
                            copy, pages=BACKUP_STEP_PAGES, progress=lambda _, left, pages: progress(pages - left, pages)
                        )
                        copy.execute("PRAGMA journal_mode = DELETE").fetchone()
                finally:
                    connection.execute("ROLLBACK")
            _sync(partial)
            os.rename(partial, path)
        except BaseException:
            for left_over in (partial, path):
                left_over.unlink(missing_ok=True)
            raise
        _sync(path.absolute().parent)

    def take_over(self, path: Path, models: Sequence[type[Model]], catch_up: Callable[[], None]) -> None:
        """Let the rows of another index file take the place of this one's in the tables of `models`, all at once.

        `catch_up` is called first, when nobody can write any more; the other file must be closed after it.
        """
        with self.exclusive():
            catch_up()
            with closing(self._connect()) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("ATTACH ? AS fresh", (str(path),))
                with self.transaction(connection):
                    for model in models:
                        table = f'"{model._meta.table_name}"'
                        columns = ", ".join(map(self._quoted, model._meta.sorted_fields))
                        connection.execute(f"DELETE FROM main.{table}")  # noqa: S608  names of our own
                        connection.execute(
                            f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM fresh.{table}"  # noqa: S608
                        )
                    self.state.fill(connection)
                connection.execute("DETACH fresh")

    def sync_log(self) -> None:
        """Make durable what was committed so far: the log, if it is still there, and its entry in the folder."""
        for path in (Path(f"{self.path}-wal"), self.path.absolute().parent):
            with suppress(FileNotFoundError):
                _sync(path)

    def finish_log(self, connection: Connection) -> None:
        """Move the log into the file, as far as readers allow; for the writer before it closes.

        The log keeps its length, for other processes; the last one to close the database removes it.
        """
        connection.execute(f"PRAGMA busy_timeout = {CLOSE_WAIT_MS}")
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def close(self) -> None:
        """Close the readers that are idle now, the others as they are given back, and the lock."""
        self._closed = True
        self._close_idle()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _connect(self) -> Connection:
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
        for function in _FUNCTIONS:
            connection.create_function(function.__name__, -1, function, deterministic=True)
        return connection

    def _open_reader(self) -> Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
        return connection

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _prepare(self) -> None:
        """Create the tables, or bring those of an older release up to date, in one transaction."""
        self._dialect.init(str(self.path), pragmas={"journal_mode": "wal"}, timeout=BUSY_TIMEOUT_S)
        dialect = self._dialect
        # IMMEDIATE: one that has begun to read does not wait to write, and a process that closes moves the log.
        with dialect.connection_context(), dialect.atomic("IMMEDIATE"):
            connection: Connection = dialect.connection()  # type: ignore[no-untyped-call]
            version = self._known_version(connection)
            for step in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
                for statement in MIGRATIONS[step]:
                    connection.execute(statement)
            if version < SCHEMA_VERSION:
                for model in (*MODELS, *WORKFLOW_MODELS):
                    SchemaManager(model, dialect).create_all()
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self.state.update(connection)

    def _check(self) -> None:
        with closing(self._connect()) as connection:
            version = self._known_version(connection)
        if version < SCHEMA_VERSION:
            raise MinipacsError(
                f"index {self.path} has the older schema {version}: start the archive once to update it"
            )

    def _known_version(self, connection: Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise MinipacsError(
                f"index {self.path} has schema {version} of a newer release; this one knows up to {SCHEMA_VERSION}"
            )
        return version


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _interruptible(connection: Connection, cancelled: Callable[[], bool] | None) -> Iterator[None]:
    if cancelled is None:
        yield
        return
    raised: list[BaseException] = []

    def stop() -> bool:
        try:
            return cancelled()
        except BaseException as error:
            raised.append(error)
            return True

    connection.set_progress_handler(stop, CANCEL_CHECK_STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise (raised[0] if raised else QueryCancelled("query cancelled")) from error
    finally:
        connection.set_progress_handler(None, 0)
