"""STOW-RS: objects in, as durable as by C-STORE (PS3.18 10.5)."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from starlette.responses import Response

from minipacs.dicom.tables.failure_reasons import failure_reason
from minipacs.dicom.tables.uids import is_uid
from minipacs.errors import Failure, Kind
from minipacs.web.access import PAGE_HEADER
from minipacs.web.answers import Refusal
from minipacs.web.dicomweb.intake import DICOM, Intake, Result
from minipacs.web.dicomweb.metadata import JSON, PLAIN_JSON
from minipacs.web.environment import Ask
from minipacs.web.representations.accept import Choice, Offer, choose, parse_media_type
from minipacs.web.representations.multipart import BadMultipart, PartBegins, PartEnds, Reader

BATCH_BYTES = 1 << 19
"""What is handed to a thread at once; as much again comes in meanwhile."""

MAX_COMMENT_CHARS, MAX_WORDS_CHARS = 64, 1000
"""Of an Error Comment, which is LO; and of what our page is told, which shows it whole."""

MULTIPART = "multipart/related"

RETRIEVE_URL, FAILED, REFERENCED, OTHER_FAILURES = "00081190", "00081198", "00081199", "0008119A"
_CLASS, _INSTANCE, _REASON, _WORDS = "00081150", "00081155", "00081197", "00000902"


async def store(ask: Ask) -> Response:
    """Store all objects of the body, and tell of each what became of it."""
    answer = _answer_type(ask)
    _check_room(ask)
    study = ask.path.get("study", "")
    environment = ask.environment
    told = environment.trail.coming(ask.caller)
    intake = Intake(environment.archive, environment.storage_classes, ask.source, study, ask.id, told)
    taking = _taking(ask, intake)
    try:
        await _pump(ask.body(), taking)
        results = await asyncio.to_thread(intake.finish)
    finally:
        await asyncio.to_thread(intake.close)
        told.close()
    return _told(ask, results, answer)


def _taking(ask: Ask, intake: Intake) -> "_Taking":
    """Choose by Content-Type how the body is taken apart. Raises Refusal 400, 413, 415, all before it is read."""
    main, parameters = parse_media_type(ask.headers.get("content-type", ""))
    if main == DICOM:
        most = ask.environment.archive.max_instance_bytes
        length = ask.headers.get("content-length", "")
        if most and length.isdecimal() and int(length) > most:
            raise Refusal(413, f"an object may have {most} bytes")
        return _Single(intake)
    if main != MULTIPART:
        raise Refusal(415, f'objects come as {MULTIPART}; type="{DICOM}", or one as {DICOM}')
    if parameters.get("type", DICOM).lower() != DICOM:
        raise Refusal(415, f"the parts must be {DICOM}")
    try:
        return _Multipart(intake, Reader(parameters.get("boundary", "").encode("latin-1", "replace")))
    except BadMultipart as error:
        raise Refusal(400, str(error)) from error


class _Taking(Protocol):
    """Takes the body in pieces; for one thread at a time."""

    def take(self, piece: bytes) -> None:
        """Take the next piece."""

    def finish(self) -> None:
        """Tell that the body has ended."""


class _Single:
    """The body is one object."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        intake.begin(DICOM)
        self._is_empty = True

    def take(self, piece: bytes) -> None:
        self._is_empty = False
        self._intake.write(piece)

    def finish(self) -> None:
        if self._is_empty:
            raise Refusal(400, "there is no object in the body")
        self._intake.end()


class _Multipart:
    """Each part of the body is an object. What follows a fault in its structure is passed over."""

    def __init__(self, intake: Intake, reader: Reader) -> None:
        self._intake = intake
        self._reader = reader
        self._is_broken = False

    def take(self, piece: bytes) -> None:
        if self._is_broken:
            return
        try:
            for event in self._reader.feed(piece):
                if isinstance(event, PartBegins):
                    self._intake.begin(event.headers.get("content-type", ""))
                elif isinstance(event, PartEnds):
                    self._intake.end()
                else:
                    self._intake.write(event)
        except BadMultipart as error:
            self._break(error)

    def finish(self) -> None:
        if not self._is_broken:
            try:
                self._reader.finish()
            except BadMultipart as error:
                self._break(error)

    def _break(self, error: BadMultipart) -> None:
        self._is_broken = True
        self._intake.break_off(str(error))


