import ctypes
import errno
import fcntl
import hashlib
import json
import os
import stat

import pytest

from minipacs import durable
from minipacs.tree.layout import PREFIXES, REASON_SUFFIX, shelved
from minipacs.tree.objects import FileTree, Receipt
from minipacs.tree.staging import READ_BYTES

RECEIPT = Receipt(1795330010.8272018, "SENDER")


@pytest.fixture
def tree(tmp_path):
    tree = FileTree(tmp_path / "archive")
    tree.create()
    return tree


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def publish(tree, data=b"content", spare=None):
    staged = tree.stage() if spare is None else spare.take()
    staged.write([data])
    with tree.holding(staged.digest) as held:
        published = tree.put(staged, staged.digest, RECEIPT, held)
    if not published.is_new:
        staged.discard() if spare is None else spare.give_back(staged)
    return digest_of(data)


def incoming(tree):
    return os.listdir(tree.layout.incoming)


def test_folders_are_made_once(tree):
    assert sorted(os.listdir(tree.layout.objects)) == sorted(PREFIXES)
    publish(tree)
    tree.create()
    assert len(list(tree.walk())) == 1


def test_a_missing_object_folder_is_made_again(tree):
    (tree.layout.objects / "7f").rmdir()
    tree.create()
    assert (tree.layout.objects / "7f").is_dir()


def test_a_published_file_is_named_after_its_bytes_and_not_writable(tree):
    digest = publish(tree, b"some bytes")
    with tree.open(digest) as file:
        assert file.read() == b"some bytes"
    assert stat.S_IMODE(os.stat(tree.layout.published(digest)).st_mode) & 0o227 == 0
    assert tree.stat(digest).size_bytes == 10
    assert incoming(tree) == []


@pytest.mark.parametrize("title", ["SENDER", "TWO WORDS", ""])
def test_a_published_file_has_its_receipt_beside_its_bytes(tree, title):
    receipt = Receipt(1795330010.8272018, title)
    staged = tree.stage()
    staged.write([b"bytes"])
    with tree.holding(staged.digest) as held:
        assert tree.put(staged, digest_of(b"bytes"), receipt, held) == (True, True)
    assert tree.stat(digest_of(b"bytes")) == (5, receipt)
    again = tree.stage()
    again.write([b"bytes"])
    with tree.holding(again.digest) as held:
        assert tree.put(again, digest_of(b"bytes"), Receipt(1.0, "OTHER"), held) == (False, False)
    again.discard()
    assert tree.stat(digest_of(b"bytes")) == (5, receipt)


