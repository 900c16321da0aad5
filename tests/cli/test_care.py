"""Looking after an archive whose daemon runs: verify, delete, quarantine, backup."""

import hashlib
import json
import sqlite3
import subprocess
import time
from datetime import datetime

import pytest

from minipacs import log
from tests.support.objects import ct, encode, save, study
from tests.support.sender import Sender
from tests.support.server import run
from tests.support.storing import published


@pytest.fixture(scope="module")
def server(shared_server):
    return shared_server


def store(server, *objects):
    with Sender(server.port) as sender:
        for ds in objects:
            assert sender.store(ds).status == 0
        sender.release()


def path_of(server, ds):
    data = encode(ds)
    [found] = [path for path in published(server.data) if path.read_bytes().endswith(data)]
    return found


def spoil(path):
    """Change a byte of a file that nobody may change."""
    path.chmod(0o640)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def report(server, *options, status=0):
    done = run("verify", "--json", *options, config=server.config, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def command(server, *words, check=True, **arguments):
    return run(*words, "--config", server.config, check=check, **arguments)


@pytest.fixture
def own(start_server):
    """Start an archive of the test's own."""
    return start_server()


def test_verify_finds_nothing_in_a_sound_archive_and_changes_nothing(own):
    store(own, *study(instances=3))
    assert report(own)["findings"] == []
    done = command(own, "verify")
    assert done.stdout == "3 instances: 0 missing, 0 damaged, 0 orphaned\n"


def test_verify_tells_what_is_wrong_and_repairs_only_when_told_to(own):
    sound, damaged, missing, spare = objects = study(instances=4)
    store(own, *objects)
    paths = [path_of(own, ds) for ds in objects]
    orphan = ct()
    command(own, "import", save(orphan, own.folder / "orphan.dcm"))
    path = path_of(own, orphan)
    kept = path.read_bytes()
    command(own, "delete", "--yes", f"SOPInstanceUID={orphan.SOPInstanceUID}")
    path.write_bytes(kept)
    spoil(paths[1])
    paths[2].unlink()
    before = sorted(p.name for p in own.objects())
    found = report(own, status=1)["findings"]
    assert {(f["fault"], f["sop_instance_uid"]) for f in found} == {
        ("damaged", damaged.SOPInstanceUID),
        ("missing", missing.SOPInstanceUID),
        ("orphaned", ""),
    }
    assert sorted(p.name for p in own.objects()) == before
    assert not own.quarantined()
    assert report(own, "--repair", status=1)["repaired"]
    assert [p.stem for p in own.quarantined()] == [paths[1].stem]
    rows = json.loads(command(own, "find", "--level", "image", "--json").stdout)
    assert {row["SOPInstanceUID"] for row in rows} == {ds.SOPInstanceUID for ds in (*objects, orphan)}
    with sqlite3.connect(own.data / "index.db") as index:
        states = dict(index.execute("SELECT digest, availability FROM instance"))
    assert {digest for digest, state in states.items() if state != "ONLINE"} == {paths[1].stem, paths[2].stem}
    store(own, damaged, missing)
    assert report(own)["findings"] == []
    with sqlite3.connect(own.data / "index.db") as index:
        assert set(index.execute("SELECT availability FROM instance")) == {("ONLINE",)}
    assert spare.SOPInstanceUID in {row["SOPInstanceUID"] for row in rows}
    assert sound.SOPInstanceUID in {row["SOPInstanceUID"] for row in rows}


def test_verify_gives_out_again_what_came_back(own):
    ds = ct()
    store(own, ds)
    path = path_of(own, ds)
    kept = path.read_bytes()
    path.unlink()
    report(own, "--repair", status=1)
    path.write_bytes(kept)
    assert report(own, "--repair")["healed"] == 1
    assert report(own, "--repair")["healed"] == 0


def test_verify_beside_storing_finds_no_orphans(own):
    objects = study(instances=60)
    with Sender(own.port) as sender:
        for n, ds in enumerate(objects):
            assert sender.store(ds).status == 0
            if n % 20 == 10:
                assert report(own)["findings"] == []


def test_verify_holds_to_a_rate(own, monkeypatch):
    from minipacs.archive.care import checking

    slept = []
    monkeypatch.setattr(checking.time, "sleep", slept.append)
    monkeypatch.setattr(checking.time, "monotonic", lambda: 100.0 + sum(slept))
    pace = checking.Pace(1000)
    for _ in range(5):
        pace.read(500)
    assert sum(slept) == pytest.approx(2.5)


def test_delete_removes_rows_and_files_after_asking(own):
    gone, kept = study(patients=2, instances=3)[:3], study(patients=1, instances=2, PatientID="KEPT")
    store(own, *gone, *kept)
    [gone_id] = {ds.PatientID for ds in gone}
    done = command(own, "delete", f"PatientID={gone_id}", check=False)
    assert done.returncode == 1
    assert len(own.objects()) == 5, "nobody said yes"
    done = command(own, "delete", "--yes", f"PatientID={gone_id}")
    assert "3 instances removed" in done.stdout
    assert gone_id in done.stdout, "what went is shown"
    assert len(own.objects()) == 2
    assert report(own)["findings"] == []
    rows = json.loads(command(own, "find", "--json").stdout)
    assert [row["PatientID"] for row in rows] == ["KEPT"]
    store(own, *gone)
    assert len(own.objects()) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Missing argument"),
        (("PatientID=*",), "match everything"),
        (("PatientID",), "not of the form KEY=VALUE"),
        (("Nonsense=1",), "Nonsense is no key"),
    ],
)
def test_delete_takes_no_vague_orders(server, words, said):
    done = command(server, "delete", "--yes", *words, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_delete_of_nothing_is_no_fault(server):
    assert command(server, "delete", "--yes", "PatientID=NOBODY").stdout == "nothing matches\n"


def replaced(own):
    """Store an object twice with other content: the first one is in quarantine then."""
    first = ct()
    second = ct(**{k: getattr(first, k) for k in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")})
    second.PatientComments = "second"
    store(own, first, second)
    [path] = own.quarantined()
    return first, second, path.stem


def test_quarantine_is_listed_and_shown(own):
    first, second, digest = replaced(own)
    [row] = json.loads(command(own, "quarantine", "list", "--json").stdout)
    assert (row["digest"], row["reason"]) == (digest, "replaced by another file")
    facts = json.loads(command(own, "quarantine", "show", digest[:8], "--json").stdout)
    assert (facts["SOPInstanceUID"], facts["whole"]) == (first.SOPInstanceUID, True)
    assert facts["current"] == path_of(own, second).stem
    assert digest[:16] in command(own, "quarantine", "list").stdout


def test_quarantine_is_released_the_current_file_giving_way(own):
    first, second, digest = replaced(own)
    now = path_of(own, second).stem
    assert command(own, "quarantine", "release", digest).stdout == f"{digest}: released\n"
    assert path_of(own, first).stem == digest
    assert [path.stem for path in own.quarantined()] == [now]
    assert report(own)["findings"] == []


def test_quarantine_is_not_released_over_another_file_under_keep(start_server):
    own = start_server(storage='duplicates = "keep"')
    first, _, digest = replaced(own)
    done = command(own, "quarantine", "release", digest, check=False)
    assert done.returncode == 1
    assert "another file is current" in done.stdout
    assert path_of(own, first)
    assert [path.stem for path in own.quarantined()] == [digest]


def test_what_is_damaged_is_not_released(own):
    _, _, digest = replaced(own)
    spoil(own.quarantined()[0])
    done = command(own, "quarantine", "release", digest, check=False)
    assert done.returncode == 1
    assert "is damaged" in done.stdout
    facts = json.loads(command(own, "quarantine", "show", digest, "--json").stdout)
    assert facts["whole"] is False


def test_quarantine_is_purged_only_when_named_and_confirmed(own):
    _, _, digest = replaced(own)
    assert command(own, "quarantine", "purge", check=False).returncode == 2
    assert command(own, "quarantine", "purge", "--all", check=False).returncode == 1
    assert own.quarantined()
    assert command(own, "quarantine", "purge", "--older-than", "1", "--yes").stdout == "0 files removed\n"
    assert command(own, "quarantine", "purge", digest, "--yes").stdout == "1 files removed\n"
    assert not list(own.data.glob("quarantine/*"))


@pytest.mark.parametrize(
    ("digest", "said"),
    [("abc", "too short"), ("f" * 64, "no files in quarantine"), ("../../etc/passwd", "no files in quarantine")],
)
def test_a_digest_that_is_not_there_is_one_line(server, digest, said):
    done = command(server, "quarantine", "show", digest, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_backup_copies_the_index_while_objects_are_stored(own, tmp_path):
    objects = study(instances=30)
    store(own, *objects[:20])
    target = tmp_path / "copy.db"
    with Sender(own.port) as sender:
        assert sender.store(objects[20]).status == 0
        assert command(own, "backup", target).stdout == f"{target}\n"
        assert sender.store(objects[21]).status == 0
    with sqlite3.connect(target) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT COUNT(*) FROM instance").fetchone() == (21,)
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    before = hashlib.sha256(target.read_bytes()).digest()
    done = command(own, "backup", target, check=False)
    assert (done.returncode, done.stderr) == (1, f"minipacs: {target} exists already\n")
    assert hashlib.sha256(target.read_bytes()).digest() == before
    command(own, "backup", tmp_path)
    assert len(list(tmp_path.glob("index-*.db"))) == 1


def test_a_backup_is_restored_to_what_the_files_are(own, start_server):
    early, late = ct(), ct()
    store(own, early)
    command(own, "backup", own.folder / "copy.db")
    store(own, late)
    own.stop()
    for name in ("index.db", "index.db-wal", "index.db-shm", "daemon.lock"):
        (own.data / name).unlink(missing_ok=True)
    (own.folder / "copy.db").rename(own.data / "index.db")
    own.start()
    assert report(own)["findings"] == []
    rows = json.loads(command(own, "find", "--level", "image", "--json").stdout)
    assert {row["SOPInstanceUID"] for row in rows} == {early.SOPInstanceUID, late.SOPInstanceUID}


def test_a_target_that_cannot_be_written_is_one_line(server, tmp_path):
    (tmp_path / "file").touch()
    done = command(server, "backup", tmp_path / "file" / "copy.db", check=False)
    assert done.returncode == 1
    assert done.stderr == f"minipacs: cannot make the folder {tmp_path}/file: File exists\n"


def test_a_backup_that_finds_no_room_says_where_and_leaves_nothing(server, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(full)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system: run as root, as CI does")
    try:
        done = command(server, "backup", full / "copy.db", check=False)
        assert (done.returncode, done.stderr) == (
            1,
            f"minipacs: cannot write {full}/copy.db: No space left on device\n",
        )
        assert not list(full.iterdir())
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_delete_leaves_a_line_in_the_systems_log(own, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(log.syslog, "syslog", lambda priority, text: said.append(text))
    monkeypatch.setenv("SUDO_USER", "anna")
    objects = study(instances=3)
    store(own, *objects)
    uid = objects[0].StudyInstanceUID
    command(own, "delete", "--yes", f"StudyInstanceUID={uid}")
    assert said == [f"instances deleted by=anna keys=StudyInstanceUID instances=3 studies=1 study_uids={uid}"]


def test_backup_makes_the_folders_that_are_missing(own, tmp_path):
    store(own, ct())
    assert command(own, "backup", tmp_path / "a" / "b" / "copy.db").stdout == f"{tmp_path}/a/b/copy.db\n"
    made = command(own, "backup", f"{tmp_path}/c/index/").stdout.strip()
    assert made.startswith(f"{tmp_path}/c/index/index-")
    assert (tmp_path / "a/b/copy.db").stat().st_size > 0


def test_find_tells_when_and_from_whom(own):
    ds = ct()
    with Sender(own.port, calling=b"CT1") as first, Sender(own.port, calling=b"CT2") as second:
        assert first.store(ds).status == 0
        again = ct(StudyInstanceUID=ds.StudyInstanceUID, SeriesInstanceUID=ds.SeriesInstanceUID, PatientID=ds.PatientID)
        assert second.store(again).status == 0
    for level, count in (("study", 1), ("series", 1), ("image", 2)):
        rows = json.loads(command(own, "find", "--level", level, "--json").stdout)
        assert len(rows) == count
        assert sorted({title for row in rows for title in row["Sources"]}) == ["CT1", "CT2"]
        assert all(datetime.fromisoformat(row["Received"]).utcoffset() is not None for row in rows)
    assert command(own, "find", "--csv", "--columns", "Sources").stdout == "Sources\nCT1\\CT2\n"
    assert "Received" not in command(own, "find", "--level", "patient").stdout


def test_metrics_tell_of_the_last_check_and_of_the_last_objects(own):
    assert own.metric("minipacs_last_check_timestamp_seconds") == 0
    store(own, ct(), ct())
    spoil(published(own.data)[0])
    before = time.time()
    report(own, status=1)
    own.stop()
    own.start()
    assert own.metric("minipacs_last_check_timestamp_seconds") >= before
    assert own.metric("minipacs_last_check_findings") == 1
    deadline = before + 60
    while not 0 < own.metric("minipacs_last_object_timestamp_seconds", peer="other") <= before:
        assert time.time() < deadline
