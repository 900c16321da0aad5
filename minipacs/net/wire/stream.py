"""PDUs and PDVs to and from bytes, without a socket (PS3.8 9.3, E.2).

Rules:
- A P-DATA-TF is never held as a whole: what has arrived of a PDV is handed out in place, so memory is bounded
  whatever the peer sends.
- Any other PDU is handed out complete, and bounded by `MAX_CONTROL_PDU_BYTES`.
- What is handed out is a view of the read buffer: valid until the next `space()`.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, P_DATA_TF, A_RELEASE_RQ, A_RELEASE_RP, A_ABORT = range(1, 8)

MAX_CONTROL_PDU_BYTES = 1 << 20
IDLE_BUFFER_BYTES = 4 << 10
BULK_BUFFER_BYTES = 256 << 10
MAX_POOLED_BUFFERS = 64
MAX_PDU_SENT_BYTES = 256 << 10
"""How large our own PDUs get towards a peer that sets no limit."""

UNRECOGNIZED_PDU, UNEXPECTED_PDU, UNEXPECTED_PARAMETER, INVALID_PARAMETER = 1, 2, 5, 6
"""Reasons of an A-ABORT whose source is the service provider (PS3.8 Table 9-26)."""

_PDU_HEADER = Struct(">BxL")
_PDV_HEADER = Struct(">LBB")
_P_DATA_HEADER = Struct(">BxLLBB")
_COMMAND, _LAST = 1, 2
_MOVED_BYTES = 64
"""Less unread than this is moved to the front of the buffer before a read, so that reads are large."""
_TLS_HANDSHAKE = 0x16
"""First byte of a TLS client (RFC 8446 5.1)."""
_SHORT_PDU_LENGTH = 4
"""Length of A-ASSOCIATE-RJ, A-RELEASE-RQ, A-RELEASE-RP and A-ABORT (PS3.8 9.3.4, 9.3.6 to 9.3.8)."""


class ProtocolError(Exception):
    """The peer broke the upper layer protocol; the association is to be aborted with `reason` (PS3.8 9.3.8)."""

    def __init__(self, what: str, reason: int) -> None:
        super().__init__(what)
        self.reason = reason


class ControlPdu(NamedTuple):
    """A PDU other than P-DATA-TF, without its six header bytes."""

    pdu_type: int
    body: bytes


class Fragment(NamedTuple):
    """What has arrived of one presentation data value; `is_last` marks the end of the message part it belongs to."""

    context_id: int
    data: memoryview
    is_command: bool
    is_last: bool


class PduReader:
    """Finds PDUs and PDVs in the bytes of a connection, whatever way these are split.

    Fill with `space()` and `filled()`, then call `next()` until it returns None. An idle reader holds
    `IDLE_BUFFER_BYTES`; one in the middle of bulk data borrows `BULK_BUFFER_BYTES` from a pool shared by all.
    """

    _pool: list[bytearray] = []  # noqa: RUF012  (append and pop are atomic)

    def __init__(self) -> None:
        self._small = self._buffer = bytearray(IDLE_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._pdu_left = 0
        self._pdv_left = 0
        self._in_pdv = False
        self._context_id = self._control = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is buffered and no PDU is partly read."""
        return self._start == self._end and not self._pdu_left and not self._in_pdv

    def space(self) -> memoryview:
        """Return where the next received bytes go; never empty. Views handed out before become invalid."""
        unread = self._end - self._start
        if unread < _MOVED_BYTES or self._end == len(self._buffer):
            self._make_room(unread)
        return self._view[self._end :]

    def filled(self, size_bytes: int) -> None:
        """Tell that `size_bytes` were put at the start of `space()`."""
        self._end += size_bytes

    def rest(self) -> None:
        """Give the bulk buffer back; for the time until the peer's next message."""
        if self._buffer is not self._small and self.is_empty:
            if len(self._buffer) == BULK_BUFFER_BYTES and len(self._pool) < MAX_POOLED_BUFFERS:
                self._pool.append(self._buffer)
            self._use(self._small)
            self._start = self._end = 0

    def next(self) -> ControlPdu | Fragment | None:
        """Return the next PDU or piece of a PDV, or None if more bytes are needed.

        Raises ProtocolError for unknown PDU types and impossible lengths.
        """
        while True:
            if self._in_pdv:
                return self._piece() if self._pdv_left == 0 or self._end > self._start else None
            if self._pdu_left:
                if not self._pdv_header():
                    return None
                continue
            if self._end - self._start < _PDU_HEADER.size:
                return None
            pdu_type, length = _PDU_HEADER.unpack_from(self._buffer, self._start)
            if pdu_type == P_DATA_TF:
                if length < _PDV_HEADER.size:
                    raise ProtocolError(f"P-DATA-TF of length {length}", INVALID_PARAMETER)
                self._start += _PDU_HEADER.size
                self._pdu_left = length
                continue
            return self._control_pdu(pdu_type, length)

    def _control_pdu(self, pdu_type: int, length: int) -> ControlPdu | None:
        if not A_ASSOCIATE_RQ <= pdu_type <= A_ABORT:
            hint = ": TLS on the port of plain DICOM" if pdu_type == _TLS_HANDSHAKE else ""
            raise ProtocolError(f"PDU of unknown type {pdu_type:02X}H{hint}", UNRECOGNIZED_PDU)
        if pdu_type in (A_ASSOCIATE_RQ, A_ASSOCIATE_AC):
            allowed = length <= MAX_CONTROL_PDU_BYTES
        else:
            allowed = length == _SHORT_PDU_LENGTH
        if not allowed:
            raise ProtocolError(f"PDU of type {pdu_type:02X}H and length {length}", INVALID_PARAMETER)
        begin, end = self._start + _PDU_HEADER.size, self._start + _PDU_HEADER.size + length
        if self._end < end:
            return None
        self._start = end
        return ControlPdu(pdu_type, bytes(self._view[begin:end]))

    def _pdv_header(self) -> bool:
        if self._end - self._start < _PDV_HEADER.size:
            return False
        length, self._context_id, self._control = _PDV_HEADER.unpack_from(self._buffer, self._start)
        if length < 2 or length + 4 > self._pdu_left:
            raise ProtocolError(f"PDV of length {length} in a PDU with {self._pdu_left} bytes left", INVALID_PARAMETER)
        self._start += _PDV_HEADER.size
        self._pdv_left = length - 2
        self._pdu_left -= length + 4
        if 0 < self._pdu_left < _PDV_HEADER.size:
            raise ProtocolError(f"{self._pdu_left} stray bytes at the end of a P-DATA-TF", INVALID_PARAMETER)
        self._in_pdv = True
        return True

    def _piece(self) -> Fragment:
        begin = self._start
        self._start = end = min(self._end, begin + self._pdv_left)
        self._pdv_left -= end - begin
        ends_here = self._pdv_left == 0
        self._in_pdv = not ends_here
        is_last = ends_here and bool(self._control & _LAST)
        return Fragment(
            self._context_id, self._view[begin:end], is_command=bool(self._control & _COMMAND), is_last=is_last
        )

    def _make_room(self, unread: int) -> None:
        """Move what is unread to the front, of a larger buffer where it pays (bulk data) or must be (control PDU)."""
        kept = bytes(self._view[self._start : self._end])
        coming = min(self._pdu_left + self._pdv_left, BULK_BUFFER_BYTES)
        if coming > len(self._buffer):
            self._use(self._from_pool())
        elif unread > len(self._buffer) // 2:
            self._use(bytearray(2 * len(self._buffer)))
        self._buffer[:unread] = kept
        self._start, self._end = 0, unread

    def _from_pool(self) -> bytearray:
        try:
            return self._pool.pop()
        except IndexError:  # to look first would be a race with other threads
            return bytearray(BULK_BUFFER_BYTES)

    def _use(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)


