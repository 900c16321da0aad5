"""Getting instances to another AE, over as many associations as it takes: for C-MOVE and `minipacs send`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minipacs.archive.reader import ObjectReader
from minipacs.index import StoredInstance
from minipacs.net.access import Peer
from minipacs.net.association import Association
from minipacs.net.ending import AssociationEnded
from minipacs.net.requestor import AssociationRefused, Requestor
from minipacs.scu.principal import Principal
from minipacs.scu.sub_operations import Originator, Receiver, Sender, plan
from minipacs.scu.tally import Tally

AWAY = "destination: "
"""Begins what is told of instances for which the destination, or the network, is at fault."""
BROKE_OFF = f"{AWAY}association "
"""Begins what is told of instances when an association was had, but ended early."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivers to `destination`. `sent` hears of the bytes of each data set; `originator` is whoever asked for it.

    `rate` is in bytes a second, 0 for no limit.
    """

    reader: ObjectReader
    requestor: Requestor
    destination: Peer
    sent: Callable[[str, int], None] = lambda label, size_bytes: None
    originator: Originator | None = None
    priority: int = 0
    rate: int = 0

    def send(self, instances: Sequence[StoredInstance], tally: Tally, principal: Principal) -> str:
        """Send until all are answered for or counted as failed in `tally`, or `principal` calls it off.

        Returns why the destination could not be had to its end, "" if it could.
        """
        while instances and not principal.stopped:
            contexts, count = plan(instances, self.destination.transfer_syntaxes)
            try:
                association = self.requestor.open(self.destination, contexts, principal)
            except AssociationRefused as error:
                tally.fail(instances, f"{AWAY}{error}")
                return f"{AWAY}{error}"
            unsent, ended = self._send_over(association, instances[:count], tally, principal)
            rest = [*unsent, *instances[count:]]
            if ended is not None and ended.outcome != "failed":
                comment = f"{BROKE_OFF}{ended.outcome}"
                tally.fail(rest, comment)
                return comment
            if ended is not None:  # a file of ours was at fault: what remains goes over another association
                tally.fail(rest[:1], ended.reason)
                rest = rest[1:]
            instances = rest
        return ""

    def _send_over(
        self, association: Association, instances: Sequence[StoredInstance], tally: Tally, principal: Principal
    ) -> tuple[Sequence[StoredInstance], AssociationEnded | None]:
        """Send over one association and end it; returns what is left, and how it ended if not by our release."""
        receiver = Receiver(self.destination.title, self.destination.transfer_syntaxes)
        contexts = list(association.contexts.values())
        sender = Sender(self.reader, association, contexts, receiver, self.sent, self.originator, self.rate)
        try:
            sender.send(instances, tally, principal, self.priority)
        except AssociationEnded as ended:
            association.end(ended)
            return sender.unsent, ended
        except BaseException:
            association.abort()
            raise
        association.release()
        return sender.unsent, None
