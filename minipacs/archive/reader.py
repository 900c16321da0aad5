"""Reading stored objects back: the data set as it was received, or another encoding of it for a peer that needs one."""

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader, FileIO
from typing import TYPE_CHECKING

from minipacs.archive.amended import Amending
from minipacs.archive.data_set_file import DataSetFile
from minipacs.archive.ports import Storage
from minipacs.archive.scan import tells_of_damage
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.errors import NO_ROOM, Failure, Kind
from minipacs.index import StoredInstance
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.processes.pool import CodecPool, Wait, wait_readable

if TYPE_CHECKING:
    from pydicom import Dataset

BUFFER_BYTES = 1 << 20
"""For `ObjectReader.open`: larger objects are read twice, to be checked and to be sent."""

PEEK_BYTES = 1 << 16
"""For `ObjectReader.open_stored` where the object is then read by its `stream`, and not from its beginning."""

FRESH_S = 3600.0
"""How long after an object was received its file is taken as it is, if nobody has written to it since."""

MAX_INTACT_KNOWN = 10_000
"""Files that were compared a short while ago."""

MAX_REPLACEMENTS = 3
"""How often an object may be replaced by another while it is opened."""


class ObjectUnreadable(Failure):
    """A stored object that cannot be read; the message says why. Temporary if it may be had later."""

    def __init__(self, words: str, kind: Kind = Kind.BROKEN) -> None:
        super().__init__(kind, words)


class ObjectReplaced(ObjectUnreadable):
    """A stored object that another took the place of since it was looked up: `now`, which may be of another kind."""

    def __init__(self, now: StoredInstance) -> None:
        super().__init__("replaced meanwhile")
        self.now = now


class ObjectNotConvertible(ObjectUnreadable):
    """A stored object that cannot be had in the transfer syntax asked for; in another it may."""


