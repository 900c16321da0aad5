"""DICOMweb: `./tools/bench/web`. Searches, retrievals and stores, beside Orthanc's plugin; with `--dimse`, what web
processes that have nothing to do cost the DIMSE side.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from tools.bench import data
from tools.bench.data import LOADS, Load
from tools.bench.http_wire import Http
from tools.bench.runner import run
from tools.bench.systems import BenchError, Minipacs, Orthanc, System, free_port
from tools.bench.works import WORKS, Figure, NotMeasured, Run, Work, Workshop, need

TIMES = 7
"""That a request is timed; the median counts."""
FRAMES_CONNECTIONS = 6
ONE_STUDY_REQUESTS = 100
UPLOADS = 6
UPLOAD_OBJECTS = 1000
HUGE_BYTES = 2 << 30
ANSWER_BYTES = 4 << 20
PIECE_BYTES = 1 << 20
PARTS = 'multipart/related; type="application/dicom"'
BOUNDARY = "1df56be1c14e45bba3a9a4ff2aeb5d4c"
CONTENT_TYPE = f"{PARTS}; boundary={BOUNDARY}"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
DIMSE_WORKS = ("store_large", "store_small", "store_parallel", "get_large", "move_large", "associate", "find_one",
               "find_all")  # fmt: skip


class MinipacsOverHttp(Minipacs):
    """Ours, with web processes; `more` are further settings of theirs."""

    name = "minipacs"
    more = ""

    def _configure(self, sink_port: int) -> list[str]:
        command = super()._configure(sink_port)
        self.web_port = free_port()
        with (self.folder / "minipacs.toml").open("a") as file:
            file.write(f'[web]\nport = {self.web_port}\nanonymous = ["read", "store"]\n{self.more}')
        return command


class MinipacsBesideHttp(MinipacsOverHttp):
    """The same, by another name."""

    name = "minipacs with [web]"


class OrthancOverHttp(Orthanc):
    """Orthanc with its plugin for DICOMweb."""

    @classmethod
    def is_installed(cls) -> bool:
        return super().is_installed() and PLUGIN.exists()

    def _configure(self, sink_port: int) -> list[str]:
        command = super()._configure(sink_port)
        self.web_port = free_port()
        path = self.folder / "orthanc.json"
        more = {
            "HttpPort": self.web_port,
            "KeepAlive": True,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
        return command


def _path(load: Load, *parts: str) -> str:
    return "/".join(["/dicom-web/studies", load.study_uid(0), *parts])


def _series(load: Load, *parts: str) -> str:
    return _path(load, "series", load.series_uid(0, 0), *parts)


def _connected(system: System) -> "closing[Http]":
    port: int = system.web_port  # type: ignore[attr-defined]
    return closing(Http(port))


class _Processor:
    """What the processes of a system use of the processors from now on."""

    def __init__(self, system: System) -> None:
        self._process = system.process
        self._before_s = self._process.cpu_s()

    def ms(self, times: int = 1) -> float:
        """Return it for each of so many times."""
        return (self._process.cpu_s() - self._before_s) * 1000 / times


def _timed(load: Load, path: str, accept: str, check: Callable[[bytes], bool], *, first: bool = False) -> Run:
    """Fetch a path, once before it counts."""

    def fetch(shop: Workshop, system: System) -> tuple[float, ...]:
        need(shop, system, load)
        times: list[tuple[float, float]] = []
        with _connected(system) as http:
            processor = _Processor(system)
            for _ in range(TIMES + 1):
                body = http.get(path, accept)
                times.append((http.whole_s * 1000, http.first_s * 1000))
            cpu_ms = processor.ms(len(times))
            if not check(bytes(body)):
                raise BenchError(f"the {len(body)} bytes of the answer are not what is stored")
        whole_ms, first_ms = (statistics.median(column) for column in zip(*times[1:], strict=True))
        return (whole_ms, cpu_ms, first_ms) if first else (whole_ms, cpu_ms)

    return fetch


def _one_study(shop: Workshop, system: System) -> tuple[float, float]:
    """Ask for one study after the other, as worklists of viewers do."""
    load = LOADS["index"]
    need(shop, system, load)
    with _connected(system) as http:
        total_s, processor = 0.0, _Processor(system)
        for study in range(ONE_STUDY_REQUESTS):
            found = json.loads(bytes(http.get(f"/dicom-web/studies?PatientID={load.patient_id(7 * study)}")))
            total_s += http.whole_s
            if len(found) != 1:
                raise BenchError(f"{len(found)} matches are not what is stored")
    return total_s * 1000, processor.ms()


def _frames(connections: int) -> Run:
    """Fetch the only frame of each of 100 instances."""

    def fetch(shop: Workshop, system: System) -> tuple[float, float]:
        load = LOADS["web"]
        need(shop, system, load)
        paths = [_series(load, "instances", uid, "frames", "1") for uid in load.sop_instance_uids()]
        frame_bytes = load.rows**2 * 2

        def some(http: Http, own: list[str]) -> None:
            for path in own:
                body = http.get(path, 'multipart/related; type="application/octet-stream"; transfer-syntax=*')
                if not frame_bytes < len(body) < frame_bytes + 1024:
                    raise BenchError(f"a part of {len(body)} bytes is no frame")

        port: int = system.web_port  # type: ignore[attr-defined]
        https = [Http(port, bytearray(2 << 20)) for _ in range(connections)]
        times, processor = [], _Processor(system)
        with ThreadPoolExecutor(connections) as executor:
            for _ in range(TIMES):
                started = time.perf_counter()
                list(executor.map(some, https, [paths[k::connections] for k in range(connections)]))
                times.append((time.perf_counter() - started) * 1000)
        for http in https:
            http.close()
        return statistics.median(times), processor.ms(TIMES)

    return fetch


def _stow(shop: Workshop, system: System) -> tuple[float, float]:
    """Store what is new, in one request."""
    load = LOADS["web"]
    files = [path.read_bytes() for path in sorted(Path(shop.folders(load)[0]).glob("*.dcm"))]
    body = b"".join(_multipart(files))
    with _connected(system) as http:
        processor = _Processor(system)
        answer = http.post("/dicom-web/studies", CONTENT_TYPE, [body], len(body))
        cpu_ms = processor.ms()
        if len(json.loads(bytes(answer))["00081199"]["Value"]) != load.objects:
            raise BenchError("not all of the objects were stored")
        system.stored.add(load.name)
        return http.whole_s * 1000, cpu_ms


def _multipart(files: Iterable[bytes]) -> Iterator[bytes]:
    for file in files:
        yield f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def _uploads(shop: Workshop, system: System) -> tuple[float]:
    """Store 500 MiB in each of six requests at once, and look at how large one process has become."""
    _only_ours(system)
    load = Load("uploads", studies=UPLOADS, series=1, instances=UPLOAD_OBJECTS, rows=512, year=2016)

    def upload(study: int) -> None:
        files = (data.encode(load, study, 0, instance) for instance in range(load.instances))
        with closing(Http(system.web_port, bytearray(ANSWER_BYTES))) as http:  # type: ignore[attr-defined]
            http.post("/dicom-web/studies", CONTENT_TYPE, _multipart(files))

    system.process.forget_peaks()
    with ThreadPoolExecutor(UPLOADS) as executor:
        list(executor.map(upload, range(UPLOADS)))
    return (max(system.process.peaks_mib().values()),)


def _huge(shop: Workshop, system: System) -> tuple[float, float]:
    """Store an object of 2 GiB and fetch it; by how much has the process grown that did it?"""
    _only_ours(system)
    rows = 1024
    path = system.folder / "huge.dcm"
    with path.open("wb") as file:
        data.write_multi_frame(file, rows, HUGE_BYTES // (rows * rows * 2), 16)

    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from iter(partial(file.read, PIECE_BYTES), b"")

    with _connected(system) as http:
        stored = _growth_mib(system, lambda: http.post("/dicom-web/studies", "application/dicom", pieces()))
        path.unlink()
        found = f"/dicom-web/studies/{data.MULTI_FRAME_STUDY_UID}"
        return stored, _growth_mib(system, lambda: http.drain(found, HUGE_BYTES))


def _growth_mib(system: System, act: Callable[[], object]) -> float:
    system.process.forget_peaks()
    before = system.process.peaks_mib()
    act()
    after = system.process.peaks_mib()
    return max(after[pid] - before[pid] for pid in before)


def _only_ours(system: System) -> None:
    if not isinstance(system, Minipacs):
        raise NotMeasured("not asked")


def _count(tag: bytes, least: int) -> Callable[[bytes], bool]:
    return lambda body: body.count(tag) >= least


_WEB, _INDEX = LOADS["web"], LOADS["index"]
_JSON = "application/dicom+json"
_PAGE = "limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060"


def _work(name: str, run: Run, unit: str, *figures: tuple[str, str]) -> Work:
    return Work(name, run, tuple(Figure(of, unit, what) for of, what in figures))


def _request(name: str, run: Run, what: str, *more: tuple[str, str]) -> Work:
    return _work(name, run, "ms", (name, what), (f"{name}_cpu", "processor time of that, in the archive"), *more)


WEB_WORKS: tuple[Work, ...] = (
    _request("stow", _stow, "STOW-RS of 100 CT of 512 KiB, one request"),
    _request(
        "study",
        _timed(_WEB, _path(_WEB), f"{PARTS}; transfer-syntax=*", lambda body: len(body) > _WEB.objects << 19),
        "WADO-RS of a study of 100 CT of 512 KiB",
    ),
    _request("frames", _frames(1), "a frame of 512 KiB of each of 100 instances, one connection"),
    _request("frames_six", _frames(FRAMES_CONNECTIONS), "the same over six connections"),
    _request(
        "metadata",
        _timed(_WEB, _series(_WEB, "metadata"), _JSON, _count(b'"00080018"', _WEB.objects)),
        "metadata of a series of 100, not for the first time",
    ),
    _request(
        "qido_all",
        _timed(_INDEX, "/dicom-web/studies", _JSON, _count(b'"0020000D"', _INDEX.studies), first=True),
        "QIDO-RS, every one of 2000 studies",
        ("qido_first", "to the first byte of that answer's body"),
    ),
    _request(
        "qido_page",
        _timed(_INDEX, f"/dicom-web/studies?{_PAGE}", _JSON, _count(b'"0020000D"', 101)),
        "QIDO-RS, the first 101 of them, as OHIF asks",
    ),
    _request("qido_one", _one_study, "100 x QIDO-RS for one study by Patient ID, one connection"),
    _work(
        "huge",
        _huge,
        "MiB",
        ("huge_in", "growth of a process by storing an object of 2 GiB"),
        ("huge_out", "growth of a process by sending it"),
    ),
    _work("uploads", _uploads, "MiB", ("uploads", "largest process while 500 MiB come in each of six requests")),
)
"""In the order in which they are done: the first stores what others fetch."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/web", description="Measure DICOMweb.")
    parser.add_argument("--dimse", action="store_true", help="measure DIMSE instead, without web processes and with")
    if "--dimse" in sys.argv:
        works = [work for work in WORKS if work.name in DIMSE_WORKS]
        return run(parser, works, [Minipacs, MinipacsBesideHttp])
    return run(parser, WEB_WORKS, [MinipacsOverHttp, OrthancOverHttp])


if __name__ == "__main__":
    sys.exit(main())
