"""Removing instances, also by somebody who is killed in between."""

import errno
import os
import threading
from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset

from minipacs.archive.archive import Archive
from minipacs.archive.care.checking import Finding, repair
from minipacs.archive.care.leftovers import Leftovers, finish_removals
from minipacs.archive.care.recovery import Recovery, recover
from minipacs.archive.ingest import StoragePolicy
from minipacs.archive.removal import remove
from minipacs.errors import Failure, Kind, MinipacsError, OutcomeUnknown
from minipacs.index import Outcome
from tests.support.objects import ct
from tests.support.storing import published, put, quarantined


class Killed(Exception):
    pass


@pytest.fixture
def half_removed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """Store three objects and remove two, but die after the first file."""
    objects = [ct() for _ in range(3)]
    for ds in objects:
        put(archive, ds)
    removed: list[str] = []

    def die(digest: str) -> None:
        if removed:
            raise Killed
        removed.append(digest)
        unlink(digest)

    unlink = archive.tree.delete
    with monkeypatch.context() as patch:
        patch.setattr(archive.tree, "delete", die)
        with pytest.raises(Killed):
            list(remove(archive.tree, archive.index, [ds.SOPInstanceUID for ds in objects[:2]]))
    assert len(published(archive.tree.layout.root)) == 2
    return objects


def left(archive: Archive) -> tuple[int, int]:
    """Count files and rows."""
    return len(published(archive.tree.layout.root)), archive.figures().instances


def test_removal_leaves_neither_file_nor_row_nor_note(archive: Archive):
    objects = [ct() for _ in range(3)]
    for ds in objects:
        put(archive, ds)
    assert list(remove(archive.tree, archive.index, [ds.SOPInstanceUID for ds in objects[:2]] + ["1.2"])) == [2]
    assert left(archive) == (1, 1)
    assert archive.index.removals.unfinished() == []


def test_recovery_finishes_a_removal_instead_of_bringing_objects_back(archive: Archive, half_removed: list[Dataset]):
    assert recover(archive.tree, archive.index, archive.charset_of) == Recovery()
    assert left(archive) == (1, 1)
    assert archive.index.removals.unfinished() == []
    assert quarantined(archive.tree.layout.root) == {}


def test_repair_does_not_index_what_is_being_removed(archive: Archive, half_removed: list[Dataset]):
    for file in archive.index.removals.unfinished():
        repair(archive.tree, archive.index, archive.charset_of, Finding("orphaned", file.digest, ""))
    assert left(archive) == (2, 1)
    assert finish_removals(archive.tree, archive.index, archive.charset_of) == 2
    assert left(archive) == (1, 1)


def test_what_is_sent_again_meanwhile_stays(archive: Archive, half_removed: list[Dataset]):
    assert [put(archive, ds) for ds in half_removed] == [Outcome.ADDED, Outcome.ADDED, Outcome.SAME]
    finish_removals(archive.tree, archive.index, archive.charset_of)
    assert left(archive) == (3, 3)
    assert recover(archive.tree, archive.index, archive.charset_of) == Recovery()