def fragment_size(max_pdu_bytes: int) -> int:
    """Return the largest even PDV payload for a peer that takes PDUs of `max_pdu_bytes` (0: no limit)."""
    limit = min(max_pdu_bytes, MAX_PDU_SENT_BYTES) if max_pdu_bytes else MAX_PDU_SENT_BYTES
    return (limit - _PDV_HEADER.size) & ~1


def p_data_header(context_id: int, size_bytes: int, *, is_command: bool, is_last: bool) -> bytes:
    """Return the header of a P-DATA-TF that carries one PDV with `size_bytes` of data."""
    control = (_COMMAND if is_command else 0) | (_LAST if is_last else 0)
    return _P_DATA_HEADER.pack(P_DATA_TF, size_bytes + 6, size_bytes + 2, context_id, control)


def p_data(context_id: int, data: bytes | memoryview, max_pdu_bytes: int, *, is_command: bool) -> Iterator[bytes]:
    """Yield P-DATA-TF PDUs, in buffers to be sent in order, that carry the whole of `data`."""
    size = fragment_size(max_pdu_bytes)
    view = memoryview(data)
    for begin in range(0, max(len(data), 1), size):
        piece, is_last = view[begin : begin + size], begin + size >= len(data)
        yield p_data_header(context_id, len(piece), is_command=is_command, is_last=is_last) + piece


def control_pdu(pdu_type: int, body: bytes = bytes(4)) -> bytes:
    """Return a PDU of `pdu_type` with `body`; the default is that of the two release PDUs."""
    return _PDU_HEADER.pack(pdu_type, len(body)) + body


def abort_pdu(source: int, reason: int) -> bytes:
    """Return an A-ABORT (PS3.8 9.3.8): source 0 is the service user, 2 the service provider."""
    return control_pdu(A_ABORT, bytes((0, 0, source, reason)))
