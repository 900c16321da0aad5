import ctypes
import errno
import fcntl
import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from minipacs.tree import files
from minipacs.tree.files import FileTree, Receipt
from minipacs.tree.layout import PREFIXES, REASON_SUFFIX

RECEIPT = Receipt(1795330010.8272018, "SENDER")


@pytest.fixture
def tree(tmp_path):
    tree = FileTree(tmp_path / "archive")
    tree.create()
    return tree


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def publish(tree, data=b"content"):
    staged = tree.stage()
    staged.write([data])
    with tree.holding(staged.digest) as folder:
        tree.publish(staged, staged.digest, folder, RECEIPT)
    return digest_of(data)


def incoming(tree):
    return os.listdir(tree.layout.incoming)


def test_folders_are_made_once(tree):
    assert sorted(os.listdir(tree.layout.objects)) == sorted(PREFIXES)
    publish(tree)
    tree.create()
    assert len(list(tree.published())) == 1


def test_a_missing_object_folder_is_made_again(tree):
    (tree.layout.objects / "7f").rmdir()
    tree.create()
    assert (tree.layout.objects / "7f").is_dir()


def test_a_published_file_is_named_after_its_bytes_and_not_writable(tree):
    digest = publish(tree, b"some bytes")
    with tree.open(digest) as file:
        assert file.read() == b"some bytes"
    assert stat.S_IMODE(os.stat(tree.layout.published(digest)).st_mode) & 0o227 == 0
    assert tree.size_bytes(digest) == 10
    assert incoming(tree) == []


@pytest.mark.parametrize("title", ["SENDER", "TWO WORDS", ""])
def test_a_published_file_has_its_receipt_beside_its_bytes(tree, title):
    receipt = Receipt(1795330010.8272018, title)
    staged = tree.stage()
    staged.write([b"bytes"])
    with tree.holding(staged.digest) as folder:
        assert tree.publish(staged, digest_of(b"bytes"), folder, receipt)
    assert tree.receipt(digest_of(b"bytes")) == receipt
    again = tree.stage()
    again.write([b"bytes"])
    with tree.holding(again.digest) as folder:
        assert not tree.publish(again, digest_of(b"bytes"), folder, Receipt(1.0, "OTHER"))
    assert tree.receipt(digest_of(b"bytes")) == receipt


def test_files_are_sorted_by_when_they_came(tree):
    for received_at in (3.0, 1.0, 2.0):
        staged = tree.stage()
        staged.write([str(received_at).encode()])
        with tree.holding(staged.digest) as folder:
            tree.publish(staged, staged.digest, folder, Receipt(received_at, "Z"))
    found = tree.in_order(digest for digest, _ in tree.published())
    assert found == [digest_of(data) for data in (b"1.0", b"2.0", b"3.0")]


