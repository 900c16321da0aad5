import errno
import os
import sqlite3
import threading
import types

import pytest
from pydicom.uid import EncapsulatedPDFStorage, JPEGBaseline8Bit, generate_uid

from minipacs.archive import disk_errors
from minipacs.errors import Failure, Kind
from minipacs.index import Outcome
from minipacs.tree.objects import FileTree
from tests.support.elements import fragments
from tests.support.objects import ct, encode
from tests.support.storing import incoming, published, put, put_bytes, quarantined
from tests.support.wire import CT, EXPLICIT

UID = "1.2.3.4"


@pytest.fixture
def folder(archive):
    return archive.tree.layout.root


def refused(store, *arguments, **keywords):
    """Store what must be refused."""
    with pytest.raises(Failure) as caught:
        store(*arguments, **keywords)
    assert str(caught.value)
    return caught.value


def nothing_left(folder):
    return not published(folder) and not incoming(folder) and not quarantined(folder)


def record_calls(monkeypatch, archive, *, sink):
    """Note the order of what makes an object durable, and of its row."""
    for name in ("fdatasync", "fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (sink.append(name), real(*a))[1])
    add = archive.index.add

    def recorded(*arguments, **keywords):
        sink.append("add")
        placed = add(*arguments, **keywords)
        sink.append("added")
        return placed

    monkeypatch.setattr(archive.index, "add", recorded)


def test_s1_the_file_is_durable_before_its_row_and_the_row_before_success(archive, monkeypatch):
    calls = []
    record_calls(monkeypatch, archive, sink=calls)
    assert put(archive, ct()) is Outcome.ADDED
    assert calls == ["fdatasync", "rename", "fsync", "add", "added"]


def test_s1_the_same_bytes_again_cost_one_sync_of_the_folder(archive, monkeypatch):
    ds = ct()
    put(archive, ds)
    calls = []
    record_calls(monkeypatch, archive, sink=calls)
    assert put(archive, ds) is Outcome.SAME
    assert calls == ["fsync", "add", "added"]


@pytest.mark.parametrize(
    ("recovers", "keeps_receipts", "synchronous"), [(True, True, 1), (True, False, 2), (False, True, 2)]
)
def test_s1_a_new_row_waits_for_the_disk_unless_its_file_and_the_daemon_make_it_again(
    open_archive, monkeypatch, recovers, keeps_receipts, synchronous
):
    archive = open_archive(recovers=recovers)
    if not keeps_receipts:

        def unsupported(*_):
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(os, "setxattr", unsupported)
    put(archive, ct())
    connection = archive.index._writer._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,), "at the last commit"


def test_with_batch_nothing_waits_for_the_disk(open_archive, monkeypatch):
    monkeypatch.setattr(FileTree, "sync", lambda tree: None)
    archive = open_archive(sync="batch")
    calls = []
    record_calls(monkeypatch, archive, sink=calls)
    put(archive, ct())
    put(archive, ct())
    own = [call for call in calls if call not in ("fdatasync", "fsync")]  # the index syncs its log, on another thread
    assert own == ["rename", "add", "added"] * 2


def test_with_batch_the_file_system_is_synced_after_a_commit_and_at_the_end(open_archive, monkeypatch):
    open_archive(sync="batch").close()
    synced = threading.Event()
    monkeypatch.setattr(FileTree, "sync", lambda tree: synced.set())
    archive = open_archive(sync="batch")
    assert not synced.is_set()
    put(archive, ct())
    assert synced.wait(10)
    synced.clear()
    archive.close()
    assert synced.is_set()


def test_a_failed_publish_leaves_nothing(archive, folder, monkeypatch):
    for name in ("fdatasync", "rename", "fsync"):
        with monkeypatch.context() as patched:

            def fail(*_):
                raise OSError(errno.EIO, "Input/output error")

            patched.setattr(os, name, fail)
            error = refused(put, archive, ct())
        assert error.kind is Kind.BUSY
        assert nothing_left(folder), name
    assert put(archive, ct()) is Outcome.ADDED


