"""An established association: messages in and out, in one thread (PS3.7 6.3, PS3.8 7).

Rules:
- Only the owner thread calls; nothing is read ahead while a data set streams, so a slow disk slows the peer.
- At most `MAX_QUEUED_MESSAGES` messages and `MAX_QUEUED_BYTES` of their data wait while an operation runs.
- Every way an association ends is an `AssociationEnded` with its outcome and the A-ABORT that is due, if one is.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from minipacs.dicom.data_set.command_set import CommandField, CommandSet, decode, encode
from minipacs.errors import DataSetError
from minipacs.net import ending
from minipacs.net.ending import SERVICE_USER, AssociationEnded, timed_out, violation
from minipacs.net.wire import stream
from minipacs.net.wire.bell import Bell
from minipacs.net.wire.negotiation import PresentationContext
from minipacs.net.wire.stream import ControlPdu, Fragment, PduReader, ProtocolError
from minipacs.net.wire.transport import MIN_RATE_BYTES_S, ConnectionLost, Pace, Rung, TimedOut, Transport, Woken

MAX_COMMAND_SET_BYTES = 64 << 10
MAX_QUEUED_MESSAGES = 16
MAX_QUEUED_BYTES = 1 << 20
MAX_EMPTY_FRAGMENTS = 1000
"""In a row: they say nothing and cost time."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of every wait, in seconds."""

    acse: float = 30
    dimse: float = 60
    idle: float = 600
    connect: float = 10


class Message:
    """A DIMSE message whose command set has arrived; its data set, if any, may still be on its way.

    `is_duplicate` tells that it came while an operation with the same Message ID was running (PS3.7 C.5.4).
    """

    def __init__(self, association: "Association", context: PresentationContext, command: CommandSet) -> None:
        self.context = context
        self.command = command
        self.complete = not command.has_data_set
        self.queued = bytearray()
        self.is_duplicate = False
        self._association = association

    def fragments(self) -> Iterator[memoryview]:
        """Yield the data set in pieces, each valid until the next; may be called once.

        Raises AssociationEnded.
        """
        if self.queued:
            queued, self.queued = self.queued, bytearray()
            yield memoryview(queued)
        while not self.complete:
            yield self._association.next_data(self)

    def read(self, limit_bytes: int) -> bytes | None:
        """Return the data set as a whole, or None if it is larger than `limit_bytes` (it is dropped then)."""
        found = bytearray()
        fits = True
        for piece in self.fragments():
            fits = fits and len(found) + len(piece) <= limit_bytes
            if fits:
                found += piece
        return bytes(found) if fits else None

    def drain(self) -> None:
        """Read and drop what is left of the data set."""
        for _ in self.fragments():
            pass


