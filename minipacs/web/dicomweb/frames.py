"""Frames of an instance: as they are stored, or as native samples (PS3.18 10.4.1.1.6, 8.7.3.3)."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader

from starlette.responses import Response

from minipacs.archive.reader import BUFFER_BYTES, PEEK_BYTES, ObjectNotConvertible, ObjectReader, ObjectUnreadable
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from minipacs.index import StoredInstance
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.frame_reader import FrameReader, Shape
from minipacs.web.answers import Refusal, unreadable
from minipacs.web.dicomweb.retrieve import AS_STORED, available, looked_up
from minipacs.web.entity import etag, matches
from minipacs.web.environment import Ask
from minipacs.web.representations.accept import Choice, Offer
from minipacs.web.representations.multipart import Writer
from minipacs.web.streaming import begun

MAX_FRAMES = 10_000
"""Of one request."""
OCTETS = "application/octet-stream"

_JPEG, _JPEG_LS, _JPEG_2000 = "image/jpeg", "image/jls", "image/jp2"
_HTJ2K, _RLE, _JPEG_XL = "image/jphc", "image/dicom-rle", "image/jxl"
_PREFIX = "1.2.840.10008.1.2."

MEDIA_TYPES: Mapping[str, str] = {
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (50, 51, 57, 70)], _JPEG),
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (80, 81)], _JPEG_LS),
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (90, 91)], _JPEG_2000),
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (92, 93)], "image/jpx"),
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (110, 111, 112)], _JPEG_XL),
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (201, 202, 203)], _HTJ2K),
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (100, 101)], "video/mpeg"),
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (102, 103, 104, 105, 106)], "video/mp4"),
    **dict.fromkeys([f"{_PREFIX}4.{n}" for n in (107, 108)], "video/H265"),
    f"{_PREFIX}5": _RLE,
}
"""What the code of a frame is, by transfer syntax (PS3.18 Tables 8.7.3-3 and 8.7.3-5)."""

OLD_NAMES = {_JPEG_LS: "image/x-jls", _RLE: "image/x-dicom-rle"}
"""What clients of before call them (Table 8.7.3-5, note 8)."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How frames are answered: in which form, and what their parts are called."""

    choice: Choice
    content_type: str
    is_native: bool = False


async def frames(ask: Ask) -> Response:
    """Answer with the frames that the path lists, in its order."""
    return await asyncio.to_thread(_answer, ask, read_list(ask.path["frames"]))


