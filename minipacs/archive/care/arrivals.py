"""Digests sorted by when their files came, however many: what does not fit in memory lies in nameless files."""

import heapq
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BufferedReader, FileIO
from typing import Self

MAX_IN_MEMORY = 50_000
"""Digests that are sorted at a time."""


class Arrivals:
    """Collects digests with their times, then gives them in order; a context manager.

    `scratch` opens a nameless file.
    """

    def __init__(self, scratch: Callable[[], FileIO], limit: int = MAX_IN_MEMORY) -> None:
        self._scratch = scratch
        self._limit = limit
        self._found: list[tuple[float, str]] = []
        self._runs: list[FileIO] = []
        self._closing = ExitStack()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, received_at: float, digest: str) -> None:
        """Take a digest. Raises OSError."""
        self._found.append((received_at, digest))
        self._count += 1
        if len(self._found) >= self._limit:
            run = self._closing.enter_context(self._scratch())
            run.write("".join(f"{at!r} {digest}\n" for at, digest in sorted(self._found)).encode())
            self._runs.append(run)
            self._found = []

    def __iter__(self) -> Iterator[str]:
        """Give the digests, the first that came first."""
        runs = [*map(_read, self._runs), iter(sorted(self._found))]
        return (digest for _, digest in heapq.merge(*runs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.close()


def _read(run: FileIO) -> Iterator[tuple[float, str]]:
    run.seek(0)
    for line in BufferedReader(run):
        received_at, digest = line.split()
        yield float(received_at), digest.decode()
