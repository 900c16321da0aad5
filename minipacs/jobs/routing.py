"""Routes: what came, or is complete, is put into the queue by rules, and sent, one peer by one thread each.

What was delivered is noted instance by instance, so a break goes on where it was. A peer that is away is tried again,
later and later, and all that waits for it waits with it; what it refuses for good is given up at once, alone.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import Sending
from minipacs.audit.audit import Audit, application_entity
from minipacs.dicom.tables import statuses
from minipacs.index import StoredInstance
from minipacs.index.engine.connection import Connection
from minipacs.index.ledger.changes import Completion, Event
from minipacs.index.ledger.open_studies import Open, brings
from minipacs.index.ledger.queue import Item
from minipacs.index.ledger.routed import LEASE_S, Shipment, shipment_of, written
from minipacs.jobs.deliveries import Deliveries
from minipacs.jobs.routes import Route, choices, priority_of, priors, series_of
from minipacs.net.access import Peer
from minipacs.net.requestor import Requestor
from minipacs.scu.delivery import AWAY, Delivery
from minipacs.scu.principal import Nobody
from minipacs.scu.tally import Tally

logger = logging.getLogger(__name__)

JITTER = 0.2
"""Of the time until something is tried again, so that not all archives call a peer at the same moment."""
RENEW_INTERVAL_S = 300.0


@dataclass(frozen=True, slots=True)
class Retries:
    """When what failed is tried again, and after how many seconds in all it is given up."""

    first_s: float
    most_s: float
    give_up_s: float

    def delay_s(self, attempts: int) -> float:
        """Return the seconds until the next attempt: each time about twice as many."""
        spread = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311  nobody gains by guessing it
        return float(min(self.first_s * 2 ** min(attempts, 30), self.most_s) * spread)


class Router:
    """Puts into the queue what rules say; a follower of `StudyWatch`."""

    def __init__(self, archive: Archive, routes: Sequence[Route]) -> None:
        self._archive = archive
        self._routes = routes

    def came(self, events: Sequence[Event]) -> Callable[[Connection], None]:
        """Have sent what is to go as it comes, and forget what was delivered of what is gone."""
        index = self._archive.index
        gone = frozenset(e.sop_instance_uid for e in events if e.action == "delete" and e.reason != "moved")
        wanted: dict[tuple[str, Shipment], int] = {}
        at_once = [route for route in self._routes if route.on == "stored"]
        for event in filter(brings, events) if at_once else ():
            instance = index.instance(event.sop_instance_uid)
            for route in at_once if instance is not None else ():
                wanted |= self._wanted(route, _unit(route, event), [instance] if instance else [])
        return partial(self._put, wanted, gone)

    def complete(self, study: Open, reason: Completion) -> Callable[[Connection], None]:
        """Have a study sent that is complete, or what of it was not sent before."""
        index = self._archive.index
        wanted: dict[tuple[str, Shipment], int] = {}
        for route in self._routes:
            if route.on == "complete":
                for unit, instances in _units(route, self._archive, study.study_uid).items():
                    wanted |= self._wanted(route, unit, instances)
        for _, shipment in list(wanted):
            route = next(route for route in self._routes if route.name == shipment.route)
            for uid in priors(index, study.study_uid, route.priors):
                prior = Shipment(route.name, uid, is_prior=True)
                wanted |= self._wanted(route, prior, index.instances(prior.keys))
        return partial(self._put, wanted, frozenset())

    def _wanted(
        self, route: Route, shipment: Shipment, instances: Sequence[StoredInstance]
    ) -> dict[tuple[str, Shipment], int]:
        """Return what is to be sent to whom, and how urgent it is; nothing for what only would be sent."""
        index = self._archive.index
        found: dict[tuple[str, Shipment], int] = {}
        for destination in route.to:
            chosen = undelivered(self._archive, route, destination, shipment, instances)
            if not chosen:
                continue
            if route.dry_run:
                fields = {"route": route.name, "peer": destination, "study_uid": shipment.study_uid}
                logger.info("would be routed", extra={"fields": {**fields, "instances": len(chosen)}})
                continue
            found[destination, shipment] = priority_of(index, shipment.study_uid)
        return found

    def _put(self, wanted: Mapping[tuple[str, Shipment], int], gone: frozenset[str], connection: Connection) -> None:
        routed = self._archive.index.routed
        if gone:
            routed.forget(connection, gone)
        for (destination, shipment), priority in wanted.items():
            routed.put(connection, destination, shipment, priority)


def undelivered(
    archive: Archive, route: Route, destination: str, shipment: Shipment, instances: Sequence[StoredInstance]
) -> list[StoredInstance]:
    """List what of these instances a route still has to take to a destination; given up ones only if asked."""
    routed = archive.index.routed
    if shipment.only:
        return [instance for instance in instances if instance.sop_instance_uid in shipment.only]
    made = choices(archive.index, route, destination, instances, is_prior=shipment.is_prior)
    chosen = [choice.instance for choice in made if not choice.refusal]
    done = routed.delivered(destination, [instance.sop_instance_uid for instance in chosen])
    given_up = routed.given_up(route.name, destination) if chosen else set()
    return [i for i in chosen if done.get(i.sop_instance_uid) != _digest(i) and i.sop_instance_uid not in given_up]


class RouteSender:
    """Sends what is in the queue. `count` hears of each instance: route, destination, whether it was delivered."""

    def __init__(
        self,
        archive: Archive,
        routes: Sequence[Route],
        requestor: Requestor,
        destination: Callable[[str], Peer | None],
        retries: Retries,
        audit: Audit,
        count: Callable[[str, str, bool], None],
        sent: Callable[[str, int], None],
        stopping: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._routes = {route.name: route for route in routes}
        self._requestor = requestor
        self._destination = destination
        self._retries = retries
        self._audit = audit
        self._count = count
        self._sent = sent
        self._stopping = stopping
        self.work = Deliveries(archive.index.routed.queue, self._send, LEASE_S, stopping, wake).work

    def _send(self, item: Item) -> None:
        shipment = shipment_of(item)
        route, peer = self._routes.get(shipment.route), self._destination(item.destination)
        routed = self._archive.index.routed
        if route is None or item.destination not in route.to or peer is None:
            self._give_up(item, "no [[route]] takes it to this [[peer]] any more")
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
            self._deliver(item, route, peer, instances)
        else:
            routed.finish(item)

    def _deliver(self, item: Item, route: Route, peer: Peer, instances: Sequence[StoredInstance]) -> None:
        there = application_entity(peer.title, peer.host)
        with Sending(self._audit, self._archive.index, instances, there) as told:
            going = _Going(self._archive, item, self._stopping)

            def settled(instance: StoredInstance, fault: str) -> None:
                told.answered(instance, fault)
                self._count(route.name, peer.title, not fault)
                if not fault:
                    going.note(instance)

            tally = _Outcomes(len(instances), settled)
            delivery = Delivery(
                self._archive.reader, self._requestor, peer, self._sent, rate=route.rate, priority=_dimse(item)
            )
            words = delivery.send(instances, tally, going)
        self._conclude(going, tally, words)

    def _conclude(self, going: "_Going", tally: "_Outcomes", words: str) -> None:
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

    def _postpone(self, item: Item, shipment: Shipment, tally: "_Outcomes", words: str) -> None:
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


MAX_LAST = 100
"""Instances that are remembered to have broken an association."""


class _Going(Nobody):
    """On whose behalf an item is sent: it is over when the item was dropped, or when the process is to end."""

    def __init__(self, archive: Archive, item: Item, stopping: Callable[[], bool]) -> None:
        self._routed = archive.index.routed
        self.item: Item | None = item
        self._destination = item.destination
        self._stopping = stopping
        self._renewed_at = time.monotonic()

    @property
    def stopped(self) -> bool:  # type: ignore[override]
        """Tell whether no further instance is to go."""
        return self.item is None or self._stopping()

    def note(self, instance: StoredInstance) -> None:
        """Note that an instance was delivered; now and then the lease begins anew."""
        self._routed.note(self._destination, instance.sop_instance_uid, _digest(instance))
        if self.item is not None and time.monotonic() - self._renewed_at >= RENEW_INTERVAL_S:
            self._renewed_at = time.monotonic()
            self.item = self._routed.queue.renew(self.item, LEASE_S)


class _Outcomes(Tally):
    """Counts, and tells apart: `refused` for good, each for its fault; `temporary`; `broken` off in the middle."""

    def __init__(self, total: int, settled: Callable[[StoredInstance, str], None]) -> None:
        super().__init__(total, on_settled=settled)
        self.refused: dict[str, str] = {}
        self.temporary = 0
        self.broken: list[str] = []
        self.is_away = False
        self._is_temporary = False

    def answered(self, instance: StoredInstance, status: int) -> None:
        """Count an instance by the status it was answered with."""
        self._is_temporary = not statuses.is_permanent(status)
        super().answered(instance, status)
        self._is_temporary = False

    def fail(self, instances: Sequence[StoredInstance], reason: str) -> None:
        """Count instances as failed: by their own fault, unless the peer or the network is at fault."""
        if self._is_temporary:
            self.temporary += len(instances)
        elif reason.startswith(AWAY):
            self.is_away = not reason.startswith(BROKE_OFF)
            self.broken += [] if self.is_away else [instance.sop_instance_uid for instance in instances[:1]]
            self.first_reason = self.first_reason or reason
            return
        else:
            self.refused.update((instance.sop_instance_uid, reason) for instance in instances)
        super().fail(instances, reason)


BROKE_OFF = f"{AWAY}association "
"""Begins what is told of instances when an association was had, but ended early."""


def _digest(instance: StoredInstance) -> str:
    return instance.received_digest or instance.digest


def _dimse(item: Item) -> int:
    """Return the Priority of C-STORE (PS3.7 9.1.1.1): high for what is urgent, else medium."""
    return 1 if item.priority else 0


def _unit(route: Route, event: Event) -> Shipment:
    series = event.series_uid if route.level in ("series", "instance") else ""
    return Shipment(route.name, event.study_uid, series, event.sop_instance_uid if route.level == "instance" else "")


def _units(route: Route, archive: Archive, study_uid: str) -> dict[Shipment, list[StoredInstance]]:
    """Divide a study into what becomes an item each."""
    index = archive.index
    instances = index.instances({"StudyInstanceUID": [study_uid]})
    series = {} if route.level == "study" else series_of(index, study_uid)
    if route.level == "study":
        return {Shipment(route.name, study_uid): instances}
    found: dict[Shipment, list[StoredInstance]] = {}
    for instance in instances:
        uid = instance.sop_instance_uid
        unit = Shipment(route.name, study_uid, series.get(uid, ""), uid if route.level == "instance" else "")
        found.setdefault(unit, []).append(instance)
    return found
