"""The index made anew while other commands go on: what they do counts, and nobody waits for a file to be read."""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from minipacs.archive import scan as scan_module
from minipacs.archive.archive import Archive
from minipacs.archive.care import reindex as reindex_module
from minipacs.archive.care.checking import Finding, Pace, check, repair
from minipacs.archive.care.reindex import Reindexed, reindex
from minipacs.archive.care.sizes import SizeCheck, begin
from minipacs.archive.removal import remove
from minipacs.archive.scan import WRONG_DIGEST
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.index import Query
from tests.archive.test_recovery import publish_object
from tests.support.objects import ct, study
from tests.support.storing import published, put, quarantined

Open = Callable[..., Archive]


def run(archive: Archive) -> Reindexed:
    return reindex(archive, lambda files: None)


def names(archive: Archive) -> dict[str, str]:
    """Give the name that each instance bears itself, by SOP Instance UID."""
    uids = [uid for (uid,) in archive.index.find(Query("IMAGE", [], [BY_KEYWORD["SOPInstanceUID"]]))]
    return {uid: (archive.index.heading(uid) or {}).get("PatientName", "") for uid in uids}


def meanwhile(monkeypatch: pytest.MonkeyPatch, archive: Archive, work: Callable[[], None]) -> list[str]:
    """Let others work after the last file was read and before the lock is had; give what is read under that lock."""
    database, tree = archive.index._database, archive.tree
    take_over, exclusive = database.take_over, database.exclusive
    is_locked = False
    read: list[str] = []

    def taking_over(*arguments: Any) -> None:
        work()
        monkeypatch.setattr(database, "exclusive", locking)
        take_over(*arguments)

    @contextmanager
    def locking(*arguments: Any) -> Iterator[None]:
        nonlocal is_locked
        held: AbstractContextManager[None] = exclusive(*arguments)
        with held:
            is_locked = True
            yield
            is_locked = False

    def noting(name: str) -> None:
        real = getattr(tree, name)

        def called(digest: str, *arguments: Any, **options: Any) -> Any:
            if is_locked:
                read.append(f"{name} {digest}")
            return real(digest, *arguments, **options)

        monkeypatch.setattr(tree, name, called)

    monkeypatch.setattr(database, "take_over", taking_over)
    noting("open")
    noting("stat")
    return read


