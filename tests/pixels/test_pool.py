"""Codec processes: what they do, and what becomes of a job when one crashes, stalls or is given up."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest

from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.pixels import pool as codec_pool
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.pool import CodecPool, wait_readable
from minipacs.pixels.transcode import transcode

COMPRESSED = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small_jp2klossless.dcm"
DIGEST = hashlib.sha256(COMPRESSED.read_bytes()).hexdigest()


@pytest.fixture
def pool() -> Iterator[CodecPool]:
    made = CodecPool(2)
    yield made
    made.close()
    assert not children()


def children() -> list[int]:
    """Find our codec processes, by what /proc says of parents and command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid() and b"minipacs.pixels.process" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def run(pool: CodecPool, target: Path, source: Path = COMPRESSED, digest: str = DIGEST, **more: object) -> bytes:
    uid = str(more.pop("uid", EXPLICIT_VR_LITTLE_ENDIAN))
    with source.open("rb") as reading, target.open("wb") as writing:
        pool.transcode(reading.fileno(), writing.fileno(), digest, uid, **more)  # type: ignore[arg-type]
    return target.read_bytes()


def test_a_process_does_what_transcode_does_and_is_used_again(pool: CodecPool, tmp_path: Path) -> None:
    expected = tmp_path / "expected"
    with COMPRESSED.open("rb") as source, expected.open("wb") as target:
        transcode(source, target, EXPLICIT_VR_LITTLE_ENDIAN)
    assert run(pool, tmp_path / "one") == expected.read_bytes()
    (first,) = children()
    assert run(pool, tmp_path / "two") == expected.read_bytes()
    assert children() == [first]


def test_what_cannot_be_transcoded_is_told_and_the_process_goes_on(pool: CodecPool, tmp_path: Path) -> None:
    with pytest.raises(TranscodeError, match="no way from"):
        run(pool, tmp_path / "video", uid="1.2.840.10008.1.2.4.102")
    with pytest.raises(TranscodeError, match="damaged"):
        run(pool, tmp_path / "damaged", digest="0" * 64)
    text = tmp_path / "text"
    text.write_bytes(bytes(500))
    with pytest.raises(TranscodeError, match="not a DICOM file"):
        run(pool, tmp_path / "none", source=text, digest=hashlib.sha256(bytes(500)).hexdigest())
    (only,) = children()
    run(pool, tmp_path / "good", uid=IMPLICIT_VR_LITTLE_ENDIAN)
    assert children() == [only]


def test_a_crash_fails_its_job_only(pool: CodecPool, tmp_path: Path) -> None:
    def crashing(fd: int, deadline: float) -> bool:
        for pid in children():
            os.kill(pid, signal.SIGSEGV)
        return wait_readable(fd, deadline)

    with pytest.raises(TranscodeError, match="SIGSEGV"):
        run(pool, tmp_path / "crash", wait=crashing)
    assert not children()
    run(pool, tmp_path / "good")


def test_an_idle_process_that_ended_is_replaced(pool: CodecPool, tmp_path: Path) -> None:
    run(pool, tmp_path / "one")
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    run(pool, tmp_path / "two")
    assert len(children()) == 1


def test_a_stuck_process_is_ended(pool: CodecPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(fd: int, deadline: float) -> bool:
        for pid in children():
            os.kill(pid, signal.SIGSTOP)
        return wait_readable(fd, time.monotonic() + 0.05)

    monkeypatch.setattr(codec_pool, "STALL_S", 0.0)
    with pytest.raises(TranscodeError, match="stalled"):
        run(pool, tmp_path / "stuck", wait=stopping)
    assert not children()


def test_a_job_that_is_given_up_leaves_no_process(pool: CodecPool, tmp_path: Path) -> None:
    def giving_up(fd: int, deadline: float) -> bool:
        raise KeyError("enough")

    with pytest.raises(KeyError):
        run(pool, tmp_path / "given-up", wait=giving_up)
    assert not children()
    run(pool, tmp_path / "good")


def test_processes_are_bounded_and_who_comes_later_waits(pool: CodecPool, tmp_path: Path) -> None:
    most = 0

    def counting(fd: int, deadline: float) -> bool:
        nonlocal most
        most = max(most, len(children()))
        return wait_readable(fd, deadline)

    def job(number: int) -> None:
        done.append(run(pool, tmp_path / str(number), wait=counting))

    done: list[bytes] = []
    threads = [threading.Thread(target=job, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 6
    assert len(set(done)) == 1
    assert 1 <= most <= 2


def test_a_process_inherits_no_descriptor_but_its_socket(pool: CodecPool, tmp_path: Path) -> None:
    with (tmp_path / "open").open("wb") as held:
        os.set_inheritable(held.fileno(), True)
        run(pool, tmp_path / "one")
        (pid,) = children()
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    assert str(tmp_path / "open") not in links
    assert sum(link.startswith("socket:") for link in links) == 1


def test_a_process_ends_with_its_parent_and_not_with_a_signal_to_its_group(pool: CodecPool, tmp_path: Path) -> None:
    run(pool, tmp_path / "one")
    (pid,) = children()
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    run(pool, tmp_path / "two")
    assert children() == [pid]
    process = pool._idle.pop()
    process.socket.close()
    assert process.ended_by_itself() == "with exit status 0"
