"""Studies, series and instances as they are stored or in a transfer syntax that is asked for (PS3.18 10.4)."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

from starlette.responses import Response

from minipacs.archive.data_set_file import DataSetFile
from minipacs.archive.reader import (
    BUFFER_BYTES,
    ObjectNotConvertible,
    ObjectReplaced,
    ObjectUnreadable,
)
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    NOT_OVER_HTTP,
    TRANSFER_SYNTAXES,
)
from minipacs.index import UNAVAILABLE, StoredInstance
from minipacs.pixels.codecs import can_transcode
from minipacs.web.answers import Refusal
from minipacs.web.dicomweb.zipped import ZIP, zipped
from minipacs.web.entity import Span, etag, matches
from minipacs.web.environment import PATH_KEYS, Ask
from minipacs.web.representations.accept import Choice, Offer
from minipacs.web.representations.multipart import Writer
from minipacs.web.streaming import streamed

DICOM = "application/dicom"
PARTS = Offer(DICOM, is_multipart=True)
SINGLE = Offer(DICOM)

AS_STORED = "*"
MAX_REPLACEMENTS = 3


async def retrieve(ask: Ask) -> Response:
    """Answer with all instances of a study or series, in parts, or with one instance."""
    is_one = "instance" in ask.path
    choice = ask.choose([PARTS, SINGLE, ZIP] if is_one else [PARTS, ZIP])
    listed = await listing(ask)
    if choice.offer == ZIP:
        return await zipped(ask, listed)
    objects = Objects(ask, available(listed), choice)
    first = await asyncio.to_thread(objects.open_first)
    if choice.offer == SINGLE:
        return await _single(ask, first)
    length = objects.length(first)
    headers = {} if length is None else {"Content-Length": str(length)}
    is_whole = not objects.left_out and objects.count == len(listed)
    pieces, content_type = objects.parts(first, is_as_stored=length is not None), objects.writer.content_type
    return await streamed(pieces, 200 if is_whole else 206, media_type=content_type, headers=headers)


async def _single(ask: Ask, opened: "Opened") -> Response:
    """Answer with one instance as a file, or a part of it."""
    tag = etag([opened.instance], opened.syntax)
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    try:
        if matches(ask.headers.get("if-none-match", ""), tag):
            opened.data_set.close()
            return Response(status_code=304, headers=headers)
        span = Span(ask, opened.size_bytes, tag)
    except Refusal:
        opened.data_set.close()
        raise
    pieces = span.cut(opened.closing_pieces())
    return await streamed(pieces, span.status, media_type=DICOM, headers={**headers, **span.headers})


async def find(ask: Ask) -> list[StoredInstance]:
    """List the instances that a path names, without those known to be damaged or missing. Raises Refusal 404."""
    return available(await listing(ask))


def available(listed: Sequence[StoredInstance]) -> list[StoredInstance]:
    """Leave out what is known to be damaged or missing. Raises Refusal 404 if nothing is left."""
    found = [instance for instance in listed if instance.availability != UNAVAILABLE]
    if not found:
        raise Refusal(404, "what was stored here is damaged or missing")
    return found


async def listing(ask: Ask) -> list[StoredInstance]:
    """List the instances that a path names. Raises Refusal 404 if there are none."""
    return await asyncio.to_thread(looked_up, ask)


def looked_up(ask: Ask) -> list[StoredInstance]:
    """Do what `listing` does, for a thread that has other work with the same request."""
    keys = {PATH_KEYS[name]: [uid] for name, uid in ask.path.items() if name in PATH_KEYS}
    found = ask.environment.archive.index.instances(keys)
    if not found:
        raise Refusal(404, "nothing of that kind is stored here")
    ask.found = found
    return found


def syntax_for(instance: StoredInstance, asked: str) -> str | None:
    """Choose the transfer syntax that an instance is sent in; None if it cannot be had so (PS3.18 8.7.3.4).

    `asked` is a UID, "*" for as it is stored, or "" where the client says nothing: then Explicit VR Little Endian,
    save for what was encoded with loss, of which decoding would only make a larger copy.
    """
    stored = TRANSFER_SYNTAXES[instance.transfer_syntax_uid]
    if stored.uid in NOT_OVER_HTTP:
        wanted = EXPLICIT_VR_LITTLE_ENDIAN if asked in ("", AS_STORED) else asked
    elif asked == AS_STORED or asked == stored.uid:
        return stored.uid
    elif asked:
        wanted = asked
    elif stored.lossy:
        return stored.uid
    else:
        wanted = EXPLICIT_VR_LITTLE_ENDIAN
    if wanted == stored.uid:
        return wanted
    return wanted if wanted not in NOT_OVER_HTTP and can_transcode(stored.uid, wanted) else None


class Objects:
    """The instances of one answer, opened one after the other; for one thread at a time."""

    def __init__(self, ask: Ask, instances: Sequence[StoredInstance], choice: Choice) -> None:
        self._reader = ask.environment.archive.reader
        self._root = f"{ask.service}/studies"
        self._path = ask.path
        self._asked = choice.transfer_syntax
        self._rest = deque(instances)
        self.writer = Writer(DICOM)
        self.count = len(instances)
        self.left_out = self.refused = sum(syntax_for(instance, self._asked) is None for instance in instances)

    def open_first(self) -> "Opened":
        """Open the first instance that can be had, before anything is answered. Raises Refusal 406, 404."""
        reason = ""
        while self._rest:
            try:
                return self._open(self._rest.popleft())
            except ObjectUnreadable as error:
                if error.temporary:
                    raise
                reason = str(error)
                self.left_out += 1
                self.refused += isinstance(error, ObjectNotConvertible)
        if self.refused:
            raise Refusal(406, "nothing of this can be had in that transfer syntax")
        raise Refusal(404, f"what is stored here cannot be read: {reason}")

    def length(self, first: "Opened") -> int | None:
        """Return the size of the whole answer, None if something in it is not as it is stored."""
        instances = [first.instance, *self._rest]
        if first.size_bytes != first.instance.size_bytes:
            return None
        if any(i.amendments or syntax_for(i, self._asked) != i.transfer_syntax_uid for i in instances):
            return None
        plan = Writer(DICOM)
        heads = sum(len(self._head(plan, i, i.transfer_syntax_uid, i.size_bytes)) for i in instances)
        return heads + sum(instance.size_bytes for instance in instances) + len(plan.close())

    def parts(self, opened: "Opened", *, is_as_stored: bool) -> Iterator[bytes | memoryview]:
        """Give all instances as parts.

        Raises ObjectUnreadable for one that turns out to be damaged, or no more to be what its size was told of.
        """
        yield from self._part(opened)
        while self._rest:
            instance = self._rest.popleft()
            if syntax_for(instance, self._asked) is None:
                continue
            opened = self._open(instance)
            if is_as_stored and (opened.syntax, opened.size_bytes) != (
                instance.transfer_syntax_uid,
                instance.size_bytes,
            ):
                opened.data_set.close()
                raise ObjectUnreadable("replaced while it was being sent")
            yield from self._part(opened)
        yield self.writer.close()

    def _part(self, opened: "Opened") -> Iterator[bytes | memoryview]:
        with opened.data_set:
            yield self._head(self.writer, opened.instance, opened.syntax, opened.size_bytes)
            yield from opened.pieces()

    def _head(self, writer: Writer, instance: StoredInstance, syntax: str, size_bytes: int) -> bytes:
        location = "/".join([self._root, self._path["study"], "instances", instance.sop_instance_uid])
        return writer.head(f"{DICOM}; transfer-syntax={syntax}", location=location, length=size_bytes)

    def _open(self, instance: StoredInstance) -> "Opened":
        for _ in range(MAX_REPLACEMENTS):
            syntax = syntax_for(instance, self._asked)
            if syntax is None:
                raise ObjectNotConvertible("no way to that transfer syntax")
            try:
                buffer = memoryview(bytearray(min(instance.size_bytes, BUFFER_BYTES)))
                return Opened(instance, syntax, self._reader.open(instance, syntax, buffer))
            except ObjectReplaced as error:
                instance = error.now
        raise ObjectUnreadable("replaced again and again")


class Opened:
    """An open instance, to be read as a DICOM file in `syntax`; the buffer of its data set is its own."""

    def __init__(self, instance: StoredInstance, syntax: str, data_set: DataSetFile) -> None:
        self.instance = instance
        self.syntax = syntax
        self.data_set = data_set
        self._meta = file_meta(instance.sop_class_uid, instance.sop_instance_uid, syntax)

    @property
    def size_bytes(self) -> int:
        """Return the size of the file."""
        return len(self._meta) + self.data_set.size_bytes

    def closing_pieces(self) -> Iterator[bytes | memoryview]:
        """Give the file in pieces, and close it at the end."""
        with self.data_set:
            yield from self.pieces()

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Give the file in pieces that are the caller's."""
        yield self._meta
        for piece in self.data_set.pieces():
            is_whole = len(piece) == self.data_set.size_bytes  # so that nothing else comes into the buffer
            yield piece if is_whole else bytes(piece)
