"""The AE that asked for a retrieval, while it is served: told how far it has come, heard if it changes its mind."""

import time

from minipacs.dicom.tables import statuses
from minipacs.net.ending import AssociationEnded
from minipacs.scu.tally import Tally
from minipacs.services.environment import Request

PENDING_INTERVAL_S = 1.0
"""Between pending responses; SCUs give up on an archive that is silent for long."""


class Invoker:
    """The requestor of a C-MOVE or C-GET, whose sub-operations `tally` counts; see `scu.principal`.

    `gone` tells how its association ended, if it did meanwhile.
    """

    def __init__(self, request: Request, tally: Tally) -> None:
        self.cancelled = False
        self.gone: AssociationEnded | None = None
        self._request = request
        self._tally = tally
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
        if self.stopped:
            return float("inf")
        held = self._request.association.transport.channel.holds_input  # decrypted: no descriptor tells of it
        return 0 if held else max(self._next_pending - time.monotonic(), 0)

    def attend(self) -> None:
        """Look for a cancel, an abort or a vanished requestor, and send a pending response if one is due."""
        if self.stopped:
            return
        try:
            self.cancelled = self._request.association.cancelled(self._request.message_id)
            if not self.cancelled and self.due_in_s() <= 0:
                self.tell()
        except AssociationEnded as ended:
            self.gone = ended

    def tell(self) -> None:
        """Send a pending response with the counts as they are. Raises AssociationEnded."""
        response = self._request.response(statuses.PENDING)
        self._tally.put_into(response, with_remaining=True)
        self._request.respond(response)
        self._next_pending = time.monotonic() + PENDING_INTERVAL_S
