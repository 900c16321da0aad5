"""The frames of MLLP, without a socket: 0B, the message, 1C 0D (HL7 Transport Specification: MLLP, release 1)."""

START, END = b"\x0b", b"\x1c\x0d"
MAX_MESSAGE_BYTES = 1 << 20
MAX_NOISE_BYTES = 1 << 16
"""What may stand before a frame; it is dropped."""


class FramingError(Exception):
    """A peer that does not keep to the frames; the message says how."""


def framed(message: bytes) -> bytes:
    """Put a message into its frame."""
    return START + message + END


class Frames:
    """Finds messages in what comes. `is_open` tells that one has begun and not ended."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._noise_bytes = 0
        self._looked = 0
        self.is_open = False

    def feed(self, data: bytes | memoryview) -> None:
        """Take what came. Raises FramingError."""
        self._held += data
        if not self.is_open:
            self._seek_start()

    def next(self) -> bytes | None:
        """Return the next message that is whole, or None. Raises FramingError."""
        if not self.is_open:
            return None
        end = self._held.find(END, max(self._looked - 1, 0))
        if end < 0:
            self._looked = len(self._held)
            if self._looked > MAX_MESSAGE_BYTES + len(END):
                raise FramingError(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
            return None
        if end > MAX_MESSAGE_BYTES:
            raise FramingError(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
        message = bytes(self._held[:end])
        del self._held[: end + len(END)]
        self.is_open = False
        self._noise_bytes = 0
        self._seek_start()
        return message

    def _seek_start(self) -> None:
        """Drop what precedes a frame: line ends that some senders add, mostly."""
        begin = self._held.find(START)
        noise = len(self._held) if begin < 0 else begin
        self._noise_bytes += noise
        del self._held[: noise + (begin >= 0)]
        self.is_open = begin >= 0
        self._looked = 0
        if self._noise_bytes > MAX_NOISE_BYTES:
            raise FramingError(f"{MAX_NOISE_BYTES} bytes without the start of a message")
