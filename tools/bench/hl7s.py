"""Messages of HL7: `./tools/bench/hl7`. Times orders on one connection, and a merge, to their acknowledgements."""

import argparse
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tools.bench.filled_index import Archive, build
from tools.bench.finds import Server
from tools.bench.report import machine
from tools.bench.systems import BenchError, free_port

SEPARATOR, END = b"\x0b", b"\x1c\r"
TIMEOUT_S = 60
WARM_UP = 1000
"""Orders before memory is first looked at, so that what is allocated once does not count."""
MERGES = 5
STUDY_INSTANCES = 50


@dataclass(frozen=True)
class OnePatient(Archive):
    """All studies but the last are of one patient."""

    def person(self, study: int) -> int:
        return 0 if study < self.studies - 1 else study


class Ris:
    """A connection to the archive's HL7 port."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._sock.settimeout(TIMEOUT_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._count = 0

    def send(self, kind: str, *segments: str) -> float:
        """Send a message; returns the seconds until it was accepted."""
        self._count += 1
        head = f"MSH|^~\\&|RIS|HOSP|||20260101||{kind}|B{self._count}|P|2.5"
        message = "\r".join([head, *segments, ""]).encode()
        started = time.perf_counter()
        self._sock.sendall(SEPARATOR + message + END)
        answer = b""
        while not answer.endswith(END):
            piece = self._sock.recv(65536)
            if not piece:
                raise BenchError("the archive hung up")
            answer += piece
        if b"MSA|AA|" not in answer:
            raise BenchError(f"not accepted: {answer!r}")
        return time.perf_counter() - started

    def order(self, number: int) -> float:
        return self.send(
            "ORM^O01",
            f"PID|||O{number}^^^HOSP||Name{number}^Given||19700101|F",
            f"ORC|NW|P{number}|F{number}||SC||^^^202601011000^^R",
            f"OBR|1|||CTH^CT head^L||||||||||||||A{number}|R{number}|S{number}||||CT",
        )


def orders(ris: Ris, server: Server, count: int) -> None:
    for number in range(WARM_UP):
        ris.order(number)
    before_mib, started = server.process.memory_mib(), time.perf_counter()
    times = [ris.order(WARM_UP + number) for number in range(count)]
    elapsed_s, after_mib = time.perf_counter() - started, server.process.memory_mib()
    median_ms = statistics.median(times) * 1000
    print(f"{count} orders on one connection: {elapsed_s:.1f} s, median {median_ms:.2f} ms, longest {max(times):.2f} s")
    print(f"memory of all processes: {before_mib:.0f} MiB before, {after_mib:.0f} MiB after")


def merges(ris: Ris, archive: Archive) -> None:
    """Merge the patient back and forth under new IDs: each merge is of all objects."""
    names = [archive.patient_id(0), archive.patient_id(archive.studies - 1), *(f"NEW{n}" for n in range(MERGES - 1))]
    times = [
        ris.send("ADT^A40", f"PID|||{survivor}||Name^Given||19700101|F", f"MRG|{prior}")
        for prior, survivor in pairwise(names)
    ]
    shown = ", ".join(f"{each:.2f}" for each in times)
    print(f"merge of a patient with {archive.instances - STUDY_INSTANCES} objects, {len(times)} times: {shown} s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/hl7", description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000, help="how many are timed (10000)")
    parser.add_argument("--instances", type=int, default=10_000, help="of the patient that is merged (10000)")
    arguments = parser.parse_args()
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    archive = OnePatient(arguments.instances + STUDY_INSTANCES)
    try:
        with tempfile.TemporaryDirectory(prefix="minipacs-hl7-") as name:
            folder = Path(name)
            build(archive, folder / "data")
            port = free_port()
            station = f'[hl7]\nport = {port}\n[[station]]\ntitle = "CT1"\nmodality = "CT"\n'
            server = Server(folder / "data", folder, station)
            try:
                ris = Ris(port)
                merges(ris, archive)
                orders(ris, server, arguments.orders)
            finally:
                server.process.stop()
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
