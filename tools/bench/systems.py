"""The archives that are measured: how each is configured, started, looked at and stopped."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tools.bench.wire import VERIFICATION, Wire, WireError, associate_rq

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
PROBE_INTERVAL_S = 0.005
MAX_ASSOCIATIONS = 1000
"""What every system is allowed, so that 500 idle ones find room."""
SINK_TITLE = "SINK"

FAST = {**os.environ, "TCP_NODELAY": "1"}
"""The environment in which dcmtk's programs turn Nagle's algorithm off."""
STOCK = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}


class BenchError(Exception):
    """Something that the benchmark needs did not work; a line for the user."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    """A program started by the benchmark in a session of its own, so that ending it ends what it started too."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        self.pid = self._process.pid
        self._log = log

    def wait_until_listening(self, port: int) -> None:
        self._wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close())

    def wait_until_serving(self, port: int, ae_title: str) -> None:
        def verify() -> None:
            wire = Wire(port, timeout_s=5)
            wire.associate(associate_rq(ae_title, VERIFICATION))
            wire.release()

        self._wait_for(verify)

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
                return

    def cpu_s(self) -> float:
        """Return the processor time used so far by the process and its children."""
        ticks = sum(int(time) for pid in self._tree() for time in _stat(pid)[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peaks_mib(self) -> dict[int, float]:
        """Return the most that each of its processes has had resident since `forget_peaks`, by process."""
        return {pid: _status_kib(pid, "VmHWM") / 1024 for pid in self._tree()}

    def forget_peaks(self) -> None:
        """Let the peaks of all its processes begin anew, at what they have resident now."""
        for pid in self._tree():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def memory_mib(self) -> float:
        """Return the proportional set size of the process and its children: shared pages count once."""
        return sum(_pss_kib(pid) for pid in self._tree()) / 1024

    def _tree(self) -> list[int]:
        """List the processes of this one's session."""
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        return [pid for pid in pids if (stat := _stat(pid)) and stat[3] == str(self.pid)]

    def _wait_for(self, attempt: Callable[[], None]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                return attempt()
            except (OSError, WireError):
                if self._process.poll() is not None:
                    break
                time.sleep(PROBE_INTERVAL_S)
        lines = self._log.read_text(errors="replace").splitlines()[-5:]
        raise BenchError("did not start: " + " | ".join(lines))


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, from the state on; nothing if the process is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _pss_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _status_kib(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


class System(ABC):
    """An archive with an empty store in `folder`. `stored` names the loads it holds."""

    name: str
    program: str
    ae_title: str
    scans_index = False
    """Tells that it looks through its whole index at every store, so that filling it would take minutes."""

    def __init__(self, folder: Path, sink_port: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        self.stored: set[str] = set()
        command = self._configure(sink_port)
        started = time.perf_counter()
        self.process = Process(command, folder / "log", FAST)
        try:
            self.process.wait_until_serving(self.port, self.ae_title)
        except BaseException:
            self.process.stop()
            raise
        self.start_s = time.perf_counter() - started

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which(cls.program) is not None

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the version as the program tells it."""

    @abstractmethod
    def _configure(self, sink_port: int) -> list[str]:
        """Write the configuration and return the command that runs the archive in the foreground."""

    def stop(self) -> None:
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _first_line(*command: str) -> str:
    return (subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines() or ["?"])[0]


def configure(folder: Path, ae_title: str, port: int, more: str) -> Path:
    """Write the configuration of a minipacs, with `more` lines; returns its file."""
    path = folder / "minipacs.toml"
    path.write_text(f"""
[ae]
title = "{ae_title}"
port = {port}
max_associations = {MAX_ASSOCIATIONS}
[storage]
path = "data"
min_free_bytes = 0
[metrics]
port = 0
{more}
""")
    return path


class Minipacs(System):
    name = "minipacs"
    program = sys.executable
    ae_title = "MINIPACS"

    @classmethod
    def version(cls) -> str:
        return _first_line(sys.executable, "-m", "minipacs", "--version")

    def _configure(self, sink_port: int) -> list[str]:
        sink = f'[[peer]]\ntitle = "{SINK_TITLE}"\nhost = "127.0.0.1"\nport = {sink_port}\n'
        path = configure(self.folder, self.ae_title, self.port, sink)
        return [sys.executable, "-m", "minipacs", "serve", "--config", str(path)]


class Orthanc(System):
    name = "orthanc"
    program = "Orthanc"
    ae_title = "ORTHANC"

    @classmethod
    def version(cls) -> str:
        return _first_line("Orthanc", "--version")

    def _configure(self, sink_port: int) -> list[str]:
        path = self.folder / "orthanc.json"
        settings = {
            "StorageDirectory": str(self.folder / "data"),
            "IndexDirectory": str(self.folder / "data"),
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "HttpPort": free_port(),
            "AuthenticationEnabled": False,
            "OverwriteInstances": True,
            "DicomThreadsCount": 8,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {SINK_TITLE: [SINK_TITLE, "127.0.0.1", sink_port]},
        }
        path.write_text(json.dumps(settings))
        return ["Orthanc", str(path)]


class Dcmqrscp(System):
    name = "dcmqrscp"
    program = "dcmqrscp"
    ae_title = "DCMQRSCP"
    scans_index = True

    @classmethod
    def version(cls) -> str:
        return _first_line("dcmqrscp", "--version")

    def _configure(self, sink_port: int) -> list[str]:
        data, path = self.folder / "data", self.folder / "dcmqrscp.cfg"
        data.mkdir()
        path.write_text(f"""
NetworkTCPPort = {self.port}
MaxPDUSize = 131072
MaxAssociations = {MAX_ASSOCIATIONS}
HostTable BEGIN
sink = ({SINK_TITLE}, 127.0.0.1, {sink_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{self.ae_title} {data} RW (20000, 4096mb) ANY
AETable END
""")
        return ["dcmqrscp", "-c", str(path)]


SYSTEMS: tuple[type[System], ...] = (Minipacs, Orthanc, Dcmqrscp)