async def _pump(body: AsyncIterator[bytes], taking: _Taking) -> None:
    """Bring a body to a thread, batch by batch, while the next one comes in."""
    under_way: asyncio.Future[None] | None = None
    batch: list[bytes] = []
    size = 0
    try:
        async for piece in body:
            batch.append(piece)
            size += len(piece)
            if size >= BATCH_BYTES:
                if under_way is not None:
                    await under_way
                under_way = asyncio.ensure_future(asyncio.to_thread(_take, taking, batch))
                batch, size = [], 0
    finally:
        if under_way is not None:
            await under_way
    await asyncio.to_thread(_take, taking, batch)
    await asyncio.to_thread(taking.finish)


def _take(taking: _Taking, batch: list[bytes]) -> None:
    """Take pieces as they came, and let go of each: they are not copied together."""
    batch.reverse()
    while batch:
        taking.take(batch.pop())


def _check_room(ask: Ask) -> None:
    shortage = ask.environment.archive.shortage()
    if shortage is not None:
        raise Failure(Kind.BUSY, f"nothing can be stored now: {shortage}")


def _answer_type(ask: Ask) -> str:
    """Choose how is answered: who takes no JSON at all had better have the objects stored than refused."""
    offers: Sequence[Offer] = (JSON, PLAIN_JSON)
    chosen = choose(offers, ask.headers.get("accept"), ask.parameter("accept")) or Choice(JSON)
    return chosen.offer.media_type


def _told(ask: Ask, results: Sequence[Result], media_type: str) -> Response:
    kept = sum(result.kept_other for result in results)
    if kept:
        ask.warnings.append(f"{kept} objects are there already with other content, which stays")
    most_chars = MAX_WORDS_CHARS if PAGE_HEADER in ask.headers else MAX_COMMENT_CHARS
    document = json.dumps(response(results, f"{ask.service}/studies", most_chars), separators=(",", ":"))
    ask.log.update(stored=sum(r.kind is None for r in results), failed=sum(r.kind is not None for r in results))
    return Response(document, status_of(results), media_type=media_type)


def status_of(results: Sequence[Result]) -> int:
    """Choose the status of an answer (PS3.18 Table 10.5.3-1)."""
    kinds = {result.kind for result in results}
    if not results:
        raise Refusal(400, "there is no object in the body")
    if kinds == {None}:
        return 200
    if None in kinds:
        return 202
    if kinds == {Kind.UNREADABLE}:
        return 400
    return 415 if all(result.is_other_type for result in results) else 409


def response(results: Sequence[Result], root: str, most_chars: int = MAX_COMMENT_CHARS) -> dict[str, Any]:
    """Write the Store Instances Response Module (PS3.18 I.2), in the DICOM JSON Model.

    A sequence without items is left out: some clients count any as a failure. An item of what failed tells why in an
    Error Comment too, for people, as other archives do.
    """
    stored = [_stored_item(result, root) for result in results if result.kind is None]
    failed = [r for r in results if r.kind is not None]
    known = [{**_reason(r, most_chars), **_reference(r)} for r in failed if is_uid(r.sop_instance_uid)]
    others = [_reason(r, most_chars) for r in failed if not is_uid(r.sop_instance_uid)]
    studies = {result.study_instance_uid for result in results if result.kind is None}
    found: dict[str, Any] = {}
    if len(studies) == 1:
        found[RETRIEVE_URL] = {"vr": "UR", "Value": [f"{root}/{studies.pop()}"]}
    for tag, items in ((FAILED, known), (REFERENCED, stored), (OTHER_FAILURES, others)):
        if items:
            found[tag] = {"vr": "SQ", "Value": items}
    return found


def _stored_item(result: Result, root: str) -> dict[str, Any]:
    series = f"{root}/{result.study_instance_uid}/series/{result.series_instance_uid}"
    url = f"{series}/instances/{result.sop_instance_uid}"
    return {**_reference(result), RETRIEVE_URL: {"vr": "UR", "Value": [url]}}


def _reference(result: Result) -> dict[str, Any]:
    classes = [result.sop_class_uid] if is_uid(result.sop_class_uid) else []
    return {
        _CLASS: {"vr": "UI", **({"Value": classes} if classes else {})},
        _INSTANCE: {"vr": "UI", "Value": [result.sop_instance_uid]},
    }


def _reason(result: Result, most_chars: int) -> dict[str, Any]:
    words = {_WORDS: {"vr": "LO", "Value": [result.words[:most_chars]]}} if result.words else {}
    return {**words, _REASON: {"vr": "US", "Value": [failure_reason(result.kind or Kind.BROKEN)]}}