def test_where_a_receipt_cannot_be_kept_the_file_is_published_all_the_same(tree, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    staged = tree.stage()
    staged.write([b"bytes"])
    with tree.holding(staged.digest) as held:
        assert tree.put(staged, digest_of(b"bytes"), Receipt(1.0, "SENDER"), held) == (True, False)
    written = os.stat(tree.layout.published(digest_of(b"bytes"))).st_mtime
    assert tree.stat(digest_of(b"bytes")) == (5, Receipt(written, ""))


def test_what_is_written_in_pieces_is_hashed_as_one(tree):
    staged = tree.stage()
    staged.write([b"ab", memoryview(b"cd")])
    staged.write([b"", b"ef"])
    assert staged.digest == digest_of(b"abcdef")
    assert staged.size_bytes == 6
    with tree.holding(staged.digest) as held:
        tree.put(staged, staged.digest, RECEIPT, held)
    assert tree.stat(digest_of(b"abcdef")).size_bytes == 6


def test_a_short_write_is_continued(tree, monkeypatch):
    monkeypatch.setattr(os, "writev", lambda fd, buffers: os.write(fd, b"".join(buffers)[:5]))
    digest = publish(tree, b"more than five")
    with tree.open(digest) as file:
        assert file.read() == b"more than five"


def test_a_short_write_on_a_full_disk_says_so(tree, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "writev", lambda fd, buffers: 5)
    monkeypatch.setattr(os, "write", full)
    staged = tree.stage()
    with pytest.raises(OSError, match="no space"):
        staged.write([b"more than five"])
    staged.discard()
    assert incoming(tree) == []


def test_an_association_has_a_file_ready_for_its_next_object(tree):
    with tree.spare() as spare:
        for data in (b"one", b"two"):
            spare.make()
            spare.make()
            assert len(incoming(tree)) == 1
            publish(tree, data, spare)
            assert incoming(tree) == []
        spare.make()
        publish(tree, b"three")
        assert len(incoming(tree)) == 1, "it is for the owner of the spare"
    assert incoming(tree) == []
    assert sorted(tree.walk()) == sorted(map(digest_of, (b"one", b"two", b"three")))


def test_what_is_stored_already_leaves_its_file_for_the_next_object(tree):
    publish(tree, b"a longer one")
    with tree.spare() as spare:
        publish(tree, b"a longer one", spare)
        (ready,) = incoming(tree)
        assert os.stat(tree.layout.incoming / ready).st_size == 0
        publish(tree, b"another", spare)
        assert incoming(tree) == []
        with tree.open(digest_of(b"another")) as file:
            assert file.read() == b"another"


def test_a_ready_file_that_somebody_removed_is_not_used(tree):
    with tree.spare() as spare:
        spare.make()
        os.unlink(tree.layout.incoming / incoming(tree)[0])
        assert tree.stat(publish(tree, b"content", spare)).size_bytes == 7


def test_names_of_staged_files_do_not_come_again(tree):
    """A process with the number of a dead one must not take its files for its own."""
    names = set()
    for _ in range(50):
        staged = tree.stage()
        names.add(staged.path)
        staged.discard()
    assert len(names) == 50
    assert not any(str(os.getpid()) == os.path.basename(name).split("-")[0] for name in names)


def test_publishing_the_same_bytes_again_writes_nothing(tree):
    digest = publish(tree)
    before = os.stat(tree.layout.published(digest))
    assert publish(tree) == digest
    after = os.stat(tree.layout.published(digest))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert incoming(tree) == []


@pytest.mark.parametrize("found", [b"whole", b"whole c0ntent", b"whole content and more", b""])
def test_what_is_there_is_believed_only_when_every_byte_was_compared(tree, found):
    digest = publish(tree, b"whole content")
    os.chmod(tree.layout.published(digest), 0o640)
    with open(tree.layout.published(digest), "wb") as file:
        file.write(found)
    assert publish(tree, b"whole content") == digest
    with tree.open(digest) as file:
        assert file.read() == b"whole content"
    assert incoming(tree) == []


def test_a_file_that_differs_beyond_the_first_buffer_is_no_match(tree):
    data = bytes(READ_BYTES) + b"end"
    digest = publish(tree, data)
    os.chmod(tree.layout.published(digest), 0o640)
    with open(tree.layout.published(digest), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"D")
    publish(tree, data)
    with tree.open(digest) as file:
        assert file.read() == data


def test_a_file_that_cannot_be_read_gives_way(tree, monkeypatch):
    digest = publish(tree, b"whole content")
    before = os.stat(tree.layout.published(digest)).st_ino
    real = os.pread

    def fails(fd, *arguments):
        if os.fstat(fd).st_ino == before:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, *arguments)

    monkeypatch.setattr(os, "pread", fails)
    publish(tree, b"whole content")
    assert os.stat(tree.layout.published(digest)).st_ino != before


def test_a_discarded_file_is_gone_and_one_published_stays(tree):
    staged = tree.stage()
    staged.write([b"dropped"])
    staged.discard()
    staged.discard()
    assert incoming(tree) == []
    staged = tree.stage()
    staged.write([b"kept"])
    digest = staged.digest
    with tree.holding(digest) as held:
        tree.put(staged, digest, RECEIPT, held)
    staged.discard()
    assert tree.stat(digest).size_bytes == 4


def test_no_descriptor_is_left_open(tree):
    before = os.listdir("/proc/self/fd")
    digest = publish(tree)
    publish(tree)
    tree.stage().discard()
    with tree.holding(digest, exclusive=True):
        tree.set_aside(digest, "test")
    tree.sweep_incoming()
    assert os.listdir("/proc/self/fd") == before


def test_the_file_is_synced_before_it_is_renamed_and_the_folder_after(tree, monkeypatch):
    calls = []
    real = {name: getattr(os, name) for name in ("fdatasync", "rename", "fsync")}
    for name in real:
        monkeypatch.setattr(os, name, lambda *a, name=name: (calls.append(name), real[name](*a))[1])
    publish(tree, b"first")
    assert calls == ["fdatasync", "rename", "fsync"]
    calls.clear()
    publish(tree, b"first")
    assert calls == ["fsync"], "whoever published it may not have synced the folder yet"
    calls.clear()
    tree = FileTree(tree.layout.root, durable=False)
    publish(tree, b"second")
    assert calls == ["rename"]


