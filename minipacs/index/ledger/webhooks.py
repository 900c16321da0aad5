"""Which events are still to be told to whom over HTTP: an item for each URL, with numbers of the feed of changes.

Rules:
- *must*: what the feed has up to the number that was read of it, and a URL wants, stands in its item or was told.
- *must*: events are told in their order; only what was given up and is tried again comes late.
"""

import json
from dataclasses import asdict, dataclass

from minipacs.index.engine.connection import Connection
from minipacs.index.engine.port import Engine, RunChange
from minipacs.index.ledger.queue import DEAD, Item, Queue

WEBHOOKS = "webhooks"
"""Name of the queue."""
MAX_DEAD = 1000
"""Items that were given up and can still be tried again; the oldest go beyond."""
LEASE_S = 3600.0
"""It begins anew with each batch, and ends with the process."""


@dataclass(frozen=True, slots=True)
class Span:
    """Events of the feed: those above number `after`, up to `upto`."""

    after: int
    upto: int


class Webhooks:
    """The items of URLs, which are their destinations; safe to use from any thread. Calls raise Failure."""

    def __init__(self, engine: Engine, change: RunChange) -> None:
        self.queue = Queue(engine, change, WEBHOOKS)
        self._change = change

    def put(self, connection: Connection, url: str, span: Span) -> None:
        """Have events told after those that are to be told already, within a transaction."""
        known = self.queue.find(connection, url)
        if known is None:
            self.queue.put(connection, url, url, _written(span))
        else:
            more = Span(span_of(known).after, span.upto)
            self.queue.change_waiting(connection, known, _written(more), known.priority)

    def advance(self, item: Item, after: int) -> Item | None:
        """Note that all up to a number was told; None if nothing is left to be told, or the item is ours no more."""
        return self._change(lambda connection: self._advance(connection, item, after))

    def give_up(self, item: Item, span: Span, fault: str) -> Item | None:
        """Keep events, the first of an item, as given up; what is left of it goes on, None if that is nothing."""
        key = f"{item.destination} #{item.id}.{span.upto}"

        def work(connection: Connection) -> Item | None:
            self.queue.drop(connection, [key])
            self.queue.put(connection, item.destination, key, _written(span))
            made = self.queue.find(connection, key)
            if made is not None:
                self.queue.bury(connection, made, fault)
            self.queue.forget(connection, (DEAD,), MAX_DEAD)
            return self._advance(connection, item, span.upto)

        return self._change(work)

    def _advance(self, connection: Connection, item: Item, after: int) -> Item | None:
        now = self.queue.find(connection, item.key)
        if now is None:
            return None
        upto = span_of(now).upto  # more may have come
        if after >= upto:
            self.queue.done(connection, item)
            return None
        return self.queue.note(connection, item, _written(Span(after, upto)), LEASE_S)


def span_of(item: Item) -> Span:
    """Read what an item is about."""
    return Span(**json.loads(item.payload))


def _written(span: Span) -> str:
    return json.dumps(asdict(span))
