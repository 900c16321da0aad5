"""Stored objects compressed in the background: to the bit, by the rules for files, and to the end of it."""

import errno
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from minipacs.archive.archive import Archive
from minipacs.archive.care.checking import Pace, check, repair
from minipacs.archive.care.leftovers import finish_removals
from minipacs.archive.care.recovery import Recovery, recover
from minipacs.archive.care.reindex import reindex
from minipacs.archive.ingest import StoragePolicy
from minipacs.archive.intact import is_intact
from minipacs.archive.media.importing import store
from minipacs.archive.reader import BUFFER_BYTES
from minipacs.archive.removal import remove
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.tables.sop_classes import STORAGE
from minipacs.dicom.tables.transfer_syntaxes import UNCOMPRESSED
from minipacs.index import Outcome, Query, StoredInstance
from minipacs.jobs import compression as compression_module
from minipacs.jobs.compression import FIRST_DELAY_S, IDLE_S, SHORTAGE_S, Compression
from minipacs.pixels.codecs import JPEG_2000_LOSSLESS
from minipacs.pixels.processes import pool
from minipacs.pixels.processes.budget import COPIES, JOBS, MEMORY, Resource
from minipacs.pixels.transcode import fingerprint
from tests.pixels.test_transcode import WHOLE
from tests.support.dcmtk import run as tool
from tests.support.objects import ct, encode, save
from tests.support.storing import incoming, published, put, quarantined
from tests.support.wire import EXPLICIT, IMPLICIT

BIG_ENDIAN = "1.2.840.10008.1.2.2"


def can_be_stored(path: Path) -> bool:
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    announced = ds.file_meta.get("MediaStorageSOPInstanceUID")
    return announced == ds.get("SOPInstanceUID") and "StudyInstanceUID" in ds and ds.SOPClassUID in STORAGE


SHIPPED = [path for path, uid in WHOLE if uid in UNCOMPRESSED and can_be_stored(path)]


