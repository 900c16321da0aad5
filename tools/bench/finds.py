"""C-FIND at scale: `./tools/bench/find`. Times queries against indexes of a given number of instances."""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bench.filled_index import Archive, build
from tools.bench.report import machine
from tools.bench.systems import BenchError, Process, free_port
from tools.bench.wire import STUDY_ROOT_FIND, WireError, associate_rq, find_rq, timed_finds

REPETITIONS = 15
AE_TITLE = "MINIPACS"

LEVEL, PATIENT_ID, PATIENT_NAME = 0x00080052, 0x00100020, 0x00100010
STUDY_DATE, ACCESSION_NUMBER, MODALITIES_IN_STUDY = 0x00080020, 0x00080050, 0x00080061
STUDY_UID, SERIES_UID, SOP_INSTANCE_UID = 0x0020000D, 0x0020000E, 0x00080018

_DESCRIBED = (0x00080030, 0x00081030, 0x00100030, 0x00201206, 0x00201208)
RETURNED = {
    "STUDY": (STUDY_DATE, ACCESSION_NUMBER, MODALITIES_IN_STUDY, PATIENT_NAME, PATIENT_ID, STUDY_UID, *_DESCRIBED),
    "SERIES": (STUDY_UID, SERIES_UID, 0x00080060, 0x00200011, 0x0008103E, 0x00201209),
    "IMAGE": (STUDY_UID, SERIES_UID, SOP_INSTANCE_UID, 0x00080016, 0x00200013),
}
"""What a workstation's list asks for, beside the keys it matches."""


@dataclass(frozen=True)
class Find:
    """A query with keys that depend on what is in the index."""

    name: str
    level: str
    keys: Callable[[Archive], dict[int, str]]


FINDS = (
    Find("Patient ID", "STUDY", lambda a: {PATIENT_ID: a.patient_id(a.studies // 2)}),
    Find("exact name", "STUDY", lambda a: {PATIENT_NAME: a.name(a.studies // 2)}),
    Find("name, other case and accents", "STUDY", lambda a: {PATIENT_NAME: "muller0^anna"}),
    Find("name prefix", "STUDY", lambda a: {PATIENT_NAME: a.name(a.studies // 2)[:8] + "*"}),
    Find("date range of a day", "STUDY", lambda a: {STUDY_DATE: f"{a.day(200)}-{a.day(200)}"}),
    Find("date range of a month", "STUDY", lambda a: {STUDY_DATE: "20150101-20150131"}),
    Find("accession number", "STUDY", lambda a: {ACCESSION_NUMBER: a.accession_number(a.studies // 3)}),
    Find("modality and date", "STUDY", lambda a: {MODALITIES_IN_STUDY: "MR", STUDY_DATE: a.day(200)}),
    Find("UID at SERIES", "SERIES", lambda a: {STUDY_UID: a.study_uid(a.studies // 2)}),
    Find(
        "UID at IMAGE",
        "IMAGE",
        lambda a: {STUDY_UID: a.study_uid(a.studies // 2), SERIES_UID: a.series_uid(a.studies // 2, 1)},
    ),
    Find("leading wild card", "STUDY", lambda a: {PATIENT_NAME: "*SSI7^*"}),
    Find("nothing matches", "STUDY", lambda a: {PATIENT_ID: "NOBODY"}),
    Find("everything", "STUDY", lambda a: {}),
)


@dataclass(frozen=True)
class Timing:
    """Medians, in milliseconds: as the client sees it, and as the server's log says."""

    find: str
    matches: int
    first_ms: float
    client_ms: float
    server_ms: float


class Server:
    """An archive over a storage folder that is there already; `more` are settings."""

    def __init__(self, storage: Path, folder: Path, more: str = "") -> None:
        self.port = free_port()
        self._log = folder / "log"
        config = folder / "minipacs.toml"
        config.write_text(f"""
[ae]
port = {self.port}
[storage]
path = "{storage}"
min_free_bytes = 0
[metrics]
port = 0
[log]
format = "json"
{more}""")
        self.process = Process([sys.executable, "-m", "minipacs", "serve", "--config", str(config)], self._log, {})
        self.process.wait_until_serving(self.port, AE_TITLE)

    def durations_s(self) -> list[float]:
        """Return how long each C-FIND so far took inside the server."""
        lines = (json.loads(line) for line in self._log.read_text().splitlines() if '"C-FIND"' in line)
        return [line["duration_s"] for line in lines]


def measure(archive: Archive, server: Server) -> Iterator[Timing]:
    for find in FINDS:
        keys = {**dict.fromkeys(RETURNED[find.level], ""), LEVEL: find.level, **find.keys(archive)}
        request = find_rq(STUDY_ROOT_FIND, keys)
        first, whole, matches = timed_finds(server.port, associate_rq(AE_TITLE, STUDY_ROOT_FIND), request, REPETITIONS)
        inside = server.durations_s()[-REPETITIONS:]
        medians = (statistics.median(times) * 1000 for times in (first, whole, inside))
        yield Timing(find.name, matches, *medians)


def report(archive: Archive, storage: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="minipacs-find-") as name:
        server = Server(storage, Path(name))
        try:
            before_mib = server.process.memory_mib()
            timings = list(measure(archive, server))
            after_mib = server.process.memory_mib()
        finally:
            server.process.stop()
    print(f"\n{archive.instances} instances, {archive.studies} studies; medians of {REPETITIONS}\n")
    print("| query | answers | first ms | final ms | inside ms | answers/s |")
    print("|---|---|---|---|---|---|")
    for t in timings:
        rate = f"{t.matches / t.client_ms * 1000:.0f}" if t.matches >= 1000 else ""
        print(f"| {t.find} | {t.matches} | {t.first_ms:.2f} | {t.client_ms:.2f} | {t.server_ms:.2f} | {rate} |")
    print(f"\nMemory: {before_mib:.0f} MiB before, {after_mib:.0f} MiB after.")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/find", description=__doc__)
    parser.add_argument("--instances", default="100000,1000000", help="sizes of the indexes (100000,1000000)")
    parser.add_argument("--folder", type=Path, help="keeps the indexes, which take minutes to build, for the next run")
    arguments = parser.parse_args()
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    try:
        with tempfile.TemporaryDirectory(prefix="minipacs-find-") as temporary:
            for size in map(int, arguments.instances.split(",")):
                archive, storage = Archive(size), (arguments.folder or Path(temporary)) / str(size)
                if not storage.exists():
                    build(archive, storage)
                report(archive, storage)
    except (BenchError, WireError, OSError, ValueError) as error:
        print(f"find: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
