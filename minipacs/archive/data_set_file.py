"""Open data sets: as they lie in a file, or put together of parts of it and other bytes."""

import os
from collections.abc import Callable, Iterator, Sequence
from io import SEEK_CUR, SEEK_END, FileIO, RawIOBase
from itertools import accumulate
from types import TracebackType
from typing import Self

from minipacs.dicom.data_set.amending import ReadAt, Segment, Span, length_of


class DataSetFile:
    """An open data set of `size_bytes`; close it, or use it as a context manager.

    It borrows the buffer it was opened with, which holds its first piece until another object is opened with it.
    """

    def __init__(
        self,
        file: FileIO,
        offset: int,
        size_bytes: int,
        buffer: memoryview,
        held_bytes: int = 0,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.size_bytes = size_bytes
        self._on_close = on_close
        self._file, self._offset = file, offset
        self._buffer, self._held_bytes = buffer, held_bytes

    def pieces(self) -> Iterator[memoryview]:
        """Give the data set in pieces, each valid until the next. Raises OSError if it ends early."""
        done = self._held_bytes
        if done:
            yield self._buffer[:done]
        yield from self._read(Span(done, self.size_bytes - done))

    def part(self, span: Span) -> Iterator[memoryview]:
        """Give a part of the data set in pieces, each valid until the next. Raises OSError if it ends early."""
        if span.offset + span.length <= self._held_bytes:
            yield self._buffer[span.offset : span.offset + span.length]
            return
        self._held_bytes = 0  # other bytes come into the buffer
        yield from self._read(span)

    def _read(self, span: Span) -> Iterator[memoryview]:
        done, fd = 0, self._file.fileno()
        while done < span.length:
            read = os.preadv(fd, [self._buffer[: span.length - done]], self._offset + span.offset + done)
            if not read:
                raise OSError(f"the file ends {span.length - done} bytes early")
            done += read
            yield self._buffer[:read]

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """Read some bytes of the data set, fewer only at its end. Raises OSError."""
        size_bytes = max(min(size_bytes, self.size_bytes - offset), 0)
        if offset + size_bytes <= self._held_bytes:
            return bytes(self._buffer[offset : offset + size_bytes])
        return os.pread(self._file.fileno(), size_bytes, self._offset + offset)

    def read_ahead(self) -> None:
        """Read the first piece into the buffer now. Raises OSError."""
        if not self._held_bytes:
            self._held_bytes = os.preadv(self._file.fileno(), [self._buffer[: self.size_bytes]], self._offset)

    def stream(self, before: bytes = b"") -> RawIOBase:
        """Return a file that can seek, standing where the data set begins; it stays this object's.

        With bytes that are to stand `before` the data set it stands at their beginning.
        """
        if before:
            return SplicedFile(self.read_at, [before, Span(0, self.size_bytes)])
        self._file.seek(self._offset)
        return self._file

    def close(self) -> None:
        """Close the file; may be called again."""
        self._file.close()
        self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AmendedDataSet(DataSetFile):
    """An open data set put together of parts of a stored one, which it closes, and of other bytes."""

    def __init__(self, stored: DataSetFile, segments: Sequence[Segment]) -> None:
        self.size_bytes = length_of(segments)
        self._stored, self._segments = stored, segments

    def pieces(self) -> Iterator[memoryview]:
        """Give the data set in pieces, each valid until the next. Raises OSError if it ends early."""
        for segment in self._segments:
            if isinstance(segment, Span):
                yield from self._stored.part(segment)
            else:
                yield memoryview(segment)

    def read_ahead(self) -> None:
        """Do nothing: the beginning was read to be amended."""

    def stream(self, before: bytes = b"") -> RawIOBase:
        """Return what is like a file that holds the data set alone, behind `before`; it stays this object's."""
        return SplicedFile(self._stored.read_at, [before, *self._segments])

    def close(self) -> None:
        """Close the file; may be called again."""
        self._stored.close()


class SplicedFile(RawIOBase):
    """What is like a file: parts of another one, which `read_at` reads, and other bytes between them."""

    name = ""
    """For pydicom, which asks every file."""

    def __init__(self, read_at: ReadAt, segments: Sequence[Segment]) -> None:
        super().__init__()
        self._read_at, self._segments = read_at, segments
        self._ends = list(accumulate(length_of([segment]) for segment in segments))
        self._position = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can seek."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position."""
        start = {SEEK_CUR: self._position, SEEK_END: self._ends[-1] if self._ends else 0}.get(whence, 0)
        self._position = max(start + offset, 0)
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read what comes next, up to the end of a segment."""
        wanted = memoryview(buffer).cast("B")
        start = 0
        for segment, end in zip(self._segments, self._ends, strict=True):
            if self._position < end:
                skipped = self._position - start
                size = min(len(wanted), end - self._position)
                if isinstance(segment, Span):
                    piece = self._read_at(segment.offset + skipped, size)
                else:
                    piece = segment[skipped : skipped + size]
                wanted[: len(piece)] = piece
                self._position += len(piece)
                return len(piece)
            start = end
        return 0
