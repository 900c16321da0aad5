import errno
import os
import shutil

import pytest
from pydicom.uid import generate_uid

from minipacs.archive.archive import Archive
from minipacs.archive.care.recovery import Recovery, recover
from minipacs.archive.care.start import prepare
from minipacs.archive.ports import DaemonLock, Receipt
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.errors import Failure, Kind, MinipacsError
from minipacs.index import Query
from tests.support.objects import ct, encode
from tests.support.storing import incoming, published, put, quarantined
from tests.support.wire import CT, EXPLICIT


@pytest.fixture
def folder(archive):
    return archive.tree.layout.root


def publish(archive, data, received_at=0.0):
    """Publish a file that gets no row, as a daemon does that is killed just then."""
    tree = archive.tree
    staged = tree.stage()
    staged.write([data])
    digest = staged.digest
    with tree.holding(digest) as held:
        tree.put(staged, digest, Receipt(received_at, "SENDER"), held)
    return digest


def publish_object(archive, ds, received_at=0.0):
    return publish(archive, file_meta(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT) + encode(ds), received_at)


def run(archive):
    return recover(archive.tree, archive.index, archive.charset_of)


def reason_of(archive, digest):
    return quarantined(archive.tree.layout.root)[digest]


def test_whole_archives_need_nothing(archive):
    put(archive, ct())
    put(archive, ct())
    assert run(archive) == Recovery()
    assert archive.figures().instances == 2


def test_an_orphan_is_indexed(archive, folder):
    ds = ct(PatientID="ORPHAN")
    digest = publish_object(archive, ds)
    assert run(archive) == Recovery(indexed=1)
    found = archive.index.instance(ds.SOPInstanceUID)
    assert (found.digest, found.transfer_syntax_uid, found.availability) == (digest, EXPLICIT, "ONLINE")
    assert found.size_bytes == os.stat(archive.tree.layout.published(digest)).st_size
    assert run(archive) == Recovery()
    assert len(published(folder)) == 1


def test_an_orphan_never_takes_the_place_of_a_row(archive, folder):
    ds = ct(PatientName="Acknowledged")
    put(archive, ds)
    (kept,) = published(folder)
    ds.PatientName = "Orphan"
    digest = publish_object(archive, ds)
    assert run(archive) == Recovery(quarantined=1)
    assert archive.index.instance(ds.SOPInstanceUID).digest == kept.stem
    assert published(folder) == [kept]
    assert reason_of(archive, digest) == "its SOP Instance UID is stored with other content"


@pytest.mark.parametrize("first", range(3))
def test_of_orphans_of_one_uid_the_first_that_came_is_indexed(archive, folder, first):
    ds = ct()
    digests = []
    for i in range(3):
        ds.PatientName = f"Came^{i}"
        digests.append(publish_object(archive, ds, 1e9 + (0 if i == first else i + 1)))
    assert run(archive) == Recovery(indexed=1, quarantined=2)
    assert [path.stem for path in published(folder)] == [digests.pop(first)]
    assert quarantined(folder).keys() == set(digests)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "file ends inside its File Meta Information"),
        (b"no DICOM at all" * 20, "not a DICOM file"),
        (file_meta(CT, "1.2.3", EXPLICIT)[:200], "file ends inside its File Meta Information"),
        (file_meta(CT, "1.2.3", EXPLICIT) + encode(ct(SOPInstanceUID="1.2.3"))[:-100], "data set ends inside"),
        (file_meta(CT, "1.2.4", EXPLICIT) + encode(ct(SOPInstanceUID="1.2.3")), "SOPInstanceUID of the data set is"),
        (file_meta(CT, "1.2.3", "1.2.840.10008.1.2.4.94") + encode(ct()), "unknown transfer syntax"),
        (file_meta(CT, "1.2.3", EXPLICIT) + encode(ct(SOPInstanceUID="1.2.3", StudyInstanceUID=None)), "StudyInst"),
    ],
)
def test_an_orphan_that_cannot_be_indexed_is_quarantined(archive, folder, data, reason):
    digest = publish(archive, data)
    assert run(archive) == Recovery(quarantined=1)
    assert reason_of(archive, digest).startswith(reason)
    assert not published(folder)


