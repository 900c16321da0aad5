"""Objects that are no pictures, as people read or watch them: documents, video, reports (PS3.18 8.7.4, 10.4.1.1.3)."""

import asyncio
import json
from collections.abc import Iterator
from io import BufferedReader
from itertools import islice
from typing import Literal

from starlette.responses import Response

from minipacs.archive.data_set_file import DataSetFile
from minipacs.archive.reader import PEEK_BYTES, ObjectUnreadable
from minipacs.dicom.tables.tags import PIXEL_DATA
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax
from minipacs.index import StoredInstance
from minipacs.pixels.elements import ElementReader, StepKind, TranscodeError
from minipacs.web.answers import Refusal, unreadable
from minipacs.web.dicomweb.bulk_data import ENCAPSULATED_DOCUMENT, find_value
from minipacs.web.dicomweb.frames import MEDIA_TYPES, OCTETS
from minipacs.web.entity import Span, etag, matches
from minipacs.web.environment import Ask
from minipacs.web.representations import reports
from minipacs.web.representations.accept import Offer
from minipacs.web.streaming import streamed

MAX_FRAGMENTS = 1 << 20
HTML, TEXT = Offer("text/html"), Offer("text/plain")

_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."

Form = Literal["picture", "report", "document", "video"]


def form_of(instance: StoredInstance) -> Form:
    """Tell what an object is to people."""
    if instance.sop_class_uid.startswith(_REPORTS):
        return "report"
    if instance.sop_class_uid.startswith(_DOCUMENTS):
        return "document"
    is_video = MEDIA_TYPES.get(instance.transfer_syntax_uid, "").startswith("video/")
    return "video" if is_video else "picture"


async def read_or_watched(ask: Ask, instance: StoredInstance) -> Response:
    """Answer with an object that is no picture. Raises Refusal."""
    return await {"report": _report, "document": _document, "video": _video}[form_of(instance)](ask, instance)


async def _report(ask: Ask, instance: StoredInstance) -> Response:
    choice = ask.choose([HTML, TEXT])
    tag = etag([instance], choice.offer.media_type)
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if matches(ask.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    path = f"/studies/{ask.path['study']}/instances/{instance.sop_instance_uid}"
    try:
        document = await asyncio.to_thread(ask.environment.metadata.get, instance, path)
    except ObjectUnreadable as error:
        raise unreadable(error) from error
    write = reports.as_page if choice.offer == HTML else reports.as_text
    body = await asyncio.to_thread(lambda: write(json.loads(document)))
    return Response(body.encode("utf-8", "replace"), media_type=choice.offer.media_type, headers=headers)


async def _document(ask: Ask, instance: StoredInstance) -> Response:
    tag = etag([instance], "document")
    value = await asyncio.to_thread(find_value, ask, instance, [ENCAPSULATED_DOCUMENT])
    try:
        if value.media_type == OCTETS:
            raise Refusal(406, "this document is of a kind that is not shown")
        ask.choose([Offer(value.media_type)])
        if matches(ask.headers.get("if-none-match", ""), tag):
            value.close()
            return Response(status_code=304, headers={"ETag": tag})
        span = Span(ask, value.size_bytes, tag)
    except Refusal:
        value.close()
        raise
    pieces = value.pieces(span.start, span.end)
    return await streamed(pieces, span.status, media_type=value.media_type, headers=span.headers)


async def _video(ask: Ask, instance: StoredInstance) -> Response:
    media_type = MEDIA_TYPES[instance.transfer_syntax_uid]
    ask.choose([Offer(media_type)])
    tag = etag([instance], "video")
    if matches(ask.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers={"ETag": tag})
    stream = await asyncio.to_thread(_open_stream, ask, instance)
    try:
        span = Span(ask, stream.size_bytes, tag)
    except Refusal:
        stream.data_set.close()
        raise
    pieces = stream.pieces(span.start, span.end)
    return await streamed(pieces, span.status, media_type=media_type, headers=span.headers)


class _Stream:
    """The fragments of an open object, one behind the other. Raises TranscodeError."""

    def __init__(self, data_set: DataSetFile, transfer_syntax: TransferSyntax) -> None:
        self.data_set = data_set
        self._elements = ElementReader(BufferedReader(data_set.stream()), transfer_syntax)
        self._places: list[tuple[int, int]] = []
        for step in self._elements.walk():
            if step.kind is StepKind.FRAGMENTS:
                found = list(islice(self._elements.fragments(), MAX_FRAGMENTS))
                if step.tag == PIXEL_DATA:
                    self._places = found[1:]  # behind the offset table
                    break
        self.size_bytes = sum(length for _, length in self._places)
        if not self.size_bytes:
            raise TranscodeError("the object holds no video")

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Give the bytes from `start` to before `end`; at its end the file is closed."""
        with self.data_set:
            for position, length in self._places:
                first, last = max(start, 0), min(end, length)
                if first < last:
                    self._elements.seek(position + first)
                    yield from self._elements.pieces(last - first)
                start, end = start - length, end - length


def _open_stream(ask: Ask, instance: StoredInstance) -> _Stream:
    try:
        now, data_set = ask.environment.archive.reader.open_stored(instance, memoryview(bytearray(PEEK_BYTES)))
        try:
            return _Stream(data_set, TRANSFER_SYNTAXES[now.transfer_syntax_uid])
        except BaseException:
            data_set.close()
            raise
    except (ObjectUnreadable, TranscodeError) as error:
        raise unreadable(error) from error
