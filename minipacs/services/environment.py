"""What services are given: the archive, the way out to other AEs, and the request at hand."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from minipacs.archive.archive import Archive
from minipacs.archive.ports import Spare
from minipacs.audit.audit import Audit, Transfers
from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.tables import statuses
from minipacs.net.access import Caller, Peer
from minipacs.net.association import Association, Message
from minipacs.net.requestor import Requestor

logger = logging.getLogger(__name__)

RESPONSE = 0x8000
"""Set in the command field of a response (PS3.7 E.1)."""


class OperationObserver(Protocol):
    """Is told of operations; called from the threads of associations."""

    def operation(self, service: str, peer: str, status: str, duration_s: float, /) -> None:
        """Count an operation that ended, by the category of its final status."""

    def received(self, peer: str, size_bytes: int, /) -> None:
        """Count data set bytes received from a peer."""

    def stored(self, peer: str, answer_s: float, /) -> None:
        """Count an object as stored, so long after its last byte came."""

    def sent(self, peer: str, size_bytes: int, /) -> None:
        """Count data set bytes sent to a peer."""


@dataclass(frozen=True, slots=True)
class QueryPolicy:
    """What C-FIND may do: `max_matches` 0 means no limit, `relational` queries without being negotiated.

    `match_unknown` lets stored attributes without a value match any key (PS3.4 C.2.2.1.2).
    """

    max_matches: int = 0
    relational: bool = True
    match_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Environment:
    """What all services share. `destination` looks a move destination up by its AE title.

    `wake_jobs` lets background work begin that was put into the index; it is in another process.
    """

    ae_title: str
    archive: Archive
    requestor: Requestor
    destination: Callable[[str], Peer | None]
    observer: OperationObserver
    audit: Audit
    query: QueryPolicy = QueryPolicy()
    wake_jobs: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Request:
    """One request under way.

    `spare` and `stored`, which sums up for the audit trail what came, are the association's; `identifier` is the data
    set of a query as it came. Services put what the log should say of the request into `log`.
    `final` is the final response once it was sent: there is no second one.
    """

    environment: Environment
    association: Association
    caller: Caller
    message: Message
    spare: Spare
    stored: Transfers
    identifier: bytes = b""
    log: dict[str, object] = field(default_factory=dict)
    final: CommandSet | None = None

    @property
    def message_id(self) -> int:
        """Return the request's Message ID; one that has none counts as 0."""
        return self.message.command.message_id or 0

    @property
    def charset(self) -> str:
        """Return what is assumed of data from this caller that names no character set."""
        return self.caller.peer.charset if self.caller.peer is not None else ""

    def response(self, status: int, *, has_data_set: bool = False) -> CommandSet:
        """Return a response's command set with what every response mirrors (PS3.7 9.3)."""
        command = self.message.command
        return CommandSet(
            command_field=command.command_field | RESPONSE,
            message_id_being_responded_to=self.message_id,
            affected_sop_class_uid=command.affected_sop_class_uid or command.requested_sop_class_uid,
            affected_sop_instance_uid=command.affected_sop_instance_uid or command.requested_sop_instance_uid,
            status=status,
            has_data_set=has_data_set,
        )

    def cancelled(self) -> bool:
        """Tell whether the peer has cancelled this request, without waiting. Raises AssociationEnded."""
        return self.association.cancelled(self.message_id)

    def note(self, event: str, keys: Mapping[str, str]) -> None:
        """Log, at debug level, what was asked for: the keywords, and their values where patients may be named."""
        if logger.isEnabledFor(logging.DEBUG):
            fields = {"association": self.caller.association_id, "keys": " ".join(keys)}
            logger.debug(event, extra={"fields": fields, "patient": {k: v for k, v in keys.items() if v}})

    def respond(self, command: CommandSet, data: bytes | None = None) -> None:
        """Send a response in the request's presentation context. Raises AssociationEnded."""
        self.association.send(self.message.context.context_id, command, data)
        if command.status not in statuses.PENDING_STATUSES:
            self.final = command
