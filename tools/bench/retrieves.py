"""Retrieval: `./tools/bench/retrieve`. Rates at several retrievals at once, of codecs, and memory for a huge object."""

import argparse
import io
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from minipacs.pixels.codecs import ENCODERS, decoder, encoder
from minipacs.pixels.transcode import transcode
from tools.bench import data
from tools.bench.data import LOADS
from tools.bench.report import machine
from tools.bench.systems import FAST, SINK_TITLE, BenchError, Minipacs, Process, free_port
from tools.bench.wire import WireError
from tools.bench.works import run_clients

AT_ONCE = (1, 2, 4)
CODEC_FRAMES = 20
ROWS = 512
HUGE_MIB = 2048
SAMPLE_S = 0.02

JPEG_LOSSLESS, JPEG_BASELINE = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.50"
_DCMCJPEG = {JPEG_LOSSLESS: ["+e1"], JPEG_BASELINE: ["+eb"]}
"""What only dcmtk encodes here, with its options."""


def rates(folder: Path) -> Iterator[tuple[int, float, float]]:
    """Fetch a study with each of several clients at once; give their number, MB/s and objects/s of all together."""
    load = LOADS["large"]
    data.write(load, folder)
    folders = [str(load.folder(folder, study)) for study in range(load.studies)]
    size_bytes = sum(path.stat().st_size for path in Path(folders[0]).iterdir())
    archive = Minipacs(folder / "rates", free_port())
    address = ["-aec", archive.ae_title, "127.0.0.1", str(archive.port)]
    try:
        run_clients([["storescu", "-pdu", "131072", *address, "+sd", *folders]])
        for count in AT_ONCE:
            started = time.perf_counter()
            keys = [
                ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={load.study_uid(k)}"] for k in range(count)
            ]
            run_clients([["getscu", "-S", "--ignore", "-pdu", "131072", *key, *address] for key in keys])
            elapsed_s = time.perf_counter() - started
            yield count, count * size_bytes / elapsed_s / 1e6, count * load.objects / load.studies / elapsed_s
    finally:
        archive.stop()


def codec_rates(folder: Path) -> Iterator[tuple[str, float | None, float | None]]:
    """Encode and decode frames of 512 x 512; give the name of each syntax, and frames/s of both, None for no codec."""
    words = _image(CODEC_FRAMES, 16)
    for uid in ENCODERS:
        if encoder(uid) is not None:
            encoded, encode_s = _timed(words, uid)
            native = file_meta(data.CT_IMAGE_STORAGE, "1.2.3", uid) + encoded
            _, decode_s = _timed(native, EXPLICIT_VR_LITTLE_ENDIAN)
            yield TRANSFER_SYNTAXES[uid].name, CODEC_FRAMES / encode_s, CODEC_FRAMES / decode_s
    for uid, options in _DCMCJPEG.items():
        if decoder(uid) is not None:
            source, target = folder / "native.dcm", folder / "encoded.dcm"
            source.write_bytes(_image(CODEC_FRAMES, 8 if uid == JPEG_BASELINE else 16))
            run_clients([["dcmcjpeg", *options, str(source), str(target)]])
            _, decode_s = _timed(target.read_bytes(), EXPLICIT_VR_LITTLE_ENDIAN)
            yield TRANSFER_SYNTAXES[uid].name, None, CODEC_FRAMES / decode_s


def _timed(file: bytes, transfer_syntax_uid: str) -> tuple[bytes, float]:
    """Transcode once to warm up, and once for the clock."""
    for _ in range(2):
        target = io.BytesIO()
        started = time.perf_counter()
        transcode(io.BytesIO(file), target, transfer_syntax_uid)
        elapsed_s = time.perf_counter() - started
    return target.getvalue(), elapsed_s


def _image(frames: int, bits: int) -> bytes:
    out = io.BytesIO()
    data.write_multi_frame(out, ROWS, frames, bits)
    return out.getvalue()


def huge_growth_mib(folder: Path, size_mib: int) -> float:
    """Send one object of that size by C-MOVE; give how far memory rose above what it was before."""
    path, received, sink_port = folder / "huge.dcm", folder / "received", free_port()
    received.mkdir()
    with path.open("wb") as file:
        data.write_multi_frame(file, ROWS, size_mib * 2, 16)
    command = ["storescp", "+B", "-od", str(received), "-aet", SINK_TITLE, "-pdu", "131072", str(sink_port)]
    sink = Process(command, folder / "sink.log", FAST)
    archive = Minipacs(folder / "huge", sink_port)
    try:
        sink.wait_until_listening(sink_port)
        address = ["-aec", archive.ae_title, "127.0.0.1", str(archive.port)]
        run_clients([["storescu", "-pdu", "131072", *address, str(path)]])
        time.sleep(1)
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={data.MULTI_FRAME_STUDY_UID}"]
        before_mib = archive.process.memory_mib()
        with _peak(archive.process) as peak:
            run_clients([["movescu", "-S", "-aem", SINK_TITLE, *keys, *address]])
        sizes = [found.stat().st_size for found in received.iterdir()]
        if len(sizes) != 1 or sizes[0] < size_mib << 20:
            raise BenchError(f"{sizes} bytes arrived")
        return max(peak) - before_mib
    finally:
        archive.stop()
        sink.stop()


@contextmanager
def _peak(process: Process) -> Iterator[list[float]]:
    """Look at the memory of a process and its children again and again, in the background."""
    found, over = [process.memory_mib()], threading.Event()

    def look() -> None:
        while not over.wait(SAMPLE_S):
            found.append(process.memory_mib())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/retrieve", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where data and stores go meanwhile: a disk like the real one's")
    parser.add_argument(
        "--huge", type=int, default=HUGE_MIB, metavar="MIB", help=f"size of the huge object ({HUGE_MIB})"
    )
    arguments = parser.parse_args()
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    try:
        with tempfile.TemporaryDirectory(prefix="minipacs-retrieve-", dir=arguments.folder) as name:
            folder = Path(name)
            print("\n| C-GETs at once | MB/s | objects/s |\n|---|---|---|")
            for count, megabytes, objects in rates(folder):
                print(f"| {count} | {megabytes:.0f} | {objects:.0f} |")
            print("\n| transfer syntax | encoded, frames/s | decoded, frames/s |\n|---|---|---|")
            for syntax, encoded, decoded in codec_rates(folder):
                print(f"| {syntax} | {_shown(encoded)} | {_shown(decoded)} |")
            growth_mib = huge_growth_mib(folder, arguments.huge)
            print(f"\nTo send an object of {arguments.huge} MiB took {growth_mib:.0f} MiB of memory.")
    except (BenchError, WireError, OSError) as error:
        print(f"retrieve: {error}", file=sys.stderr)
        return 1
    return 0


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
