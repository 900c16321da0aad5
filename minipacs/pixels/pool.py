"""Processes that decode and encode pixels, so that none is touched in a process that holds associations.

Codecs hold the interpreter lock, crash on malformed input, and keep memory. Rules:
- A process is a program of its own (`codec_process`), not a fork: it inherits no thread, no lock, no connection.
- One that crashes, stalls or is no longer waited for fails its job only; it is killed, and another takes its place.
- At most `MAX_PROCESSES` work at once; who comes later waits. Idle ones end by themselves.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import minipacs
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.process import COMPARE, FAILED, MAX_PACKET_BYTES, WORKING

MAX_PROCESSES = max(min(os.cpu_count() or 1, 16), 2)
STALL_S = 60.0
"""For one frame; a process that takes longer is taken for stuck."""
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

Wait = Callable[[int, float], bool]
"""Waits for a descriptor to become readable until a time of the monotonic clock; tells whether it did.

What it raises ends the job.
"""


def wait_readable(fd: int, deadline: float) -> bool:
    """Wait, with nothing else to attend to."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(deadline - time.monotonic(), 0) * 1000))


class _Process:
    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            root = str(Path(minipacs.__file__).parent.parent)
            path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "minipacs.pixels.process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
            )

    def end(self) -> str:
        """End the process, whatever it does; tells how it had ended."""
        self.socket.close()
        self._popen.kill()
        code = self._popen.wait()
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"

    def ended_by_itself(self) -> str:
        """Wait for the end of a process that has closed its socket; tells how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(1)
        return self.end()


class CodecPool:
    """Transcodes in other processes, started when they are needed. Safe to use from any thread."""

    def __init__(self, max_processes: int = MAX_PROCESSES) -> None:
        self._places = os.eventfd(max_processes, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._idle: list[_Process] = []  # append and pop are atomic

    def transcode(
        self,
        source_fd: int,
        target_fd: int,
        digest: str,
        transfer_syntax_uid: str,
        wait: Wait = wait_readable,
        *,
        compare: bool = False,
    ) -> None:
        """Write the data set of the open file with `digest` to another where that stands, in another transfer syntax.

        `compare` has that one, which must be a DICOM file then, read back: unless it says the same in every element and
        every pixel, the job fails. Raises TranscodeError, and what `wait` raises.
        """
        words = [digest, transfer_syntax_uid, *([COMPARE] if compare else [])]
        self._take_place(wait)
        try:
            self._run(" ".join(words).encode("ascii"), [source_fd, target_fd], wait)
        finally:
            os.eventfd_write(self._places, 1)

    def close(self) -> None:
        """End the idle processes; call when no job is under way, also again."""
        while self._idle:
            self._idle.pop().end()
        if self._places >= 0:
            os.close(self._places)
            self._places = -1

    def _take_place(self, wait: Wait) -> None:
        while True:
            try:
                os.eventfd_read(self._places)
                return
            except BlockingIOError:
                wait(self._places, time.monotonic() + STALL_S)

    def _run(self, request: bytes, files: list[int], wait: Wait) -> None:
        while True:
            process, is_fresh = self._process()
            try:
                answer, has_begun = _job(process, request, files, wait)
            except BaseException:
                process.end()
                raise
            if answer:
                self._idle.append(process)
                if answer[:1] == FAILED:
                    raise TranscodeError(answer[1:].decode("utf-8", "replace"))
                return
            how = process.ended_by_itself()
            if is_fresh or has_begun:
                raise TranscodeError(f"codec process ended {how}")
            # An idle one that has just ended of itself: the next is tried, at last a fresh one.

    def _process(self) -> tuple[_Process, bool]:
        try:
            return self._idle.pop(), False
        except IndexError:
            return _Process(), True


def _job(process: _Process, request: bytes, files: list[int], wait: Wait) -> tuple[bytes, bool]:
    """Return the final answer, empty if the process ended without one, and whether it had begun the job."""
    has_begun = False
    try:
        socket.send_fds(process.socket, [request], files)
        while True:
            if not wait(process.socket.fileno(), time.monotonic() + STALL_S):
                raise TranscodeError(f"codec process stalled for {STALL_S:g} s")
            answer = process.socket.recv(MAX_PACKET_BYTES)
            if answer[:1] != WORKING:
                return answer, has_begun
            has_begun = True
    except OSError:
        return b"", has_begun
