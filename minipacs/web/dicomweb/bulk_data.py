"""Values that metadata only point to: bulk data of an instance, documents among them (PS3.18 10.4.1.1.5)."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from io import BufferedReader

from starlette.responses import Response

from minipacs.archive.data_set_file import DataSetFile
from minipacs.archive.reader import PEEK_BYTES, ObjectUnreadable
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.index import StoredInstance
from minipacs.pixels.elements import (
    BITS_ALLOCATED,
    ElementReader,
    Step,
    StepKind,
    TranscodeError,
    check_pixel_order,
    swap_words,
)
from minipacs.web.answers import Refusal, unreadable
from minipacs.web.dicomweb.frames import OCTETS
from minipacs.web.dicomweb.retrieve import find
from minipacs.web.entity import Span, etag, matches
from minipacs.web.environment import Ask
from minipacs.web.representations.accept import Offer
from minipacs.web.representations.multipart import Writer
from minipacs.web.streaming import streamed

PIECE_BYTES = 1 << 18
MAX_DEPTH = 32
ENCAPSULATED_DOCUMENT = 0x00420011
MIME_TYPE = 0x00420012
DOCUMENT_TYPES = frozenset(
    {"application/pdf", "text/xml", "application/sla", "model/stl", "model/obj", "model/mtl", "video/mp4"}
)
"""Types that a document may be told to have; any other is told as bytes."""


class Value:
    """The value of one element, found in an open data set and read in pieces; `close` it.

    `size_bytes` are its bytes in little endian, without a limit.
    """

    def __init__(self, data_set: DataSetFile, reader: ElementReader, step: Step, media_type: str) -> None:
        self.size_bytes = step.length
        self.media_type = media_type
        self._data_set, self._reader, self._step = data_set, reader, step
        self._position = reader.position

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Give the bytes from `start` to before `end`; at its end the file is closed."""
        with self._data_set:
            if self._step.value is not None:
                yield self._turned(self._step.value)[start:end]
                return
            self._reader.seek(self._position + start)
            while start < end:
                piece = self._reader.read(min(PIECE_BYTES, end - start))
                start += len(piece)
                yield self._turned(piece)

    def close(self) -> None:
        """Let go of a value that is not read."""
        self._data_set.close()

    def _turned(self, piece: bytes) -> bytes:
        return swap_words(piece, self._step.vr, self._step.tag) if self._step.big_endian else piece


async def bulk_data(ask: Ask) -> Response:
    """Answer with the value of the element at the path: tags and numbers of items from 1."""
    path = read_path(ask.path["element"])
    (instance,) = await find(ask)
    tag = etag([instance], ask.path["element"])
    if matches(ask.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers={"ETag": tag})
    value = await asyncio.to_thread(find_value, ask, instance, path)
    choice = ask.choose([Offer(OCTETS, is_multipart=True), Offer(value.media_type), Offer(OCTETS)])
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if choice.offer.is_multipart:
        writer = Writer(OCTETS)
        return await streamed(_in_parts(writer, value), media_type=writer.content_type, headers=headers)
    try:
        span = Span(ask, value.size_bytes, tag)
    except Refusal:
        value.close()
        raise
    pieces = value.pieces(span.start, span.end)
    return await streamed(pieces, span.status, media_type=choice.offer.media_type, headers={**headers, **span.headers})


def read_path(text: str) -> list[int]:
    """Read a path as tags and indices of items, by turns. Raises Refusal 404."""
    words = text.split("/")
    if len(words) % 2 == 0 or len(words) > 2 * MAX_DEPTH:
        raise Refusal(404, "bulk data lie at TAG, or TAG/ITEM/TAG")
    found: list[int] = []
    for i, word in enumerate(words):
        is_right = re.fullmatch(r"[0-9]{1,9}" if i % 2 else r"[0-9A-Fa-f]{8}", word)
        if not is_right:
            raise Refusal(404, "bulk data lie at TAG, or TAG/ITEM/TAG")
        found.append(int(word) - 1 if i % 2 else int(word, 16))
    return found


def find_value(ask: Ask, instance: StoredInstance, path: Sequence[int]) -> Value:
    """Open the value of the element at `path`, tags and indices of items by turns. Raises Refusal 404, 406."""
    reader = ask.environment.archive.reader
    try:
        now, data_set = reader.open_stored(instance, memoryview(bytearray(PEEK_BYTES)))
        try:
            syntax = TRANSFER_SYNTAXES[now.transfer_syntax_uid]
            file, media_type = BufferedReader(data_set.stream(), PIECE_BYTES), OCTETS
            if path == [ENCAPSULATED_DOCUMENT]:
                start = file.tell()
                media_type = _document_type(ElementReader(file, syntax))
                file.seek(start)
            elements = ElementReader(file, syntax)
            step = _walk_to(elements, path)
            if step is None:
                raise Refusal(404, "there is no such element with a value")
            check_pixel_order(step, elements.nesting[-1].number(BITS_ALLOCATED))
            return Value(data_set, elements, step, media_type)
        except BaseException:
            data_set.close()
            raise
    except (ObjectUnreadable, TranscodeError) as error:
        raise unreadable(error) from error


def _walk_to(elements: ElementReader, path: Sequence[int]) -> Step | None:
    """Walk to the element at `path`."""
    here: list[int] = []
    for step in elements.walk():
        match step.kind:
            case StepKind.SEQUENCE:
                here += [step.tag, -1]
            case StepKind.ITEM:
                here[-1] += 1
            case StepKind.SEQUENCE_END:
                del here[-2:]
            case StepKind.FRAGMENTS:
                if [*here, step.tag] == list(path):
                    raise Refusal(406, "encapsulated pixels are had by their frames")
                for _ in elements.fragments():
                    pass
            case StepKind.ELEMENT:
                if [*here, step.tag] == list(path) and step.length:
                    return step
    return None


def _document_type(elements: ElementReader) -> str:
    """Find what the document of an object is."""
    for step in elements.walk():
        if step.kind is StepKind.ELEMENT and step.tag == MIME_TYPE and len(elements.nesting) == 1 and step.value:
            told = step.value.decode("latin-1").strip(" \0").lower()
            return told if told in DOCUMENT_TYPES else OCTETS
    return OCTETS


def _in_parts(writer: Writer, value: Value) -> Iterator[bytes]:
    yield writer.head(value.media_type, length=value.size_bytes)
    yield from value.pieces(0, value.size_bytes)
    yield writer.close()
