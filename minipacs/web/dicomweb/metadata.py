"""Metadata of instances: all that they say, bulk data as URIs (PS3.18 10.4.1.1.2, F)."""

import asyncio
import gzip
import io
from collections.abc import Iterator, Sequence
from itertools import chain

from starlette.responses import Response, StreamingResponse

from minipacs.archive.reader import ObjectUnreadable
from minipacs.index import StoredInstance
from minipacs.web.accept import Offer, accepts_gzip
from minipacs.web.answers import Refusal
from minipacs.web.dicomweb.retrieve import available, listing
from minipacs.web.dicomweb.xml_model import XML, parts
from minipacs.web.entity import etag, matches
from minipacs.web.environment import Ask, in_thread
from minipacs.web.metadata_cache import ROOT
from minipacs.web.multipart import Writer

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
    documents = _documents(ask, instances)
    first = await asyncio.to_thread(next, documents, None)
    if first is None:
        raise Refusal(404, "what is stored here cannot be read")
    content_type = choice.offer.media_type
    if choice.offer == XML:
        writer = Writer(XML.media_type)
        pieces, content_type = parts(writer, chain([first], documents)), writer.content_type
    else:
        pieces = _array(first, documents)
    if accepts_gzip(ask.headers.get("accept-encoding", "")):
        pieces, headers["Content-Encoding"] = compressed(pieces), "gzip"
    headers["Vary"] = "Accept-Encoding"
    status = 200 if len(instances) == len(listed) else 206
    return StreamingResponse(in_thread(pieces), status, media_type=content_type, headers=headers)


def _documents(ask: Ask, instances: Sequence[StoredInstance]) -> Iterator[bytes]:
    """Give the document of each instance that can be read."""
    root = ask.service.encode()
    for instance in instances:
        path = f"/studies/{ask.path['study']}/instances/{instance.sop_instance_uid}"
        try:
            yield ask.environment.metadata.get(instance, path).replace(ROOT, root)
        except ObjectUnreadable:
            continue


def _array(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    piece = bytearray(b"[" + first)
    for document in rest:
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
