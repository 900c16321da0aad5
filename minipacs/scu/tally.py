"""The counts of C-STORE sub-operations (PS3.4 C.4.2.1.6 to C.4.2.1.9)."""

import logging
from collections.abc import Callable, Sequence

from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.tables import statuses
from minipacs.index import StoredInstance

logger = logging.getLogger(__name__)

MAX_LOGGED_FAILURES = 20


class Tally:
    """Counts sub-operations; `on_counted` hears how many were counted at once, `on_settled` of each, and its fault.

    `failed` holds SOP Instance UIDs; the first few failures go to the log, under the ID of the association that asked
    for them.
    """

    def __init__(
        self,
        total: int,
        association_id: str = "",
        on_counted: Callable[[int], object] = lambda number: None,
        on_settled: Callable[[StoredInstance, str], None] = lambda instance, fault: None,
    ) -> None:
        self.total = total
        self.completed = 0
        self.warning = 0
        self.failed: list[str] = []
        self.first_reason = ""
        self._association_id = association_id
        self._on_counted = on_counted
        self._on_settled = on_settled

    @property
    def remaining(self) -> int:
        """Count what is not answered yet."""
        return self.total - self.completed - self.warning - len(self.failed)

    def answered(self, instance: StoredInstance, status: int) -> None:
        """Count an instance by the status its C-STORE was answered with (PS3.4 B.2.3)."""
        category = statuses.category(status)
        if category not in ("success", "warning"):
            self.fail([instance], f"answered with status {status:04X}")
            return
        if category == "success":
            self.completed += 1
        else:
            self.warning += 1
        self._on_settled(instance, "")
        self._on_counted(1)

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
            self._on_settled(instance, reason)
        self._on_counted(len(instances))

    def put_into(self, response: CommandSet, *, with_remaining: bool) -> None:
        """Put the counts into a response; more than 65535 are sent as 65535 (they are US)."""
        response.completed_sub_operations = self.completed
        response.failed_sub_operations = len(self.failed)
        response.warning_sub_operations = self.warning
        if with_remaining:
            response.remaining_sub_operations = self.remaining

    def status(self) -> int:
        """Return the final status that the counts amount to (PS3.4 C.4.2.3.1)."""
        if self.failed and len(self.failed) == self.total:
            return statuses.UNABLE_TO_PERFORM_SUB_OPERATIONS
        return statuses.SUB_OPERATIONS_WITH_FAILURES if self.failed or self.warning else statuses.SUCCESS
