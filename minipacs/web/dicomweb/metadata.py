"""Metadata of instances: all that they say, bulk data as URIs (PS3.18 10.4.1.1.2, F)."""

import asyncio
import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress

from starlette.responses import Response

from minipacs.archive.reader import ObjectUnreadable
from minipacs.index import StoredInstance
from minipacs.web.answers import Refusal
from minipacs.web.dicomweb.retrieve import available, listing
from minipacs.web.entity import etag, matches
from minipacs.web.environment import Ask
from minipacs.web.representations.accept import Offer, accepts_gzip
from minipacs.web.representations.metadata_cache import ROOT
from minipacs.web.representations.multipart import Writer
from minipacs.web.representations.xml_model import XML, parts
from minipacs.web.streaming import streamed

JSON = Offer("application/dicom+json")
PLAIN_JSON = Offer("application/json")

PIECE_BYTES = 256 * 1024
GZIP_LEVEL = 1


async def metadata(ask: Ask) -> Response:
    """Answer with the metadata of all instances of a study or series, or of one instance."""
    choice = ask.choose([JSON, PLAIN_JSON, XML])
    listed = await listing(ask)
    instances = available(listed)
    tag = etag(instances, ask.service, choice.offer.media_type)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if matches(ask.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    readable = await asyncio.to_thread(_readable, ask, instances)
    documents = (_document(ask, instance) for instance in readable)
    content_type = choice.offer.media_type
    if choice.offer == XML:
        writer = Writer(XML.media_type)
        pieces, content_type = parts(writer, documents), writer.content_type
    else:
        pieces = _array(documents)
    if accepts_gzip(ask.headers.get("accept-encoding", "")):
        pieces, headers["Content-Encoding"] = compressed(pieces), "gzip"
    headers["Vary"] = "Accept-Encoding"
    status = 200 if len(readable) == len(listed) else 206
    return await streamed(pieces, status, media_type=content_type, headers=headers)


def _readable(ask: Ask, instances: Sequence[StoredInstance]) -> list[StoredInstance]:
    """Find out which instances can be read, before the status of the answer is told. Raises Refusal 404 for none.

    Their documents are made by that, and wait in the cache.
    """
    found = []
    for instance in instances:
        with suppress(ObjectUnreadable):
            ask.environment.metadata.get(instance, _path(ask, instance))
            found.append(instance)
    if not found:
        raise Refusal(404, "what is stored here cannot be read")
    return found


def _document(ask: Ask, instance: StoredInstance) -> bytes:
    return ask.environment.metadata.get(instance, _path(ask, instance)).replace(ROOT, ask.service.encode())


def _path(ask: Ask, instance: StoredInstance) -> str:
    return f"/studies/{ask.path['study']}/instances/{instance.sop_instance_uid}"


def _array(documents: Iterator[bytes]) -> Iterator[bytes]:
    piece = bytearray(b"[" + next(documents))
    for document in documents:
        piece += b"," + document
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + b"]")


def compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Squeeze pieces by gzip."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as file:
        for piece in pieces:
            file.write(piece)
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()
