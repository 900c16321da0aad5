"""Instances and frames as pictures, reports as text, documents as they are (PS3.18 8.3.5, 10.4.1.1.3, 10.4.1.1.4)."""

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence

from starlette.responses import Response

from minipacs.archive.reader import BUFFER_BYTES, ObjectNotConvertible, ObjectUnreadable
from minipacs.index import StoredInstance
from minipacs.web.answers import Refusal, not_convertible, unreadable
from minipacs.web.dicomweb.documents import form_of, read_or_watched
from minipacs.web.dicomweb.frames import read_list
from minipacs.web.dicomweb.retrieve import find
from minipacs.web.entity import etag, matches
from minipacs.web.environment import Ask
from minipacs.web.representations.accept import Offer
from minipacs.web.representations.multipart import Writer
from minipacs.web.streaming import streamed

PICTURES = [Offer("image/jpeg"), Offer("image/png"), Offer("image/gif"), Offer("image/jp2")]
_MANY = [Offer(offer.media_type, is_multipart=True) for offer in PICTURES]
PARAMETERS = frozenset({"accept", "annotation", "quality", "viewport", "window"})
MAX_SIDE_PIXELS = 4096
"""Of a viewport that is asked for."""
THUMBNAIL_PIXELS = 128
MAX_LINE_CHARS = 64

ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    "patient": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "technique": ("Modality", "StudyDate", "SeriesDescription", "SeriesNumber", "InstanceNumber"),
}
"""Attributes that are burnt in where it is asked for (PS3.18 8.3.5.1.1)."""


async def rendered(ask: Ask) -> Response:
    """Answer with a picture: of the instance or frame of the path, else of one that stands for the study or series.

    Who takes parts alone gets all of the study or series. An object that is no picture is answered as what it is.
    """
    _warn_of_unknown(ask)
    instances = await find(ask)
    instance, index = _representative(instances), _frame_index(ask)
    if form_of(instance) != "picture" and "frames" not in ask.path:
        return await read_or_watched(ask, instance)
    choice = ask.choose([*PICTURES, *(() if "instance" in ask.path else _MANY)])
    fields = {"media_type": choice.offer.media_type, **_window(ask), **_viewport(ask), **_quality(ask)}
    if choice.offer.is_multipart:
        writer = Writer(choice.offer.media_type)
        pieces = _parts(ask, writer, instances, fields)
        return await streamed(pieces, 200 if len(instances) == len(ask.found) else 206, media_type=writer.content_type)
    if "annotation" in {name.lower() for name, _ in ask.parameters}:
        fields["lines"] = await asyncio.to_thread(_lines, ask, instance)
    return await _picture(ask, instance, index, fields)


async def thumbnail(ask: Ask) -> Response:
    """Answer with a small picture that bears no text."""
    others = {name.lower() for name, _ in ask.parameters} - {"viewport", "accept"}
    if others:
        raise Refusal(400, f"a thumbnail takes viewport alone, not {sorted(others)[0]}")
    choice = ask.choose(PICTURES)
    small = {"viewport": [THUMBNAIL_PIXELS, THUMBNAIL_PIXELS, 0, 0, 0, 0]}
    fields = {"media_type": choice.offer.media_type, **small, **_viewport(ask, parts=False)}
    instance = _representative(await find(ask))
    return await _picture(ask, instance, _frame_index(ask), fields)