def test_a_failed_commit_takes_the_file_back(archive, folder, monkeypatch):
    def busy(*_, **__):
        raise Failure(Kind.BUSY, "index busy")

    with monkeypatch.context() as patched:
        patched.setattr(archive.index, "add", busy)
        assert refused(put, archive, ct()).kind is Kind.BUSY
    assert nothing_left(folder)


def test_a_failed_commit_leaves_the_file_that_another_row_is_on(archive, folder, monkeypatch):
    ds = ct()
    put(archive, ds)

    def busy(*_, **__):
        raise Failure(Kind.BUSY, "index busy")

    monkeypatch.setattr(archive.index, "add", busy)
    assert refused(put, archive, ds).kind is Kind.BUSY
    assert len(published(folder)) == 1


def test_a_file_that_cannot_be_set_aside_does_not_fail_the_object_that_replaced_it(archive, folder, monkeypatch):
    ds = ct(PatientName="First")
    put(archive, ds)
    ds.PatientName = "Second"
    for error in (OSError(errno.ENOSPC, "No space left"), Failure(Kind.BUSY, "index busy")):

        def fail(*_, error=error):
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(archive.tree, "set_aside", fail)
            assert put(archive, ds) is Outcome.REPLACED
        ds.PatientName = "Third"
    assert len(published(folder)) == 3, "orphans, for the next recovery"