def test_a_busy_index_ends_the_start_and_sets_nothing_aside(archive, folder, monkeypatch):
    publish_object(archive, ct())

    def busy(*_, **__):
        raise Failure(Kind.BUSY, "index busy")

    monkeypatch.setattr(archive.index, "add_all", busy)
    with pytest.raises(Failure, match="index busy"):
        start_daemon(archive)
    assert len(published(folder)) == 1
    assert not quarantined(folder)


def test_an_orphan_whose_bytes_are_not_its_digests_is_quarantined(archive, folder):
    digest = publish_object(archive, ct())
    path = archive.tree.layout.published(digest)
    os.chmod(path, 0o640)
    with open(path, "r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x55")
    assert run(archive) == Recovery(quarantined=1)
    assert reason_of(archive, digest) == "the file's bytes do not have its digest"


@pytest.mark.parametrize(("number", "is_damage"), [(errno.EMFILE, False), (errno.EACCES, False), (errno.EIO, True)])
def test_a_file_that_cannot_be_read_now_is_left_as_it_is(archive, monkeypatch, number, is_damage):
    ds = ct()
    put(archive, ds)
    orphan = publish_object(archive, ct())

    def cannot(digest):
        raise OSError(number, os.strerror(number), digest)

    monkeypatch.setattr(archive.tree, "open", cannot)
    found = run(archive)
    assert (found.quarantined > 0) == is_damage
    assert os.path.exists(archive.tree.layout.published(orphan)) == (not is_damage)
    assert (archive.index.instance(ds.SOPInstanceUID).availability == "ONLINE") == (not is_damage)


def test_the_row_of_a_missing_file_is_marked_and_stays(archive, folder):
    ds = ct()
    put(archive, ds)
    published(folder)[0].unlink()
    assert run(archive) == Recovery(missing=1)
    assert archive.index.instance(ds.SOPInstanceUID).availability == "UNAVAILABLE"
    put(archive, ds)
    assert archive.index.instance(ds.SOPInstanceUID).availability == "ONLINE"
    assert run(archive) == Recovery()


def test_a_file_cut_short_is_quarantined_and_its_row_marked(archive, folder):
    ds, other = ct(), ct()
    put(archive, ds)
    put(archive, other)
    digest = archive.index.instance(ds.SOPInstanceUID).digest
    path = archive.tree.layout.published(digest)
    os.truncate(path, 1000)
    assert run(archive) == Recovery(quarantined=1, missing=1)
    assert archive.index.instance(ds.SOPInstanceUID).availability == "UNAVAILABLE"
    assert archive.index.instance(other.SOPInstanceUID).availability == "ONLINE"
    assert [p.stem for p in published(folder)] == [archive.index.instance(other.SOPInstanceUID).digest]


def test_blocks_that_power_loss_zeroed_are_found_in_what_came_last(archive, folder):
    ds = ct()
    put(archive, ds)
    (path,) = published(folder)
    size = path.stat().st_size
    os.truncate(path, 100)
    os.truncate(path, size)
    assert run(archive) == Recovery(quarantined=1, missing=1)
    assert archive.index.instance(ds.SOPInstanceUID).availability == "UNAVAILABLE"


def test_an_index_that_was_lost_is_rebuilt_from_the_files(open_archive, tmp_path):
    archive = open_archive(tmp_path / "a")
    stored = [ct(PatientID=f"P{i}") for i in range(5)]
    for ds in stored:
        put(archive, ds)
    archive.close()
    shutil.copytree(tmp_path / "a" / "objects", tmp_path / "b" / "objects")
    archive = open_archive(tmp_path / "b")
    assert run(archive) == Recovery(indexed=5)
    assert archive.figures().patients == 5


