"""Files and index of one archive: neither is taken for another's, and none is silently empty."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from minipacs.archive import marker
from minipacs.archive.archive import Archive
from minipacs.archive.care import recovery
from minipacs.archive.care.arrivals import Arrivals
from minipacs.archive.care.recovery import Recovery, recover
from minipacs.archive.care.sizes import UNCHECKED, SizeCheck
from minipacs.archive.care.start import prepare
from minipacs.archive.ingest import StoragePolicy
from minipacs.errors import MinipacsError
from minipacs.index import Index
from tests.support.memory_tree import MemoryTree
from tests.support.objects import ct, study
from tests.support.storing import published, put, quarantined

Open = Callable[..., Archive]


def start(archive: Archive) -> None:
    """Start a daemon and end it cleanly."""
    lock = archive.tree.daemon_lock()
    prepare(archive, lock)
    lock.release()


def empty(folder: Path) -> None:
    """Leave a storage folder as a mount point is without its disk."""
    shutil.rmtree(folder)
    folder.mkdir()


def unavailable(index: Index) -> list[str]:
    return [file.digest for file in index.files() if file.availability != "ONLINE"]


def open_apart(tmp_path: Path, name: str = "files") -> Archive:
    """Open an archive whose index lies elsewhere."""
    return Archive.open(tmp_path / name, StoragePolicy(), index_path=tmp_path / "index.db")


def test_files_and_index_get_one_identity_that_stays(open_archive: Open):
    archive = open_archive()
    identity = archive.tree.identity()
    assert len(identity) == 36
    assert archive.index.recall("archive_id") == identity
    archive.close()
    assert open_archive().tree.identity() == identity


def test_an_archive_of_before_gets_its_identity_and_keeps_what_it_has(open_archive: Open):
    archive = open_archive()
    put(archive, ct())
    archive.index.remember("archive_id", "")
    archive.tree.layout.identity.unlink()
    archive.close()
    archive = open_archive()
    assert archive.index.recall("archive_id") == archive.tree.identity() != ""
    assert archive.index.recall("recovery") == ""
    assert archive.figures().instances == 1


def test_a_folder_of_another_archive_is_refused(tmp_path: Path):
    archive = open_apart(tmp_path)
    put(archive, ct())
    archive.close()
    Archive.open(tmp_path / "other", StoragePolicy()).close()
    with pytest.raises(MinipacsError, match="is the right disk mounted"):
        open_apart(tmp_path, "other")


def test_an_empty_mount_point_is_refused_and_nothing_is_marked(tmp_path: Path):
    archive = open_apart(tmp_path)
    objects = study(instances=3)
    for ds in objects:
        put(archive, ds)
    archive.close()
    shutil.move(tmp_path / "files", tmp_path / "disk")
    for _ in range(2):
        with pytest.raises(MinipacsError, match="is its disk mounted"):
            open_apart(tmp_path)
    empty(tmp_path / "files")
    (tmp_path / "files").rmdir()
    shutil.move(tmp_path / "disk", tmp_path / "files")
    archive = open_apart(tmp_path)
    start(archive)
    assert unavailable(archive.index) == []
    archive.close()


def test_a_restored_folder_without_its_marker_is_known_by_its_files(tmp_path: Path):
    archive = open_apart(tmp_path)
    put(archive, ct())
    identity = archive.tree.identity()
    archive.close()
    (tmp_path / "files" / "archive.id").unlink()
    archive = open_apart(tmp_path)
    assert archive.tree.identity() == identity
    archive.close()


@pytest.mark.parametrize("unclean", [False, True])
def test_a_start_with_most_files_gone_is_refused_though_the_marker_is_there(
    open_archive: Open, monkeypatch: pytest.MonkeyPatch, unclean: bool
):
    monkeypatch.setattr(recovery, "MIN_ROWS_FOR_DOUBT", 40)
    monkeypatch.setattr(marker, "MIN_PICKED_FOR_DOUBT", 8)
    archive = open_archive(sync="batch")
    for ds in study(instances=60):
        put(archive, ds)
    start(archive)
    paths = published(archive.tree.layout.root)
    for number, path in enumerate(paths):
        if number % 4:  # here and there: where the start looks is left to chance
            path.rename(path.with_suffix(".away"))
    if unclean:
        os.close(archive.tree.daemon_lock().fileno())
    with pytest.raises(MinipacsError, match="mounted"):
        start(archive)
    assert unavailable(archive.index) == []


def test_an_archive_that_is_new_and_empty_says_so_once(open_archive: Open, caplog: pytest.LogCaptureFixture):
    archive = open_archive()
    for told in (["archive is new and empty"], []):
        caplog.clear()
        start(archive)
        assert [record.message for record in caplog.records] == told
    put(archive, ct())
    archive.close()
    empty(archive.tree.layout.root)  # with the index: nothing is left that knows better
    archive = open_archive()
    start(archive)
    assert [record.message for record in caplog.records] == ["archive is new and empty"]
    archive.close()


@pytest.mark.parametrize("how", ["missing", "emptied"])
def test_an_index_that_is_gone_beside_a_clean_lock_is_filled_from_the_files(
    open_archive: Open, caplog: pytest.LogCaptureFixture, how: str
):
    archive = open_archive()
    for ds in study(instances=3):
        put(archive, ds)
    start(archive)
    archive.close()
    for path in archive.tree.layout.root.glob("index.db*"):
        path.unlink() if how == "missing" else path.write_bytes(b"")
    archive = open_archive()
    with caplog.at_level(logging.ERROR, "minipacs"):
        start(archive)
    assert archive.figures().instances == 3
    assert [record.message for record in caplog.records] == ["index is new: filled from the files"]
    archive.close()
    archive = open_archive()
    caplog.clear()
    start(archive)
    assert not caplog.records


def test_an_index_that_is_removed_while_it_is_in_use_is_noticed(open_archive: Open):
    archive = open_archive()
    assert archive.shortage() is None
    path = archive.tree.layout.index
    path.rename(path.with_suffix(".old"))
    assert "index file was removed" in (archive.shortage() or "")
    shutil.copy(path.with_suffix(".old"), path)
    assert "index file was removed" in (archive.shortage() or ""), "it is another one"


def test_a_disk_that_is_unmounted_while_it_is_in_use_is_noticed(open_archive: Open):
    archive = open_archive()
    archive.tree.layout.identity.unlink()
    assert "mounted" in (archive.shortage() or "")


def test_arrivals_are_sorted_however_many_they_are():
    tree = MemoryTree()
    with Arrivals(tree.scratch, limit=7) as arrivals:
        for number in range(50):
            arrivals.add((number * 37 % 50) / 3, f"{number:064x}")
        assert len(arrivals) == 50
        expected = sorted(range(50), key=lambda number: number * 37 % 50)
        assert list(arrivals) == [f"{number:064x}" for number in expected]


def test_recovery_commits_rows_in_batches(open_archive: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    archive = open_archive()
    for ds in study(instances=30):
        put(archive, ds)
    archive.close()
    for path in archive.tree.layout.root.glob("index.db*"):
        path.unlink()
    archive = open_archive()
    monkeypatch.setattr(recovery, "BATCH_FILES", 8)
    sizes: list[int] = []
    add_all = archive.index.add_all
    monkeypatch.setattr(archive.index, "add_all", lambda records: (sizes.append(len(records)), add_all(records))[1])
    told: list[tuple[str, int, int]] = []
    found = recover(archive.tree, archive.index, archive.charset_of, lambda *told_: told.append(told_))
    assert found == Recovery(indexed=30)
    assert sizes == [8, 8, 8, 6]
    assert told[-1] == ("files indexed", 30, 30)


def test_a_file_that_vanishes_between_listing_and_looking_stops_nothing(
    open_archive: Open, monkeypatch: pytest.MonkeyPatch
):
    archive = open_archive()
    put(archive, ct())
    digests = [*archive.tree.walk(), "a" * 64]
    monkeypatch.setattr(archive.tree, "walk", lambda prefix="": iter(sorted(digests)))
    assert recover(archive.tree, archive.index, archive.charset_of) == Recovery()


def test_sizes_are_looked_at_while_others_are_served_and_after_a_restart(open_archive: Open):
    archive = open_archive()
    objects = study(instances=4)
    for ds in objects:
        put(archive, ds)
    lock = archive.tree.daemon_lock()
    prepare(archive, lock)
    digest = archive.index.instance(objects[0].SOPInstanceUID).digest
    os.chmod(archive.tree.layout.published(digest), 0o640)
    os.truncate(archive.tree.layout.published(digest), 100)
    assert SizeCheck(archive, lambda: True).work() == 0.0
    assert unavailable(archive.index) == []
    lock.release()
    SizeCheck(archive).work()
    assert unavailable(archive.index) == [digest]
    assert quarantined(archive.tree.layout.root)[digest].startswith("has 100 bytes instead of")
    assert SizeCheck(archive).work() > 0


def test_nothing_is_looked_at_after_the_first_start_of_all(open_archive: Open):
    archive = open_archive()
    prepare(archive, archive.tree.daemon_lock())
    assert not archive.index.recall(UNCHECKED)
