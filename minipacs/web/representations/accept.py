"""Which of the representations on offer a client gets: Accept by RFC 9110 12.5.1, as PS3.18 8.7 reads it.

Clients write the same wish in many ways: names and values in any case, quoted or bare, several ranges in one header.
What cannot be understood is passed over, never an error (8.7.7).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

MAX_RANGES = 64
"""Ranges that are looked at; more are passed over."""
MAX_REMEMBERED, MAX_REMEMBERED_CHARS = 256, 512
"""Headers that are not read again: a client says the same in each of its requests."""

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SPACE = r"[ \t]*"
_PARAMETER = re.compile(
    rf'{_SPACE};{_SPACE}(?:(?P<name>{_WORD}){_SPACE}={_SPACE}(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^;,"\s]*)))?'
)
_TYPE = re.compile(rf"{_SPACE}(?P<type>{_WORD}/{_WORD})")
_NEXT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)*,?')
_DICOM = frozenset({"application/dicom", "application/dicom+json", "application/dicom+xml"})
_RENDERED = re.compile(r"image/[^*].*|video/[^*].*|text/(?:html|plain|xml|rtf)|application/pdf")
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One wish: a media type, which may have wild cards, and how much it is wished for.

    `is_multipart` tells that parts of this type are wanted (multipart/related with a `type`). `transfer_syntax` is a
    UID, "*" for as it is stored, or "" where the client says nothing.
    """

    media_type: str
    transfer_syntax: str = ""
    quality: float = 1.0
    is_multipart: bool = False

    @property
    def specificity(self) -> int:
        """Tell how exactly the type is named: 2, 1 for `type/*`, 0 for `*/*`."""
        return 2 - self.media_type.count("*")

    def covers(self, media_type: str) -> bool:
        """Tell whether a type is within this range."""
        main, _, _ = self.media_type.partition("/")
        return self.media_type in ("*/*", media_type) or (
            self.media_type.endswith("/*") and media_type.startswith(f"{main}/")
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """A representation that can be had: a media type, as it is or in parts of multipart/related."""

    media_type: str
    is_multipart: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What the client gets, and the transfer syntax that it asked for with it ("" if none, "*" for as stored)."""

    offer: Offer
    transfer_syntax: str = ""


def parse(header: str) -> list[MediaRange]:
    """Read an Accept header, or the value of an `accept` parameter."""
    return list(_remembered(header) if len(header) <= MAX_REMEMBERED_CHARS else _read(header))


def _read(header: str) -> tuple[MediaRange, ...]:
    found: list[MediaRange] = []
    for media_type, parameters in _ranges(header):
        quality = parameters.get("q", "1")
        if not _QUALITY.fullmatch(quality):
            continue
        syntax = parameters.get("transfer-syntax", "")
        if media_type == "multipart/related":
            found.append(MediaRange(parameters.get("type", "*/*").lower(), syntax, float(quality), is_multipart=True))
        else:
            found.append(MediaRange(media_type, syntax, float(quality)))
    return tuple(found)


_remembered = lru_cache(MAX_REMEMBERED)(_read)


def choose(offers: Sequence[Offer], header: str | None, parameter: str | None = None) -> Choice | None:
    """Choose among `offers`, the default first; None if the client takes none of them (406).

    `parameter` is the value of `accept` in the query: it picks among what the header allows, and where there is no
    header it is no more than a wish. PS3.18 8.3.3.1, 8.7.8.1
    """
    allowed = parse(header) if header and header.strip() else [MediaRange("*/*")]
    if not parameter:
        return _best(offers, allowed)
    wished = _best([offer for offer in offers if _best([offer], allowed)], parse(parameter))
    if wished is None and (not header or any(r.media_type == "*/*" for r in allowed)):
        return _best(offers, allowed)
    return wished


def is_mixed(header: str) -> bool:
    """Tell whether DICOM objects and pictures, or other renderings, are asked for in one list (PS3.18 8.7.5).

    Code of frames in parts, such as multipart/related with image/jpeg, is no rendering; wild cards are neither.
    """
    wished = [wish for wish in parse(header) if wish.quality]
    renderings = (wish.media_type for wish in wished if not wish.is_multipart)
    return any(wish.media_type in _DICOM for wish in wished) and any(map(_RENDERED.fullmatch, renderings))


def parse_media_type(header: str) -> tuple[str, dict[str, str]]:
    """Read a Content-Type: the type and the names of its parameters in lower case, "" if it is none."""
    return next(_ranges(header), ("", {}))


def accepts_gzip(header: str) -> bool:
    """Tell whether Accept-Encoding allows gzip (RFC 9110 12.5.3)."""
    for one in header.lower().split(","):
        coding, _, parameters = one.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _best(offers: Sequence[Offer], ranges: Sequence[MediaRange]) -> Choice | None:
    """Take the offer that is wished for most; what is named exactly rules over what a wild card says of it."""
    best: tuple[float, int, int, int] | None = None
    choice: Choice | None = None
    for place, offer in enumerate(offers):
        fitting = [(r, i) for i, r in enumerate(ranges) if _fits(offer, r)]
        if not fitting:
            continue
        found, order = max(fitting, key=lambda pair: (pair[0].specificity, pair[0].quality, -pair[1]))
        if not found.quality:
            continue
        rank = found.quality, min(found.specificity, 1), -order, -place
        if best is None or rank > best:
            best, choice = rank, Choice(offer, found.transfer_syntax)
    return choice


def _fits(offer: Offer, wish: MediaRange) -> bool:
    """Tell whether a range covers an offer. `*/*` alone covers what comes in parts, too (8.7.7)."""
    if not wish.covers(offer.media_type):
        return False
    return wish.is_multipart == offer.is_multipart or (not wish.is_multipart and wish.media_type == "*/*")


def _ranges(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Give each range with its parameters, names in lower case; what is no range is passed over."""
    position = 0
    for _ in range(MAX_RANGES):
        if position >= len(header):
            return
        found = _TYPE.match(header, position)
        if found is not None:
            parameters, end = _parameters(header, found.end())
            if re.fullmatch(rf"{_SPACE},?", header[end : _end_of_range(header, end)]):
                yield found["type"].lower(), parameters
        position = _end_of_range(header, position)


def _parameters(header: str, position: int) -> tuple[dict[str, str], int]:
    found: dict[str, str] = {}
    while (parameter := _PARAMETER.match(header, position)) is not None:
        if parameter["name"] is not None:
            quoted = parameter["quoted"]
            value = parameter["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found.setdefault(parameter["name"].lower(), value)
        position = parameter.end()
    return found, position


def _end_of_range(header: str, position: int) -> int:
    """Find where the next range begins: behind a comma that no quotes hold."""
    found = _NEXT.match(header, position)
    return max(found.end() if found else len(header), position + 1)
