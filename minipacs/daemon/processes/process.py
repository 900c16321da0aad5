"""A process that the parent forks: how it begins, what passes between the two, how it ends.

It dies with its parent (prctl(2), PR_SET_PDEATHSIG): to kill the parent is to kill the daemon.
"""

import ctypes
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from minipacs.daemon.processes.pulse import Pulse
from minipacs.daemon.slots import Slots
from minipacs.errors import MinipacsError

logger = logging.getLogger(__name__)

Order = Literal["retire", "drain", "end"]
"""What the parent asks for: to take no new work and end with the last; the same, and to tell those who come; to end."""

READY = b"ready"
FAILED = b"failed "
BUSY = b"busy "
MAX_MESSAGE_BYTES = 4096
BEAT_INTERVAL_S = 2.0
EXIT_FAILED, EXIT_BUG = 1, 70
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
HEAP_TO_SPARE_BYTES, BUFFERS_OF_HEAP_BYTES = 16 << 20, 4 << 20
"""What a shared heap keeps for the next buffers, and how large those are that it has none for: a page that the system
gives anew is cleared first.
"""
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Process:
    """A child, as its parent knows it. `busy_with` is what it last said it is at, before it is ready.

    `number` tells it from others of its role and generation, from 0.
    """

    role: str
    generation: int
    slot: int
    pid: int
    control: socket.socket
    number: int = 0
    forked_at: float = field(default_factory=time.monotonic)
    pulse: Pulse = field(default_factory=Pulse)
    is_ready: bool = False
    fault: str = ""
    busy_with: str = ""
    is_leaving: bool = False
    was_killed: bool = False

    def order(self, order: Order) -> None:
        """Ask for something; a child that has ended already need not hear it."""
        self.is_leaving = True
        with suppress(OSError):
            self.control.send(order.encode())

    def receive(self) -> None:
        """Take what the child has to say."""
        with suppress(OSError):
            message = self.control.recv(MAX_MESSAGE_BYTES)
            self.is_ready = self.is_ready or message == READY
            if message.startswith(FAILED):
                self.fault = message.removeprefix(FAILED).decode("utf-8", "replace")
            elif message.startswith(BUSY):
                self.busy_with = message.removeprefix(BUSY).decode("utf-8", "replace")

    def kill(self) -> None:
        """Kill a child that does not come round any more."""
        self.was_killed = True
        os.kill(self.pid, signal.SIGKILL)


class Control:
    """The child's side: its orders, its beat, its signals. Its main loop is `events`."""

    def __init__(self, sock: socket.socket, slots: Slots, slot: int) -> None:
        self.slot = slot
        self._sock = sock
        self._slots = slots
        self._poll = select.poll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._orders: list[Order] = []
        for fd in (sock.fileno(), self._wake_fd):
            self.watch(fd)
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def watch(self, fd: int) -> None:
        """Return from `events` when `fd` is readable, too."""
        self._poll.register(fd, select.POLLIN)

    def forget(self, fd: int) -> None:
        """Watch a descriptor no longer."""
        self._poll.unregister(fd)

    def ready(self) -> None:
        """Tell the parent that this process does its work."""
        self._slots.beat(self.slot)
        self._sock.send(READY)

    def fail(self, reason: str) -> None:
        """Tell the parent why this process cannot do its work."""
        self._send(FAILED, reason)

    def busy(self, what: str) -> None:
        """Tell the parent, and through it the service manager, what this process is at before it is ready."""
        self._send(BUSY, what)

    def _send(self, kind: bytes, text: str) -> None:
        self._sock.send(kind + text.encode("utf-8", "replace")[: MAX_MESSAGE_BYTES - len(kind)])

    def events(self, due_at: float | None = None) -> tuple[list[int], list[Order]]:
        """Wait for watched descriptors, orders or the time `due_at` (monotonic), at most until the next beat."""
        wait_s = BEAT_INTERVAL_S if due_at is None else min(max(due_at - time.monotonic(), 0), BEAT_INTERVAL_S)
        ready = [fd for fd, _ in self._poll.poll(wait_s * 1000)]
        self._slots.beat(self.slot)
        if self._sock.fileno() in ready:
            order = self._sock.recv(MAX_MESSAGE_BYTES).decode()
            self._orders.append(order or "end")  # type: ignore[arg-type]  # the parent sends nothing else
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        orders, self._orders = self._orders, []
        return ready, orders

    def _on_sigterm(self, number: int, frame: object) -> None:
        self._orders.append("drain")
        os.eventfd_write(self._wake_fd, 1)


def fork(
    role: str, generation: int, slots: Slots, run: Callable[[Control], None], close_in_child: Iterable[int]
) -> Process | None:
    """Fork a process that calls `run` and ends with it; None if there are too many already.

    `close_in_child` are descriptors that are the parent's alone. Raises OSError.
    """
    slot = slots.free()
    if slot is None:
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(0)
    parent = os.getpid()
    slots.show(slot, role)
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        ours.close()
        theirs.close()
        raise
    if pid:
        slots.name(slot, pid)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        theirs.close()
        return Process(role, generation, slot, pid, ours)
    status = EXIT_BUG
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _LIBC.prctl(_PR_SET_NAME, f"minipacs-{role}".encode())
        if os.getppid() != parent:
            os._exit(EXIT_FAILED)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        for fd in (ours.fileno(), *close_in_child):
            os.close(fd)
        status = _run(role, run, Control(theirs, slots, slot))
    finally:
        os._exit(status)


def share_one_heap() -> None:
    """Let all threads of this process take memory from one place, where the allocator can be told so.

    It gives each thread its own otherwise, and each keeps what it once had: pieces that one thread has allocated and
    another frees make them large. Python's lock lets one thread allocate at a time anyway.
    """
    with suppress(AttributeError):
        _LIBC.mallopt(_M_ARENA_MAX, 1)
        _LIBC.mallopt(_M_TRIM_THRESHOLD, HEAP_TO_SPARE_BYTES)
        _LIBC.mallopt(_M_MMAP_THRESHOLD, BUFFERS_OF_HEAP_BYTES)


def _run(role: str, run: Callable[[Control], None], control: Control) -> int:
    try:
        run(control)
    except MinipacsError as error:
        control.fail(str(error))
        return EXIT_FAILED
    except BaseException:
        logger.exception("process failed", extra={"fields": {"role": role}})
        return EXIT_BUG
    return 0
