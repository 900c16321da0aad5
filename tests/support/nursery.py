"""Daemons as forks of one process that has imported everything, which takes a fifth of what starting a program takes.

A nursery is a process without threads. It forks when it is told to, reaps what it has forked, and ends, with all of
them, when whoever started it does.
"""

import encodings
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import minipacs

ROOT = Path(__file__).parent.parent.parent
MAX_MESSAGE_BYTES = 1 << 20
_IMPORTED = (
    "minipacs.cli.commands.service",
    "minipacs.daemon.parent",
    "minipacs.hl7.connections",
    "minipacs.web.app",
    "minipacs.web.server",
)
"""These load all that a daemon loads before it serves, whatever its configuration."""


class Child:
    """A process that a nursery has forked, to be used as a subprocess.Popen; its standard error is `stderr`."""

    def __init__(self, pid: int, stderr: IO[str], status_fd: int) -> None:
        self.pid = pid
        self.stderr = stderr
        self.returncode: int | None = None
        self._status_fd = status_fd

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self._status(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status."""
        found = self._status(timeout)
        if found is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return found

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended, be it at this moment."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _status(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._status_fd], [], [], timeout_s)[0]:
            self.returncode = int(os.read(self._status_fd, 16))
            os.close(self._status_fd)
        return self.returncode


class Nursery:
    """The way to a nursery, which is started with the first child."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def start(
        self,
        arguments: list[str],
        *,
        limits: Mapping[str, float] = MappingProxyType({}),
        environment: Mapping[str, str] = os.environ,
        user: tuple[int, int] | None = None,
        stdout: int = subprocess.DEVNULL,
    ) -> Child:
        """Run `minipacs` with these arguments, in a session of its own, with other `limits` in its code.

        As `user`, by numbers of user and group, it can do all that needs no further program: Python's files and ours
        need not be readable for that user, nor for the one that it becomes if it is root, 0.
        """
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            theirs.close()
        read_end, stderr = os.pipe()
        status_end, status = os.pipe()
        devnull = os.open(os.devnull, os.O_RDWR)
        told = {"arguments": arguments, "limits": dict(limits), "environment": dict(environment), "user": user}
        fds = [devnull, devnull if stdout == subprocess.DEVNULL else stdout, stderr, status]
        socket.send_fds(self._socket, [json.dumps(told | {"folder": os.getcwd()}).encode()], fds)
        os.close(devnull)
        os.close(stderr)
        os.close(status)
        pid = int(self._socket.recv(MAX_MESSAGE_BYTES))
        return Child(pid, open(read_end, encoding="utf-8", errors="replace"), status_end)


def _serve(sock: socket.socket) -> None:
    """Be a nursery."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    signal.set_wakeup_fd(wake)
    running: dict[int, int] = {}
    while True:
        ready = select.select([sock, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 512)
            _reap(running)
        if sock in ready:
            message, fds, _, _ = socket.recv_fds(sock, MAX_MESSAGE_BYTES, 4)
            if not message:
                break
            *standard, status = fds
            pid = os.fork()
            if not pid:
                for fd in (sock.fileno(), woken, wake, status, *running.values()):
                    os.close(fd)
                _run(json.loads(message), standard)
            for fd in standard:
                os.close(fd)
            running[pid] = status
            sock.send(str(pid).encode())
    for pid in running:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        fd = running.pop(pid)
        with suppress(BrokenPipeError):
            os.write(fd, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(fd)


def _run(told: dict[str, Any], standard: list[int]) -> None:
    """Be the program, in a process that has just been forked; `standard` are its input, its output and its errors."""
    from minipacs.cli import main

    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        for number, fd in enumerate(standard):
            os.dup2(fd, number)
            os.close(fd)
        os.environ.clear()
        os.environ.update(told["environment"])
        os.chdir(told["folder"])
        for name, limit in told["limits"].items():
            module, constant = name.rsplit(".", 1)
            holder = importlib.import_module(module)
            assert hasattr(holder, constant), name
            setattr(holder, constant, limit)
        if told["user"] is not None:
            _become(*told["user"])
        main(told["arguments"], prog_name="minipacs")
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


def _become(uid: int, gid: int) -> None:
    """Load whatever a command may need, and be that user."""
    for package in (encodings, minipacs):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            with suppress(ImportError):
                importlib.import_module(found.name)
    if uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


if __name__ == "__main__":
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else a child that collects garbage goes through all of this, and copies the pages it lies in

    _serve(socket.socket(fileno=int(sys.argv[1])))