def test_where_a_receipt_cannot_be_kept_the_file_is_published_all_the_same(tree, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    staged = tree.stage()
    staged.write([b"bytes"])
    with tree.holding(staged.digest) as folder:
        assert not tree.publish(staged, digest_of(b"bytes"), folder, Receipt(1.0, "SENDER"))
    assert tree.size_bytes(digest_of(b"bytes")) == 5
    written = os.stat(tree.layout.published(digest_of(b"bytes"))).st_mtime
    assert tree.receipt(digest_of(b"bytes")) == Receipt(written, "")


def test_what_is_written_in_pieces_is_hashed_as_one(tree):
    staged = tree.stage()
    staged.write([b"ab", memoryview(b"cd")])
    staged.write([b"", b"ef"])
    assert staged.digest == digest_of(b"abcdef")
    assert staged.size_bytes == 6
    with tree.holding(staged.digest) as folder:
        tree.publish(staged, staged.digest, folder, RECEIPT)
    assert tree.size_bytes(digest_of(b"abcdef")) == 6


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


def test_a_thread_has_a_file_ready_for_its_next_object(tree):
    tree.make_ready()
    assert incoming(tree) == [], "nobody asked for it"
    with tree.keeping_ready():
        for data in (b"one", b"two"):
            tree.make_ready()
            tree.make_ready()
            assert len(incoming(tree)) == 1
            publish(tree, data)
            assert incoming(tree) == []
        tree.make_ready()
        with ThreadPoolExecutor(1) as other:
            assert other.submit(publish, tree, b"three").result() == digest_of(b"three")
        assert len(incoming(tree)) == 1, "it is this thread's"
    assert incoming(tree) == []
    assert sorted(digest for digest, _ in tree.published()) == sorted(map(digest_of, (b"one", b"two", b"three")))


def test_what_is_stored_already_leaves_its_file_for_the_next_object(tree):
    publish(tree, b"a longer one")
    with tree.keeping_ready():
        publish(tree, b"a longer one")
        (ready,) = incoming(tree)
        assert os.stat(tree.layout.incoming / ready).st_size == 0
        publish(tree, b"another")
        assert incoming(tree) == []
        with tree.open(digest_of(b"another")) as file:
            assert file.read() == b"another"


def test_a_ready_file_that_somebody_removed_is_not_used(tree):
    with tree.keeping_ready():
        tree.make_ready()
        os.unlink(tree.layout.incoming / incoming(tree)[0])
        assert tree.size_bytes(publish(tree, b"content")) == 7


def test_publishing_the_same_bytes_again_writes_nothing(tree):
    digest = publish(tree)
    before = os.stat(tree.layout.published(digest))
    assert publish(tree) == digest
    after = os.stat(tree.layout.published(digest))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert incoming(tree) == []


def test_publishing_heals_a_file_that_was_cut_short(tree):
    digest = publish(tree, b"whole content")
    os.truncate(tree.layout.published(digest), 5)
    assert publish(tree, b"whole content") == digest
    with tree.open(digest) as file:
        assert file.read() == b"whole content"


def test_a_discarded_file_is_gone_and_one_published_stays(tree):
    staged = tree.stage()
    staged.write([b"dropped"])
    staged.discard()
    staged.discard()
    assert incoming(tree) == []
    staged = tree.stage()
    staged.write([b"kept"])
    digest = staged.digest
    with tree.holding(digest) as folder:
        tree.publish(staged, digest, folder, RECEIPT)
    staged.discard()
    assert tree.size_bytes(digest) == 4


def test_no_descriptor_is_left_open(tree):
    before = os.listdir("/proc/self/fd")
    digest = publish(tree)
    publish(tree)
    tree.stage().discard()
    with tree.holding(digest, exclusive=True):
        tree.quarantine(digest, "test")
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
    tree.layout.root = tree.layout.root / "gone"
    with pytest.raises(FileNotFoundError):
        tree.sync()


def test_a_fault_of_the_disk_shows_in_the_sync(tree, monkeypatch):
    class Libc:
        @staticmethod
        def syncfs(fd):
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(files, "_LIBC", Libc)
    with pytest.raises(OSError, match="Input/output error") as caught:
        tree.sync()
    assert caught.value.errno == errno.EIO


def test_open_and_size_of_what_is_not_there(tree):
    digest = digest_of(b"never stored")
    assert tree.size_bytes(digest) is None
    with pytest.raises(FileNotFoundError):
        tree.open(digest)
    tree.remove(digest)
    tree.quarantine(digest, "nothing to move")
    assert tree.quarantined_files() == 0


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
        tree.remove(digest)
    assert tree.size_bytes(digest) is None


def test_quarantine_keeps_the_bytes_and_notes_the_reason(tree):
    digest = publish(tree, b"gave way")
    with tree.holding(digest, exclusive=True):
        tree.quarantine(digest, "replaced by another file")
    assert tree.size_bytes(digest) is None
    assert tree.quarantined_files() == 1
    with open(tree.layout.quarantined(digest), "rb") as file:
        assert file.read() == b"gave way"
    with open(tree.layout.quarantined(digest, REASON_SUFFIX)) as file:
        note = json.load(file)
    assert note["digest"] == digest
    assert note["reason"] == "replaced by another file"
    assert abs(note["since"] - os.stat(tree.layout.quarantined(digest, REASON_SUFFIX)).st_mtime) < 60


def test_quarantine_on_a_full_disk_leaves_the_file_where_it_was(tree, monkeypatch):
    digest = publish(tree)

    def full(fd, buffers):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "writev", full)
    with tree.holding(digest, exclusive=True), pytest.raises(OSError, match="no space"):
        tree.quarantine(digest, "test")
    assert tree.size_bytes(digest) == 7
    assert os.listdir(tree.layout.quarantine) == []
    assert incoming(tree) == []


def test_walking_passes_over_what_is_no_object(tree):
    digests = {publish(tree, bytes([i])): 1 for i in range(10)}
    folder = tree.layout.objects / "00"
    (folder / "README").write_text("not ours")
    (folder / ("ff" * 32 + ".dcm")).write_text("in the wrong folder")
    (folder / ("00" * 32 + ".dcm")).mkdir()
    (folder / ("0" * 63 + "1.dcm")).symlink_to("/etc/passwd")
    assert dict(tree.published()) == digests


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
