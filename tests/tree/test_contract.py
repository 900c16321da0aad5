"""What every store of objects promises (`archive.ports.Storage`), asked of each there is."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from minipacs.archive.disk_errors import DiskErrors
from minipacs.archive.ingest import Incoming, StoragePolicy
from minipacs.archive.ports import PREFIXES, ObjectState, Published, Receipt, Storage
from minipacs.archive.removal import Displaced
from minipacs.errors import MinipacsError
from minipacs.index import Index, Outcome
from minipacs.tree.objects import FileTree
from tests.support.memory_tree import MemoryTree
from tests.support.objects import ct, encode
from tests.support.wire import EXPLICIT

RECEIPT = Receipt(1795330010.8272018, "TWO WORDS")


@pytest.fixture(params=[FileTree, MemoryTree])
def store(request, tmp_path):
    if request.param is MemoryTree:
        return MemoryTree()
    tree = FileTree(tmp_path / "archive")
    tree.create()
    return tree


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(store: Storage, data: bytes, receipt: Receipt = RECEIPT, digest: str = "") -> Published:
    """Publish bytes, under a digest that they need not have."""
    staged = store.stage()
    staged.write([data[:2], memoryview(data)[2:]])
    with store.holding(digest or staged.digest) as held:
        published = store.put(staged, digest or staged.digest, receipt, held)
    staged.discard()
    return published


def content(store: Storage, digest: str) -> bytes:
    with store.open(digest) as file:
        assert os.fstat(file.fileno()).st_size, "a local file, for other processes as well"
        return bytes(file.read())


def test_what_is_put_is_there_with_its_receipt(store):
    assert put(store, b"some bytes") == Published(is_new=True, has_receipt=True)
    assert content(store, digest_of(b"some bytes")) == b"some bytes"
    assert store.stat(digest_of(b"some bytes")) == ObjectState(10, RECEIPT)


def test_the_same_bytes_again_change_nothing(store):
    put(store, b"some bytes")
    assert put(store, b"some bytes", Receipt(2.0, "OTHER")) == Published(is_new=False)
    assert store.stat(digest_of(b"some bytes")) == ObjectState(10, RECEIPT)


def test_s2_bytes_that_differ_give_way_to_the_whole_ones(store):
    digest = digest_of(b"some bytes")
    put(store, b"s0me bytes", digest=digest)
    assert put(store, b"some bytes").is_new
    assert content(store, digest) == b"some bytes"


def test_what_is_not_there(store):
    digest = digest_of(b"never put")
    assert store.stat(digest) is None
    with pytest.raises(FileNotFoundError):
        store.open(digest)
    with store.holding(digest, exclusive=True):
        store.delete(digest)
        store.set_aside(digest, "nothing to move")
    assert store.quarantine.count() == 0
    assert list(store.walk()) == []


def test_what_is_deleted_is_gone_and_may_come_again(store):
    put(store, b"bytes")
    with store.holding(digest_of(b"bytes"), exclusive=True):
        store.delete(digest_of(b"bytes"))
    assert store.stat(digest_of(b"bytes")) is None
    assert put(store, b"bytes").is_new


def test_what_is_set_aside_is_in_quarantine_until_it_is_purged(store):
    digests = [digest_of(data) for data in (b"first", b"second")]
    for data, digest in zip((b"first", b"second"), digests, strict=True):
        put(store, data)
        with store.holding(digest, exclusive=True):
            store.set_aside(digest, f"reason of {data.decode()}")
    assert list(store.walk()) == []
    assert [(f.digest, f.reason, f.size_bytes) for f in store.quarantine.files()] == [
        (digests[0], "reason of first", 5),
        (digests[1], "reason of second", 6),
    ]
    with store.quarantine.open(digests[0]) as file:
        assert file.read() == b"first"
    store.quarantine.purge(digests[0])
    assert store.quarantine.count() == 1
    store.quarantine.purge(digests[0])


def test_a_damaged_file_takes_no_whole_ones_place_in_quarantine(store):
    digest = digest_of(b"some bytes")

    def set_aside(data: bytes, reason: str) -> list[tuple[bytes, str]]:
        put(store, data, digest=digest)
        with store.holding(digest, exclusive=True):
            store.set_aside(digest, reason)
        assert store.stat(digest) is None
        with store.quarantine.open(digest) as kept:
            return [(kept.read(), file.reason) for file in store.quarantine.files()]

    assert set_aside(b"s0me bytes", "damaged") == [(b"s0me bytes", "damaged")]
    assert set_aside(b"some bytes", "replaced") == [(b"some bytes", "replaced")]
    assert set_aside(b"s0me bytes", "damaged") == [(b"some bytes", "replaced")]
    assert set_aside(b"some bytes", "replaced again") == [(b"some bytes", "replaced again")]


def test_digests_are_walked_in_their_order_whole_or_by_prefix(store):
    digests = [digest_of(bytes([i])) for i in range(40)]
    for i in range(40):
        put(store, bytes([i]))
    assert list(store.walk()) == sorted(digests)
    assert [d for prefix in PREFIXES for d in store.walk(prefix)] == sorted(digests)
    assert list(store.walk(digests[0][:2])) == sorted(d for d in digests if d[:2] == digests[0][:2])


def test_a_walk_bears_what_vanishes_under_it(store):
    for i in range(40):
        put(store, bytes([i]))
    seen = []
    for digest in store.walk():
        for other in (digest_of(bytes([i])) for i in range(40)):
            if other > digest:
                store.delete(other)
        seen.append(digest)
    assert seen
    assert list(store.walk()) == seen[:1]


def test_a_staged_file_is_written_by_another_and_taken_in(store):
    staged = store.stage()
    staged.write([b"meta"])
    os.write(staged.fileno(), b"data")
    staged.take_in()
    assert (staged.digest, staged.size_bytes) == (digest_of(b"metadata"), 8)
    staged.discard()
    staged.discard()


def test_a_spare_gives_each_file_once(store):
    with store.spare() as spare:
        spare.make()
        first, second = spare.take(), spare.take()
        first.write([b"first"])
        second.write([b"second"])
        assert (first.size_bytes, second.size_bytes) == (5, 6)
        spare.give_back(first)
        third = spare.take()
        assert (third.size_bytes, third.digest) == (0, digest_of(b""))
        third.write([b"3"])
        assert os.pread(third.fileno(), 10, 0) == b"3"
        second.discard()
        third.discard()


def test_a_scratch_file_can_be_written_and_read(store):
    with store.scratch() as file:
        file.write(b"for a moment")
        assert os.pread(file.fileno(), 20, 0) == b"for a moment"


def test_who_claims_a_store_first_has_it(store):
    assert store.identity() == ""
    assert store.claim("first") == "first"
    assert store.claim("second") == "first"
    assert store.identity() == "first"


def test_there_is_one_daemon_and_the_next_knows_how_it_ended(store):
    lock = store.daemon_lock()
    assert (lock.is_first, lock.ended_cleanly) == (True, False)
    with pytest.raises(MinipacsError, match="in use by another minipacs daemon"):
        store.daemon_lock()
    lock.release()
    lock = store.daemon_lock()
    assert (lock.is_first, lock.ended_cleanly) == (False, True)
    lock.release(cleanly=False)
    lock = store.daemon_lock()
    assert not lock.ended_cleanly
    lock.release()


@pytest.mark.parametrize(("mine", "theirs"), [(False, True), (True, False), (True, True)])
def test_locks_exclude_the_threads_of_one_process(store, mine, theirs):
    digest = digest_of(b"")
    entered = threading.Event()

    def other():
        with store.holding(digest, exclusive=theirs):
            entered.set()

    with ThreadPoolExecutor(1) as pool:
        with store.holding(digest, exclusive=mine):
            waiting = pool.submit(other)
            assert not entered.wait(0.05)
        waiting.result(10)
    assert entered.is_set()


def test_shared_locks_are_held_side_by_side(store):
    digest = digest_of(b"")
    both = threading.Barrier(2)

    def hold():
        with store.holding(digest):
            both.wait(10)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(hold) for _ in range(2)]:
            done.result(10)


def test_a_lock_nests_and_its_inner_end_does_not_let_go(store):
    digest = digest_of(b"")
    entered = threading.Event()

    def other():
        with store.holding(digest, exclusive=True):
            entered.set()

    for exclusive in (False, True):
        entered.clear()
        with ThreadPoolExecutor(1) as pool:
            with store.holding(digest, exclusive=exclusive):
                with store.holding(digest), store.holding(digest, exclusive=exclusive):
                    pass
                waiting = pool.submit(other)
                assert not entered.wait(0.05)
            waiting.result(10)


def test_a_lock_that_would_wait_for_itself_is_refused(store):
    digest = digest_of(b"")
    wanted = pytest.raises(RuntimeError, match="cannot become an exclusive one")
    with store.holding(digest), wanted, store.holding(digest, exclusive=True):
        pass


def test_an_object_is_stored_in_any_of_them(store, tmp_path):
    index = Index.open(tmp_path / "index.db")
    ds = ct()
    outcomes = []
    for _ in range(2):
        with Incoming(
            store,
            index,
            Displaced(store, index, durable=True),
            StoragePolicy(),
            DiskErrors(),
            sop_class_uid=ds.SOPClassUID,
            sop_instance_uid=ds.SOPInstanceUID,
            transfer_syntax_uid=EXPLICIT,
            source="SENDER",
            charset="",
        ) as incoming:
            incoming.write(encode(ds))
            outcomes.append(incoming.commit().outcome)
    assert outcomes == [Outcome.ADDED, Outcome.SAME]
    assert [index.instance(ds.SOPInstanceUID).digest] == list(store.walk())
    index.close()