class Work:
    """Compresses what an archive holds, now."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.observed: list[tuple[str, int]] = []
        self.stop = False
        self.job = Compression(archive, JPEG_2000_LOSSLESS, lambda: self.stop, lambda *what: self.observed.append(what))

    def __call__(self) -> list[str]:
        """Do it; tell what became of each object."""
        self.observed.clear()
        assert self.job.work() == IDLE_S
        return [outcome for outcome, _ in self.observed]


@pytest.fixture
def folder(archive: Archive) -> Path:
    return archive.tree.layout.root


@pytest.fixture
def work(archive: Archive) -> Work:
    return Work(archive)


@pytest.fixture(scope="module")
def lasting_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """Keep one archive, and so one codec process, for many objects."""
    archive = Archive.open(tmp_path_factory.mktemp("archive"), StoragePolicy())
    yield Work(archive)
    archive.close()


def smooth(rows: int = 64, **values: object) -> pydicom.Dataset:
    """Make a CT image that compresses well."""
    pixels = np.add.outer(np.arange(rows), np.arange(rows)).astype(np.uint16)
    return ct(rows, PixelData=pixels.tobytes(), **values)


def swapped(ds: pydicom.Dataset) -> pydicom.Dataset:
    """Have pixels as they are written in big endian."""
    made = deepcopy(ds)
    made.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    return made


def uids(ds: pydicom.Dataset) -> dict[str, object]:
    return {keyword: ds[keyword].value for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")}


def found(archive: Archive, uid: str) -> StoredInstance:
    instance = archive.index.instance(uid)
    assert instance is not None
    return instance


def as_received(ds: pydicom.Dataset, syntax: str = EXPLICIT) -> tuple[str, bytes]:
    data = file_meta(ds.SOPClassUID, ds.SOPInstanceUID, syntax) + encode(ds, syntax)
    return hashlib.sha256(data).hexdigest(), data


def given_out(archive: Archive, instance: StoredInstance, syntax: str) -> bytes:
    with archive.reader.open(instance, syntax, memoryview(bytearray(BUFFER_BYTES))) as data_set:
        return b"".join(bytes(piece) for piece in data_set.pieces())


def changing_processes(monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    """Let codec processes run some lines before they begin."""
    start, call = pool._PROGRAM.rsplit("main(", 1)
    monkeypatch.setattr(pool, "_PROGRAM", f"{start}{lines}main({call}")


def test_an_object_is_compressed_and_keeps_its_received_digest(archive: Archive, folder: Path, work: Work) -> None:
    ds = smooth()
    put(archive, ds)
    before = archive.index.instance(ds.SOPInstanceUID)
    assert work() == ["compressed"]
    after = found(archive, ds.SOPInstanceUID)
    (path,) = published(folder)
    assert (after.digest, after.transfer_syntax_uid) == (path.stem, JPEG_2000_LOSSLESS)
    assert (after.received_digest, before.received_digest) == (as_received(ds)[0], "")
    assert after.size_bytes == path.stat().st_size == archive.figures().stored_bytes
    assert work.observed == [("compressed", before.size_bytes - after.size_bytes)]
    stored = pydicom.dcmread(path)
    assert stored.file_meta.TransferSyntaxUID == JPEG_2000_LOSSLESS
    assert stored.pixel_array.tobytes() == ds.PixelData
    assert given_out(archive, after, EXPLICIT) == encode(ds)
    assert not incoming(folder)
    assert not quarantined(folder)
    assert work() == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_object_shipped_is_compressed_to_the_bit_or_left(lasting_work: Work, path: Path) -> None:
    work, archive = lasting_work, lasting_work.archive
    folder = archive.tree.layout.root
    with path.open("rb") as file:
        store(archive, file, frozenset(STORAGE))
    (received,) = published(folder)
    expected = received.read_bytes()
    outcomes = work()
    (stored,) = published(folder)
    if outcomes == ["compressed"]:
        with stored.open("rb") as one, path.open("rb") as other:
            assert fingerprint(one) == fingerprint(other)
        assert stored.stat().st_size < len(expected)
    else:
        assert outcomes == ["left"]
        assert stored.read_bytes() == expected
    assert work() == []
    list(remove(archive.tree, archive.index, [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID]))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_pixels_are_what_opj_decompress_decodes(
    archive: Archive, folder: Path, work: Work, syntax: str, tmp_path: Path
) -> None:
    ds = smooth()
    put(archive, swapped(ds) if syntax == BIG_ENDIAN else ds, syntax)
    assert work() == ["compressed"]
    (path,) = published(folder)
    frame = pydicom.encaps.get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)
    (tmp_path / "frame.j2k").write_bytes(frame)
    tool("opj_decompress", "-i", tmp_path / "frame.j2k", "-o", tmp_path / "frame.rawl")
    assert (tmp_path / "frame.rawl").read_bytes() == ds.PixelData


def test_colour_tells_of_its_new_interpretation(archive: Archive, folder: Path, work: Work) -> None:
    pixels = np.repeat(np.arange(64 * 64, dtype=np.uint32) // 64, 3).astype(np.uint8)
    ds = ct(
        64, PixelData=pixels.tobytes(), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=1,
        BitsAllocated=8, BitsStored=8, HighBit=7,
    )  # fmt: skip
    put(archive, ds)
    assert work() == ["compressed"]
    (path,) = published(folder)
    stored = pydicom.dcmread(path)
    assert (stored.PhotometricInterpretation, stored.PlanarConfiguration) == ("YBR_RCT", 0)
    key = BY_KEYWORD["PhotometricInterpretation"]
    assert list(archive.index.find(Query("IMAGE", [], [key]))) == [("YBR_RCT",)]


@pytest.mark.parametrize(
    "values",
    [
        {
            "PixelData": np.random.default_rng(1).integers(0, 65536, 256, np.uint16).tobytes(),
            "BitsStored": 16,
            "HighBit": 15,
        },
        {"PixelData": None, "Rows": None},
        {"PixelData": b"\xff\xff" * 256},
        {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": bytes(32)},
    ],
    ids=["noise", "no image", "more bits than stored", "single bits"],
)
def test_what_cannot_be_compressed_is_left_and_not_tried_again(
    archive: Archive, folder: Path, work: Work, values: dict[str, object]
) -> None:
    ds = ct(**values)
    put(archive, ds)
    digest, data = as_received(ds)
    assert work() == ["left"]
    (path,) = published(folder)
    assert path.read_bytes() == data
    assert found(archive, ds.SOPInstanceUID).received_digest == digest
    assert work() == []


def test_the_same_bytes_again_are_those_of_either_form(archive: Archive, folder: Path, work: Work) -> None:
    ds = smooth()
    put(archive, ds)
    work()
    (path,) = published(folder)
    assert put(archive, ds) is Outcome.SAME
    assert published(folder) == [path]
    with path.open("rb") as file:
        assert store(archive, file, frozenset(STORAGE)).outcome is Outcome.SAME
    assert published(folder) == [path]
    assert work() == []
    other = smooth(128, **uids(ds))
    assert put(archive, other) is Outcome.REPLACED
    assert quarantined(folder) == {path.stem: "replaced by another file"}
    assert work() == ["compressed"]


@pytest.mark.parametrize("duplicates", ["replace", "keep", "reject"])
@pytest.mark.parametrize("marked", [False, True])
def test_a_re_send_heals_a_compressed_object_that_is_lost(
    open_archive: Callable[..., Archive], duplicates: str, marked: bool
) -> None:
    archive = open_archive(duplicates=duplicates)
    folder, work, ds = archive.tree.layout.root, Work(archive), smooth()
    put(archive, ds)
    work()
    (path,) = published(folder)
    if marked:
        os.chmod(path, 0o600)
        path.write_bytes(b"rot")
        assert not is_intact(archive.tree, archive.index, found(archive, ds.SOPInstanceUID))
    else:
        path.unlink()
    assert put(archive, ds) is Outcome.REPLACED
    digest, data = as_received(ds)
    (healed,) = published(folder)
    assert (healed.stem, healed.read_bytes()) == (digest, data)
    instance = found(archive, ds.SOPInstanceUID)
    assert (instance.digest, instance.received_digest, instance.availability) == (digest, "", "ONLINE")
    assert work() == ["compressed"]


def test_what_was_looked_up_before_is_still_given_out_as_it_was(archive: Archive, work: Work) -> None:
    ds = smooth()
    put(archive, ds)
    before = found(archive, ds.SOPInstanceUID)
    work()
    assert given_out(archive, before, EXPLICIT) == encode(ds)
    assert given_out(archive, before, JPEG_2000_LOSSLESS) == given_out(
        archive, found(archive, ds.SOPInstanceUID), JPEG_2000_LOSSLESS
    )
    assert archive.reader.header(before).PatientName == "Doe^Jane"


def test_an_object_that_is_replaced_meanwhile_stays_what_it_is(
    archive: Archive, folder: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = smooth()
    put(archive, ds)
    other = smooth(**uids(ds), PatientName="Other")
    real = compression_module.scan

    def overtaken(*arguments: object) -> object:
        put(archive, other)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(compression_module, "scan", overtaken)
    assert work() == []
    (path,) = published(folder)
    assert path.stem == as_received(other)[0] == found(archive, ds.SOPInstanceUID).digest
    assert quarantined(folder).keys() == {as_received(ds)[0]}


def test_what_is_not_the_same_when_read_back_is_left(
    archive: Archive, folder: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A codec process whose encoder changes one pixel."""
    changing_processes(
        monkeypatch,
        "import minipacs.pixels.frame_encoder as module\n"
        "real = module.FrameEncoder.encode\n"
        "module.FrameEncoder.encode = lambda self, frame: real(self, bytes([frame[0] ^ 1]) + frame[1:])\n",
    )
    ds = smooth()
    put(archive, ds)
    assert work() == ["left"]
    (path,) = published(folder)
    assert path.stem == as_received(ds)[0]


