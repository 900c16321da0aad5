"""The table of works: what is done to each system, and what figures come of it."""

import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tools.bench import data
from tools.bench.data import LOADS, Load
from tools.bench.systems import FAST, SINK_TITLE, STOCK, BenchError, Minipacs, Process, System, free_port
from tools.bench.wire import (
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    VERIFICATION,
    Wire,
    associate_rq,
    commit_rq,
    find_rq,
)

PARALLEL_SENDERS = 4
RELOAD_INTERVAL_S = 0.5
COMMIT_INTERVAL_S = 0.5
ASSOCIATIONS_TIMED = 30
FINDS_TIMED = 7
IDLE_ASSOCIATIONS = 500
IDLE_MEASURED_S = 5
PROBES = 10_000
PROBES_BEFORE = 1000
"""Opened and closed before memory is first looked at, so that what is allocated once does not count."""
SETTLE_S = 1
CLIENT_TIMEOUT_S = 600

_QUERY_RETRIEVE_LEVEL, _STUDY_INSTANCE_UID = 0x00080052, 0x0020000D
_STUDY_DATE, _PATIENT_ID = 0x00080020, 0x00100020
_RETURNED = (_STUDY_DATE, 0x00080061, 0x00100010, _PATIENT_ID, _STUDY_INSTANCE_UID, 0x00201208)


class NotMeasured(Exception):
    """A work that a system is spared or cannot do, with the reason."""


class Workshop:
    """What works share: the synthetic data, made when first needed, and a sink for what C-MOVE sends."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "loads"
        self.sink_port = free_port()
        command = ["storescp", "--ignore", "--fork", "-aet", SINK_TITLE, "-pdu", "131072", str(self.sink_port)]
        self._sink = Process(command, folder / "sink.log", FAST)
        self._sink.wait_until_listening(self.sink_port)

    def folders(self, load: Load) -> list[str]:
        """Return the folders of a load's studies."""
        data.write(load, self._data)
        return [str(load.folder(self._data, study)) for study in range(load.studies)]

    def close(self) -> None:
        self._sink.stop()


def run_clients(commands: Sequence[Sequence[str]], environment: dict[str, str] = FAST) -> float:
    """Run clients side by side; returns the seconds until the last has ended."""
    quiet = subprocess.DEVNULL
    clients: list[subprocess.Popen[bytes]] = []
    started = time.perf_counter()
    try:
        for command in commands:
            clients.append(subprocess.Popen(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet))
        codes = [client.wait(CLIENT_TIMEOUT_S) for client in clients]
    except subprocess.TimeoutExpired:
        raise BenchError(f"{commands[0][0]} did not end within {CLIENT_TIMEOUT_S} s") from None
    finally:
        for client in clients:
            client.kill()
            client.wait()
    elapsed_s = time.perf_counter() - started
    if any(codes):
        raise BenchError(f"{commands[0][0]} ended with status {max(codes)}")
    return elapsed_s


def _store(shop: Workshop, system: System, load: Load, environment: dict[str, str] = FAST, senders: int = 1) -> float:
    folders = shop.folders(load)
    options = ["-pdu", "131072", "-aec", system.ae_title, "127.0.0.1", str(system.port), "+sd"]
    commands = [["storescu", *options, *folders[k::senders]] for k in range(senders)]
    elapsed_s = run_clients(commands, environment)
    system.stored.add(load.name)
    return elapsed_s


def need(shop: Workshop, system: System, load: Load) -> None:
    """Store a load, untimed, that no work has stored before."""
    if load.name not in system.stored:
        _store(shop, system, load)


def _storing(load_name: str, environment: dict[str, str] = FAST, senders: int = 1) -> "Run":
    def run(shop: Workshop, system: System) -> tuple[float]:
        return (_store(shop, system, LOADS[load_name], environment, senders),)

    return run


