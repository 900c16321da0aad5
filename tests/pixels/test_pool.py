"""Codec processes: what they do, and what becomes of a job when one crashes, stalls or is given up."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest

from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.processes import budget
from minipacs.pixels.processes import pool as codec_pool
from minipacs.pixels.processes.budget import Budget
from minipacs.pixels.processes.pool import CodecPool, wait_readable
from minipacs.pixels.transcode import transcode
from tests.pixels.test_frames import attributes
from tests.support.elements import as_file, fragments

COMPRESSED = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small_jp2klossless.dcm"
DIGEST = hashlib.sha256(COMPRESSED.read_bytes()).hexdigest()


@pytest.fixture
def pool() -> Iterator[CodecPool]:
    made = CodecPool(budget=Budget())
    yield made
    made.close()
    assert not children()


def children() -> list[int]:
    """Find our codec processes, by what /proc says of parents and command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid() and b"minipacs.pixels.processes.process" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def run(pool: CodecPool, target: Path, source: Path = COMPRESSED, digest: str = DIGEST, **more: object) -> bytes:
    uid = str(more.pop("uid", EXPLICIT_VR_LITTLE_ENDIAN))
    with source.open("rb") as reading, target.open("wb") as writing:
        pool.transcode(reading.fileno(), writing.fileno(), digest, uid, **more).close()  # type: ignore[arg-type]
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


def test_jobs_of_all_pools_are_bounded_and_who_comes_later_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_pool, "JOBS", budget.JOBS._replace(units=2))
    shared = Budget()
    pools = [CodecPool(budget=shared) for _ in range(3)]
    under_way, most, lock = 0, 0, threading.Lock()

    def counting(fd: int, deadline: float) -> bool:
        nonlocal under_way, most
        if fd == shared.freed_fd:
            return wait_readable(fd, deadline)
        with lock:
            under_way += 1
            most = max(most, under_way)
        try:
            return wait_readable(fd, deadline)
        finally:
            with lock:
                under_way -= 1

    def job(number: int) -> None:
        done.append(run(pools[number % 3], tmp_path / str(number), wait=counting))

    done: list[bytes] = []
    threads = [threading.Thread(target=job, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for pool in pools:
        pool.close()
    assert len(done) == 6
    assert len(set(done)) == 1
    assert 1 <= most <= 2


def test_who_finds_no_place_in_time_is_told(pool: CodecPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_pool, "MAX_WAIT_S", 0.0)
    everything = pool._budget.open()
    assert everything.take(budget.JOBS, budget.JOBS.whole)
    with pytest.raises(TranscodeError, match="no codec process came free"):
        run(pool, tmp_path / "late")
    everything.close()
    run(pool, tmp_path / "good")


def test_what_a_holder_had_comes_back_however_it_ends() -> None:
    shared = Budget()
    pid = os.fork()
    if not pid:
        taken = shared.open().take(budget.MEMORY, budget.MEMORY.whole)
        os.kill(os.getpid(), signal.SIGKILL if taken else signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    holding = shared.open()
    assert holding.take(budget.MEMORY, budget.MEMORY.whole)
    assert not holding.take(budget.MEMORY, 1)
    assert not shared.open().take(budget.MEMORY, 1)
    holding.close()
    assert shared.open().take(budget.MEMORY, 1)


def test_a_frame_that_would_take_all_memory_fails_alone(pool: CodecPool, tmp_path: Path) -> None:
    large = attributes(np.zeros((16000, 16000), "u1"), 8) + fragments(bytes.fromhex("ffd8ffc0") + bytes(8))
    source = tmp_path / "bomb.dcm"
    source.write_bytes(as_file(large, "1.2.840.10008.1.2.4.50"))
    holding = pool._budget.open()
    assert holding.take(budget.MEMORY, budget.MEMORY.whole)
    waited = []

    def waiting(fd: int, deadline: float) -> bool:
        ready = wait_readable(fd, deadline)
        waited.append(fd)
        if len(waited) == 3:
            holding.close()
        return ready

    with pytest.raises(TranscodeError, match=r"frames take|frame 1: "):
        run(pool, tmp_path / "out", source, hashlib.sha256(source.read_bytes()).hexdigest(), wait=waiting)
    run(pool, tmp_path / "good")


def test_copies_leave_what_is_reserved_of_the_disk(tmp_path: Path) -> None:
    for pool, reason in ((CodecPool(1 << 62), "min_free_bytes"), (CodecPool(budget=Budget()), "all copies together")):
        holding = pool._budget.open()
        assert reason == "min_free_bytes" or holding.take(budget.COPIES, budget.COPIES.whole)
        with pytest.raises(TranscodeError, match=reason):
            run(pool, tmp_path / "copy")
        holding.close()
        pool.close()


def test_a_copy_has_its_space_until_it_is_closed(pool: CodecPool, tmp_path: Path) -> None:
    with COMPRESSED.open("rb") as reading, (tmp_path / "copy").open("wb") as writing:
        space = pool.transcode(reading.fileno(), writing.fileno(), DIGEST, EXPLICIT_VR_LITTLE_ENDIAN)
    assert not pool._budget.open().take(budget.COPIES, budget.COPIES.whole)
    space.close()
    assert pool._budget.open().take(budget.COPIES, budget.COPIES.whole)


def test_nothing_in_the_current_folder_runs_in_a_codec_process(
    pool: CodecPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w'); raise SystemExit"
    for module in ("hashlib", "numpy", "json", "minipacs"):
        (tmp_path / f"{module}.py").write_text(trap)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    run(pool, tmp_path / "good")
    assert not (tmp_path / "sprung").exists()


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
    assert str(process.ended_by_itself(has_begun=False)) == "codec process ended with exit status 0"