@contextmanager
def taken(resource: Resource) -> Iterator[None]:
    """Leave nobody anything of a resource."""
    holding = pool.SHARED.open()
    assert holding.take(resource, resource.whole)
    try:
        yield
    finally:
        holding.close()


@contextmanager
def no_process_free(patch: pytest.MonkeyPatch) -> Iterator[None]:
    patch.setattr(pool, "MAX_WAIT_S", 0.0)
    with taken(JOBS):
        yield


@contextmanager
def no_memory(patch: pytest.MonkeyPatch) -> Iterator[None]:
    changing_processes(patch, "from minipacs.pixels.processes import verbs\nverbs.MAX_MEMORY_WAIT_S = 0\n")
    with taken(MEMORY):
        yield


@contextmanager
def no_space(patch: pytest.MonkeyPatch) -> Iterator[None]:
    with taken(COPIES):
        yield


@contextmanager
def no_room_on_the_disk(patch: pytest.MonkeyPatch) -> Iterator[None]:
    changing_processes(
        patch,
        "import errno\nfrom minipacs.pixels.processes import verbs\n"
        "def full(*a): raise OSError(errno.ENOSPC, 'No space left on device')\nverbs.Copy.write = full\n",
    )
    yield


@contextmanager
def no_new_process(patch: pytest.MonkeyPatch) -> Iterator[None]:
    def refused(*arguments: object, **more: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    patch.setattr(subprocess, "Popen", refused)
    yield


@contextmanager
def no_descriptor(patch: pytest.MonkeyPatch) -> Iterator[None]:
    def refused(*arguments: object, **more: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    patch.setattr(pool.socket, "socketpair", refused)
    yield


@contextmanager
def ended_by_the_system(patch: pytest.MonkeyPatch) -> Iterator[None]:
    changing_processes(
        patch,
        "import os, signal\nfrom minipacs.pixels.frame_encoder import FrameEncoder\n"
        "FrameEncoder.encode = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    yield


@contextmanager
def installed_by_halves(patch: pytest.MonkeyPatch) -> Iterator[None]:
    changing_processes(patch, "raise SystemExit(1)\n")
    yield


SHORTAGES = [
    no_process_free, no_memory, no_space, no_room_on_the_disk, no_new_process, no_descriptor, ended_by_the_system,
    installed_by_halves,
]  # fmt: skip


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda shortage: shortage.__name__)
def test_a_passing_shortage_settles_nothing(
    archive: Archive, folder: Path, work: Work, monkeypatch: pytest.MonkeyPatch, shortage: Callable[..., Any]
) -> None:
    ds = smooth()
    put(archive, ds)
    monkeypatch.setattr(compression_module, "FIRST_DELAY_S", 0.0)
    with monkeypatch.context() as patch, shortage(patch):
        assert work() == []
        assert found(archive, ds.SOPInstanceUID).received_digest == ""
        assert not incoming(folder)
        assert not quarantined(folder)
        archive.reader.close()
    assert work() == ["compressed"]


def test_what_was_put_off_keeps_back_nobody_and_is_tried_when_it_is_due(
    archive: Archive, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(compression_module, "monotonic", lambda: now)
    put(archive, smooth())
    with monkeypatch.context() as patch, no_space(patch):
        assert work() == []
    put(archive, smooth())
    assert work() == ["compressed"]
    now += FIRST_DELAY_S + 1
    with monkeypatch.context() as patch, no_space(patch):
        assert work() == []
    now += FIRST_DELAY_S + 1
    assert work() == []
    now += FIRST_DELAY_S
    assert work() == ["compressed"]


def test_of_more_shortages_than_are_kept_in_mind_the_rest_waits(
    archive: Archive, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression_module, "MAX_PUT_OFF", 2)
    for _ in range(4):
        put(archive, smooth())
    with monkeypatch.context() as patch, no_space(patch):
        assert work.job.work() == SHORTAGE_S
    work = Work(archive)
    assert work() == ["compressed"] * 4


def test_a_damaged_object_goes_to_quarantine_and_not_into_a_code(archive: Archive, folder: Path, work: Work) -> None:
    ds = smooth()
    put(archive, ds)
    (path,) = published(folder)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert work() == []
    assert list(folder.glob("quarantine/*.dcm"))
    assert found(archive, ds.SOPInstanceUID).availability == "UNAVAILABLE"
    put(archive, ds)
    assert work() == ["compressed"]


def test_a_job_that_is_told_to_stop_leaves_the_object_to_the_next(archive: Archive, folder: Path, work: Work) -> None:
    ds = smooth()
    put(archive, ds)
    answers = iter([False])
    work.job = Compression(archive, JPEG_2000_LOSSLESS, lambda: next(answers, True), lambda *what: None)
    assert work() == []
    assert found(archive, ds.SOPInstanceUID).received_digest == ""
    assert not incoming(folder)
    work = Work(archive)
    assert work() == ["compressed"]


def test_nothing_is_compressed_below_the_reserve(open_archive: Callable[..., Archive]) -> None:
    ds = smooth()
    put(open_archive(), ds)
    short = open_archive(min_free_bytes=1 << 60)
    assert Compression(short, JPEG_2000_LOSSLESS, lambda: False, lambda *what: None).work() == SHORTAGE_S
    assert found(short, ds.SOPInstanceUID).received_digest == ""


@pytest.mark.parametrize("how", ["recover", "repair"])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("noted", [True, False])
def test_a_kill_between_swap_and_removal_is_made_good(
    archive: Archive, folder: Path, work: Work, how: str, lost: bool, noted: bool
) -> None:
    ds = smooth()
    put(archive, ds)
    (received,) = published(folder)
    data = received.read_bytes()
    work()
    (compressed,) = published(folder)
    received.write_bytes(data)
    if not noted:
        archive.index.removals.forget([received.stem])
    if lost:
        compressed.chmod(0o600)
        compressed.write_bytes(compressed.read_bytes()[:-1] + b"x")
    if how == "recover":
        assert recover(archive.tree, archive.index, archive.charset_of).indexed == (not noted)
        assert recover(archive.tree, archive.index, archive.charset_of) == Recovery()
    else:
        finish_removals(archive.tree, archive.index, archive.charset_of)
        for finding in list(check(archive.tree, archive.index, Pace(0))):
            repair(archive.tree, archive.index, archive.charset_of, finding)
    assert published(folder) == [received if lost else compressed]
    instance = found(archive, ds.SOPInstanceUID)
    assert (instance.digest, instance.availability) == (received.stem if lost else compressed.stem, "ONLINE")
    assert given_out(archive, instance, EXPLICIT) == encode(ds)
    assert list(check(archive.tree, archive.index, Pace(0))) == []


def test_the_new_file_is_durable_before_its_row_and_the_old_one_goes_last(
    archive: Archive, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(archive, smooth())
    calls: list[str] = []
    for name in ("fdatasync", "fsync", "rename", "unlink"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    settle = archive.index.settle
    monkeypatch.setattr(archive.index, "settle", lambda *a: (calls.append("row"), settle(*a))[1])
    assert work() == ["compressed"]
    assert calls == ["fdatasync", "rename", "fsync", "row", "unlink"]


def test_with_sync_batch_all_is_durable_before_the_old_file_goes(
    open_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = open_archive(sync="batch")
    put(archive, smooth())
    calls: list[str] = []
    durable, remove = archive.make_durable, archive.tree.delete
    monkeypatch.setattr(archive, "make_durable", lambda: (calls.append("durable"), durable())[1])
    monkeypatch.setattr(archive.tree, "delete", lambda digest: (calls.append("remove"), remove(digest))[1])
    assert Work(archive)() == ["compressed"]
    assert calls == ["durable", "remove"]


def test_fingerprints_tell_any_difference(tmp_path: Path) -> None:
    ds = smooth()
    other = smooth(**uids(ds))

    def of(made: pydicom.Dataset, syntax: str = EXPLICIT) -> str:
        with save(made, tmp_path / "x.dcm", syntax).open("rb") as file:
            return fingerprint(file)

    assert of(ds) == of(other) == of(other, IMPLICIT) == of(swapped(other), BIG_ENDIAN)
    raw = bytearray(other.PixelData)
    raw[777] ^= 1
    other.PixelData = bytes(raw)
    assert of(ds) != of(other)
    ds.PatientComments = ""
    assert of(ds) != of(smooth(**uids(ds)))


def test_a_check_between_swap_and_removal_finds_nothing(archive: Archive, folder: Path, work: Work) -> None:
    for number in range(20):
        put(archive, smooth(InstanceNumber=number))
    received = {path: path.read_bytes() for path in published(folder)}
    work()
    path = min(received)
    path.write_bytes(received[path])
    assert list(check(archive.tree, archive.index, Pace(0))) == [], "it is noted to go"
    archive.index.removals.forget([path.stem])

    def remove_when_checked(size_bytes: int) -> None:
        if size_bytes != len(received[path]):
            path.unlink(missing_ok=True)

    assert [finding.fault for finding in check(archive.tree, archive.index, Pace(0))] == ["orphaned"]
    assert list(check(archive.tree, archive.index, Pace(0, remove_when_checked))) == []


def test_reindexing_keeps_what_was_received_as_what(archive: Archive, work: Work) -> None:
    compressed, left = smooth(), ct(PixelData=None, Rows=None)
    for ds in (compressed, left):
        put(archive, ds)
    assert sorted(work()) == ["compressed", "left"]
    before = [found(archive, ds.SOPInstanceUID) for ds in (compressed, left)]
    assert reindex(archive, lambda files: None).indexed == 2
    assert [found(archive, ds.SOPInstanceUID) for ds in (compressed, left)] == before
    assert put(archive, compressed) is Outcome.SAME
    assert work() == []


def test_a_compressed_form_is_known_by_itself_when_the_row_is_of_an_older_copy_of_the_index(
    open_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    """What was compressed between `minipacs backup` and the copy of the files is there after the restore."""
    archive = open_archive(tmp_path / "a")
    ds, other = smooth(), smooth()
    put(archive, ds)
    put(archive, other)
    archive.index.backup(tmp_path / "copy.db")
    assert Work(archive)() == ["compressed", "compressed"]
    compressed = {path.stem for path in published(tmp_path / "a")}
    archive.close()
    (tmp_path / "b").mkdir()
    subprocess.run(["cp", "-a", tmp_path / "a" / "objects", tmp_path / "b"], check=True)
    shutil.copy(tmp_path / "copy.db", tmp_path / "b" / "index.db")
    archive = open_archive(tmp_path / "b")
    assert recover(archive.tree, archive.index, archive.charset_of) == Recovery(indexed=2)
    for made in (ds, other):
        instance = found(archive, made.SOPInstanceUID)
        assert (instance.digest in compressed, instance.availability) == (True, "ONLINE")
        assert given_out(archive, instance, EXPLICIT) == encode(made)
        assert put(archive, made) is Outcome.SAME
    assert list(check(archive.tree, archive.index, Pace(0))) == []
    assert Work(archive)() == []


def test_a_compressed_form_whose_row_is_lost_is_indexed_as_what_it_was_received_as(
    open_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = open_archive(tmp_path / "a")
    ds = smooth()
    put(archive, ds)
    Work(archive)()
    before = found(archive, ds.SOPInstanceUID)
    archive.close()
    for path in (tmp_path / "a").glob("index.db*"):
        path.unlink()
    archive = open_archive(tmp_path / "a")
    assert recover(archive.tree, archive.index, archive.charset_of) == Recovery(indexed=1)
    assert found(archive, ds.SOPInstanceUID) == before
    assert put(archive, ds) is Outcome.SAME