class ObjectReader:
    """Opens stored objects. `look_up` finds what a SOP Instance UID stands for now, `amending` what is amended.

    Copies in another transfer syntax leave `min_free_bytes` of the disk.
    """

    def __init__(
        self,
        tree: Storage,
        look_up: Callable[[str], StoredInstance | None],
        amending: Amending,
        min_free_bytes: int = 0,
    ) -> None:
        self._tree = tree
        self._amending = amending
        self._look_up = look_up
        self._codecs = CodecPool(min_free_bytes)
        self._intact: OrderedDict[str, tuple[int, int, float]] = OrderedDict()
        self._intact_lock = threading.Lock()

    def close(self) -> None:
        """End the codec processes; call when nothing is read any more."""
        self._codecs.close()

    def header(self, instance: StoredInstance) -> "Dataset":
        """Decode what stands before the pixels. Raises ObjectUnreadable."""
        from pydicom import dcmread

        file, now = self._find(instance)
        try:
            with file:
                if not now.amendments:
                    return dcmread(file, stop_before_pixels=True)
            meta = file_meta(now.sop_class_uid, now.sop_instance_uid, now.transfer_syntax_uid)
            with self.open(now, now.transfer_syntax_uid, memoryview(bytearray(PEEK_BYTES))) as data_set:
                return dcmread(BufferedReader(data_set.stream(meta)), stop_before_pixels=True)
        except ObjectUnreadable:
            raise
        except OSError as error:
            raise _unreadable("read", error) from error
        except Exception as error:  # of any kind: the library takes apart what was kept as it came
            raise ObjectUnreadable(f"data set cannot be decoded: {error}") from error

    def open(
        self,
        instance: StoredInstance,
        transfer_syntax_uid: str,
        buffer: memoryview,
        *,
        on_piece: Callable[[], None] = lambda: None,
        wait: Wait = wait_readable,
    ) -> DataSetFile:
        """Open the data set: the stored bytes, or made anew in another transfer syntax, by a codec process.

        What is given out is what the digest was made of: the file has been read to its end and compared, unless it is
        fresh. `buffer` is lent to the result; `on_piece` is called now and then in a long read, `wait` waits for the
        codec process, and what they raise ends it. Raises ObjectUnreadable, ObjectNotConvertible, ObjectReplaced.
        """
        file, instance = self._find(instance)
        with ExitStack() as closing:
            closing.callback(file.close)
            try:
                status = os.fstat(file.fileno())
                if status.st_size != instance.size_bytes:
                    raise ObjectUnreadable(f"file has {status.st_size} bytes, not {instance.size_bytes}")
                if instance.transfer_syntax_uid != transfer_syntax_uid:
                    made = self._transcoded(file, instance, transfer_syntax_uid, buffer, wait)
                    return self._amended(made, instance, transfer_syntax_uid)
                is_fresh = _is_fresh(instance, status) or self._was_intact(instance.digest, status)
                found = _checked(file, instance, buffer, on_piece, is_fresh=is_fresh)
                if not is_fresh:
                    self._note_intact(instance.digest, status)
            except OSError as error:
                raise _unreadable("read", error) from error
            closing.pop_all()
            return self._amended(found, instance, transfer_syntax_uid)

    def _amended(self, data_set: DataSetFile, instance: StoredInstance, transfer_syntax_uid: str) -> DataSetFile:
        """Give a data set as it is to be read: whatever goes out comes through here."""
        if not instance.amendments:
            return data_set
        try:
            return self._amending.amended(data_set, instance, TRANSFER_SYNTAXES[transfer_syntax_uid])
        except BaseException as error:
            data_set.close()
            if isinstance(error, OSError):
                raise _unreadable("read", error) from error
            if isinstance(error, Failure):
                raise ObjectUnreadable(f"cannot be amended: {error}", error.kind) from error
            raise

    def open_stored(self, instance: StoredInstance, buffer: memoryview) -> tuple[StoredInstance, DataSetFile]:
        """Open the data set as it is stored, or that of the object that has replaced it; see `open`."""
        for _ in range(MAX_REPLACEMENTS):
            try:
                return instance, self.open(instance, instance.transfer_syntax_uid, buffer)
            except ObjectReplaced as error:
                instance = error.now
        raise ObjectUnreadable("replaced again and again")

    def compress(self, instance: StoredInstance, target_fd: int, transfer_syntax_uid: str, wait: Wait) -> None:
        """Write the data set behind File Meta Information, compressed without loss, and have it compared.

        Raises ObjectUnreadable, ObjectNotConvertible, and what `wait` raises.
        """
        file, now = self._find(instance)
        with file, _codec_errors():
            self._codecs.compress(file.fileno(), target_fd, now.digest, transfer_syntax_uid, wait).close()

    def native_frames(self, instance: StoredInstance, indices: Sequence[int], buffer: memoryview) -> DataSetFile:
        """Open the frames of an object, counted from 0, as native samples one behind the other.

        Raises ObjectUnreadable, ObjectNotConvertible, ObjectReplaced.
        """
        return self._made("frames", instance, buffer, frames=list(indices))

    def picture(
        self, instance: StoredInstance, index: int, rendering: Mapping[str, object], buffer: memoryview
    ) -> DataSetFile:
        """Open a frame, counted from 0, drawn as the fields of a `pixels.render.Rendering` say.

        Raises ObjectUnreadable, ObjectNotConvertible, ObjectReplaced.
        """
        return self._made("render", instance, buffer, frame=index, rendering=rendering)

    def _was_intact(self, digest: str, file: os.stat_result) -> bool:
        """Tell whether a file was compared within the hour, and not written to since: viewers ask frame by frame."""
        with self._intact_lock:
            written_ns, inode, until = self._intact.get(digest, (0, 0, 0.0))
        return (written_ns, inode) == (file.st_mtime_ns, file.st_ino) and time.monotonic() < until

    def _note_intact(self, digest: str, file: os.stat_result) -> None:
        with self._intact_lock:
            self._intact[digest] = file.st_mtime_ns, file.st_ino, time.monotonic() + FRESH_S
            self._intact.move_to_end(digest)
            while len(self._intact) > MAX_INTACT_KNOWN:
                self._intact.popitem(last=False)

    def _find(self, instance: StoredInstance) -> tuple[FileIO, StoredInstance]:
        """Open the file of an instance, or the one that it was compressed to since it was looked up."""
        try:
            try:
                return self._tree.open(instance.digest), instance
            except FileNotFoundError:
                now = self._look_up(instance.sop_instance_uid)
                if now is None or now.digest == instance.digest:
                    raise
                if now.received_digest != instance.digest:
                    raise ObjectReplaced(now) from None
                return self._tree.open(now.digest), now
        except OSError as error:
            raise _unreadable("opened", error) from error

    def _transcoded(
        self, file: FileIO, instance: StoredInstance, transfer_syntax_uid: str, buffer: memoryview, wait: Wait
    ) -> DataSetFile:
        return self._run("transcode", file, instance, buffer, wait, transfer_syntax_uid=transfer_syntax_uid)

    def _made(self, verb: str, instance: StoredInstance, buffer: memoryview, **words: object) -> DataSetFile:
        file, now = self._find(instance)
        with file:
            return self._run(verb, file, now, buffer, wait_readable, **words)

    def _run(
        self, verb: str, file: FileIO, instance: StoredInstance, buffer: memoryview, wait: Wait, **words: object
    ) -> DataSetFile:
        """Have a codec process write to a nameless file, and open that."""
        with _codec_errors(), ExitStack() as failing:
            scratch = failing.enter_context(self._tree.scratch())
            space = self._codecs.run(verb, file.fileno(), scratch.fileno(), instance.digest, wait, **words)
            failing.callback(space.close)
            made = DataSetFile(scratch, 0, os.fstat(scratch.fileno()).st_size, buffer, on_close=space.close)
            failing.pop_all()
            return made


