"""The worklist at scale: `./tools/bench/worklist`. Times queries to their first and to their last answer."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools.bench.finds import AE_TITLE, REPETITIONS, Server
from tools.bench.report import machine
from tools.bench.systems import BenchError
from tools.bench.wire import MODALITY_WORKLIST, WireError, associate_rq, find_rq, timed_finds

STEP, STATION, DATE, MODALITY, STEP_ID = 0x00400100, 0x00400001, 0x00400002, 0x00080060, 0x00400009
NAME, PATIENT_ID, STUDY_UID, ACCESSION_NUMBER = 0x00100010, 0x00100020, 0x0020000D, 0x00080050
STATIONS = 10

QUERIES: tuple[tuple[str, dict[int, str], dict[int, str]], ...] = (
    ("station and day", {}, {STATION: "STATION3", DATE: "20240104"}),
    ("day", {}, {DATE: "20240104"}),
    ("station", {}, {STATION: "STATION3"}),
    ("modality", {}, {MODALITY: "MR"}),
    ("Patient ID", {PATIENT_ID: "P777"}, {}),
    ("name prefix", {NAME: "name77*"}, {}),
    ("leading wild card, no index", {NAME: "*77^*"}, {}),
    ("station without steps", {}, {STATION: "NOWHERE"}),
    ("everything", {}, {}),
)
"""Name; keys at the top; keys of the step."""


def requests(count: int) -> Iterator[dict[str, object]]:
    for n in range(count):
        step = {
            "ScheduledStationAETitle": f"STATION{n % STATIONS}",
            "ScheduledProcedureStepStartDate": f"202401{n // STATIONS % 28 + 1:02}",
            "ScheduledProcedureStepStartTime": f"{n % 24:02}30",
            "Modality": "CT" if n % 3 else "MR",
            "ScheduledProcedureStepID": f"S{n}",
        }
        person = {"PatientName": f"Name{n}^Given", "PatientID": f"P{n}", "AccessionNumber": f"A{n}"}
        yield {**person, "ScheduledProcedureStepSequence": [step]}


def fill(folder: Path, storage: Path, count: int) -> float:
    """Import the steps; returns the seconds it took."""
    (folder / "requests.json").write_text(json.dumps(list(requests(count))))
    (folder / "import.toml").write_text(f'[storage]\npath = "{storage}"\n')
    started = time.perf_counter()
    command = [sys.executable, "-m", "minipacs", "worklist", "import", "--config", str(folder / "import.toml")]
    subprocess.run([*command, str(folder / "requests.json")], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure(server: Server) -> None:
    print("| query | answers | first ms | final ms |\n|---|---|---|---|")
    for name, top, step in QUERIES:
        keys = {**dict.fromkeys((NAME, PATIENT_ID, STUDY_UID, ACCESSION_NUMBER), ""), **top}
        asked = {**dict.fromkeys((STATION, DATE, MODALITY, STEP_ID), ""), **step}
        request = find_rq(MODALITY_WORKLIST, keys, {STEP: asked})
        opening = associate_rq(AE_TITLE, MODALITY_WORKLIST)
        first, whole, matches = timed_finds(server.port, opening, request, REPETITIONS)
        print(f"| {name} | {matches} | {statistics.median(first) * 1000:.2f} | {statistics.median(whole) * 1000:.2f} |")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/worklist", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000, help="length of the worklist (10000)")
    arguments = parser.parse_args()
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    try:
        with tempfile.TemporaryDirectory(prefix="minipacs-worklist-") as name:
            folder = Path(name)
            elapsed_s = fill(folder, folder / "data", arguments.steps)
            print(f"{arguments.steps} steps imported in {elapsed_s:.1f} s; medians of {REPETITIONS}\n")
            server = Server(folder / "data", folder)
            try:
                measure(server)
            finally:
                server.process.stop()
    except (BenchError, WireError, OSError, subprocess.CalledProcessError) as error:
        print(f"worklist: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