class Association:
    """One association, acceptor's or requestor's; `contexts` are the accepted ones by ID.

    `max_pdu_bytes` is the longest P-DATA-TF that the peer takes (0: no limit). `operations` counts what was served.
    Of a peer that we have called `implementation` is the UID and the version name, "" where it tells none, and
    `granted_roles` are ours, as SCU and SCP, where it has answered our proposal.
    """

    def __init__(
        self,
        transport: Transport,
        reader: PduReader,
        contexts: Mapping[int, PresentationContext],
        max_pdu_bytes: int,
        timeouts: Timeouts,
    ) -> None:
        self.transport = transport
        self.contexts = contexts
        self.max_pdu_bytes = max_pdu_bytes
        self.timeouts = timeouts
        self.implementation = "", ""
        self.granted_roles: Mapping[str, tuple[bool, bool]] = {}
        self.received_bytes = 0
        self.sent_bytes = 0
        self.operations: Counter[str] = Counter()
        self._reader = reader
        self._waiting: deque[Message] = deque()
        self._current: Message | None = None
        self._command = bytearray()
        self._command_context_id = 0
        self._operation: int | None = None
        self._is_in_data_set = False
        self._empty_fragments = 0
        self._pace = Pace()

    def request(self) -> Message | Bell:
        """Return the next message, waiting for it as long as an association may be idle, or the bell if it rings.

        Ends with "released" when the peer asks for the release, which `end` answers. Raises AssociationEnded.
        """
        self._finish_current()
        if self._waiting:
            return self._begin(self._waiting.popleft())
        if self._reader.is_empty:
            self._reader.rest()
        try:
            message = self._next_message(self.timeouts.idle, wakeable=not self._command)
        except Rung as rung:
            return rung.bell
        if message is not None:
            return self._begin(message)
        if self._is_mid_message:
            raise timed_out(f"message stalled for {self.timeouts.dimse:g} s")
        raise timed_out(f"idle for {self.timeouts.idle:g} s")

    def response(self, message_id: int, timeout_s: float) -> Message | None:
        """Return the peer's response to our request `message_id`; None if it has not come within `timeout_s`.

        Requests that come meanwhile are kept for `request`. Raises AssociationEnded.
        """
        for message in self._waiting:  # `cancelled` may have come upon it
            if _answers(message, message_id):
                self._waiting.remove(message)
                return message
        while (found := self._next_message(timeout_s)) is not None:
            if _answers(found, message_id):
                found.drain()
                return found
            self._queue(found)
        return None

    def cancelled(self, message_id: int) -> bool:
        """Tell whether the peer has sent a C-CANCEL for `message_id`, without waiting. Raises AssociationEnded."""
        while (message := self._next_message(0)) is not None:
            self._queue(message)
        found = [m for m in self._waiting if m.command.command_field == CommandField.C_CANCEL_RQ]
        for message in found:
            self._waiting.remove(message)
        return any(m.command.message_id_being_responded_to == message_id for m in found)

    def bell(self) -> str:
        """Return the address of this association's bell, which is hung up now if there is none yet.

        Once it has been rung, `request` returns it when the peer is silent. Raises OSError.
        """
        if self.transport.bell is None:
            self.transport.bell = Bell()
        return self.transport.bell.address

    def send(self, context_id: int, command: CommandSet, data: bytes | None = None) -> None:
        """Send a message whose data set, if any, is at hand. Raises AssociationEnded."""
        self.send_all(self.encode(context_id, command, data))

    def encode(self, context_id: int, command: CommandSet, data: bytes | None = None) -> list[bytes]:
        """Return the PDUs of a message, for `send_all`: many responses go out in one write."""
        pdus = [*stream.p_data(context_id, encode(command), self.max_pdu_bytes, is_command=True)]
        return pdus if data is None else pdus + self.encode_data(context_id, data)

    def encode_data(self, context_id: int, data: bytes) -> list[bytes]:
        """Return the PDUs of a data set alone, for a message whose command set is encoded already."""
        return [*stream.p_data(context_id, data, self.max_pdu_bytes, is_command=False)]

    def send_all(self, buffers: list[bytes]) -> None:
        """Write what `encode` returned. Raises AssociationEnded."""
        self._write(list(buffers))

    def send_pieces(self, context_id: int, command: CommandSet, pieces: Iterable[memoryview], size_bytes: int) -> None:
        """Send a message whose data set, `size_bytes` (at least 1), comes in pieces, each valid until the next.

        An odd size is padded with one NUL: peers abort on odd fragments. Raises AssociationEnded, also if `pieces`
        raises OSError with half of the message on its way; before anything is sent, that OSError.
        """
        pending: list[bytes | memoryview] = list(self.encode(context_id, command))
        left, source = size_bytes, iter(pieces)
        while left:
            try:
                piece = next(source)
            except OSError as error:
                if left == size_bytes:
                    raise
                raise AssociationEnded("failed", f"file cannot be read: {error}", (SERVICE_USER, 0)) from error
            left -= len(piece)
            self._write(pending + self._data_pdus(context_id, piece, is_last=not left))
            pending = []

    def _data_pdus(self, context_id: int, data: memoryview, *, is_last: bool) -> list[bytes | memoryview]:
        size = stream.fragment_size(self.max_pdu_bytes)
        buffers: list[bytes | memoryview] = []
        for begin in range(0, len(data), size):
            piece = data[begin : begin + size]
            ends = is_last and begin + size >= len(data)
            padding = len(piece) % 2 if ends else 0
            buffers += stream.p_data_header(context_id, len(piece) + padding, is_command=False, is_last=ends), piece
        return [*buffers, b"\0"] if is_last and len(data) % 2 else buffers

    def release(self) -> None:
        """Release as requestor and close; what the peer still sends is dropped (PS3.8 7.2).

        No companion is attended to any more: what the association was for is done.
        """
        self.transport.companion = None
        with suppress(AssociationEnded, ProtocolError, TimedOut):
            self._write([stream.control_pdu(stream.A_RELEASE_RQ)])
            deadline = time.monotonic() + self.timeouts.acse
            while (left_s := deadline - time.monotonic()) > 0:
                self._fill(left_s)
                while (found := self._reader.next()) is not None:
                    if isinstance(found, ControlPdu):
                        self._released(found)
        self.close()

    def end(self, cause: AssociationEnded) -> None:
        """Answer the release or send the A-ABORT that is due, and close."""
        ending.end(self.transport, cause, self.timeouts.acse)

    def abort(self) -> None:
        """Send an A-ABORT, and close."""
        ending.abort(self.transport, SERVICE_USER, 0, self.timeouts.acse)

    def close(self) -> None:
        """Close the connection."""
        self.transport.close()

    def next_data(self, message: Message) -> memoryview:
        """Return the next piece of the data set of `message`, which is the current one."""
        found = self._next_fragment(self.timeouts.dimse)
        if found is None:
            raise timed_out(f"data set stalled for {self.timeouts.dimse:g} s")
        if found.is_command or found.context_id != message.context.context_id:
            raise violation("a data set was to continue", stream.UNEXPECTED_PARAMETER)
        message.complete = found.is_last
        self._is_in_data_set = not found.is_last
        return found.data

    @property
    def _is_mid_message(self) -> bool:
        """Tell whether a part of the next message has arrived."""
        return bool(self._command) or not self._reader.is_empty

    def _begin(self, message: Message) -> Message:
        self._current = message
        self._operation = message.command.message_id
        return message

    def _finish_current(self) -> None:
        if self._current is not None:
            self._current.drain()
        self._current = self._operation = None

    def _queue(self, message: Message) -> None:
        """Keep a message that came while another runs, with its data set."""
        if len(self._waiting) >= MAX_QUEUED_MESSAGES:
            raise violation(f"more than {MAX_QUEUED_MESSAGES} requests at once", 0)
        room = MAX_QUEUED_BYTES - sum(len(waiting.queued) for waiting in self._waiting)
        while not message.complete:
            message.queued += self.next_data(message)
            if len(message.queued) > room:
                raise violation(f"more than {MAX_QUEUED_BYTES} bytes of data while an operation runs", 0)
        is_request = message.command.command_field < CommandField.C_CANCEL_RQ
        message.is_duplicate = is_request and message.command.message_id == self._operation
        self._waiting.append(message)

    def _next_message(self, timeout_s: float, *, wakeable: bool = False) -> Message | None:
        """Assemble the next command set; None if nothing of it comes within `timeout_s`."""
        while (found := self._next_fragment(timeout_s, wakeable=wakeable)) is not None:
            wakeable = False
            if not found.is_command:
                raise violation("data set without a command set", stream.UNEXPECTED_PARAMETER)
            if self._command and found.context_id != self._command_context_id:
                raise violation("command set continues in another context", stream.UNEXPECTED_PARAMETER)
            if len(self._command) + len(found.data) > MAX_COMMAND_SET_BYTES:
                raise violation(f"command set over {MAX_COMMAND_SET_BYTES} bytes", stream.INVALID_PARAMETER)
            self._command_context_id = found.context_id
            self._command += found.data
            if found.is_last:
                return self._message(found.context_id)
        return None

    def _message(self, context_id: int) -> Message:
        data, self._command = bytes(self._command), bytearray()
        context = self.contexts.get(context_id)
        if context is None:
            raise violation(f"presentation context {context_id} was not accepted", stream.INVALID_PARAMETER)
        try:
            message = Message(self, context, decode(data))
        except DataSetError as error:
            raise violation(f"command set: {error}", stream.INVALID_PARAMETER) from error
        self._is_in_data_set = not message.complete
        return message

    def _next_fragment(self, timeout_s: float, *, wakeable: bool = False) -> Fragment | None:
        while True:
            try:
                found = self._reader.next()
            except ProtocolError as error:
                raise violation(str(error), error.reason) from error
            if isinstance(found, Fragment):
                self._empty_fragments = 0 if len(found.data) else self._empty_fragments + 1
                if self._empty_fragments > MAX_EMPTY_FRAGMENTS:
                    raise violation(f"more than {MAX_EMPTY_FRAGMENTS} empty fragments in a row", 0)
                return found
            if found is not None:
                self._control(found)
            elif not self._fill_within(self._patience_s(timeout_s), wakeable=wakeable):
                return None

    def _patience_s(self, timeout_s: float) -> float:
        """A message that has begun must go on within the DIMSE limit."""
        return min(timeout_s, self.timeouts.dimse) if self._is_mid_message else timeout_s

    def _fill_within(self, timeout_s: float, *, wakeable: bool) -> bool:
        """Read once, false if nothing comes; a message that has begun has a time for the whole of it, by its size."""
        if not (self._is_mid_message or self._is_in_data_set):
            self._pace.begin()
            return self._filled(timeout_s, wakeable=wakeable) > 0
        began = time.monotonic()
        size = self._filled(timeout_s, wakeable=wakeable)
        self._pace.add(time.monotonic() - began, size)
        if size and self._pace.is_too_slow(self.timeouts.dimse):
            raise timed_out(f"message comes slower than {MIN_RATE_BYTES_S} bytes a second")
        return size > 0

    def _filled(self, timeout_s: float, *, wakeable: bool) -> int:
        try:
            return self._fill(timeout_s, wakeable=wakeable)
        except TimedOut:
            return 0
        except Woken:
            raise AssociationEnded("shutdown", "the archive is shutting down", (SERVICE_USER, 0)) from None

    def _fill(self, timeout_s: float, *, wakeable: bool = False) -> int:
        """Read once: wait for it, or with no time to wait take what is there."""
        space = self._reader.space()
        try:
            if timeout_s:
                size = self.transport.receive(space, timeout_s, wakeable=wakeable)
            else:
                size = self.transport.receive_now(space)
        except ConnectionLost as error:
            raise AssociationEnded("lost", str(error)) from error
        self._reader.filled(size)
        self.received_bytes += size
        return size

    def _write(self, buffers: list[bytes | memoryview]) -> None:
        self.sent_bytes += sum(map(len, buffers))
        try:
            self.transport.send(buffers, self.timeouts.dimse)
        except ConnectionLost as error:
            raise AssociationEnded("lost", str(error)) from error
        except TimedOut:
            raise timed_out(f"peer takes no data for {self.timeouts.dimse:g} s") from None

    def _control(self, pdu: ControlPdu) -> None:
        """Handle a PDU other than P-DATA-TF of an established association (PS3.8 9.2, Sta6)."""
        if pdu.pdu_type == stream.A_RELEASE_RQ:
            raise AssociationEnded("released")
        if pdu.pdu_type == stream.A_ABORT:
            raise AssociationEnded("aborted", f"by the peer, source {pdu.body[2]} reason {pdu.body[3]}")
        raise violation(f"unexpected PDU of type {pdu.pdu_type:02X}H", stream.UNEXPECTED_PDU)

    def _released(self, pdu: ControlPdu) -> None:
        """Handle a PDU while our release waits for its answer; a collision is answered (PS3.8 9.2, Sta7 to 11)."""
        if pdu.pdu_type == stream.A_RELEASE_RQ:
            self._write([stream.control_pdu(stream.A_RELEASE_RP)])
        elif pdu.pdu_type in (stream.A_RELEASE_RP, stream.A_ABORT):
            raise AssociationEnded("released")


def _answers(message: Message, message_id: int) -> bool:
    command = message.command
    return command.message_id_being_responded_to == message_id and command.status is not None
