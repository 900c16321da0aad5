"""Sending what people asked for to peers, in the background; how far it is stands in the row of each order."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from minipacs.archive.archive import Archive
from minipacs.archive.auditing import Sending
from minipacs.audit.audit import Audit, application_entity
from minipacs.audit.message import Participant
from minipacs.index import StoredInstance
from minipacs.index.ledger.queue import Item
from minipacs.index.ledger.sends import Order, order_of
from minipacs.jobs.background import Job
from minipacs.jobs.deliveries import Deliveries, retry_s
from minipacs.net.access import Peer
from minipacs.net.requestor import Requestor
from minipacs.scu.delivery import Delivery
from minipacs.scu.principal import Nobody
from minipacs.scu.tally import Tally

logger = logging.getLogger(__name__)

LEASE_S = 3600.0
"""For one object to be sent, and its answer; it begins anew with each count that is written."""
MAX_ATTEMPTS = 6
"""At a peer that is away: about three minutes in all; then the order has failed, and can be given again."""
COUNT_INTERVAL_S = 1.0
"""How often the count of an order is written."""


class SendJobs:
    """Works on the orders of an archive; `stopping` and `wake` as for `Deliveries`."""

    def __init__(
        self,
        archive: Archive,
        requestor: Requestor,
        destination: Callable[[str], Peer | None],
        audit: Audit,
        stopping: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._requestor = requestor
        self._destination = destination
        self._audit = audit
        self._stopping = stopping
        self.work: Job = Deliveries(archive.index.sends.queue, self._send, LEASE_S, stopping, wake).work

    def _send(self, item: Item) -> None:
        index = self._archive.index
        order = order_of(item)
        peer = self._destination(item.destination)
        if peer is None:
            words = "no [[peer]] of this title has a host to call"
            index.sends.finish(item, replace(order, words=words), LEASE_S)
            return
        instances = index.instances(order.keys)
        if not instances:
            index.sends.finish(item, replace(order, words="nothing of it is stored any more"), LEASE_S)
            return
        self._deliver(_Progress(self._archive, item, order, len(instances), self._stopping), peer, instances)

    def _deliver(self, progress: "_Progress", peer: Peer, instances: list[StoredInstance]) -> None:
        order, index = progress.order, self._archive.index
        there = application_entity(peer.title, peer.host)
        user_id = f"{order.by}@{order.address}" if order.by else order.address
        who = Participant(user_id, is_requestor=True, user_name=order.by, address=order.address)
        with Sending(self._audit, index, instances, there, [who]) as told:

            def settled(instance: StoredInstance, fault: str) -> None:
                told.answered(instance, fault)
                progress.count(tally)

            tally = Tally(len(instances), on_settled=settled)
            delivery = Delivery(self._archive.reader, self._requestor, peer)
            words = delivery.send(instances, tally, progress)
        if progress.stopped and tally.remaining:
            progress.give_back()
            return
        progress.end(tally, words)
        fields = {
            "peer": peer.title,
            "study_uid": order.study_instance_uid,
            "by": order.by or order.address,
            "sent": tally.completed + tally.warning,
            "failed": len(tally.failed) or None,
            "reason": words or tally.first_reason or None,
        }
        level = logging.WARNING if tally.failed else logging.INFO
        logger.log(level, "sent to peer", extra={"fields": fields})


class _Progress(Nobody):
    """On whose behalf an order is sent: it is over when it was called off, or when the process is to end."""

    def __init__(self, archive: Archive, item: Item, order: Order, total: int, stopping: Callable[[], bool]) -> None:
        self._sends = archive.index.sends
        self._item: Item | None = item
        self.order = replace(order, total=total, completed=0, warned=0, failed=0, words="")
        self._stopping = stopping
        self._written_at = float("-inf")

    @property
    def stopped(self) -> bool:  # type: ignore[override]
        """Tell whether no further object is to be sent."""
        return self._item is None or self._stopping()

    def count(self, tally: Tally) -> None:
        """Write down how many went, now and then."""
        now = time.monotonic()
        if self._item is not None and now - self._written_at >= COUNT_INTERVAL_S:
            self._written_at = now
            self._item = self._sends.note(self._item, self._counted(tally), LEASE_S)

    def end(self, tally: Tally, words: str) -> None:
        """Write down how it ended; a peer that could not be had is tried again."""
        if self._item is None:
            return
        order = replace(self._counted(tally), words=words or tally.first_reason)
        is_away = bool(words) and not tally.completed + tally.warning
        if is_away and self._item.attempts + 1 < MAX_ATTEMPTS:
            self._sends.postpone(self._item, replace(order, failed=0), retry_s(self._item), LEASE_S)
        else:
            self._sends.finish(self._item, order, LEASE_S)

    def give_back(self) -> None:
        """Leave it to the next process, if it was not called off."""
        item, queue = self._item, self._sends.queue
        if item is not None:
            queue.change(lambda connection: queue.give_back(connection, item))

    def _counted(self, tally: Tally) -> Order:
        return replace(self.order, completed=tally.completed, warned=tally.warning, failed=len(tally.failed))
