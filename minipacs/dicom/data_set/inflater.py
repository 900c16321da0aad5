"""Deflated data sets, inflated as they stream by, with bounds on what little bytes may cost (PS3.5 A.5)."""

import zlib
from collections.abc import Iterator

from minipacs.errors import DataSetError

MAX_INFLATED_BYTES = 1 << 32
"""What a deflated data set may grow to: it can be a thousand times what the peer had to send."""

FREE_WALK_BYTES, MAX_WALK_RATIO = 1 << 22, 64
"""How much of a deflated data set may be walked through, element by element: so much, and so many times what came.

Long values are passed over for little, so pixels may be as empty as they like; elements cost time, each of them.
"""

MAX_DEFLATE_TRAILER_BYTES = 9
"""What may follow a deflate stream: checksum and size, which some writers add as gzip does, and a NUL to be even."""

_INFLATE_BYTES = 1 << 18

Buffer = bytes | bytearray | memoryview


class Inflater:
    """Inflates a deflated data set piece by piece (PS3.5 A.5)."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._received_bytes = 0
        self._size_bytes = 0
        self._trailer_bytes = 0

    def pieces(self, data: Buffer) -> Iterator[bytes]:
        """Inflate what comes next; nothing of `data` is referred to afterwards. Raises DataSetError."""
        self._received_bytes += len(data)
        more = False
        while (len(data) or more) and not self._stream.eof:
            try:
                piece = self._stream.decompress(data, _INFLATE_BYTES)
            except zlib.error:
                raise DataSetError("deflated data set cannot be inflated") from None
            self._size_bytes += len(piece)
            if self._size_bytes > MAX_INFLATED_BYTES:
                raise DataSetError(f"data set inflates to more than {MAX_INFLATED_BYTES} bytes")
            yield piece
            more = len(piece) == _INFLATE_BYTES
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        self._trailer_bytes += len(data)
        if self._trailer_bytes > MAX_DEFLATE_TRAILER_BYTES:
            raise DataSetError("deflated data set goes on after the end of its stream")

    def check_walk(self, walked_bytes: int) -> None:
        """Refuse a data set of which more was walked through than the bytes that came are worth."""
        if walked_bytes > FREE_WALK_BYTES + MAX_WALK_RATIO * self._received_bytes:
            raise DataSetError("deflated data set has too many elements for its size")

    def finish(self) -> None:
        """Raise DataSetError if the stream has not come to its end."""
        if not self._stream.eof:
            raise DataSetError("deflated data set ends inside its stream")