def test_what_others_do_last_counts_and_no_file_is_read_under_the_lock(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, removed, replaced, lost = study(instances=4)
    added = deepcopy(kept)
    added.SOPInstanceUID, added.PatientName = "1.2.99", "Other^Name"
    for ds in (kept, removed, replaced, lost):
        put(archive, ds)

    def others() -> None:
        put(archive, added)
        list(remove(archive.tree, archive.index, [removed.SOPInstanceUID]))
        replaced.ImageComments = "again"
        put(archive, replaced)
        archive.index.set_availability([archive.index.instance(lost.SOPInstanceUID).digest], "UNAVAILABLE")

    told = []

    def others_tell() -> None:
        others()
        told.extend(archive.index.conflicts())

    read = meanwhile(monkeypatch, archive, others_tell)
    found = run(archive)
    assert read == []
    assert (found.kept, found.faults) == (0, {})
    assert names(archive) == {
        kept.SOPInstanceUID: str(kept.PatientName),
        replaced.SOPInstanceUID: str(kept.PatientName),
        lost.SOPInstanceUID: str(kept.PatientName),
        added.SOPInstanceUID: "Other^Name",
    }
    told_anew = [(conflict.keyword, conflict.values) for conflict in archive.index.conflicts()]
    assert told_anew == [(conflict.keyword, conflict.values) for conflict in told]
    assert [keyword for keyword, _ in told_anew] == ["PatientName"]
    for ds, availability in ((kept, "ONLINE"), (replaced, "ONLINE"), (added, "ONLINE"), (lost, "UNAVAILABLE")):
        row = archive.index.file(ds.SOPInstanceUID)
        assert (row.availability, archive.tree.stat(row.digest).size_bytes) == (availability, row.size_bytes)
    assert len(published(archive.tree.layout.root)) == 4


def test_what_others_do_while_files_are_read_is_read_as_well(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    first, healed, *later = (ct() for _ in range(4))
    put(archive, first)
    put(archive, healed)
    (digest,) = [file.digest for file in archive.index.files()][1:]
    archive.tree.set_aside(digest, "test")
    archive.index.set_availability([digest], "UNAVAILABLE")
    files = archive.index.files

    def listed() -> Iterator[Any]:
        yield from files()
        for ds in (*later, healed):
            put(archive, ds)

    monkeypatch.setattr(archive.index, "files", listed)
    run(archive)
    assert {name: archive.index.file(name).availability for name in names(archive)} == {
        ds.SOPInstanceUID: "ONLINE" for ds in (first, healed, *later)
    }


def test_files_that_vanish_between_listing_and_look_are_nobodys_fault(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose row goes along with it was removed; one without a row was never anybody's."""
    kept, gone = ct(), ct()
    put(archive, kept)
    put(archive, gone)
    orphan = publish_object(archive, ct())
    _vanishing(monkeypatch, archive, gone, orphan)
    assert run(archive) == Reindexed(indexed=1)
    assert list(names(archive)) == [kept.SOPInstanceUID]


def test_verify_bears_files_that_vanish_between_listing_and_look(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, gone, lost = ct(), ct(), ct()
    for ds in (kept, gone, lost):
        put(archive, ds)
    orphan = publish_object(archive, ct())
    digest = archive.index.instance(lost.SOPInstanceUID).digest
    _vanishing(monkeypatch, archive, gone, orphan, digest)
    assert list(check(archive.tree, archive.index, Pace(0))) == [Finding("missing", digest, lost.SOPInstanceUID)]


def test_the_look_at_sizes_bears_files_that_vanish(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, gone = ct(), ct()
    put(archive, kept)
    put(archive, gone)
    begin(archive.index)
    digests = archive.index.digests

    def listed(prefix: str) -> Iterator[tuple[str, int]]:
        found = list(digests(prefix))
        list(remove(archive.tree, archive.index, [gone.SOPInstanceUID]))
        yield from found

    monkeypatch.setattr(archive.index, "digests", listed)
    SizeCheck(archive).work()
    assert quarantined(archive.tree.layout.root) == {}
    assert archive.index.unavailable_count() == 0


def _vanishing(monkeypatch: pytest.MonkeyPatch, archive: Archive, gone: Dataset, *files: str) -> None:
    """Let an instance be removed, and files vanish, once they were listed, from the index or from the folders."""
    walk, rows = archive.tree.walk, archive.index.files

    def vanish() -> None:
        list(remove(archive.tree, archive.index, [gone.SOPInstanceUID]))
        for digest in files:
            if archive.tree.stat(digest) is not None:
                archive.tree.delete(digest)

    def walked(*of: Any) -> Iterator[str]:
        found = list(walk(*of))
        vanish()
        yield from found

    def listed() -> Iterator[Any]:
        found = list(rows())
        list(remove(archive.tree, archive.index, [gone.SOPInstanceUID]))
        yield from found

    monkeypatch.setattr(archive.tree, "walk", walked)
    monkeypatch.setattr(archive.index, "files", listed)


def test_of_many_faults_the_first_are_told_and_all_are_counted_and_set_aside(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindex_module, "MAX_FAULTS", 2)
    for _ in range(3):
        put(archive, ct())
    for path in published(archive.tree.layout.root):
        path.chmod(0o600)
        path.write_bytes(b"rot")
    orphans = [publish_object(archive, ct()) for _ in range(2)]
    for digest in orphans:
        path = Path(archive.tree.layout.published(digest))
        path.chmod(0o600)
        path.write_bytes(b"rot")
    found = run(archive)
    assert (found.indexed, found.kept, found.refused, len(found.faults)) == (0, 3, 2, 2)
    assert not published(archive.tree.layout.root)
    assert len(list(archive.tree.layout.quarantine.glob("*.dcm"))) == 5


@pytest.mark.parametrize(
    ("stored", "damaged"),
    [
        (b"Doe^Jane", b"Doe^June"),
        (b"ORIGINAL", b"DERIVED\\"),
        (b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0"),
        (b"2.5.77.1", b"2.5.77.2"),
    ],
    ids=["patient", "image", "transfer syntax", "UID"],
)
def test_a_damaged_file_is_not_believed_though_its_size_is_right(
    archive: Archive, stored: bytes, damaged: bytes
) -> None:
    ds = ct(PatientName="Doe^Jane", ImageType=["ORIGINAL", "PRIMARY"], SOPInstanceUID="2.5.77.1")
    put(archive, ds)
    (path,) = published(archive.tree.layout.root)
    whole = path.read_bytes()
    assert stored in whole
    path.chmod(0o600)
    path.write_bytes(whole.replace(stored, damaged))
    found = run(archive)
    assert (found.indexed, found.kept, list(found.faults)) == (0, 1, [path.stem])
    assert names(archive) == {ds.SOPInstanceUID: "Doe^Jane"}
    assert quarantined(archive.tree.layout.root) == {path.stem: WRONG_DIGEST}
    assert archive.index.file(ds.SOPInstanceUID).availability == "UNAVAILABLE"
    put(archive, ds)
    assert archive.index.file(ds.SOPInstanceUID).availability == "ONLINE"
    assert path.read_bytes() == whole


def test_of_files_that_say_what_their_rows_do_only_the_headers_are_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ct(PatientName="Müller^Jürgen=山田", SpecificCharacterSet="ISO_IR 192")
    for ds in (first, ct(PatientID=first.PatientID, StudyInstanceUID=first.StudyInstanceUID, PatientName=" Other ")):
        put(archive, ds)
    monkeypatch.setattr(scan_module, "scan", None)
    assert run(archive).indexed == 2


def test_rows_of_files_that_cannot_be_read_now_stay_as_they_are(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = ct()
    put(archive, ds)

    def refused(digest: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", digest)

    orphan = publish_object(archive, ct())
    with monkeypatch.context() as patch:
        patch.setattr(archive.tree, "open", refused)
        found = run(archive)
    assert (found.indexed, found.refused, list(found.faults)) == (1, 1, [orphan])
    assert archive.index.file(ds.SOPInstanceUID).availability == "ONLINE"
    assert len(published(archive.tree.layout.root)) == 2


def test_verify_goes_on_past_a_file_that_cannot_be_read_now(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, rotten = ct(), ct()
    put(archive, locked)
    put(archive, rotten)
    digests = {ds.SOPInstanceUID: archive.index.instance(ds.SOPInstanceUID).digest for ds in (locked, rotten)}
    path = Path(archive.tree.layout.published(digests[rotten.SOPInstanceUID]))
    path.chmod(0o600)
    path.write_bytes(b"rot")
    real = archive.tree.open

    def refused(digest: str) -> Any:
        if digest == digests[locked.SOPInstanceUID]:
            raise PermissionError(errno.EACCES, "Permission denied", digest)
        return real(digest)

    monkeypatch.setattr(archive.tree, "open", refused)
    found = {finding.sop_instance_uid: finding for finding in check(archive.tree, archive.index, Pace(0))}
    assert {uid: finding.fault for uid, finding in found.items()} == {
        locked.SOPInstanceUID: "unreadable",
        rotten.SOPInstanceUID: "damaged",
    }
    assert found[locked.SOPInstanceUID].detail.startswith("Permission denied (as the user ")
    for finding in found.values():
        repair(archive.tree, archive.index, archive.charset_of, finding)
    assert archive.index.file(locked.SOPInstanceUID).availability == "ONLINE"
    assert archive.index.file(rotten.SOPInstanceUID).availability == "UNAVAILABLE"
