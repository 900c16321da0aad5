import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import threading
from contextlib import closing, suppress

import pydicom
import pytest

from minipacs.dicom.data_set.part10 import file_meta
from tests.support import dcmtk
from tests.support.objects import ct, encode, study
from tests.support.sender import Sender
from tests.support.server import MINIPACS, limit_files, run
from tests.support.storing import incoming, published, quarantined, rows
from tests.support.wire import CT, EXPLICIT, p_data, pdv, store_rq

UID = "1.2.826.0.1.3680043.2"


def stored(server):
    """Give the content of all published files; each has a row, and each row its file."""
    files = published(server.data)
    assert rows(server.data) == {path.stem: "ONLINE" for path in files}
    assert not incoming(server.data)
    return {path.read_bytes() for path in files}


def has(files, ds):
    data = encode(ds)
    return any(raw.endswith(data) for raw in files)


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_s1_what_was_acknowledged_survives_kill_9(start_server, sync):
    server = start_server(storage=f'sync = "{sync}"')
    acknowledged = []
    for _ in range(3):
        with Sender(server.port) as sender, Sender(server.port) as other:
            half = encode(ct(SOPInstanceUID=UID))[:600]
            other.send(p_data(pdv(1, 3, store_rq(CT, UID))) + p_data(pdv(1, 0, half)))
            acknowledged.append(ct())
            assert sender.store(acknowledged[-1]).status == 0
            server.kill()
        server.start()
        files = stored(server)
        assert all(has(files, ds) for ds in acknowledged)
        assert len(files) == len(acknowledged)
        (line,) = server.events("recovered after an unclean end")
        assert line["files_missing"] == 0
    assert not quarantined(server.data)


def test_s1_kill_9_in_the_middle_of_many(start_server):
    server = start_server()
    acknowledged = []
    enough = threading.Semaphore(0)

    def send():
        try:
            with Sender(server.port) as sender:
                for ds in study(instances=400):
                    assert sender.store(ds).status == 0
                    acknowledged.append(ds)
                    enough.release()
        except (OSError, EOFError):
            pass  # killed

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        assert enough.acquire(timeout=30)
    server.kill()
    for thread in threads:
        thread.join(30)
    server.start()
    files = stored(server)
    assert 60 <= len(acknowledged) < 1600
    assert all(has(files, ds) for ds in acknowledged)
    assert not quarantined(server.data)


TABLES = ("patient", "study", "series", "instance", "modality_total")


def index_rows(server):
    """Read all that the index says of what is stored, table by table."""
    with closing(sqlite3.connect(f"file:{server.data}/index.db?mode=ro", uri=True)) as index:
        return {name: index.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in TABLES}


def test_s1_rows_that_were_not_yet_on_the_disk_are_made_again_as_they_were(start_server):
    server = start_server(more='[access]\npolicy = "open"\n[[peer]]\ntitle = "LATIN"\ncharset = "ISO_IR 100"')
    first = ct(PatientID="P9", StudyDescription="first")
    later = ct(PatientID="P9", StudyDescription="later", StudyInstanceUID=first.StudyInstanceUID)
    objects = [*study(patients=2, series=2, instances=3), ct(PatientID="", PatientName="No^ID"), first, later]
    with Sender(server.port) as sender:
        assert [sender.store(ds).status for ds in objects] == [0] * len(objects)
    unnamed = encode(ct(SOPInstanceUID=UID, PatientID="L", PatientName="M?ller")).replace(b"M?ller", b"M\xfcller")
    with Sender(server.port, calling=b"LATIN") as sender:
        assert sender.store_bytes(unnamed, CT, UID).status == 0
    server.kill()
    before = index_rows(server)
    assert any("Müller" in row for row in before["patient"])
    for suffix in ("-wal", "-shm"):
        (server.data / f"index.db{suffix}").unlink()
    server.start()
    (line,) = server.events("recovered after an unclean end")
    found = [line[f"files_{what}"] for what in ("indexed", "quarantined", "missing")]
    assert found == [len(objects) + 1, 0, 0]
    assert index_rows(server) == before


def publish(server, raw):
    digest = hashlib.sha256(raw).hexdigest()
    (server.data / "objects" / digest[:2] / f"{digest}.dcm").write_bytes(raw)


def test_an_orphan_is_indexed_and_a_missing_file_marked_after_kill_9(start_server):
    server = start_server()
    ds, lost = ct(), ct(SOPInstanceUID=UID)
    with Sender(server.port) as sender:
        assert sender.store(lost).status == 0
    raw = file_meta(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT) + encode(ds)
    server.kill()
    published(server.data)[0].unlink()
    publish(server, raw)
    publish(server, b"no object")
    server.start()
    line = server.wait_for(lambda e: e["event"] == "recovered after an unclean end")
    assert (line["files_indexed"], line["files_quarantined"], line["files_missing"]) == (1, 1, 1)
    assert sorted(rows(server.data).values()) == ["ONLINE", "UNAVAILABLE"]
    with Sender(server.port) as sender:
        assert sender.store(ds).status == 0
        assert sender.store(lost).status == 0, "sent again it heals"
    assert len(stored(server)) == 2
    server.stop()
    server.start()
    assert not server.events("recovered after an unclean end")


def test_a_start_that_fails_leaves_the_recovery_to_the_next(start_server):
    server = start_server()
    server.kill()
    ds = ct()
    publish(server, file_meta(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT) + encode(ds))
    folder = server.data / "objects" / "ff"
    folder.rename(server.data / "ff")
    folder.write_bytes(b"")
    serve = [*MINIPACS, "serve", "--config", str(server.config)]
    failed = subprocess.run(serve, check=False, capture_output=True, text=True, timeout=30)
    assert (failed.returncode, "Not a directory" in failed.stderr) == (1, True), failed.stderr
    folder.unlink()
    (server.data / "ff").rename(folder)
    server.start()
    assert has(stored(server), ds)
    assert server.events("recovered after an unclean end")