def test_s10_the_same_object_at_the_same_instant_is_one_file(archive, folder):
    ds = ct()
    start = threading.Barrier(8)
    outcomes = []

    def store():
        start.wait(10)
        outcomes.append(put(archive, ds))

    threads = [threading.Thread(target=store) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(o.name for o in outcomes) == ["ADDED"] + ["SAME"] * 7
    assert len(published(folder)) == 1
    assert not incoming(folder)
    assert archive.figures().instances == 1


def test_s10_other_objects_of_one_uid_at_the_same_instant_leave_one_current(archive, folder):
    uid = generate_uid()
    start = threading.Barrier(6)

    def store(name):
        start.wait(10)
        put(archive, ct(SOPInstanceUID=uid, PatientName=name))

    threads = [threading.Thread(target=store, args=(f"Name{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert archive.figures().instances == 1
    (path,) = published(folder)
    assert archive.index.instance(uid).digest == path.stem
    assert set(quarantined(folder).values()) == {"replaced by another file"}
    assert len(quarantined(folder)) == 5


def test_replacing_there_and_back_again(archive, folder):
    ds = ct()
    digests = []
    for name in ("A", "B", "A", "B"):
        ds.PatientName = name
        put(archive, ds)
        (path,) = published(folder)
        digests.append(path.stem)
    assert digests[:2] == digests[2:]
    assert quarantined(folder).keys() == {digests[0], digests[1]}
    assert archive.index.instance(ds.SOPInstanceUID).digest == digests[1]


def test_a_file_that_is_missing_is_healed_by_the_same_bytes(archive, folder):
    ds = ct()
    put(archive, ds)
    (path,) = published(folder)
    path.unlink()
    archive.index.set_availability([path.stem], "UNAVAILABLE")
    assert put(archive, ds) is Outcome.SAME
    assert published(folder) == [path]
    assert archive.index.instance(ds.SOPInstanceUID).availability == "ONLINE"


def test_s2_bit_rot_of_the_same_size_is_healed_by_the_same_bytes(archive, folder):
    ds = ct()
    put(archive, ds)
    (path,) = published(folder)
    good = path.read_bytes()
    path.chmod(0o640)
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert put(archive, ds) is Outcome.SAME
    assert path.read_bytes() == good
    assert not incoming(folder)


@pytest.mark.parametrize(
    ("sop_class_uid", "sop_instance_uid"),
    [(CT, ""), ("", UID), (CT, "1." * 32 + "1"), (CT, "1.2.x"), (CT, "1..2"), (CT, "../1"), (CT, "1.2\n"), (CT, "١.٢")],
)
def test_a_malformed_uid_of_the_command_is_c002(archive, folder, sop_class_uid, sop_instance_uid):
    error = refused(put_bytes, archive, encode(ct()), sop_class_uid, sop_instance_uid)
    assert error.kind is Kind.MALFORMED_UID
    assert error.tags == ((0x00080018,) if sop_class_uid else (0x00080016,))
    assert nothing_left(folder)


def test_the_source_and_the_assumed_character_set_are_indexed(archive):
    data = encode(ct(SOPInstanceUID=UID, PatientName="Müller^Jörg"))
    assert "Müller^Jörg".encode("latin-1") in data
    put_bytes(archive, data, CT, UID, source="MODALITY", charset="ISO_IR 100")
    with sqlite3.connect(archive.tree.layout.index) as index:
        assert index.execute("SELECT source_ae_title FROM instance").fetchone() == ("MODALITY",)
        assert index.execute("SELECT patient_name FROM patient").fetchone() == ("Müller^Jörg",)


def test_an_object_larger_than_the_limit_is_c006_as_soon_as_it_shows(open_archive):
    archive = open_archive(max_instance_bytes=10_000)
    folder = archive.tree.layout.root
    with archive.receive(CT, UID, EXPLICIT, "") as object_:
        object_.write(encode(ct(SOPInstanceUID=UID))[:1000])
        assert refused(object_.write, bytes(9001)).kind is Kind.TOO_LARGE
    assert nothing_left(folder)


def test_nothing_is_staged_below_the_reserve(open_archive, monkeypatch):
    archive = open_archive(min_free_bytes=1000)
    monkeypatch.setattr(os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=999, f_frsize=1))
    monkeypatch.setattr(archive.tree, "stage", lambda: pytest.fail("a file was opened"))
    assert refused(put, archive, ct()).kind is Kind.FULL
    monkeypatch.undo()
    monkeypatch.setattr(os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=1000, f_frsize=1))
    assert put(archive, ct()) is Outcome.ADDED


def test_a_fault_of_the_disk_is_logged_once_a_minute(archive, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/there")

    times = (1000.0, 1001.0, 1059.0, 1060.0)
    clock = iter(times)
    with monkeypatch.context() as patched:
        patched.setattr(disk_errors.time, "monotonic", lambda: next(clock))
        patched.setattr(archive.tree, "stage", full)
        for _ in times:
            assert refused(put, archive, ct()).kind is Kind.FULL
    lines = [record.fields for record in caplog.records if record.message == "storage cannot be written"]
    assert [(line["error"], line["path"], line["before"]) for line in lines] == [
        ("ENOSPC", "/there", None),
        ("ENOSPC", "/there", 2),
    ]


def test_fragments_count_as_pixel_data_of_encapsulated_syntaxes_only(archive, folder):
    ds = ct(SOPInstanceUID=UID, PixelData=None)
    data = encode(ds) + fragments(b"\xff\xd8\xff\xd9")
    assert refused(put_bytes, archive, data, CT, UID).kind is Kind.WRONG_ENCODING
    assert nothing_left(folder)
    assert put_bytes(archive, data, CT, UID, JPEGBaseline8Bit) is Outcome.ADDED


def test_an_object_left_half_way_leaves_nothing(archive, folder):
    data = encode(ct(SOPInstanceUID=UID))
    with archive.receive(CT, UID, EXPLICIT, "") as object_:
        object_.write(data[:500])
        assert len(incoming(folder)) == 1
    assert nothing_left(folder)


def test_the_class_of_the_command_counts(archive):
    error = refused(put_bytes, archive, encode(ct(SOPInstanceUID=UID)), EncapsulatedPDFStorage, UID)
    assert (error.kind, error.tags) == (Kind.WRONG_IDENTITY, (0x00080016,))