def test_a_tree_that_is_not_durable_is_synced_as_a_whole(tree):
    tree.sync()
    tree.sync()
    tree.close()
    tree.layout.root = tree.layout.root / "gone"
    with pytest.raises(FileNotFoundError):
        tree.sync()


def test_a_fault_of_the_disk_shows_in_the_sync(tree, monkeypatch):
    class Libc:
        @staticmethod
        def syncfs(fd):
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(durable, "_LIBC", Libc)
    with pytest.raises(OSError, match="Input/output error") as caught:
        tree.sync()
    assert caught.value.errno == errno.EIO


def test_open_and_size_of_what_is_not_there(tree):
    digest = digest_of(b"never stored")
    assert tree.stat(digest) is None
    with pytest.raises(FileNotFoundError):
        tree.open(digest)
    tree.delete(digest)
    tree.set_aside(digest, "nothing to move")
    assert tree.quarantine.count() == 0


def test_publishing_is_done_side_by_side_and_removing_alone(tree):
    digest = digest_of(b"content")
    other = os.open(tree.layout.folder(digest), os.O_RDONLY)
    with tree.holding(digest), tree.holding(digest):
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_UN)
    with tree.holding(digest, exclusive=True), pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_what_is_removed_is_gone(tree):
    digest = publish(tree)
    with tree.holding(digest, exclusive=True):
        tree.delete(digest)
    assert tree.stat(digest) is None


def test_quarantine_keeps_the_bytes_and_notes_the_reason(tree):
    digest = publish(tree, b"gave way")
    with tree.holding(digest, exclusive=True):
        tree.set_aside(digest, "replaced by another file")
    assert tree.stat(digest) is None
    assert tree.quarantine.count() == 1
    with open(shelved(tree.layout.quarantine, digest), "rb") as file:
        assert file.read() == b"gave way"
    with open(shelved(tree.layout.quarantine, digest, REASON_SUFFIX)) as file:
        note = json.load(file)
    assert note["digest"] == digest
    assert note["reason"] == "replaced by another file"
    assert abs(note["since"] - os.stat(shelved(tree.layout.quarantine, digest, REASON_SUFFIX)).st_mtime) < 60


def test_quarantine_on_a_full_disk_leaves_the_file_where_it_was(tree, monkeypatch):
    digest = publish(tree)

    def full(fd, buffers):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "writev", full)
    with tree.holding(digest, exclusive=True), pytest.raises(OSError, match="no space"):
        tree.set_aside(digest, "test")
    assert tree.stat(digest).size_bytes == 7
    assert os.listdir(tree.layout.quarantine) == []
    assert incoming(tree) == []


def test_walking_passes_over_what_is_no_object(tree):
    digests = sorted(publish(tree, bytes([i])) for i in range(10))
    folder = tree.layout.objects / "00"
    (folder / "README").write_text("not ours")
    (folder / ("ff" * 32 + ".dcm")).write_text("in the wrong folder")
    (folder / ("00" * 32 + ".dcm")).mkdir()
    (folder / ("0" * 63 + "1.dcm")).symlink_to("/etc/passwd")
    assert list(tree.walk()) == digests
    assert [d for prefix in PREFIXES for d in tree.walk(prefix)] == digests


def test_sweeping_removes_what_nobody_writes(tree):
    (tree.layout.incoming / "1-1.part").write_bytes(b"left over")
    (tree.layout.incoming / "1-2.part").write_bytes(b"left over")
    (tree.layout.incoming / "folder").mkdir()
    staged = tree.stage()
    assert tree.sweep_incoming() == 2
    assert sorted(incoming(tree)) == sorted([os.path.basename(staged.path), "folder"])
    staged.discard()


def test_a_staged_file_is_locked_against_other_processes(tree):
    staged = tree.stage()
    other = os.open(staged.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    staged.discard()


def test_a_scratch_file_has_no_name(tree):
    with tree.scratch() as file:
        file.write(b"for a moment")
        file.seek(0)
        assert file.read() == b"for a moment"
        assert incoming(tree) == []


def test_free_space_is_that_of_the_file_system(tree):
    found = os.statvfs(tree.layout.root)
    assert 0 <= tree.free_bytes() <= found.f_blocks * found.f_frsize
