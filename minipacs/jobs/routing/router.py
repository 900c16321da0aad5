"""Puts into the queue what rules say, as things come and studies are complete."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from minipacs.archive.archive import Archive
from minipacs.index import StoredInstance
from minipacs.index.engine.connection import Connection
from minipacs.index.ledger.changes import Completion, Event
from minipacs.index.ledger.open_studies import Open, brings
from minipacs.index.ledger.routed import Shipment
from minipacs.jobs.routing.rules import Route, choices, priority_of, priors, series_of

logger = logging.getLogger(__name__)


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
    done = routed.delivered(route.mark(destination), [instance.sop_instance_uid for instance in chosen])
    given_up = routed.given_up(route.name, destination) if chosen else set()
    return [
        i for i in chosen if done.get(i.sop_instance_uid) != received_digest(i) and i.sop_instance_uid not in given_up
    ]


def received_digest(instance: StoredInstance) -> str:
    """Return the digest of its file as it was received: what a delivery of it is known by."""
    return instance.received_digest or instance.digest


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
