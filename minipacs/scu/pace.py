"""Sending no faster than a line is to be used."""

import time
from collections.abc import Callable, Iterable, Iterator

PIECES_A_SECOND = 8
MIN_PIECE_BYTES = 256


def paced(rate: int) -> Callable[[Iterable[memoryview]], Iterable[memoryview]]:
    """Return what gives pieces on, all together at no more than `rate` bytes a second; 0 sets no limit."""
    if not rate:
        return lambda pieces: pieces
    bucket = _Bucket(rate)
    return bucket.pass_on


class _Bucket:
    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._piece_bytes = max(rate // PIECES_A_SECOND & ~1, MIN_PIECE_BYTES)  # even: only the last may be odd
        self._free_at = 0.0

    def pass_on(self, pieces: Iterable[memoryview]) -> Iterator[memoryview]:
        """Divide pieces, and give each when the ones before have had their time."""
        for piece in pieces:
            for begin in range(0, len(piece), self._piece_bytes):
                part = piece[begin : begin + self._piece_bytes]
                now = time.monotonic()
                time.sleep(max(self._free_at - now, 0))
                self._free_at = max(self._free_at, now) + len(part) / self._rate
                yield part