def _reload(shop: Workshop, system: System) -> tuple[float]:
    """Store while the configuration is read again and again; an association that is lost fails the work."""
    if not isinstance(system, Minipacs):
        raise NotMeasured("reloads in another way, or not at all")
    over = threading.Event()

    def reload() -> None:
        while not over.wait(RELOAD_INTERVAL_S):
            os.kill(system.process.pid, signal.SIGHUP)

    reloading = threading.Thread(target=reload)
    reloading.start()
    try:
        return (_store(shop, system, LOADS["reload"], senders=PARALLEL_SENDERS),)
    finally:
        over.set()
        reloading.join()


def _commit(shop: Workshop, system: System) -> tuple[float]:
    """Store while another modality asks again and again for the commitment of 1000 objects that are stored."""
    if not isinstance(system, Minipacs):
        raise NotMeasured("not asked")
    safe = LOADS["small"]
    need(shop, system, safe)
    objects = [(data.CT_IMAGE_STORAGE, uid) for uid in safe.sop_instance_uids()]
    over = threading.Event()

    def ask() -> None:
        for n in count(1):
            wire = Wire(system.port)
            wire.associate(associate_rq(system.ae_title, STORAGE_COMMITMENT))
            wire.commit(commit_rq(f"1.2.{n}", objects))
            wire.close()  # nobody waits for the event here
            if over.wait(COMMIT_INTERVAL_S):
                return

    with ThreadPoolExecutor(1) as executor:
        asking = executor.submit(ask)
        try:
            elapsed_s = _store(shop, system, LOADS["committing"])
        finally:
            over.set()
        asking.result()
    return (elapsed_s,)


def _retrieving(load_name: str, client: str, *options: str) -> "Run":
    """Fetch the studies of a load, one request each."""

    def run(shop: Workshop, system: System) -> tuple[float]:
        load = LOADS[load_name]
        need(shop, system, load)
        address = ["-aec", system.ae_title, "127.0.0.1", str(system.port)]
        elapsed_s = 0.0
        for study in range(load.studies):
            keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={load.study_uid(study)}"]
            elapsed_s += run_clients([[client, "-S", *options, *keys, *address]], FAST)
        return (elapsed_s,)

    return run


def _finding(key: dict[int, str], expected: Callable[[int], bool]) -> "Run":
    """Ask at STUDY level, each time over a new association; timed from the request to the final response."""

    def run(shop: Workshop, system: System) -> tuple[float]:
        if system.scans_index:
            raise NotMeasured("not filled: it looks through its whole index at every store")
        need(shop, system, LOADS["index"])
        request = find_rq(STUDY_ROOT_FIND, {**dict.fromkeys(_RETURNED, ""), _QUERY_RETRIEVE_LEVEL: "STUDY", **key})
        times = []
        for _ in range(FINDS_TIMED):
            wire = Wire(system.port)
            wire.associate(associate_rq(system.ae_title, STUDY_ROOT_FIND))
            started = time.perf_counter()
            matches = wire.find(request)
            times.append(time.perf_counter() - started)
            wire.release()
            if not expected(matches):
                raise BenchError(f"{matches} matches are not what is stored")
        return (statistics.median(times) * 1000,)

    return run


def _start(shop: Workshop, system: System) -> tuple[float]:
    return (system.start_s,)


def _associate(shop: Workshop, system: System) -> tuple[float]:
    request = associate_rq(system.ae_title, VERIFICATION)
    times = []
    for _ in range(ASSOCIATIONS_TIMED):
        wire = Wire(system.port)
        started = time.perf_counter()
        wire.associate(request)
        wire.release()
        times.append(time.perf_counter() - started)
    return (statistics.median(times) * 1000,)


