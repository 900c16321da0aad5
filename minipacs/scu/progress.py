"""How far the sub-operations of a retrieval have come, and who is told (PS3.4 C.4.2.1.6 to C.4.2.1.9)."""

import logging
import select
import time
from collections.abc import Sequence

from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.tables import statuses
from minipacs.index import StoredInstance
from minipacs.net.association import AssociationEnded
from minipacs.pixels.pool import wait_readable
from minipacs.services.environment import Request

logger = logging.getLogger(__name__)

PENDING_INTERVAL_S = 1.0
"""Between pending responses; SCUs give up on an archive that is silent for long."""
MAX_LOGGED_FAILURES = 20


class Stopped(Exception):
    """No further sub-operation is to begin."""


class Progress:
    """Counts sub-operations. `failed` holds SOP Instance UIDs; the first few failures go to the log."""

    def __init__(self, total: int, association_id: str = "") -> None:
        self.total = total
        self.completed = 0
        self.warning = 0
        self.failed: list[str] = []
        self.first_reason = ""
        self._association_id = association_id

    @property
    def stopped(self) -> bool:
        """Tell whether no further sub-operation is to begin."""
        return False

    @property
    def remaining(self) -> int:
        """Count what is not answered yet."""
        return self.total - self.completed - self.warning - len(self.failed)

    def fileno(self) -> int:
        """Return a descriptor that tells of something to attend to, or -1 for none."""
        return -1

    def due_in_s(self) -> float:
        """Return the time until it wants to be attended to anyway."""
        return float("inf")

    def attend(self) -> None:
        """Do what is due."""

    def wait(self, fd: int, deadline: float) -> bool:
        """Wait for a descriptor to become readable, attending meanwhile; see `codec_pool.Wait`. Raises Stopped."""
        return wait_readable(fd, deadline)

    def answered(self, instance: StoredInstance, status: int) -> None:
        """Count an instance by the status its C-STORE was answered with (PS3.4 B.2.3)."""
        category = statuses.category(status)
        if category == "success":
            self.completed += 1
        elif category == "warning":
            self.warning += 1
        else:
            self.fail([instance], f"answered with status {status:04X}")

    def fail(self, instances: Sequence[StoredInstance], reason: str) -> None:
        """Count instances as failed."""
        self.first_reason = self.first_reason or reason
        for instance in instances:
            if len(self.failed) < MAX_LOGGED_FAILURES:
                fields = {
                    "association": self._association_id,
                    "sop_instance_uid": instance.sop_instance_uid,
                    "reason": reason,
                }
                logger.warning("sub-operation failed", extra={"fields": fields})
            self.failed.append(instance.sop_instance_uid)


class RequestedProgress(Progress):
    """Tells the requestor of a C-MOVE or C-GET, and hears from it: the companion of a C-MOVE's associations.

    `gone` tells how the requestor's association ended, if it did meanwhile.
    """

    def __init__(self, request: Request, total: int) -> None:
        super().__init__(total, request.caller.association_id)
        self._request = request
        self.cancelled = False
        self.gone: AssociationEnded | None = None
        self._next_pending = 0.0

    @property
    def stopped(self) -> bool:
        """Tell whether no further sub-operation is to begin: after a cancel, or without a requestor."""
        return self.cancelled or self.gone is not None

    def fileno(self) -> int:
        """Return the descriptor of the requestor's connection."""
        return -1 if self.stopped else self._request.association.transport.fileno()

    def due_in_s(self) -> float:
        """Return the time until the next pending response."""
        return float("inf") if self.stopped else max(self._next_pending - time.monotonic(), 0)

    def attend(self) -> None:
        """Look for a cancel, an abort or a vanished requestor, and send a pending response if one is due."""
        if self.stopped:
            return
        try:
            self.cancelled = self._request.association.cancelled(self._request.message_id)
            if not self.cancelled and self.due_in_s() <= 0:
                self.pending()
        except AssociationEnded as ended:
            self.gone = ended

    def wait(self, fd: int, deadline: float) -> bool:
        """Wait for a descriptor to become readable, attending to the requestor meanwhile. Raises Stopped."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._request.association.transport.fileno(), select.POLLIN)
        while not self.stopped:
            left_s = max(deadline - time.monotonic(), 0)
            ready = dict(poll.poll(min(left_s, self.due_in_s()) * 1000))
            if fd in ready:
                return True
            if not left_s:
                return False
            self.attend()
        raise Stopped

    def pending(self) -> None:
        """Send a pending response with the counts as they are. Raises AssociationEnded."""
        command = self._request.response(statuses.PENDING)
        self.count(command, with_remaining=True)
        self._request.respond(command)
        self._next_pending = time.monotonic() + PENDING_INTERVAL_S

    def count(self, command: CommandSet, *, with_remaining: bool) -> None:
        """Put the counts into a response; more than 65535 are sent as 65535 (they are US)."""
        command.completed_sub_operations = self.completed
        command.failed_sub_operations = len(self.failed)
        command.warning_sub_operations = self.warning
        if with_remaining:
            command.remaining_sub_operations = self.remaining

    def final_status(self) -> int:
        """Return what the counts amount to (PS3.4 C.4.2.3.1)."""
        if self.cancelled:
            return statuses.CANCEL
        if self.failed and len(self.failed) == self.total:
            return statuses.UNABLE_TO_PERFORM_SUB_OPERATIONS
        return statuses.SUB_OPERATIONS_WITH_FAILURES if self.failed or self.warning else statuses.SUCCESS