def same_uid(ds: Dataset, name: str) -> Dataset:
    """Make an object with the UIDs of another."""
    uids = {k: ds[k].value for k in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")}
    return ct(PatientName=name, **uids)


def die(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize("duplicates", ["replace", "keep"])
def test_what_gave_way_when_its_remover_was_killed_does_not_come_back_after_a_delete(
    open_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch, duplicates: str
):
    archive = open_archive(duplicates=duplicates)
    first = ct()
    put(archive, first)
    with monkeypatch.context() as patch:
        patch.setattr(archive.tree, "set_aside", die)
        with pytest.raises(Killed):
            put(archive, same_uid(first, "Second"))
    assert left(archive) == (2, 1)
    list(remove(archive.tree, archive.index, [first.SOPInstanceUID]))
    assert recover(archive.tree, archive.index, archive.charset_of) == Recovery()
    assert left(archive) == (0, 0)
    assert len(quarantined(archive.tree.layout.root)) == 1
    assert archive.index.removals.unfinished() == []


def test_a_file_that_gave_way_to_one_that_a_power_cut_took_gets_its_row_back(
    open_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
):
    archive = open_archive(sync="batch")
    first = ct(PatientName="Synced^Long^Ago")
    put(archive, first)
    archive.make_durable()
    monkeypatch.setattr(archive.tree, "sync", die_of_disk)
    put(archive, same_uid(first, "Second"))
    digests = {path.stem for path in published(archive.tree.layout.root)}
    assert len(digests) == 2, "the old file stays until the new one is durable"
    new = archive.index.instance(first.SOPInstanceUID).digest
    (old,) = digests - {new}
    path = archive.tree.layout.published(new)
    os.chmod(path, 0o640)
    os.truncate(path, 0)
    monkeypatch.undo()
    assert recover(archive.tree, archive.index, archive.charset_of).missing == 0
    found = archive.index.instance(first.SOPInstanceUID)
    assert (found.digest, found.availability) == (old, "ONLINE")


@pytest.mark.parametrize("duplicates", ["replace", "reject"])
def test_what_waits_to_give_way_outlives_a_re_send_that_fails(
    open_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch, duplicates: str
):
    archive = open_archive(sync="batch")
    first = ct()
    put(archive, first)
    archive.make_durable()
    old = archive.index.instance(first.SOPInstanceUID).digest
    monkeypatch.setattr(archive.tree, "sync", die_of_disk)
    put(archive, same_uid(first, "Second"))
    with monkeypatch.context() as patch:
        if duplicates == "reject":
            patch.setattr(archive, "_policy", StoragePolicy(duplicates))
        else:
            patch.setattr(archive.index, "add", full)
        with pytest.raises(Failure):
            put(archive, first)
    assert archive.tree.stat(old) is not None, "it waits for what took its place to be durable"
    monkeypatch.undo()
    archive.make_durable()
    assert quarantined(archive.tree.layout.root) == {old: "replaced by another file"}


def full(*_: object, **__: object) -> None:
    raise Failure(Kind.FULL, "index disk full")


def die_of_disk(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_with_batch_what_gave_way_goes_when_the_new_file_is_durable(open_archive: Callable[..., Archive]):
    archive = open_archive(sync="batch")
    first = ct()
    put(archive, first)
    put(archive, same_uid(first, "Second"))
    archive.make_durable()
    assert left(archive) == (1, 1)
    assert set(quarantined(archive.tree.layout.root).values()) == {"replaced by another file"}


def test_a_sync_that_failed_is_told_to_whoever_asks_next(
    open_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
):
    archive = open_archive(sync="batch")
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(archive.tree, "sync", fail)
    put(archive, ct())
    assert failed.wait(10)
    monkeypatch.undo()
    with pytest.raises(OSError, match="Input/output error"):
        archive.make_durable()
    archive.make_durable()


def unknown(*_: object, **__: object) -> None:
    raise OutcomeUnknown("index disk error, outcome unknown")


def test_after_a_commit_whose_outcome_is_unknown_nothing_is_removed(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    first = ct()
    put(archive, first)

    with monkeypatch.context() as patch:
        patch.setattr(archive.index, "add", unknown)
        with pytest.raises(OutcomeUnknown):
            put(archive, same_uid(first, "Second"))
    assert left(archive) == (2, 1)
    assert quarantined(archive.tree.layout.root) == {}
    with monkeypatch.context() as patch:
        patch.setattr(archive.index.removals, "_change", full)
        put(archive, ct())
    assert left(archive) == (3, 2), "it stays as long as nobody knows"
    put(archive, ct())
    assert left(archive) == (3, 3), "a commit that is durable tells that the row will never be there"
    assert archive.index.removals.unfinished() == []


def test_an_end_with_files_in_doubt_is_no_clean_one(
    open_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
):
    """A process that ends with an error leaves the lock of the daemon as after an unclean end."""
    archive = open_archive()
    first = ct()
    put(archive, first)

    with monkeypatch.context() as patch:
        patch.setattr(archive.index, "add", unknown)
        with pytest.raises(OutcomeUnknown):
            put(archive, same_uid(first, "Second"))
        patch.setattr(archive.index.removals, "_change", full)
        with pytest.raises(MinipacsError, match="1 files have rows"):
            archive.close()
    archive = open_archive()
    assert left(archive) == (2, 1)
    assert recover(archive.tree, archive.index, archive.charset_of) == Recovery(quarantined=1)


def test_what_a_disk_refused_to_let_go_goes_after_a_clean_start_as_well(
    open_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
):
    archive = open_archive()
    first = ct()
    put(archive, first)
    with monkeypatch.context() as patch:
        patch.setattr(archive.tree, "set_aside", die_of_disk)
        put(archive, same_uid(first, "Second"))
    archive.close()
    archive = open_archive()
    assert left(archive) == (2, 1)
    assert Leftovers(archive).work() > 0
    assert left(archive) == (1, 1)
    assert list(quarantined(archive.tree.layout.root).values()) == ["replaced by another file"]
    assert archive.index.removals.unfinished() == []


def test_notes_of_files_that_are_gone_are_dropped_together(archive: Archive):
    ds = ct()
    for number in range(5):
        put(archive, same_uid(ds, f"Version^{number}"))
    assert len(archive.index.removals.unfinished()) == 4
    archive.displaced.close()
    assert archive.index.removals.unfinished() == []