async def _picture(ask: Ask, instance: StoredInstance, index: int, fields: Mapping[str, object]) -> Response:
    tag = etag([instance], str(index), repr(sorted(fields.items())))
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if matches(ask.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    data = await asyncio.to_thread(_drawn, ask, instance, index, fields)
    return Response(data, media_type=str(fields["media_type"]), headers=headers)


def _parts(
    ask: Ask, writer: Writer, instances: Sequence[StoredInstance], fields: Mapping[str, object]
) -> Iterator[bytes]:
    """Draw the first frame of every object that is a picture. Raises Refusal for one that cannot be drawn."""
    is_annotated = ask.parameter("annotation") is not None
    for instance in instances:
        if form_of(instance) != "picture":
            continue
        own = {**fields, "lines": _lines(ask, instance)} if is_annotated else fields
        data = _drawn(ask, instance, 0, own)
        where = f"{ask.service}/studies/{ask.path['study']}/instances/{instance.sop_instance_uid}/rendered"
        yield writer.head(writer.media_type, location=where, length=len(data))
        yield data
    yield writer.close()


def _drawn(ask: Ask, instance: StoredInstance, index: int, fields: Mapping[str, object]) -> bytes:
    reader = ask.environment.archive.reader
    try:
        with reader.picture(instance, index, fields, memoryview(bytearray(BUFFER_BYTES))) as found:
            return b"".join(bytes(piece) for piece in found.pieces())
    except ObjectNotConvertible as error:
        raise not_convertible(error, "no picture can be made") from error
    except ObjectUnreadable as error:
        raise unreadable(error) from error


def _representative(instances: list[StoredInstance]) -> StoredInstance:
    """Take the picture in the middle: of a stack it shows most."""
    pictures = [instance for instance in instances if form_of(instance) == "picture"] or instances
    return pictures[len(pictures) // 2]


def _frame_index(ask: Ask) -> int:
    if "frames" not in ask.path:
        return 0
    indices = read_list(ask.path["frames"])
    if len(indices) > 1:
        raise Refusal(406, "one picture shows one frame")
    return indices[0]


def _lines(ask: Ask, instance: StoredInstance) -> list[str]:
    """Give what is to be burnt in; what is not known is told in a warning."""
    try:
        header = ask.environment.archive.reader.header(instance)
    except ObjectUnreadable as error:
        raise unreadable(error) from error
    lines: list[str] = []
    for wish in (ask.parameter("annotation") or "").split(","):
        if wish not in ANNOTATIONS:
            warning = "an annotation that is not known was left out"
            ask.warnings += [warning] * (warning not in ask.warnings)
            continue
        lines += [" ".join(_shown(header, ANNOTATIONS[wish]))]
    return [line for line in lines if line]


def _shown(header: Mapping[str, object], keywords: tuple[str, ...]) -> Iterator[str]:
    """Give values that letters at hand can draw: never a name with letters missing."""
    for keyword in keywords:
        text = str(header.get(keyword, "")).split("=")[0][:MAX_LINE_CHARS]
        if text:
            yield text if all(" " <= char <= "\xff" and char != "\x7f" for char in text) else "(not in Latin letters)"


def _warn_of_unknown(ask: Ask) -> None:
    for name, value in ask.parameters:
        if name.lower() not in PARAMETERS and (name.lower(), value.lower()) != ("iccprofile", "no"):
            ask.warnings.append("a parameter that is not known or supported was left out")


def _window(ask: Ask) -> dict[str, object]:
    text = ask.parameter("window")
    if text is None:
        return {}
    words = text.split(",")
    center, width = (_number(word) for word in words[:2]) if len(words) == 3 else (None, None)
    function = words[2].lower() if len(words) == 3 else ""
    if center is None or width is None or function not in ("linear", "linear-exact", "sigmoid"):
        raise Refusal(400, "window is CENTER,WIDTH,FUNCTION; functions are linear, linear-exact and sigmoid")
    if width <= 0 or (function == "linear" and width < 1):
        raise Refusal(400, "the width of a window is above 0, of a linear one at least 1")
    return {"window": [center, width, function]}


def _viewport(ask: Ask, *, parts: bool = True) -> dict[str, object]:
    """Read `vw,vh[,sx,sy,sw,sh]`; values may be left out, their commas not."""
    text = ask.parameter("viewport")
    if text is None:
        return {}
    words = text.split(",")
    numbers = [0.0 if word == "" and i > 1 else _number(word) for i, word in enumerate(words)]
    if len(words) not in ((2, 3, 4, 5, 6) if parts else (2,)) or None in numbers:
        allowed = "WIDTH,HEIGHT and the part to show: X,Y,WIDTH,HEIGHT" if parts else "WIDTH,HEIGHT"
        raise Refusal(400, f"viewport is {allowed}")
    found = [number or 0.0 for number in numbers] + [0.0] * (6 - len(words))
    sides = found[:2]
    if not all(1 <= side <= MAX_SIDE_PIXELS and side == int(side) for side in sides):
        raise Refusal(400, f"the sides of a viewport are whole numbers from 1 to {MAX_SIDE_PIXELS}")
    if min(found[2:4]) < 0:
        raise Refusal(400, "the part to show begins within the image")
    return {"viewport": found}


def _quality(ask: Ask) -> dict[str, object]:
    text = ask.parameter("quality")
    if text is None:
        return {}
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= 100):
        raise Refusal(400, "quality is a whole number from 1 to 100")
    return {"quality": int(text)}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and len(text) <= 32 and "_" not in text else None
