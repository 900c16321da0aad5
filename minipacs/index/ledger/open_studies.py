"""Studies that objects come to: open from the first that came until they are complete, and again with the next one.

What opens them is the feed of changes; up to which number that was read is kept in the same commit.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from minipacs.errors import MinipacsError
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger import settings
from minipacs.index.ledger.changes import Changes, Completion, Event, Uids
from minipacs.index.ledger.models import OpenStudy

SEEN = "open_studies_seen"
"""Name of the setting that has the number of the last event that was read."""
MAX_SOURCES = 32
"""AE titles that are remembered of one study."""

Within = Callable[[Connection], None]
"""Does something more in a transaction."""


class Open(NamedTuple):
    """A study that objects come to: since when, when the last came, in seconds since 1970, and from whom.

    `last_digest` is that of the object that came last.
    """

    study_uid: str
    began_at: float
    changed_at: float
    sources: Sequence[str]
    last_digest: str


_FIELDS = tuple(getattr(OpenStudy, name) for name in Open._fields)


def brings(event: Event) -> bool:
    """Tell whether an event is that of an object that came, be it in place of another."""
    return (event.action == "create" and event.reason in ("", "moved")) or event.reason == "replaced"


class OpenStudies:
    """The open studies of an index; safe to use from any thread. Calls raise Failure."""

    def __init__(self, engine: Engine, change: RunChange, told: Changes | None) -> None:
        self._engine = engine
        self._change = change
        self._told = told

    def seen(self) -> int:
        """Return the number of the last event that was read."""
        with self._engine.errors(), self._engine.reader() as connection:
            return int(settings.read(self._engine, connection, SEEN) or 0)

    def take(self, events: Sequence[Event], seen: int, within: Within) -> None:
        """Open the studies that events brought objects to, and do what belongs to it, in one commit."""

        def work(connection: Connection) -> None:
            for event in filter(brings, events):
                self._touch(connection, event)
            within(connection)
            settings.write(self._engine, connection, SEEN, str(seen))

        self._change(work)

    def all(self) -> list[Open]:
        """List those that are open, the one that has been left alone for longest first."""
        with self._engine.errors(), self._engine.reader() as connection:
            select = OpenStudy.select(*_FIELDS).order_by(OpenStudy.changed_at)
            rows = connection.execute(*self._engine.compile(select)).fetchall()
        return [_open(row) for row in rows]

    def complete(self, study: Open, reason: Completion, within: Within) -> bool:
        """Tell that a study is complete, and do what belongs to it, in one commit; false if it has changed since."""
        if self._told is None:
            raise MinipacsError("the index is open for reading only")
        told = self._told

        def work(connection: Connection) -> bool:
            is_same = OpenStudy.study_uid == study.study_uid, OpenStudy.changed_at == study.changed_at
            if not connection.execute(*self._engine.compile(OpenStudy.delete().where(*is_same))).rowcount:
                return False
            told.add("complete", Uids(study.study_uid, "", ""), "", "", reason)
            within(connection)
            return True

        return self._change(work)

    def forget(self, study: Open) -> None:
        """Close a study of which nothing is left."""
        delete = OpenStudy.delete().where(OpenStudy.study_uid == study.study_uid)
        self._change(lambda connection: connection.execute(*self._engine.compile(delete)))

    def _touch(self, connection: Connection, event: Event) -> None:
        select = OpenStudy.select(*_FIELDS).where(OpenStudy.study_uid == event.study_uid)
        found = connection.execute(*self._engine.compile(select)).fetchone()
        known = _open(found) if found else Open(event.study_uid, event.at, event.at, (), "")
        sources = list(dict.fromkeys((*known.sources, event.source)))[:MAX_SOURCES]
        now = min(max(event.at, known.changed_at), time.time())
        row = known._replace(changed_at=now, sources=json.dumps(sources), last_digest=event.digest)
        connection.execute(*self._engine.upsert(OpenStudy, row._asdict()))


def _open(row: tuple[str, float, float, str, str]) -> Open:
    study_uid, began_at, changed_at, sources, last_digest = row
    return Open(study_uid, began_at, changed_at, json.loads(sources), last_digest)