@pytest.mark.parametrize("lost", ["index", "rows"])
def test_one_series_uid_in_two_studies_is_two_series_again(archive, open_archive, tmp_path, lost):
    series = generate_uid()
    objects = [ct(PatientID=f"P{i // 2}", SeriesInstanceUID=series, InstanceNumber=i) for i in range(4)]
    wanted = sorted((ds.StudyInstanceUID, series, ds.PatientID, ds.SOPInstanceUID) for ds in objects)
    if lost == "index":
        for ds in objects:
            put(archive, ds)
        shutil.copytree(tmp_path / "archive" / "objects", tmp_path / "b" / "objects")
        archive = open_archive(tmp_path / "b")
        assert run(archive) == Recovery(indexed=4)
    else:
        put(archive, objects[0])
        for ds in objects[1:]:
            publish_object(archive, ds)
        assert run(archive) == Recovery(indexed=3)
    keys = [BY_KEYWORD[k] for k in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "SOPInstanceUID")]
    assert sorted(archive.index.find(Query("IMAGE", [], keys))) == wanted
    for ds in objects:
        asked = [(keys[0], ds.StudyInstanceUID), (keys[1], series)]
        assert list(archive.index.find(Query("SERIES", asked, keys[:3]))) == [
            (ds.StudyInstanceUID, series, ds.PatientID)
        ]
    assert archive.figures().series == 4


def start_daemon(archive: Archive) -> DaemonLock:
    """Take the folder and get it ready, as the daemon's processes do."""
    lock = archive.tree.daemon_lock()
    prepare(archive, lock)
    return lock


def test_the_daemon_recovers_unless_the_last_end_was_clean(archive, folder):
    lock = start_daemon(archive)
    publish_object(archive, ct())
    lock.release()
    assert (folder / "daemon.lock").read_bytes() == b""
    lock = start_daemon(archive)
    assert archive.figures().instances == 0
    abandon(lock)
    lock = start_daemon(archive)
    assert archive.figures().instances == 1
    lock.release()


def test_the_first_daemon_of_a_folder_trusts_nothing(archive):
    publish_object(archive, ct())
    start_daemon(archive).release()
    assert archive.figures().instances == 1


def test_the_daemon_sweeps_incoming_at_every_start(archive, folder):
    for _ in range(2):
        (folder / "incoming" / "1-1.part").write_bytes(b"left over")
        start_daemon(archive).release()
        assert not incoming(folder)


def abandon(lock):
    """End as kill -9 does."""
    os.close(lock._fd)


def test_a_folder_has_one_daemon(archive):
    lock = start_daemon(archive)
    with pytest.raises(MinipacsError, match=f"in use by another minipacs daemon .pid {os.getpid()}"):
        start_daemon(archive)
    lock.release()
    start_daemon(archive).release()


def test_what_keeps_the_daemon_from_starting_is_said_in_a_line(archive, folder, monkeypatch):
    publish(archive, b"no object")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", full)
        with pytest.raises(MinipacsError, match="cannot start: storage folder: No space left on device"):
            start_daemon(archive)
    (folder / "daemon.lock").unlink()
    (folder / "daemon.lock").mkdir()
    with pytest.raises(MinipacsError, match=r"cannot start: .*/daemon.lock: Is a directory"):
        start_daemon(archive)
    (folder / "daemon.lock").rmdir()
    (folder / "daemon.lock").symlink_to("/dev/full")
    with pytest.raises(MinipacsError, match=r"cannot start: .*/daemon.lock: No space left on device"):
        start_daemon(archive)


def test_a_start_that_is_cut_short_does_not_make_the_last_end_a_clean_one(archive, monkeypatch):
    abandon(start_daemon(archive))

    class Killed(BaseException):
        pass

    def killed(fd, *_):
        os.close(fd)
        raise Killed

    for step in ("pwrite", "ftruncate", "fsync"):
        with monkeypatch.context() as patched:
            patched.setattr(os, step, killed)
            with pytest.raises(Killed):
                archive.tree.daemon_lock()
        lock = archive.tree.daemon_lock()
        assert not lock.ended_cleanly, step
        abandon(lock)


def test_a_clean_end_leaves_the_lock_room_for_the_next_start_on_a_full_disk(archive, folder):
    start_daemon(archive).release()
    found = (folder / "daemon.lock").stat()
    assert found.st_size == 0
    assert found.st_blocks > 0
