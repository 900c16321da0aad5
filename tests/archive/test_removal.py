"""Removing instances, also by somebody who is killed in between."""

import pytest
from pydicom.dataset import Dataset

from minipacs.archive.archive import Archive
from minipacs.archive.care.checking import Finding, repair
from minipacs.archive.care.recovery import Recovery, recover
from minipacs.archive.removal import finish_removals, remove
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
    for digest in archive.index.removals.unfinished():
        repair(archive.tree, archive.index, archive.charset_of, Finding("orphaned", digest, ""))
    assert left(archive) == (2, 1)
    assert finish_removals(archive.tree, archive.index) == 2
    assert left(archive) == (1, 1)


def test_what_is_sent_again_meanwhile_stays(archive: Archive, half_removed: list[Dataset]):
    assert [put(archive, ds) for ds in half_removed] == [Outcome.ADDED, Outcome.ADDED, Outcome.SAME]
    finish_removals(archive.tree, archive.index)
    assert left(archive) == (3, 3)
    assert recover(archive.tree, archive.index, archive.charset_of) == Recovery()
