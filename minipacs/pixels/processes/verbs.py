"""What a codec process can be asked for: THE table of verbs, and what each does.

A verb reads the file that was found to have the digest named, and writes its result to the other one. It is given what
a `Job` has, and the words that `CodecPool.run` was given for it.
"""

import hashlib
import os
import resource
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import FileIO
from typing import Any

from minipacs.errors import Kind
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.image import ImageLayout
from minipacs.pixels.processes.budget import COPIES, COPY_UNIT_BYTES, MEMORY, MIB, RECHECK_S, Budget, Holding
from minipacs.pixels.transcode import fingerprint, transcode

MAX_MEMORY_WAIT_S = 60.0
BASE_MEMORY_BYTES = 512 * MIB
"""Of a process without frames, with room to spare; what frames take comes on top."""
_PIECE_BYTES = 1 << 20


class Copy(FileIO):
    """The file to write to. It takes its space from the budget as it grows, and leaves `min_free_bytes` on its disk."""

    def __init__(self, fd: int, holding: Holding, min_free_bytes: int) -> None:
        super().__init__(fd, "r+")
        self._holding = holding
        self._min_free_bytes = min_free_bytes
        self._may_grow_to = self.tell()

    def write(self, data: Any, /) -> int:
        """Write a piece. Raises TranscodeError if there is no space for it."""
        end = self.tell() + memoryview(data).nbytes
        while end > self._may_grow_to:
            status = os.fstatvfs(self.fileno())
            if status.f_bavail * status.f_frsize < self._min_free_bytes + COPY_UNIT_BYTES:
                raise TranscodeError("no space for a copy: storage.min_free_bytes would not be left", Kind.FULL)
            if not self._holding.take(COPIES, COPY_UNIT_BYTES):
                raise TranscodeError(f"no space for a copy: all copies together have {COPIES.whole} bytes", Kind.FULL)
            self._may_grow_to += COPY_UNIT_BYTES
        return super().write(data)


@dataclass(slots=True)
class Job:
    """One request. `working` tells that it goes on, and raises OSError if nobody waits for it any more."""

    source: FileIO
    target: Copy
    working: Callable[[], None]
    budget: Budget
    memory: Holding
    _held_bytes: int = 0

    def make_room(self, layout: ImageLayout) -> None:
        """Wait for memory for the frames of an image. Raises TranscodeError if there is none in time."""
        self.make_room_for(layout.working_bytes)

    def make_room_for(self, wanted: int) -> None:
        """Wait for so many bytes of memory in all; see `make_room`."""
        if wanted > MEMORY.whole:
            raise TranscodeError(f"frames take {wanted} bytes to decode, more than the {MEMORY.whole} of all codecs")
        more, gives_up_at = wanted - self._held_bytes, time.monotonic() + MAX_MEMORY_WAIT_S
        if more <= 0:
            return
        poll = select.poll()
        poll.register(self.budget.freed_fd, select.POLLIN)
        while not self.memory.take(MEMORY, more):
            if time.monotonic() >= gives_up_at:
                raise TranscodeError(f"no memory for its frames within {MAX_MEMORY_WAIT_S:g} s", Kind.BUSY)
            self.working()
            poll.poll(RECHECK_S * 1000)
            self.budget.look_again()
        self._held_bytes = wanted
        limit_memory(wanted)

    def check(self, digest: str) -> None:
        """Read the source to its end, and raise TranscodeError unless it has that digest."""
        found, buffer = hashlib.sha256(), bytearray(_PIECE_BYTES)
        while size := self.source.readinto(buffer):
            found.update(memoryview(buffer)[:size])
            if size == _PIECE_BYTES:
                self.working()
        self.source.seek(0)
        if found.hexdigest() != digest:
            raise TranscodeError("file is damaged: its digest differs")


def limit_memory(frames_bytes: int) -> None:
    """Let this process have no more memory than its frames were given; beyond, an allocation fails, and its job."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (BASE_MEMORY_BYTES + frames_bytes, hard))


Verb = Callable[[Job, Mapping[str, Any]], None]
"""Does a job by its words. Raises TranscodeError for what cannot be had, with the reason."""


def _transcode(job: Job, words: Mapping[str, Any]) -> None:
    transcode(job.source, job.target, words["transfer_syntax_uid"], job.working, on_image=job.make_room)


def _compress(job: Job, words: Mapping[str, Any]) -> None:
    """Transcode behind the File Meta Information that the target has, then read it back and compare."""
    _transcode(job, words)
    found = []
    for file in (job.source, job.target):
        file.seek(0)
        found.append(fingerprint(file, job.working, job.make_room))
    if found[0] != found[1]:
        raise TranscodeError("what was written does not say the same")


def _frames(job: Job, words: Mapping[str, Any]) -> None:
    from minipacs.pixels.processes.picturing import native_frames

    native_frames(job, words)


def _render(job: Job, words: Mapping[str, Any]) -> None:
    from minipacs.pixels.processes.picturing import picture

    picture(job, words)


VERBS: Mapping[str, Verb] = {
    "transcode": _transcode,
    "compress": _compress,
    "frames": _frames,
    "render": _render,
}
