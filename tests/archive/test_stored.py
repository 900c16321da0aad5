"""When a stored file is compared with its digest before it is given out."""

import errno
import os
import time
from pathlib import Path

import pytest

from minipacs.archive.archive import Archive
from minipacs.archive.intact import NotReadableNow, is_intact
from minipacs.archive.reader import BUFFER_BYTES, FRESH_S, ObjectReplaced, ObjectUnreadable
from minipacs.index import StoredInstance
from tests.support.objects import ct, encode
from tests.support.storing import published, put
from tests.support.wire import EXPLICIT


def stored(archive: Archive, rows: int) -> tuple[StoredInstance, bytes]:
    ds = ct(rows=rows)
    put(archive, ds)
    instance = archive.index.instance(ds.SOPInstanceUID)
    assert instance is not None
    return instance, encode(ds)


def read(archive: Archive, instance: StoredInstance) -> bytes:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with archive.reader.open(instance, EXPLICIT, buffer) as data_set:
        return b"".join(bytes(piece) for piece in data_set.pieces())


def rot(path: Path) -> None:
    """Change a byte as a failing disk does: no time stamp tells."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    os.chmod(path, 0o640)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("rows", [16, 1024], ids=["in the buffer", "beyond the buffer"])
def test_what_is_read_is_what_was_stored(archive: Archive, rows: int) -> None:
    instance, data = stored(archive, rows)
    for received_at in (instance.received_at, 0.0):
        assert read(archive, instance._replace(received_at=received_at)) == data


@pytest.mark.parametrize("rows", [16, 1024], ids=["in the buffer", "beyond the buffer"])
def test_a_file_is_compared_unless_it_was_hashed_on_its_way_in_a_short_while_ago(
    archive: Archive, tmp_path: Path, rows: int
) -> None:
    instance, data = stored(archive, rows)
    (path,) = published(tmp_path / "archive")
    rot(path)
    assert len(read(archive, instance)) == len(data)
    for received_at in (time.time() - FRESH_S - 1, time.time() + 60, 0.0):
        with pytest.raises(ObjectUnreadable, match="damaged"):
            read(archive, instance._replace(received_at=received_at))


def test_a_file_that_was_written_to_is_compared(archive: Archive, tmp_path: Path) -> None:
    instance, _ = stored(archive, 16)
    (path,) = published(tmp_path / "archive")
    rot(path)
    os.utime(path)
    with pytest.raises(ObjectUnreadable, match="damaged"):
        read(archive, instance)


def test_what_was_replaced_meanwhile_is_told_and_can_be_had_as_it_is_now(archive: Archive) -> None:
    instance, _ = stored(archive, 16)
    later = ct(rows=8, SOPInstanceUID=instance.sop_instance_uid)
    put(archive, later)
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with pytest.raises(ObjectReplaced) as raised:
        archive.reader.open(instance, EXPLICIT, buffer)
    assert raised.value.now == archive.index.instance(instance.sop_instance_uid)
    now, data_set = archive.reader.open_stored(instance, buffer)
    with data_set:
        assert b"".join(map(bytes, data_set.pieces())) == encode(later)
    assert now == raised.value.now


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO, errno.ENODATA])
def test_what_cannot_be_read_now_is_not_taken_for_damaged(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    instance, _ = stored(archive, 16)
    is_damage = number in (errno.EIO, errno.ENODATA)

    def refused(digest: str) -> None:
        raise OSError(number, os.strerror(number), digest)

    with monkeypatch.context() as patch:
        patch.setattr(archive.tree, "open", refused)
        with pytest.raises(ObjectUnreadable) as told:
            read(archive, instance)
        assert told.value.temporary != is_damage
        if is_damage:
            assert not is_intact(archive.tree, archive.index, instance)
        else:
            with pytest.raises(NotReadableNow):
                is_intact(archive.tree, archive.index, instance)
    now = archive.index.instance(instance.sop_instance_uid)
    assert now is not None
    assert (now.availability == "ONLINE") == bool(published(tmp_path / "archive")) == (not is_damage)
