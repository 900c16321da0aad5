"""Processes that decode and encode pixels, so that none is touched in a process that holds associations.

Codecs hold the interpreter lock, crash on malformed input, and keep memory. Rules:
- A process is a program of its own (`process`), not a fork: it inherits no thread, no lock, no connection.
- One that crashes, stalls or is no longer waited for fails its job only; it is killed, and another takes its place.
- All pools of a daemon have one budget; who finds it spent waits, `MAX_WAIT_S` at most. Idle ones end by themselves,
  all but `MAX_IDLE` at once.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import minipacs
from minipacs.errors import Kind
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.processes.budget import JOBS, RECHECK_S, Budget, Holding
from minipacs.pixels.processes.process import FAILED, MAX_PACKET_BYTES, WORKING, failure_of

SHARED = Budget()
"""Of this process and of all that are forked from it."""
MAX_WAIT_S = 60.0
"""For a place among the jobs."""
MAX_IDLE = 2
STALL_S = 60.0
"""For one frame; a process that takes longer is taken for stuck."""
MAX_JOB_S = 3600.0
"""For all frames of an object."""
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_PROGRAM = """
import sys
at = next((at for at, path in enumerate(sys.path) if path.endswith("-packages")), len(sys.path))
sys.path[at:at] = sys.argv[4:]
from minipacs.pixels.processes.process import main
main(*map(int, sys.argv[1:4]))
"""
"""Run by `python -I`: nothing is imported from the current folder or before Python's own library."""

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
    def __init__(self, budget: Budget) -> None:
        with ExitStack() as failing:
            try:
                self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                failing.enter_context(self.socket)
                with theirs:
                    self._popen = _start((theirs.fileno(), budget.fd, budget.freed_fd))
            except OSError as error:
                raise TranscodeError(f"codec process cannot be started: {error.strerror}", Kind.BUSY) from error
            failing.pop_all()

    def end(self) -> int:
        """End the process, whatever it does; gives the exit status that it had, minus the signal that ended it."""
        self.socket.close()
        self._popen.kill()
        return self._popen.wait()

    def ended_by_itself(self, *, has_begun: bool) -> TranscodeError:
        """Wait for the end of a process that has closed its socket; tells how it ended.

        The object has to do with it if its job had begun, unless the system ended it, as it does when memory is short.
        """
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(1)
        code = self.end()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
        is_its_fault = has_begun and code != -signal.SIGKILL
        return TranscodeError(f"codec process ended {how}", Kind.UNSUPPORTED if is_its_fault else Kind.BUSY)


def _start(fds: tuple[int, ...]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _PROGRAM, *map(str, fds), *_import_paths()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=fds,
        env={**os.environ, **_ENVIRONMENT},
    )


def _import_paths() -> list[str]:
    """Give the folders that this process imports from, its own package's first; not the current one."""
    root = str(Path(minipacs.__file__).parent.parent)
    others = (path for path in sys.path if os.path.isabs(path) and path not in (root, os.getcwd()))
    return [root, *others]


class CodecPool:
    """Has jobs done in other processes, started when they are needed. Safe to use from any thread.

    `min_free_bytes` is what results leave free on their disk.
    """

    def __init__(self, min_free_bytes: int = 0, budget: Budget = SHARED) -> None:
        self._min_free_bytes = min_free_bytes
        self._budget = budget
        self._idle: list[_Process] = []  # append and pop are atomic

    def transcode(
        self, source_fd: int, target_fd: int, digest: str, transfer_syntax_uid: str, wait: Wait = wait_readable
    ) -> Holding:
        """Write the data set of the open file with `digest` to another where that stands, in another transfer syntax.

        Returns what the copy has of the space for copies: to be closed with it. Raises TranscodeError, and what `wait`
        raises.
        """
        return self.run("transcode", source_fd, target_fd, digest, wait, transfer_syntax_uid=transfer_syntax_uid)

    def compress(
        self, source_fd: int, target_fd: int, digest: str, transfer_syntax_uid: str, wait: Wait = wait_readable
    ) -> Holding:
        """Do as `transcode`, to a target that begins with File Meta Information, and have it read back.

        Unless it says the same in every element and every pixel, the job fails.
        """
        return self.run("compress", source_fd, target_fd, digest, wait, transfer_syntax_uid=transfer_syntax_uid)

    def run(self, verb: str, source_fd: int, target_fd: int, digest: str, wait: Wait, **words: Any) -> Holding:
        """Have one of `verbs.VERBS` done; see `transcode`."""
        request = {"verb": verb, "digest": digest, "min_free_bytes": self._min_free_bytes, "words": words}
        place = self._take_place(wait)
        space = self._budget.open()
        try:
            self._run(json.dumps(request).encode(), [source_fd, target_fd, space.fd], wait)
        except BaseException:
            space.close()
            raise
        finally:
            place.close()
        return space

    def close(self) -> None:
        """End the idle processes; call when no job is under way, also again."""
        while self._idle:
            self._idle.pop().end()

    def _take_place(self, wait: Wait) -> Holding:
        place, gives_up_at = self._budget.open(), time.monotonic() + MAX_WAIT_S
        try:
            while not place.take(JOBS, 1):
                now = time.monotonic()
                if now >= gives_up_at:
                    raise TranscodeError(f"no codec process came free within {MAX_WAIT_S:g} s", Kind.BUSY)
                wait(self._budget.freed_fd, min(now + RECHECK_S, gives_up_at))
                self._budget.look_again()
        except BaseException:
            place.close()
            raise
        return place

    def _run(self, request: bytes, files: list[int], wait: Wait) -> None:
        while True:
            process, is_fresh = self._process()
            try:
                answer, has_begun = _job(process, request, files, wait)
            except BaseException:
                process.end()
                raise
            if answer:
                self._keep(process)
                if answer[:1] == FAILED:
                    raise failure_of(answer)
                return
            error = process.ended_by_itself(has_begun=has_begun)
            if is_fresh or has_begun:
                raise error
            # An idle one that has just ended of itself: the next is tried, at last a fresh one.

    def _keep(self, process: _Process) -> None:
        if len(self._idle) < MAX_IDLE:
            self._idle.append(process)
        else:
            process.end()

    def _process(self) -> tuple[_Process, bool]:
        try:
            return self._idle.pop(), False
        except IndexError:
            return _Process(self._budget), True


def _job(process: _Process, request: bytes, files: list[int], wait: Wait) -> tuple[bytes, bool]:
    """Return the final answer, empty if the process ended without one, and whether it had begun the job."""
    has_begun, ends_at = False, time.monotonic() + MAX_JOB_S
    try:
        socket.send_fds(process.socket, [request], files)
        while True:
            if not wait(process.socket.fileno(), min(time.monotonic() + STALL_S, ends_at)):
                raise TranscodeError(f"codec process stalled for {STALL_S:g} s", Kind.BUSY)
            answer = process.socket.recv(MAX_PACKET_BYTES)
            if answer[:1] != WORKING:
                return answer, has_begun
            if time.monotonic() >= ends_at:
                raise TranscodeError(f"codec process was not done within {MAX_JOB_S:g} s")
            has_begun = True
    except OSError:
        return b"", has_begun
