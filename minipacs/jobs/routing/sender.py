"""Works off what rules have put into the queue, one peer by one thread each.

What was delivered is noted instance by instance, so a break goes on where it was. A peer that is away is tried again,
later and later, and all that waits for it waits with it; what it refuses for good is given up at once, alone.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import Sending
from minipacs.audit.audit import Audit, application_entity
from minipacs.index import StoredInstance
from minipacs.index.engine.connection import Connection
from minipacs.index.ledger.queue import Item
from minipacs.index.ledger.routed import LEASE_S, Shipment, shipment_of, written
from minipacs.jobs.deliveries import Deliveries
from minipacs.jobs.routing.destinations import Destination, Destinations
from minipacs.jobs.routing.outcomes import Going, Outcomes, Retries
from minipacs.jobs.routing.router import undelivered
from minipacs.jobs.routing.rules import Route

logger = logging.getLogger(__name__)

MAX_LAST = 100
"""Instances that are remembered to have broken an association."""


class RouteSender:
    """Sends what is in the queue. `count` hears of each instance: route, destination, whether it was delivered."""

    def __init__(
        self,
        archive: Archive,
        routes: Sequence[Route],
        destinations: Destinations,
        retries: Retries,
        audit: Audit,
        count: Callable[[str, str, bool], None],
        stopping: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._routes = {route.name: route for route in routes}
        self._destinations = destinations
        self._retries = retries
        self._audit = audit
        self._count = count
        self._stopping = stopping
        self.work = Deliveries(archive.index.routed.queue, self._send, LEASE_S, stopping, wake).work

    def _send(self, item: Item) -> None:
        shipment = shipment_of(item)
        route = self._routes.get(shipment.route)
        there = self._destinations.find(item.destination, announces=route is not None and route.announce)
        routed = self._archive.index.routed
        if route is None or item.destination not in route.to or there is None:
            self._give_up(item, "no [[route]] takes it there any more")
            return
        if item.waited_s >= self._retries.give_up_s:
            self._give_up(item, item.last_fault)
            return
        closed_s = route.hours.opens_in_s(datetime.now())
        if closed_s:
            routed.queue.change(lambda connection: routed.queue.give_back(connection, item, closed_s))
            return
        instances = undelivered(
            self._archive, route, item.destination, shipment, self._archive.index.instances(shipment.keys)
        )
        instances.sort(key=lambda instance: instance.sop_instance_uid in shipment.last)
        if instances:
            self._deliver(item, route, there, instances)
        else:
            routed.finish(item)

    def _deliver(self, item: Item, route: Route, destination: Destination, instances: Sequence[StoredInstance]) -> None:
        there = application_entity(item.destination, destination.host)
        moved = [] if route.announce else instances
        with Sending(self._audit, self._archive.index, moved, there) as told:
            going = Going(self._archive, item, route.mark(item.destination), self._stopping)

            def settled(instance: StoredInstance, fault: str) -> None:
                told.answered(instance, fault)
                self._count(route.name, item.destination, not fault)
                if not fault:
                    going.note(instance)

            tally = Outcomes(len(instances), settled)
            words = destination.send(instances, tally, going, rate=route.rate, is_urgent=item.priority > 0)
        self._conclude(going, tally, words)

    def _conclude(self, going: Going, tally: Outcomes, words: str) -> None:
        """Leave the item as it is to go on."""
        routed, item = self._archive.index.routed, going.item
        if item is None:
            return  # it was dropped, or is somebody else's
        shipment, sent = shipment_of(item), tally.completed + tally.warning
        fields = {"route": shipment.route, "peer": item.destination, "study_uid": shipment.study_uid, "sent": sent}
        if tally.refused:
            routed.give_up_some(item, tally.refused)
            told = {**fields, "failed": len(tally.refused), "reason": next(iter(tally.refused.values()))}
            logger.error("not routed", extra={"fields": told})
        if going.stopped and tally.remaining:
            routed.queue.change(lambda connection: routed.queue.give_back(connection, item))
        elif words or tally.temporary:
            self._postpone(item, shipment, tally, words)
        elif routed.finish(item):
            logger.info("routed", extra={"fields": fields})

    def _postpone(self, item: Item, shipment: Shipment, tally: Outcomes, words: str) -> None:
        """Try again later: with all that waits for the peer, if it could not be called."""
        queue = self._archive.index.routed.queue
        sent = tally.completed + tally.warning + len(tally.refused)
        tried = item._replace(attempts=0, waited_s=0.0) if sent else item
        fault, delay_s = words or tally.first_reason, self._retries.delay_s(tried.attempts)
        last = written(replace(shipment, last=tuple(dict.fromkeys((*shipment.last, *tally.broken)))[-MAX_LAST:]))

        def work(connection: Connection) -> None:
            noted = queue.note(connection, tried, last, LEASE_S) if tally.broken else tried
            if noted is not None:
                queue.postpone(connection, noted, delay_s, fault, all_of_destination=tally.is_away)

        queue.change(work)
        fields = {"route": shipment.route, "peer": item.destination, "study_uid": shipment.study_uid, "reason": fault}
        logger.warning(
            "not routed yet",
            extra={"fields": {**fields, "attempt": tried.attempts + 1, "retry_s": round(delay_s, 1)}},
        )

    def _give_up(self, item: Item, fault: str) -> None:
        shipment = shipment_of(item)
        self._archive.index.routed.give_up(item, fault)
        fields = {"route": shipment.route, "peer": item.destination, "study_uid": shipment.study_uid, "reason": fault}
        logger.error("not routed", extra={"fields": fields})
