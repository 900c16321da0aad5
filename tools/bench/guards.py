"""What guarding costs: `./tools/bench/guard`. The audit trail, users, TLS that is idle, and plain associations.

Two archives, or two ways to call one, are asked the same in turn, one operation here and one there, so that whatever
disturbs the machine disturbs both.
"""

import argparse
import io
import select
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from minipacs.net.identity import users
from tests.support import wire as dimse
from tests.support.finder import Finder, identifier
from tests.support.objects import ct, encode
from tests.support.retriever import STUDY_GET, Retriever
from tests.support.sender import Sender
from tests.support.wire import CT, EXPLICIT, VERIFICATION, Wire
from tools.bench.encrypted import Files
from tools.bench.report import machine
from tools.bench.systems import FAST, MAX_ASSOCIATIONS, BenchError, Process, free_port
from tools.bench.works import IDLE_ASSOCIATIONS, IDLE_MEASURED_S, SETTLE_S

HERE = Path(__file__).parent.parent.parent
AE_TITLE = "BENCH"
BEFORE_TLS = "e928472"
"""The last commit without TLS and users."""
USER, PASSCODE = b"anna", b"right"
GUESSES = (1, 100)
REJECTED = 3
PAIRS = 6
WARM_UP = 20
PLACEHOLDER = "2.25." + "1" * 30
ECHO = dimse.message(1, dimse.command(0x30, VERIFICATION))


class Archive:
    """One that runs, of the code in `code`; `more` are lines of its configuration."""

    def __init__(self, folder: Path, more: str = "", code: Path = HERE) -> None:
        folder.mkdir()
        self.data = folder / "data"
        self.port = free_port()
        path = folder / "minipacs.toml"
        path.write_text(f"""
[ae]
title = "{AE_TITLE}"
port = {self.port}
max_associations = {MAX_ASSOCIATIONS}
[storage]
path = "data"
min_free_bytes = 0
[metrics]
port = 0
{more}
""")
        command = [sys.executable, "-m", "minipacs", "serve", "--config", str(path)]
        self.process = Process(command, folder / "log", {**FAST, "PYTHONPATH": str(code)})
        self.process.wait_until_serving(self.port, AE_TITLE)

    def close(self) -> None:
        """End it."""
        self.process.stop()


@dataclass
class Side:
    """One of two that are compared: the seconds that each operation took, and the processor's, if they are apart."""

    times: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    operations: int = 0

    def median_ms(self) -> float:
        return statistics.median(self.times) * 1000

    def p99_ms(self) -> float:
        return statistics.quantiles(self.times, n=100)[-1] * 1000

    def cpu_ms(self) -> str:
        return f"{self.cpu_s * 1000 / self.operations:.3f}" if self.operations else "-"


Operation = Callable[[], object]


def alternate(sides: Sequence[Side], operations: Sequence[Operation], count: int) -> None:
    """Do both operations in turn, another one first each time."""
    for number in range(WARM_UP + count):
        for which in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            operations[which]()
            if number >= WARM_UP:
                sides[which].times.append(time.perf_counter() - started)


def tell(what: str, sides: Sequence[Side]) -> None:
    """Print a row of the table."""
    one, other = sides
    low, middle, high = more_ms(one, other)
    figures = f"{one.median_ms():.2f} | {other.median_ms():.2f} | {middle:+.3f} ({low:+.3f} to {high:+.3f})"
    late = f"{other.p99_ms() - one.p99_ms():+.2f}"
    print(f"| {what} | {figures} | {late} | {one.cpu_ms()} | {other.cpu_ms()} |", flush=True)


def more_ms(one: Side, other: Side) -> tuple[float, float, float]:
    """Return the median of what the other took longer, operation by operation, within its 95 % interval.

    The interval is that of the sign test, between two of the differences: it assumes nothing of how they are spread.
    """
    differences = sorted((late - early) * 1000 for early, late in zip(one.times, other.times, strict=True))
    count = len(differences)
    aside = max(int(count / 2 - 0.98 * count**0.5), 0)
    return differences[aside], statistics.median(differences), differences[-1 - aside]


def header(names: tuple[str, str]) -> None:
    """Begin a table."""
    one, other = names
    print(f"| operation | {one}, ms | {other}, ms | more, ms (95 %) | more at the 99th percentile, ms |", end="")
    print(" processor, ms | the other's, ms |\n|---|---|---|---|---|---|---|")


