"""What is to be sent by rules, to whom, and what has been: a queue, and a note of each instance that was delivered.

Rules:
- *must*: what was delivered is noted before the next instance goes, so that who goes on after a break sends again at
  most what was on its way. With the power the last notes may be lost: then those go twice.
- *must*: what comes while its item is being sent is sent as well: the item says so, and is not done then.
"""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger.changes import Changes, Uids
from minipacs.index.ledger.models import Delivered
from minipacs.index.ledger.queue import DEAD, SENDING, Item, Queue

ROUTES = "routes"
"""Name of the queue."""
MAX_WAITING, MAX_WAITING_FOR_ONE = 200_000, 100_000
MAX_NAMES = 500
"""UIDs in one statement."""
LEASE_S = 3600.0
"""It begins anew while something is being sent, and ends with the process."""


@dataclass(frozen=True, slots=True)
class Shipment:
    """What one item sends: of which route, and all of a study, of a series or one instance that its rule selects.

    Of an item that was given up `only` lists what it is about, if not all. `last` are instances over which an
    association broke: they go after all others. `is_prior` tells of an earlier study that goes along, whatever the
    rule says. `more` counts what came while the item was being sent.
    """

    route: str
    study_uid: str
    series_uid: str = ""
    sop_instance_uid: str = ""
    is_prior: bool = False
    only: Sequence[str] = ()
    last: Sequence[str] = ()
    more: int = 0

    @property
    def keys(self) -> dict[str, list[str]]:
        """Return the unique keys of what it is about."""
        named = {
            "StudyInstanceUID": self.study_uid,
            "SeriesInstanceUID": self.series_uid,
            "SOPInstanceUID": self.sop_instance_uid,
        }
        return {keyword: [uid] for keyword, uid in named.items() if uid}


class Routed:
    """The items of routes, and what they delivered; safe to use from any thread. Calls raise Failure.

    What is given a connection is for use within a transaction of the caller's.
    """

    def __init__(self, engine: Engine, change: RunChange, change_lazily: RunChange, told: Changes | None) -> None:
        limits = {"max_waiting": MAX_WAITING, "max_waiting_for_one": MAX_WAITING_FOR_ONE}
        self.queue = Queue(engine, change, ROUTES, **limits)
        self._engine = engine
        self._change = change
        self._change_lazily = change_lazily
        self._told = told

    def put(self, connection: Connection, destination: str, shipment: Shipment, priority: int) -> None:
        """Have something sent; if it waits already nothing is added. Raises Failure TOO_MANY."""
        *_, (uid,) = shipment.keys.values()
        key = f"{shipment.route} {destination} {uid}"
        known = self.queue.find(connection, key)
        if known is None:
            self.queue.put(connection, destination, key, written(shipment), priority)
        elif known.state == SENDING or priority > known.priority:
            there = shipment_of(known)
            self.queue.change_waiting(connection, known, written(replace(there, more=there.more + 1)), priority)

    def finish(self, item: Item) -> bool:
        """Forget an item that was sent; if more came meanwhile it is due again instead, and the answer False."""

        def work(connection: Connection) -> bool:
            now = self.queue.find(connection, item.key)
            if now is not None and now.payload != item.payload:
                self.queue.give_back(connection, item)
                return False
            return self.queue.done(connection, item)

        return self._change(work)

    def give_up(self, item: Item, fault: str) -> None:
        """Keep an item as given up, under a key of its own."""

        def work(connection: Connection) -> None:
            if self.queue.kill(connection, item, fault):
                self.queue.rename(connection, item, f"{item.key} #{item.id}")
                self._tell(item, shipment_of(item))

        self._change(work)

    def give_up_some(self, item: Item, faults: Mapping[str, str]) -> None:
        """Keep these instances of an item as given up, each for its fault, as an item of their own."""
        shipment = replace(shipment_of(item), only=tuple(faults), last=(), more=0)
        key = f"{item.key} #{item.id}.{time.time_ns()}"
        words = "; ".join(f"{uid}: {fault}" for uid, fault in faults.items())

        def work(connection: Connection) -> None:
            self.queue.put(connection, item.destination, key, written(shipment))
            made = self.queue.find(connection, key)
            if made is not None:
                self.queue.bury(connection, made, words)
                self._tell(item, shipment)

        self._change(work)

    def _tell(self, item: Item, shipment: Shipment) -> None:
        """Tell the feed that something was given up."""
        (only,) = shipment.only if len(shipment.only) == 1 else (shipment.sop_instance_uid,)
        if self._told is not None:
            self._told.add_dead(Uids(shipment.study_uid, shipment.series_uid, only), shipment.route, item.destination)

    def given_up(self, route: str, destination: str) -> set[str]:
        """Return the UIDs of single instances that were given up: who wants them has their item tried again."""
        dead = self.queue.items((DEAD,), beginning=f"{route} {destination} ")
        return {uid for shipment in map(shipment_of, dead) for uid in shipment.only}

    def waiting(self, routes: Iterable[str]) -> dict[tuple[str, str], tuple[int, float, int]]:
        """Tell of each of these routes, and each destination, what `Queue.waiting` does."""
        return {
            (route, destination): found
            for route in routes
            for destination, found in self.queue.waiting(f"{route} ").items()
        }

    def note(self, destination: str, sop_instance_uid: str, digest: str) -> None:
        """Note that an instance was delivered; `digest` is that of its file as it was received."""
        row = {"sop_instance_uid": sop_instance_uid, "destination": destination, "digest": digest, "at": time.time()}
        insert = Delivered.insert(**row).on_conflict(
            conflict_target=[Delivered.sop_instance_uid, Delivered.destination],
            preserve=[Delivered.digest, Delivered.at],
        )
        self._change_lazily(lambda connection: connection.execute(*self._engine.compile(insert)))

    def delivered(self, destination: str, sop_instance_uids: Sequence[str]) -> dict[str, str]:
        """Return which of these were delivered, each with the digest of its file as it was received."""
        found: dict[str, str] = {}
        select = Delivered.select(Delivered.sop_instance_uid, Delivered.digest).where(
            Delivered.destination == destination
        )
        for begin in range(0, len(sop_instance_uids), MAX_NAMES):
            part = select.where(Delivered.sop_instance_uid.in_(sop_instance_uids[begin : begin + MAX_NAMES]))
            with self._engine.errors(), self._engine.reader() as connection:
                found.update(connection.execute(*self._engine.compile(part)).fetchall())
        return found

    def forget(self, connection: Connection, sop_instance_uids: Collection[str]) -> None:
        """Forget what was delivered of instances that are gone."""
        uids = list(sop_instance_uids)
        for begin in range(0, len(uids), MAX_NAMES):
            delete = Delivered.delete().where(Delivered.sop_instance_uid.in_(uids[begin : begin + MAX_NAMES]))
            connection.execute(*self._engine.compile(delete))


def shipment_of(item: Item) -> Shipment:
    """Read what an item sends."""
    return Shipment(**json.loads(item.payload))


def written(shipment: Shipment) -> str:
    """Write it into an item."""
    return json.dumps(asdict(shipment))
