"""What TLS costs: `./tools/bench/tls`. Stores over it beside plain ones, here and at dcmtk's storescp, in one run."""

import argparse
import json
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.support.site import TlsWire
from tools.bench import data
from tools.bench.data import LOADS
from tools.bench.link import Link, slow_link
from tools.bench.report import machine
from tools.bench.systems import FAST, BenchError, Process, free_port

AE_TITLE = "BENCH"
LOAD_NAMES = ("large", "small", "stock")
CLIENT_TIMEOUT_S = 300


@dataclass(frozen=True)
class Files:
    """A CA, and a certificate of it that everybody shows."""

    certificate: Path
    key: Path
    ca: Path

    @classmethod
    def make(cls, folder: Path) -> "Files":
        made = cls(folder / "us.pem", folder / "us.key", folder / "ca.pem")
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=CA", "-keyout", folder / "ca.key",
                 "-out", made.ca)  # fmt: skip
        request = folder / "us.csr"
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=US", "-keyout", made.key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", made.ca, "-CAkey", folder / "ca.key", "-CAcreateserial",
                 "-out", made.certificate)  # fmt: skip
        return made

    def wire(self, port: int) -> TlsWire:
        """Return a connection through TLS."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.check_hostname = False
        context.load_cert_chain(self.certificate, self.key)
        return TlsWire(port, context)

    @property
    def options(self) -> list[str]:
        """Return what makes a program of dcmtk speak TLS."""
        return ["+tls", str(self.key), str(self.certificate), "+cf", str(self.ca)]


def _openssl(*arguments: object) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl {arguments[0]}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Receiver:
    """Somebody who takes objects, at a port that is plain or not."""

    name: str
    process: Process
    port: int
    link: Link
    options: tuple[str, ...] = ()

    def store(self, folder: Path) -> tuple[float, float]:
        """Send all objects below a folder over one association; returns seconds, and those of the processor there."""
        address = ["-pdu", "131072", "-aec", AE_TITLE, self.link.address, str(self.port)]
        cpu_s, started = self.process.cpu_s(), time.perf_counter()
        done = subprocess.run(
            [*self.link.prefix, "storescu", *self.options, *address, "+sd", "+r", str(folder)],
            env=FAST,
            capture_output=True,
            timeout=CLIENT_TIMEOUT_S,
            check=False,
        )
        elapsed_s = time.perf_counter() - started
        if done.returncode:
            raise BenchError(f"storescu to {self.name} ended with status {done.returncode}")
        return elapsed_s, self.process.cpu_s() - cpu_s


def minipacs(folder: Path, files: Files, link: Link) -> list[Receiver]:
    plain, encrypted = free_port(), free_port()
    path = folder / "minipacs.toml"
    path.write_text(f"""
[ae]
title = "{AE_TITLE}"
port = {plain}
bind = {json.dumps(list(dict.fromkeys(["127.0.0.1", link.address])))}
[access]
policy = "open"
[storage]
path = "data"
min_free_bytes = 0
[metrics]
port = 0
[tls]
port = {encrypted}
certificate = "{files.certificate}"
key = "{files.key}"
ca = "{files.ca}"
""")
    process = Process([sys.executable, "-m", "minipacs", "serve", "--config", str(path)], folder / "log", FAST)
    process.wait_until_serving(plain, AE_TITLE)
    return [
        Receiver("minipacs, plain", process, plain, link),
        Receiver("minipacs, TLS", process, encrypted, link, tuple(files.options)),
    ]


def storescp(folder: Path, files: Files, link: Link, *, is_encrypted: bool) -> Receiver:
    port, options = free_port(), files.options if is_encrypted else []
    command = ["storescp", "--ignore", "-aet", AE_TITLE, "-pdu", "131072", *options, str(port)]
    name = f"storescp, {'TLS' if is_encrypted else 'plain'}"
    process = Process(command, folder / f"{port}.log", FAST)
    process.wait_until_listening(port)
    return Receiver(name, process, port, link, tuple(options))


def measure(receivers: list[Receiver], folder: Path, load_names: Sequence[str], reps: int) -> None:
    """Print medians: every receiver in each repetition, another one first each time; what is new is stored before."""
    print("| load | receiver | wall s | least | CPU s there | wall, of plain | least, of plain | CPU, of plain |")
    print("|---|---|---|---|---|---|---|---|")
    for load_name in load_names:
        load = LOADS[load_name]
        data.write(load, folder)
        objects = load.folder(folder, 0).parent
        receivers[0].store(objects)
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for rep in range(reps):
            first = rep % len(receivers)
            for receiver in receivers[first:] + receivers[:first]:
                found[receiver.name].append(receiver.store(objects))
        figures = {name: _figures(values) for name, values in found.items()}
        for index, receiver in enumerate(receivers):
            ours, plain = figures[receiver.name], figures[receivers[index - index % 2].name]
            ratios = " | ".join(f"{one / other:.2f}" if other else "-" for one, other in zip(ours, plain, strict=True))
            print(f"| {load_name} | {receiver.name} | {' | '.join(f'{one:.2f}' for one in ours)} | {ratios} |")


def _figures(values: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the median and the least of wall times, and the median of processor times: others only add to them."""
    walls, cpus = zip(*values, strict=True)
    return statistics.median(walls), min(walls), statistics.median(cpus)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/tls", description=__doc__)
    parser.add_argument("--reps", type=int, default=5, help="repetitions (5)")
    parser.add_argument("--load", choices=LOAD_NAMES, nargs="*", default=LOAD_NAMES, help="which objects (all)")
    parser.add_argument("--link", action="store_true", help="over a line of 1 Gbit/s, which root makes for it")
    parser.add_argument("--folder", type=Path, help="where data and stores go meanwhile")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    print(f"Stores of what is there already, medians of {arguments.reps}\n")
    started: list[Receiver] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="minipacs-tls-", dir=arguments.folder) as name,
            slow_link() if arguments.link else nullcontext(Link()) as link,
        ):
            folder = Path(name)
            files = Files.make(folder)
            try:
                started += minipacs(folder, files, link)
                started += [storescp(folder, files, link, is_encrypted=encrypted) for encrypted in (False, True)]
                measure(started, folder / "loads", arguments.load, arguments.reps)
            finally:
                for process in {receiver.process for receiver in started}:
                    process.stop()
    except (BenchError, OSError, subprocess.TimeoutExpired) as error:
        print(f"tls: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
