"""What is to be delivered, and to whom: rows that survive restarts, each worked on by whoever has its lease.

Rules:
- *must*: a row is claimed by one at a time. A lease ends with its time or its process, not because another one starts.
- *must*: whatever waits for a destination that is away, no other destination waits for it.
- *must*: no clock can lose or end anything. Leases run by a clock that nobody sets; what is due too far ahead is due
  now; what was waited for is what was meant to be waited, not the difference of two times of day.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from peewee import Case, ColumnBase, fn

from minipacs.errors import Failure, Kind
from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger.models import QueueItem
from minipacs.index.ledger.owner import boot_of, is_gone, this_process

WAITING, SENDING, HELD, DEAD, DONE = "waiting", "sending", "held", "dead", "done"
"""States: to be sent when due; leased; kept back by somebody; given up; over, and kept to be seen."""
OVER = (DEAD, DONE)

MAX_WAITING = 10_000
"""Items of one queue that are neither done nor given up; beyond: refused."""
MAX_WAITING_FOR_ONE = 1_000
"""Those of one destination."""
MAX_DELAY_S = 8 * 86400.0
"""Nothing is put off for longer: what is due later than that was written under another time of day."""
MAX_FAULT_LENGTH = 500
LOOK_AGAIN_S = 5.0
"""How soon to look whether another process that has a lease still runs."""


class Item(NamedTuple):
    """One row. `key` names it within its queue, `waited_s` is for how long it was put off so far.

    Times are in seconds since 1970, save `leased_until`: since the machine was started.
    """

    id: int
    destination: str
    key: str
    payload: str
    state: str
    created_at: float
    due_at: float
    attempts: int
    priority: int
    waited_s: float
    leased_until: float
    last_fault: str


_FIELDS = tuple(getattr(QueueItem, name) for name in Item._fields)


class Queue:
    """The items of one name; safe to use from any thread. Calls raise Failure as those of `Reader` and `Writer` do.

    What is given a connection is for use within a transaction of the caller's, see `change`.
    """

    def __init__(
        self,
        engine: Engine,
        change: RunChange,
        name: str,
        *,
        max_waiting: int = MAX_WAITING,
        max_waiting_for_one: int = MAX_WAITING_FOR_ONE,
    ) -> None:
        self.name = name
        self.limits = max_waiting_for_one, max_waiting
        self.change = change
        self._engine = engine
        self._owner = this_process()

    def put(self, connection: Connection, destination: str, key: str, payload: str = "", priority: int = 0) -> None:
        """Add an item, due now. Raises Failure TOO_MANY if too many wait, in all or for this destination."""
        ours = self._of(QueueItem.state.not_in(OVER))
        scopes = ours & (QueueItem.destination == destination), ours
        for where, limit in zip(scopes, self.limits, strict=True):
            ((count,),) = self._fetch(connection, QueueItem.select(fn.COUNT(QueueItem.id)).where(where))
            if count >= limit:
                raise Failure(Kind.TOO_MANY, f"{self.name}: {count} wait already")
        now = time.time()
        row = QueueItem.insert(
            queue=self.name,
            destination=destination,
            key=key,
            payload=payload,
            priority=priority,
            created_at=now,
            due_at=now,
        )
        connection.execute(*self._engine.compile(row))

    def keep(self, key: str) -> None:
        """Have an item of this name, and never more than one: for work that only one process is to do at a time."""

        def work(connection: Connection) -> None:
            if not self._fetch(connection, QueueItem.select(QueueItem.id).where(self._of(QueueItem.key == key))):
                self.put(connection, "", key)

        self.change(work)

    def claim(self, destination: str, lease_s: float) -> Item | None:
        """Take the lease of what has been due for longest, of one destination, of those of the highest priority."""
        return self._claim(lease_s, QueueItem.destination == destination, self._due())

    def claim_key(self, key: str, lease_s: float) -> Item | None:
        """Take the lease of one item, due or not; None if it is leased, held, given up or gone."""
        return self._claim(lease_s, QueueItem.key == key, self._free())

    def renew(self, item: Item, lease_s: float) -> Item | None:
        """Let a lease begin anew; None if it was lost."""
        until = _now() + lease_s
        is_ours = self.change(lambda connection: self._update(connection, item, leased_until=until))
        return item._replace(leased_until=until) if is_ours else None

    def done(self, connection: Connection, item: Item) -> bool:
        """Forget an item that was dealt with; False if its lease was lost."""
        delete = QueueItem.delete().where(self._is_ours(item))
        return bool(connection.execute(*self._engine.compile(delete)).rowcount)

    def note(self, connection: Connection, item: Item, payload: str, lease_s: float) -> Item | None:
        """Write down how far an item is, and let its lease begin anew; None if it was lost."""
        until = _now() + lease_s
        is_ours = self._update(connection, item, payload=payload, leased_until=until)
        return item._replace(payload=payload, leased_until=until) if is_ours else None

    def finish(self, connection: Connection, item: Item, keep: int, fault: str = "") -> bool:
        """Keep an item that is done, or given up for a fault, to be seen; False if its lease was lost.

        Of those that are over the last `keep` stay.
        """
        state = DEAD if fault else DONE
        is_ours = self._update(connection, item, state=state, owner="", last_fault=fault[:MAX_FAULT_LENGTH])
        self.forget(connection, OVER, keep)
        return is_ours

    def forget(self, connection: Connection, states: Sequence[str], keep: int) -> None:
        """Forget the oldest items in these states; the last `keep` stay."""
        over = self._of(QueueItem.state.in_(list(states)))
        oldest = QueueItem.select(QueueItem.id).where(over).order_by(QueueItem.id.desc()).offset(keep).limit(1)
        for (row_id,) in self._fetch(connection, oldest):
            connection.execute(*self._engine.compile(QueueItem.delete().where(over, QueueItem.id <= row_id)))

    def give_back(self, connection: Connection, item: Item, delay_s: float = 0) -> bool:
        """Let go of an item without having tried; it is due after a while. False if its lease was lost."""
        return self._update(connection, item, state=WAITING, owner="", due_at=time.time() + delay_s)

    def postpone(
        self, connection: Connection, item: Item, delay_s: float, fault: str, *, all_of_destination: bool = False
    ) -> bool:
        """Let go of an item that could not be delivered, to be tried again after a while. False if its lease was lost.

        `all_of_destination` puts off what else waits for it as well, which has waited for as long then: nobody is there
        to take it.
        """
        due_at = time.time() + min(delay_s, MAX_DELAY_S)
        is_ours = self._update(
            connection,
            item,
            state=WAITING,
            owner="",
            due_at=due_at,
            attempts=item.attempts + 1,
            waited_s=item.waited_s + delay_s,
            last_fault=fault[:MAX_FAULT_LENGTH],
        )
        if is_ours and all_of_destination:
            others = self._of(QueueItem.destination == item.destination, QueueItem.state == WAITING)
            put_off = {QueueItem.due_at: due_at, QueueItem.waited_s: QueueItem.waited_s + delay_s}
            update = QueueItem.update(put_off).where(others, QueueItem.due_at < due_at)
            connection.execute(*self._engine.compile(update))
        return is_ours

    def kill(self, connection: Connection, item: Item, fault: str) -> bool:
        """Give an item up; it stays, to be seen and tried again. False if its lease was lost."""
        return self._update(connection, item, state=DEAD, owner="", last_fault=fault[:MAX_FAULT_LENGTH])

    def bury(self, connection: Connection, item: Item, fault: str) -> None:
        """Give up an item that nobody has claimed."""
        update = QueueItem.update(state=DEAD, last_fault=fault[:MAX_FAULT_LENGTH]).where(QueueItem.id == item.id)
        connection.execute(*self._engine.compile(update))

    def retry(self, connection: Connection, key: str) -> bool:
        """Let an item be due now, as if it had never been tried; False if it is being sent, or gone."""
        fresh = {"state": WAITING, "due_at": time.time(), "attempts": 0, "waited_s": 0.0}
        where = self._of(QueueItem.key == key) & QueueItem.state.in_((WAITING, HELD, DEAD))
        return bool(connection.execute(*self._engine.compile(QueueItem.update(**fresh).where(where))).rowcount)

    def bring_forward(self, connection: Connection, key: str) -> None:
        """Let an item that waits be due now."""
        update = QueueItem.update(due_at=time.time()).where(self._of(QueueItem.key == key, QueueItem.state == WAITING))
        connection.execute(*self._engine.compile(update))

    def hold(self, connection: Connection, key: str) -> bool:
        """Keep an item back until it is to be retried; False if it is being sent, given up, or gone."""
        where = self._of(QueueItem.key == key) & (QueueItem.state == WAITING)
        return bool(connection.execute(*self._engine.compile(QueueItem.update(state=HELD).where(where))).rowcount)

    def drop(self, connection: Connection, keys: Collection[str]) -> int:
        """Forget items whatever their state; returns how many there were."""
        delete = QueueItem.delete().where(self._of(QueueItem.key.in_(list(keys))))
        return connection.execute(*self._engine.compile(delete)).rowcount

    def destinations(self) -> list[str]:
        """List the destinations for which something is due, the one that has waited longest first."""
        select = QueueItem.select(QueueItem.destination).where(self._of(self._due())).group_by(QueueItem.destination)
        return [destination for (destination,) in self._read(select.order_by(fn.MIN(QueueItem.due_at)))]

    def next_due_s(self, without: Collection[str] = ()) -> float | None:
        """Return the seconds until something is due for other destinations than these; None if nothing ever is."""
        is_sent = QueueItem.state == SENDING
        others = is_sent & (QueueItem.owner != self._owner)  # who may end at any time
        leased = Case(
            None, [(others, LOOK_AGAIN_S), (is_sent, QueueItem.leased_until - _now())], QueueItem.due_at - time.time()
        )
        mine = self._of(QueueItem.state.in_((WAITING, SENDING))) & QueueItem.destination.not_in(list(without))
        ((found,),) = self._read(QueueItem.select(fn.MIN(leased)).where(mine))
        return None if found is None else max(float(found), 0.0)

    def items(self, states: Sequence[str] = (WAITING, SENDING, HELD, DEAD), beginning: str = "") -> list[Item]:
        """List the items in these states, the oldest first; `beginning` is that of their keys."""
        wanted = self._of(QueueItem.state.in_(list(states)), *_begins(beginning))
        select = QueueItem.select(*_FIELDS).where(wanted)
        return [Item(*row) for row in self._read(select.order_by(QueueItem.id))]

    def waiting(self, beginning: str = "") -> dict[str, tuple[int, float, int]]:
        """Tell of each destination how many items wait, for how long the oldest has, in seconds, how many are dead.

        Those that are held wait too. `beginning` is that of their keys.
        """
        is_dead = QueueItem.state == DEAD
        oldest = fn.MIN(Case(None, [(is_dead, None)], QueueItem.created_at))
        dead = fn.SUM(Case(None, [(is_dead, 1)], 0))
        select = QueueItem.select(QueueItem.destination, fn.COUNT(QueueItem.id), oldest, dead)
        now, found = time.time(), {}
        for destination, count, since, gone in self._read(
            select.where(self._of(QueueItem.state != DONE, *_begins(beginning))).group_by(QueueItem.destination)
        ):
            found[destination] = count - gone, 0.0 if since is None else max(now - since, 0.0), gone
        return found

    def item(self, key: str) -> Item | None:
        """Look an item up."""
        return next(
            (Item(*row) for row in self._read(QueueItem.select(*_FIELDS).where(self._of(QueueItem.key == key)))), None
        )

    def find(self, connection: Connection, key: str) -> Item | None:
        """Look an item up, within a transaction."""
        rows = self._fetch(connection, QueueItem.select(*_FIELDS).where(self._of(QueueItem.key == key)))
        return next((Item(*row) for row in rows), None)

    def change_waiting(self, connection: Connection, item: Item, payload: str, priority: int) -> None:
        """Let an item that is there be about more, and go before others of a lower priority."""
        update = QueueItem.update(payload=payload, priority=max(priority, item.priority))
        connection.execute(*self._engine.compile(update.where(QueueItem.id == item.id)))

    def rename(self, connection: Connection, item: Item, key: str) -> None:
        """Give an item another key, so that there may be a new one of the old."""
        connection.execute(*self._engine.compile(QueueItem.update(key=key).where(QueueItem.id == item.id)))

    def end_leases_of_the_gone(self) -> int:
        """Let others claim what processes had that run no more; returns how many items."""
        select = QueueItem.select(QueueItem.owner).where(self._of(QueueItem.state == SENDING)).distinct()
        gone = [owner for (owner,) in self._read(select) if is_gone(owner)]
        if not gone:
            return 0
        update = QueueItem.update(state=WAITING, owner="").where(
            self._of(QueueItem.state == SENDING), QueueItem.owner.in_(gone)
        )
        return self.change(lambda connection: connection.execute(*self._engine.compile(update)).rowcount)

    def _claim(self, lease_s: float, *where: ColumnBase) -> Item | None:
        def work(connection: Connection) -> Item | None:
            select = QueueItem.select(*_FIELDS).where(self._of(*where))
            found = self._fetch(
                connection, select.order_by(QueueItem.priority.desc(), QueueItem.due_at, QueueItem.id).limit(1)
            )
            if not found:
                return None
            item = Item(*found[0])._replace(state=SENDING, leased_until=_now() + lease_s)
            lease = {"state": SENDING, "owner": self._owner, "leased_until": item.leased_until}
            connection.execute(*self._engine.compile(QueueItem.update(**lease).where(QueueItem.id == item.id)))
            return item

        return self.change(work)

    def _update(self, connection: Connection, item: Item, **values: object) -> bool:
        update = QueueItem.update(**values).where(self._is_ours(item))
        return bool(connection.execute(*self._engine.compile(update)).rowcount)

    def _of(self, *conditions: ColumnBase) -> ColumnBase:
        found: ColumnBase = QueueItem.queue == self.name
        for condition in conditions:
            found = found & condition
        return found

    def _is_ours(self, item: Item) -> ColumnBase:
        """Tell items whose lease this process has taken and not lost since."""
        ours: ColumnBase = (
            (QueueItem.id == item.id)
            & (QueueItem.owner == self._owner)
            & (QueueItem.state == SENDING)
            & (QueueItem.leased_until == item.leased_until)
        )
        return ours

    def _free(self) -> ColumnBase:
        of_this_boot = QueueItem.owner.between(boot_of(self._owner) + ":", boot_of(self._owner) + ";")
        lease_lasts = of_this_boot & (QueueItem.leased_until > _now())
        free: ColumnBase = (QueueItem.state == WAITING) | ((QueueItem.state == SENDING) & ~lease_lasts)
        return free

    def _due(self) -> ColumnBase:
        now = time.time()
        due = (QueueItem.due_at <= now) | (QueueItem.due_at > now + MAX_DELAY_S) | (QueueItem.state == SENDING)
        return self._free() & due

    def _fetch(self, connection: Connection, query: Any) -> list[tuple[Any, ...]]:
        return connection.execute(*self._engine.compile(query)).fetchall()

    def _read(self, query: Any) -> list[tuple[Any, ...]]:
        with self._engine.errors(), self._engine.reader() as connection:
            return self._fetch(connection, query)


def _begins(beginning: str) -> list[ColumnBase]:
    return [QueueItem.key.between(beginning, beginning + _LAST)] if beginning else []


_LAST = chr(0x10FFFF)
"""Comes after all other characters."""


def _now() -> float:
    """Return seconds of the clock that leases run by: since the machine was started, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