@contextmanager
def _codec_errors() -> Iterator[None]:
    """Tell what came of a codec's job; what the system refuses meanwhile it may allow later."""
    try:
        yield
    except TranscodeError as error:
        raise ObjectNotConvertible(str(error), error.kind) from error
    except OSError as error:
        kind = Kind.FULL if error.errno in NO_ROOM else Kind.BUSY
        raise ObjectNotConvertible(f"no copy can be made: {error.strerror}", kind) from error


def _unreadable(what: str, error: OSError) -> ObjectUnreadable:
    lasts = isinstance(error, FileNotFoundError) or tells_of_damage(error)
    return ObjectUnreadable(f"file cannot be {what}: {error.strerror}", Kind.BROKEN if lasts else Kind.BUSY)


def _is_fresh(instance: StoredInstance, file: os.stat_result) -> bool:
    """Tell whether a file was hashed on its way in a short while ago: to compare it now would only prove the memory."""
    return 0 <= time.time() - instance.received_at < FRESH_S and file.st_mtime <= instance.received_at


def _checked(
    file: FileIO, instance: StoredInstance, buffer: memoryview, on_piece: Callable[[], None], *, is_fresh: bool
) -> DataSetFile:
    """Read the file once and compare its digest, unless it is fresh; what `buffer` can hold of it stays in there."""
    meta = file_meta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
    offset, size = len(meta), instance.size_bytes - len(meta)
    if is_fresh:
        found = DataSetFile(file, offset, size, buffer)
        found.read_ahead()
        return found
    held = size if size <= len(buffer) else 0
    digest = hashlib.sha256(meta)
    for count, piece in enumerate(DataSetFile(file, offset, size, buffer).pieces()):
        if count:
            on_piece()
        digest.update(piece)
    if digest.hexdigest() != instance.digest:
        raise ObjectUnreadable("file is damaged: its digest differs")
    return DataSetFile(file, offset, size, buffer, held)