def _idle(shop: Workshop, system: System) -> tuple[float, float]:
    request = associate_rq(system.ae_title, VERIFICATION)
    with ExitStack() as stack:
        for _ in range(IDLE_ASSOCIATIONS):
            wire = Wire(system.port, timeout_s=20)
            stack.callback(wire.close)
            wire.associate(request)
        time.sleep(SETTLE_S)
        cpu_s, started = system.process.cpu_s(), time.perf_counter()
        time.sleep(IDLE_MEASURED_S)
        percent = (system.process.cpu_s() - cpu_s) / (time.perf_counter() - started) * 100
        memory_mib = system.process.memory_mib()
    time.sleep(SETTLE_S)
    return percent, memory_mib


def _probes(shop: Workshop, system: System) -> tuple[float]:
    """Open and close connections without a byte, as load balancers and port scanners do."""

    def probe(count: int) -> float:
        for _ in range(count):
            Wire(system.port).close()
        time.sleep(SETTLE_S)
        return system.process.memory_mib()

    before_mib = probe(PROBES_BEFORE)
    return (probe(PROBES) - before_mib,)


Run = Callable[[Workshop, System], tuple[float, ...]]


@dataclass(frozen=True)
class Figure:
    """A number that comes of a work; less is better."""

    name: str
    unit: str
    what: str


@dataclass(frozen=True)
class Work:
    name: str
    run: Run
    figures: tuple[Figure, ...]


def _work(name: str, run: Run, unit: str, what: str) -> Work:
    return Work(name, run, (Figure(name, unit, what),))


_INDEX = LOADS["index"]
_ONE = {_PATIENT_ID: _INDEX.patient_id(777)}
_MONTH = {_STUDY_DATE: f"{_INDEX.year}0101-{_INDEX.year}0131"}
_IN_MONTH = sum(_INDEX.study_date(study).startswith(f"{_INDEX.year}01") for study in range(_INDEX.studies))
_IDLE_FIGURES = (
    Figure("idle500_cpu", "% of a core", "processor time with 500 idle associations"),
    Figure("idle500_memory", "MiB", "proportional set size with 500 idle associations"),
)

WORKS: tuple[Work, ...] = (
    _work("start", _start, "s", "start with an empty store, to the first C-ECHO association"),
    _work("store_large", _storing("large"), "s", "400 CT of 512 KiB, one association"),
    _work("store_small", _storing("small"), "s", "1000 CT of 9 KiB, one association"),
    _work("store_parallel", _storing("parallel", senders=PARALLEL_SENDERS), "s", "1000 CT of 9 KiB, four associations"),
    _work("store_reloaded", _reload, "s", "as store_parallel, with a SIGHUP every half second; none may be lost"),
    _work("store_stock", _storing("stock", STOCK), "s", "100 CT of 9 KiB, storescu as Debian ships it (Nagle on)"),
    _work("get_large", _retrieving("large", "getscu", "--ignore", "-pdu", "131072"), "s", "4 studies of 100 CT, C-GET"),
    _work("move_large", _retrieving("large", "movescu", "-aem", SINK_TITLE), "s", "4 studies of 100 CT, C-MOVE"),
    _work("get_small", _retrieving("small", "getscu", "--ignore"), "s", "10 studies of 100 small CT, C-GET"),
    _work("associate", _associate, "ms", "open and release an association with one context"),
    _work("find_one", _finding(_ONE, lambda n: n == 1), "ms", "C-FIND among 2000 studies, one match by Patient ID"),
    _work(
        "find_month",
        _finding(_MONTH, lambda n: n == _IN_MONTH),
        "ms",
        f"C-FIND, {_IN_MONTH} matches by a month of dates",
    ),
    _work("find_all", _finding({}, lambda n: n >= _INDEX.studies), "ms", "C-FIND, every study"),
    Work("idle500", _idle, _IDLE_FIGURES),
    _work("probes", _probes, "MiB", "growth of memory by 10 000 connections that are closed without a byte"),
    _work("store_committing", _commit, "s", "as store_small, while 1000 objects are committed every half second"),
)
"""In the order in which they are done."""