def _answer(ask: Ask, indices: Sequence[int]) -> Response:
    (instance,) = available(looked_up(ask))
    plan = _plan(ask, instance, len(indices))
    tag = etag([instance], ask.path["frames"], plan.content_type, str(plan.choice.offer.is_multipart))
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if matches(ask.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    source = _native if plan.is_native else _stored
    found = source(ask.environment.archive.reader, instance, indices)
    if not plan.choice.offer.is_multipart:
        return begun(_given(found), media_type=plan.content_type, headers=headers)
    writer = Writer(plan.choice.offer.media_type)
    location = f"{ask.origin.url}{ask.scope['path'].rpartition('/')[0]}"
    pieces = _parts(writer, plan.content_type, location, indices, found)
    return begun(pieces, media_type=writer.content_type, headers=headers)


def read_list(text: str) -> list[int]:
    """Read frame numbers, from 1, as indices, from 0. Raises Refusal 400."""
    numbers = text.split(",")
    if len(numbers) > MAX_FRAMES:
        raise Refusal(400, f"a request may ask for {MAX_FRAMES} frames")
    if not all(number.isascii() and number.isdecimal() and len(number) < 10 for number in numbers):
        raise Refusal(400, "frames are listed by their numbers, such as 1,2,3")
    indices = [int(number) - 1 for number in numbers]
    if min(indices) < 0:
        raise Refusal(404, "frames are counted from 1")
    return indices


def _plan(ask: Ask, instance: StoredInstance, count: int) -> _Plan:
    """Choose the form. Raises Refusal 406."""
    stored = TRANSFER_SYNTAXES[instance.transfer_syntax_uid]
    media_type = MEDIA_TYPES.get(stored.uid, OCTETS)
    offers = [Offer(OCTETS, is_multipart=True), Offer(OCTETS)]
    for name in filter(None, (media_type, OLD_NAMES.get(media_type))):
        if name != OCTETS:
            offers += [Offer(name, is_multipart=True), Offer(name)]
    if count > 1:
        offers = [offer for offer in offers if offer.is_multipart]
    choice = ask.choose(offers)
    asked = choice.transfer_syntax
    if choice.offer.media_type != OCTETS:
        if asked not in ("", AS_STORED, stored.uid):
            raise Refusal(406, f"these frames are stored in {stored.uid}")
        return _Plan(choice, f"{choice.offer.media_type}; transfer-syntax={stored.uid}")
    if stored.encapsulated and asked in (AS_STORED, stored.uid):
        return _Plan(choice, f"{OCTETS}; transfer-syntax={stored.uid}")
    if asked not in ("", AS_STORED, EXPLICIT_VR_LITTLE_ENDIAN) and asked != stored.uid:
        raise Refusal(406, f"these frames can be had in {stored.uid} and {EXPLICIT_VR_LITTLE_ENDIAN}")
    content_type = f"{OCTETS}; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
    return _Plan(choice, content_type, is_native=stored.encapsulated)


def _stored(reader: ObjectReader, instance: StoredInstance, indices: Sequence[int]) -> Iterator[bytes]:
    """Read frames as they are stored: code, or native samples."""
    now, data_set = reader.open_stored(instance, memoryview(bytearray(PEEK_BYTES)))
    with data_set:
        try:
            stored = FrameReader(BufferedReader(data_set.stream()), TRANSFER_SYNTAXES[now.transfer_syntax_uid])
        except TranscodeError as error:
            raise Refusal(404, f"no frames: {error}") from error
        _check(indices, stored.shape)
        for index in indices:
            try:
                frame = stored.stored(index)
            except TranscodeError as error:
                raise ObjectNotConvertible(str(error)) from error
            yield frame


def _native(reader: ObjectReader, instance: StoredInstance, indices: Sequence[int]) -> Iterator[bytes]:
    """Have frames decoded, each as long as the others."""
    for shape in _shapes(reader, instance):
        _check(indices, shape)
        size = (shape.frame_bits + 7) // 8
    with reader.native_frames(instance, indices, memoryview(bytearray(BUFFER_BYTES))) as found:
        rest = bytearray()
        for piece in found.pieces():
            rest += piece
            while len(rest) >= size:
                yield bytes(rest[:size])
                del rest[:size]


def _shapes(reader: ObjectReader, instance: StoredInstance) -> Iterator[Shape]:
    now, data_set = reader.open_stored(instance, memoryview(bytearray(PEEK_BYTES)))
    with data_set:
        try:
            yield FrameReader(BufferedReader(data_set.stream()), TRANSFER_SYNTAXES[now.transfer_syntax_uid]).shape
        except TranscodeError as error:
            raise Refusal(404, f"no frames: {error}") from error


def _check(indices: Sequence[int], shape: Shape) -> None:
    if max(indices) >= shape.frames:
        raise Refusal(404, f"there is no frame {max(indices) + 1}: there are {shape.frames}")


def _given(found: Iterator[bytes]) -> Iterator[bytes]:
    """Give frames. Raises Refusal, which is told if the first frame fails."""
    try:
        yield from found
    except ObjectNotConvertible as error:
        if error.temporary:
            raise
        raise Refusal(406, f"these frames cannot be decoded: {error}") from error
    except ObjectUnreadable as error:
        raise unreadable(error) from error


def _parts(
    writer: Writer, content_type: str, location: str, indices: Sequence[int], found: Iterator[bytes]
) -> Iterator[bytes]:
    for index, frame in zip(indices, _given(found), strict=True):
        yield writer.head(content_type, location=f"{location}/{index + 1}", length=len(frame))
        yield frame
    yield writer.close()
