"""What people asked to be sent: a study or a series to a peer, how far that is, and for a while how it ended."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import NamedTuple

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Change, Engine
from minipacs.index.ledger.queue import DEAD, DONE, HELD, SENDING, WAITING, Item, Queue

SENDS = "sends"
"""Name of the queue."""
MAX_KEPT = 200
"""Sends that are over and can still be seen."""

_STATES: Mapping[str, str] = MappingProxyType(
    {WAITING: "waiting", HELD: "waiting", SENDING: "sending", DONE: "done", DEAD: "failed"}
)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent, who asked for it and from where; and how many objects there are and went so far."""

    study_instance_uid: str
    series_instance_uid: str
    by: str
    address: str
    total: int = 0
    completed: int = 0
    warned: int = 0
    failed: int = 0
    words: str = ""

    @property
    def keys(self) -> dict[str, list[str]]:
        """Return the unique keys of what is to be sent."""
        series = {"SeriesInstanceUID": [self.series_instance_uid]} if self.series_instance_uid else {}
        return {"StudyInstanceUID": [self.study_instance_uid], **series}


class Send(NamedTuple):
    """An order and what became of it; `state` is waiting, sending, done or failed, `asked_at` seconds since 1970."""

    id: str
    peer: str
    state: str
    asked_at: float
    order: Order


class Sends:
    """The orders of an index; safe to use from any thread. Calls raise Failure as those of `Queue` do."""

    def __init__(self, engine: Engine, change: Change) -> None:
        self.queue = Queue(engine, change, SENDS)
        self._change = change

    def ask(self, peer: str, order: Order) -> Send:
        """Put an order into the queue. Raises Failure TOO_MANY if too many wait."""
        key = secrets.token_hex(8)
        self._change(lambda connection: self.queue.put(connection, peer, key, _written(order)))
        return Send(key, peer, "waiting", time.time(), order)

    def get(self, send_id: str) -> Send | None:
        """Look an order up."""
        item = self.queue.item(send_id)
        return None if item is None else _send(item)

    def last(self) -> list[Send]:
        """List the orders, the latest first."""
        return [_send(item) for item in reversed(self.queue.items((WAITING, SENDING, HELD, DONE, DEAD)))]

    def drop(self, send_id: str) -> bool:
        """Call an order off, or forget one that is over; false if there is none. What is going ends with its object."""
        return bool(self._change(lambda connection: self.queue.drop(connection, [send_id])))

    def note(self, item: Item, order: Order, lease_s: float) -> Item | None:
        """Write down how far an order is; None if it was called off."""
        return self._change(lambda connection: self.queue.note(connection, item, _written(order), lease_s))

    def finish(self, item: Item, order: Order, lease_s: float) -> None:
        """Write down that an order is over: done, unless nothing of it went."""

        def work(connection: Connection) -> None:
            noted = self.queue.note(connection, item, _written(order), lease_s)
            if noted is not None:
                fault = "" if order.completed + order.warned else order.words or "nothing was sent"
                self.queue.finish(connection, noted, MAX_KEPT, fault)

        self._change(work)

    def postpone(self, item: Item, order: Order, delay_s: float, lease_s: float) -> None:
        """Put off an order whose peer is away."""

        def work(connection: Connection) -> None:
            noted = self.queue.note(connection, item, _written(order), lease_s)
            if noted is not None:
                self.queue.postpone(connection, noted, delay_s, order.words, all_of_destination=True)

        self._change(work)


def order_of(item: Item) -> Order:
    """Read what an item of the queue orders."""
    return Order(**json.loads(item.payload))


def _written(order: Order) -> str:
    return json.dumps(asdict(order))


def _send(item: Item) -> Send:
    return Send(item.key, item.destination, _STATES[item.state], item.created_at, order_of(item))
