"""`minipacs serve` as a process of its own."""

import fcntl
import json
import logging
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from click.testing import CliRunner

from minipacs import log
from minipacs.cli import main
from tests.support.nursery import Child, Nursery
from tests.support.waiting import PATIENCE_S

MINIPACS = [sys.executable, "-m", "minipacs"]
NURSERY = Nursery()

CONFIG = """
[ae]
port = 0
{ae}
[storage]
path = "data"
min_free_bytes = {reserve}
{storage}
[metrics]
port = 0
[log]
format = "json"
level = "debug"
{more}
"""


class Server:
    """A running archive with its own folder; `more`, `ae` and `storage` are lines of its configuration.

    It is a fork of the nursery, unless it has a `wrapper`, or is to be a `program` from the start. `limits` are
    constants that a fork has otherwise, by their dotted names: times that a test would spend waiting.
    """

    def __init__(
        self,
        folder: Path,
        more: str = "",
        ae: str = "",
        storage: str = "",
        reserve: int = 0,
        wrapper: list[str] | None = None,
        *,
        program: bool = False,
        limits: Mapping[str, float] = MappingProxyType({}),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "minipacs.toml"
        self.config.write_text(CONFIG.format(more=more, ae=ae, storage=storage, reserve=reserve))
        self.wrapper = wrapper or []
        self.is_program = program
        self.limits = limits
        self.start()

    def start(self) -> None:
        self._lines: list[dict[str, object]] = []
        self._raw: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        words = ["serve", "--config", str(self.config)]
        self.process: Child | subprocess.Popen[bytes]
        if self.wrapper or self.is_program:
            command = [*self.wrapper, *MINIPACS, *words]
            self.process = subprocess.Popen(
                command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        else:
            self.process = NURSERY.start(words, limits=self.limits)
        self._collector = threading.Thread(target=self._collect, daemon=True)
        self._collector.start()
        ready = self.wait_for(lambda line: line.get("event") == "ready")
        self.port = int(str(ready.get("dicom", ":0")).rsplit(":", 1)[1])
        self.metrics_port = int(str(ready["metrics"]).rsplit(":", 1)[1])

    def _collect(self) -> None:
        """Read the log to its end; what has been read is in the lists before the lock is given back."""
        fd, rest = self.process.stderr.fileno(), b""
        while not self._ended:
            select.select([fd], [], [])
            with self._changed:
                piece = os.read(fd, 1 << 16)
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._take(line.decode("utf-8", "replace"))
                self._ended = not piece
                self._changed.notify_all()

    def _take(self, text: str) -> None:
        self._raw.append(text + "\n")
        try:
            self._lines.append(json.loads(text))
        except json.JSONDecodeError:
            self._lines.append({"event": text.rstrip()})

    def wait_for(
        self, matches: Callable[[dict[str, object]], bool], timeout_s: float = PATIENCE_S, after: int = 0
    ) -> dict[str, object]:
        """Return the first log line from number `after` on that matches, waiting for it; fails with the log so far."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._ended or any(matches(line) for line in self._lines[after:]), timeout_s
            ) and next((line for line in self._lines[after:] if matches(line)), None)
        if not found:
            raise AssertionError("no such log line:\n" + "".join(self._raw[-40:]))
        return found

    @property
    def lines(self) -> list[dict[str, object]]:
        """Return all lines that have been written."""
        self._catch_up()
        return self._lines

    @property
    def raw(self) -> list[str]:
        """Return all lines that have been written, as they are."""
        self._catch_up()
        return self._raw

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the lines of an event among all that has been written."""
        return [line for line in self.lines if line.get("event") == name]

    def _catch_up(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or not self._unread())

    def _unread(self) -> int:
        """Count the bytes of the log that nobody has read."""
        return int.from_bytes(fcntl.ioctl(self.process.stderr.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)

    def stop(self) -> int:
        """Stop without waiting for associations that are still open; give the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.wait_for(lambda line: line.get("event") in ("stopping", "stopped"))
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)
        self._collector.join()
        return self.process.returncode

    def reload(self) -> None:
        """Read the configuration again, and wait until that is done or refused."""
        before = len(self.lines)
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda line: str(line["event"]).startswith(("reloaded", "not reloaded")), after=before)

    def children(self, role: str) -> list[int]:
        """Return the pids of the processes of a role."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found if _role(pid) == role]

    def processes(self) -> list[int]:
        """Return the pids of all processes, the parent first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def kill(self) -> None:
        """Kill all its processes at once, as a power loss would, and return when the last has ended."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self._collector.join()

    def end(self) -> None:
        """Stop it, and see that it told of no fault of its own."""
        self.stop()
        self.no_traceback()

    def http(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        total, seen = 0.0, False
        for line in self.http("/metrics")[1].splitlines():
            match = re.fullmatch(r"([a-z0-9_]+)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == name:
                given = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
                if all(given.get(k) == v for k, v in labels.items()):
                    total, seen = total + float(match[3]), True
        assert seen or labels, f"no metric {name}"
        return total

    def open_files(self) -> int:
        """Count the descriptors of the workers."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.children("worker"))

    def threads(self) -> int:
        """Count the threads of the workers."""
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self.children("worker"))

    def objects(self) -> list[Path]:
        return sorted(self.data.glob("objects/*/*.dcm"))

    def quarantined(self) -> list[Path]:
        return sorted(self.data.glob("quarantine/*.dcm"))

    def incoming(self) -> list[Path]:
        return sorted(self.data.glob("incoming/*"))

    def no_traceback(self) -> None:
        assert not [line for line in self.raw if "Traceback" in line], "".join(self.raw[-60:])


def _role(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip().removeprefix("minipacs-")
    except OSError:
        return ""


def limit_files(server: Server, size_bytes: int = resource.RLIM_INFINITY) -> None:
    """Let no file of the daemon be written beyond a size."""
    for pid in server.processes():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def run(
    *arguments: object, config: Path | None = None, check: bool = True, real: bool = False, **answers: Any
) -> subprocess.CompletedProcess[str]:
    """Run a minipacs command to its end; `input` answers what it asks.

    It runs in this process, which is a tenth of the work, unless it is one that runs for long, or `real`.
    """
    words = [str(a) for a in arguments]
    if config is not None:
        words[1:1] = ["--config", str(config)]
    done = _run_program(words, **answers) if real or words[0] == "serve" else _run_here(words, **answers)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def _run_program(words: list[str], **answers: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MINIPACS, *words], capture_output=True, text=True, timeout=60, check=False, **answers)


def _run_here(words: list[str], **answers: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as its program would, and put the log of this process back as it was."""
    root, own = logging.getLogger(), logging.getLogger("minipacs")
    before = list(root.handlers), root.level, own.level, log.STDERR
    with tempfile.TemporaryFile() as logged:
        log.STDERR = logged.fileno()
        try:
            done = CliRunner().invoke(main, words, prog_name="minipacs", **answers)
        finally:
            root.handlers, root.level, own.level, log.STDERR = before
        logged.seek(0)
        stderr = logged.read().decode() + done.stderr
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        stderr += "".join(traceback.format_exception(done.exception))
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, stderr)