def test_a_running_store_is_finished_before_the_end(start_server):
    server = start_server()
    ds = ct(rows=64)
    data = encode(ds)
    with Sender(server.port) as sender:
        assert sender.store(ct()).status == 0
        sender.send(p_data(pdv(1, 3, store_rq(CT, ds.SOPInstanceUID, 2))) + p_data(pdv(1, 0, data[:4000])))
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda e: e["event"] == "stopping")
        sender.send(p_data(pdv(1, 2, data[4000:])))
        assert sender.response().status == 0
        sender.release()
    assert server.stop() == 0
    assert len(published(server.data)) == 2


ALLOCATION_BYTES = 64 << 10
"""What telling a file system where the blocks of a large file are may take of it."""


class Disk:
    """The file system of a server: a small one of its own, or where that cannot be, a limit on the size of files.

    It lies in memory, or is an ext4 with blocks smaller than a page.
    """

    def __init__(self, folder, kind="tmpfs"):
        self.data = folder / "server0" / "data"
        self.data.mkdir(parents=True)
        image = folder / "image"
        if kind == "ext4":
            image.touch()
            os.truncate(image, 64 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-b", "1024", str(image)], check=True)
        options = {"ext4": ["-o", "loop", str(image)], "tmpfs": ["-t", "tmpfs", "-o", "size=32m", "tmpfs"]}[kind]
        mount = ["mount", *options, str(self.data)]
        self.mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        self.filler = self.data / "filler"

    def fill(self, server, left):
        """Leave `left` bytes, or let no file grow beyond them."""
        if not self.mounted:
            limit_files(server, left)
            return
        found = os.statvfs(self.data)
        with self.filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - left - ALLOCATION_BYTES)
            with suppress(OSError):
                while os.statvfs(self.data).f_bavail * found.f_frsize > left:
                    os.pwrite(file.fileno(), bytes(found.f_frsize), os.fstat(file.fileno()).st_size)

    def free(self, server):
        if self.mounted:
            self.filler.unlink()
        else:
            limit_files(server)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.data)], check=True)


@pytest.fixture(params=["tmpfs"])
def disk(tmp_path, request):
    disk = Disk(tmp_path, request.param)
    yield disk
    disk.close()


def test_s9_a_full_disk_is_a700_and_recovers_by_itself(disk, start_server):
    server = start_server()
    big = ct(rows=512)
    with Sender(server.port) as sender:
        assert sender.store(ct()).status == 0
        before = stored(server)
        disk.fill(server, 64 << 10)
        for _ in range(3):
            response = sender.store(big)
            assert (response.status, response.comment[:9]) == (0xA700, "storage: ")
            assert not incoming(server.data)
        assert stored(server) == before
        disk.free(server)
        assert sender.store(big).status == 0
    [line] = server.events("storage cannot be written")
    assert line["error"] in ("ENOSPC", "EFBIG")


@pytest.mark.parametrize("disk", ["tmpfs", "ext4"], indirect=True)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_s9_a_full_disk_does_not_stop_the_start(disk, start_server, end, tmp_path):
    if not disk.mounted:
        pytest.skip("only root may mount a file system: run as root, as CI does")
    server = start_server()
    kept = ct()
    with Sender(server.port) as sender:
        assert sender.store(kept).status == 0
    getattr(server, end)()
    disk.fill(server, 0)
    server.start()
    study = f"StudyInstanceUID={kept.StudyInstanceUID}"
    assert json.loads(run("find", "--json", study, config=server.config).stdout)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", study]
    dcmtk.client("getscu", server.port, "-S", "-od", str(tmp_path), *keys)
    assert [pydicom.dcmread(path).PixelData for path in tmp_path.glob("CT*")] == [kept.PixelData]
    with Sender(server.port) as sender:
        assert sender.store(ct()).status == 0xA700
        disk.free(server)
        assert sender.store(ct()).status == 0
    assert server.stop() == 0


def test_s9_what_the_index_cannot_take_is_a700_and_taken_back(start_server):
    server = start_server()
    objects = study(instances=4)
    with Sender(server.port) as sender:
        assert sender.store(objects[0]).status == 0
        before = stored(server)
        limit_files(server, 4096)
        for ds in objects[1:]:
            response = sender.store(ds)
            assert (response.status, response.comment[:6]) == (0xA700, "index ")
        assert stored(server) == before
        limit_files(server)
        assert [sender.store(ds).status for ds in objects] == [0] * 4
    assert len(stored(server)) == 4


def test_s9_below_the_reserve_is_a700_before_anything_is_written(start_server):
    server = start_server(reserve=1 << 60)
    with Sender(server.port) as sender:
        for _ in range(2):
            response = sender.store(ct())
            assert (response.status, response.comment) == (0xA700, "free disk space is below the reserve")
    assert stored(server) == set()
    status, text = server.http("/readyz")
    assert status == 503
    assert "storage.min_free_bytes" in text


def test_an_unusable_folder_is_a700_until_it_is_back(start_server):
    server = start_server()
    with Sender(server.port) as sender:
        (server.data / "incoming").rename(server.data / "elsewhere")
        response = sender.store(ct())
        assert (response.status, response.comment) == (0xA700, "storage: No such file or directory")
        (server.data / "elsewhere").rename(server.data / "incoming")
        assert sender.store(ct()).status == 0
    line = server.wait_for(lambda e: e["event"] == "storage cannot be written")
    assert str(line["path"]).startswith(str(server.data / "incoming"))