def associate(port: int, item: bytes = b"") -> Operation:
    """Return what opens an association and releases it."""
    user = dimse.user_information(16384, item)

    def run() -> None:
        with Wire(port) as wire:
            wire.accepted(user=user)
            wire.release()

    return run


class Client:
    """One that keeps an association of each kind open."""

    def __init__(self, port: int, rows: int = 64) -> None:
        self._port = port
        self._echoer = Wire(port)
        self._echoer.accepted()
        self._sender, self._finder = Sender(port), Finder(port)
        held = ct(rows)
        self._study = str(held.StudyInstanceUID)
        self._sender.store(held)
        self._getter = Retriever(port, STUDY_GET, (CT, EXPLICIT))
        self._new = encode(ct(rows, SOPInstanceUID=PLACEHOLDER))
        self._held = encode(held), held.SOPInstanceUID
        self._keys = identifier({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": self._study, "PatientID": ""})
        self._number = 0

    def associate(self) -> None:
        associate(self._port)()

    def echo(self) -> None:
        self._echoer.send(ECHO)
        _need(self._echoer.response().status, 0)

    def store(self) -> None:
        """Store a new object."""
        self._number += 1
        uid = f"2.25.{10**29 + self._number}"
        data = self._new.replace(PLACEHOLDER.encode(), uid.encode())
        _need(self._sender.store_bytes(data, CT, uid).status, 0)

    def store_again(self) -> None:
        """Store what is there."""
        data, uid = self._held
        _need(self._sender.store_bytes(data, CT, uid).status, 0)

    def find(self) -> None:
        _need(len(self._finder.find_bytes(self._keys).answers), 1)

    def get(self) -> None:
        _need(len(self._getter.run("STUDY", study=self._study).received), 1)

    def close(self) -> None:
        for wire in (self._echoer, self._sender, self._finder, self._getter):
            wire.release()


OPERATIONS = ("associate", "echo", "store", "store_again", "find", "get")


def _need(found: object, expected: object) -> None:
    if found != expected:
        raise BenchError(f"an operation gave {found}, not {expected}")


def pairs(
    makes: Sequence[Callable[[int], Archive]], names: tuple[str, str], operations: Sequence[str], count: int
) -> None:
    """Compare what two archives take for the same, several pairs of them: each has its luck with the disk."""
    found = {operation: (Side(), Side()) for operation in operations}
    for number in range(PAIRS):
        with ExitStack() as stack:
            order = (0, 1) if number % 2 else (1, 0)
            archives = {which: stack.enter_context(closing(makes[which](number))) for which in order}
            clients = [stack.enter_context(closing(Client(archives[which].port))) for which in (0, 1)]
            for operation, sides in found.items():
                each = -(-count // PAIRS)
                before_s = [archives[which].process.cpu_s() for which in (0, 1)]
                alternate(sides, [getattr(client, operation) for client in clients], each)
                for which, side in enumerate(sides):
                    side.cpu_s += archives[which].process.cpu_s() - before_s[which]
                    side.operations += WARM_UP + each
    header(names)
    for operation, sides in found.items():
        tell(operation.replace("_", " "), sides)


def audit(folder: Path, count: int) -> None:
    """What the audit trail costs, with queries, into a file."""
    more = '[audit]\nfile = "audit.log"'
    makes = lambda n: Archive(folder / f"off{n}"), lambda n: Archive(folder / f"on{n}", more)
    pairs(makes, ("no audit", "audit"), OPERATIONS, count)


def identity(folder: Path, count: int) -> None:
    """What a user whose passcode is remembered costs an association."""
    with closing(Archive(folder / "users", '[access]\nidentity = "check"')) as archive:
        users.add(archive.data / "users", USER.decode(), PASSCODE, ["echo"])
        header(("no user", "a remembered user"))
        sides, named = (Side(), Side()), associate(archive.port, dimse.identity(2, USER, PASSCODE))
        alternate(sides, (associate(archive.port), named), count)
        tell("associate", sides)


def guesses(folder: Path, count: int) -> None:
    """How long an echo takes while wrong passcodes are checked, all of them sent at once."""
    print("| guesses at once | answered within, s | echoes | median, ms | longest, ms | memory, MiB more |")
    print("|---|---|---|---|---|---|")
    with closing(Archive(folder / "users", '[access]\nidentity = "check"')) as archive:
        users.add(archive.data / "users", USER.decode(), PASSCODE, ["echo"])
        echo = Client(archive.port)
        for at_once in GUESSES:
            before_mib, times = archive.process.memory_mib(), []
            with ExitStack() as stack:
                wires = [stack.enter_context(Wire(archive.port, timeout_s=60)) for _ in range(at_once)]
                began = time.perf_counter()
                for number, wire in enumerate(wires):
                    item = dimse.identity(2, USER, b"guess %d" % number)
                    wire.send(dimse.associate_rq(user=dimse.user_information(16384, item), calling=b"G%d" % number))
                waiting = {wire.socket: wire for wire in wires}
                most_mib = 0.0
                while waiting:
                    started = time.perf_counter()
                    echo.associate()
                    times.append(time.perf_counter() - started)
                    for sock in select.select(list(waiting), [], [], 0)[0]:
                        _need(waiting.pop(sock).pdu()[0], REJECTED)
                    most_mib = max(most_mib, archive.process.memory_mib())
                within_s = time.perf_counter() - began
            figures = f"{statistics.median(times) * 1000:.1f} | {max(times) * 1000:.1f} | {most_mib - before_mib:.0f}"
            print(f"| {at_once} | {within_s:.1f} | {len(times)} | {figures} |", flush=True)


def plain(folder: Path, count: int) -> None:
    """What associations without TLS cost, now and before there was any."""
    before = folder / "before"
    before.mkdir()
    packed = subprocess.run(["git", "-C", str(HERE), "archive", BEFORE_TLS], capture_output=True, check=False)
    if packed.returncode:
        raise BenchError(f"commit {BEFORE_TLS} is not here: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(before, filter="data")
    makes = lambda n: Archive(folder / f"old{n}", code=before), lambda n: Archive(folder / f"new{n}")
    pairs(makes, (f"commit {BEFORE_TLS}", "now"), ("associate", "echo", "store_again", "find"), count)


def idle(folder: Path, count: int) -> None:
    """What associations cost that do nothing, plain and with TLS; memory is the proportional set size."""
    files = Files.make(folder)
    port = free_port()
    more = f'[tls]\nport = {port}\ncertificate = "{files.certificate}"\nkey = "{files.key}"\nca = "{files.ca}"'
    print(f"| {IDLE_ASSOCIATIONS} idle | memory, KiB each | processor, % of a core |\n|---|---|---|")
    for name in ("plain", "TLS"):
        with closing(Archive(folder / name, more)) as archive, ExitStack() as stack:
            wires = (Wire(archive.port) if name == "plain" else files.wire(port) for _ in range(IDLE_ASSOCIATIONS))
            associate(archive.port)()
            time.sleep(SETTLE_S)
            before_mib = archive.process.memory_mib()
            for wire in wires:
                stack.enter_context(wire)
                wire.accepted()
            time.sleep(SETTLE_S)
            cpu_s, started = archive.process.cpu_s(), time.perf_counter()
            time.sleep(IDLE_MEASURED_S)
            percent = (archive.process.cpu_s() - cpu_s) / (time.perf_counter() - started) * 100
            each_kib = (archive.process.memory_mib() - before_mib) * 1024 / IDLE_ASSOCIATIONS
            print(f"| {name} | {each_kib:.0f} | {percent:.2f} |", flush=True)


WORKS = {"audit": audit, "identity": identity, "guesses": guesses, "plain": plain, "idle": idle}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/guard", description=__doc__)
    parser.add_argument("--work", choices=WORKS, nargs="*", default=list(WORKS), help="which (all)")
    parser.add_argument("--count", type=int, default=1000, help="operations of each kind on each side (1000)")
    parser.add_argument("--folder", type=Path, help="where data goes meanwhile: a disk like the real one's")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    try:
        for name in arguments.work:
            print(f"\n{name}: {WORKS[name].__doc__}\n")
            with tempfile.TemporaryDirectory(prefix="minipacs-guard-", dir=arguments.folder) as folder:
                WORKS[name](Path(folder), arguments.count)
    except (BenchError, AssertionError, EOFError, OSError) as error:
        print(f"guard: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
