"""A message taken apart, by `hl7`: in its character set, its delimiters and its escapes (HL7 v2.5, 2.5 to 2.14)."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import hl7

from minipacs.dicom.text.hl7_charsets import codec_of
from minipacs.hl7.faults import DATA_TYPE, MISSING, SEGMENT_SEQUENCE, TABLE_VALUE, Refused
from minipacs.hl7.segments import Field, Segment

MAX_SEGMENTS = 2000
MAX_FIELDS = 200_000

_BREAKS = re.compile(rb"\r\n|\n|\r")
_CHARSET_FIELD = 17
"""MSH-18, of a segment split at its separators: MSH-1 is the separator itself."""
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")
_BREAK = re.compile(r"\.br\d*")


@dataclass(frozen=True, slots=True)
class Head:
    """What MSH says. `type` and `event` are MSH-9.1 and .2; `sender` is MSH-3 and MSH-4 as `APPLICATION|FACILITY`."""

    type: str
    event: str
    control_id: str
    sender: str
    version: str


class Message:
    """A message that was understood."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = tuple(segments)
        self.msh = segments[0]
        msh = self.msh
        self.head = Head(
            msh.text(9), msh.text(9, 2), msh.text(10), f"{msh.text(3)}|{msh.text(4)}", msh.text(12) or "2.3.1"
        )

    def first(self, name: str) -> Segment | None:
        """Return the first segment of a name."""
        return next(self.all(name), None)

    def all(self, name: str) -> Iterator[Segment]:
        """Give the segments of a name."""
        return (segment for segment in self.segments if segment.name == name)


def read(data: bytes, default_charset: str) -> Message:
    """Read a message. Raises Refused."""
    lines = [line for line in _BREAKS.split(data) if line.strip()]
    if not lines or not lines[0].startswith(b"MSH") or len(lines[0]) < 8:
        raise Refused(SEGMENT_SEQUENCE, "the message does not begin with MSH", "MSH^1")
    if len(lines) > MAX_SEGMENTS or data.count(lines[0][3:4]) > MAX_FIELDS:
        raise Refused(DATA_TYPE, f"more than {MAX_SEGMENTS} segments or {MAX_FIELDS} fields")
    delimiters = lines[0][3:8]
    if not _are_delimiters(delimiters):
        raise Refused(DATA_TYPE, "MSH-1 and MSH-2 are not five different printable delimiters", "MSH^1^2")
    text = _decode(lines, default_charset)
    try:
        parsed = hl7.parse(text)
    except (hl7.ParseException, IndexError, ValueError) as error:
        raise Refused(DATA_TYPE, "the message cannot be taken apart") from error
    unescape = _unescaper(delimiters[:5].decode("ascii"))
    segments = [Segment(str(raw[0]), [Field(_plain(field), unescape) for field in raw[1:]]) for raw in parsed]
    for position, segment in enumerate(segments, 1):
        if not _NAME.fullmatch(segment.name):
            raise Refused(SEGMENT_SEQUENCE, f"segment {position} has no name of three capital letters or digits")
    message = Message(segments)
    if sum(segment.name == "MSH" for segment in segments) > 1:
        raise Refused(SEGMENT_SEQUENCE, "two messages in one frame", "MSH^2")
    if not message.head.type:
        raise Refused(MISSING, "no message type", "MSH^1^9")
    if not message.head.control_id:
        raise Refused(MISSING, "no message control id", "MSH^1^10")
    return message


def _plain(raw: object) -> list[list[list[str]]]:
    """Make lists of a field: what has no delimiter of a level is the only one of it."""
    repetitions = raw if isinstance(raw, hl7.Field) else [raw]
    components = [each if isinstance(each, hl7.Repetition) else [each] for each in repetitions]
    return [[list(map(str, c)) if isinstance(c, hl7.Component) else [str(c)] for c in each] for each in components]


def _decode(lines: Sequence[bytes], default: str) -> str:
    fields = lines[0].split(lines[0][3:4])
    named = fields[_CHARSET_FIELD].decode("ascii", "replace") if len(fields) > _CHARSET_FIELD else ""
    repetition = lines[0][5:6].decode("ascii")
    codec = codec_of(named.replace(repetition, "~"), default)
    if codec is None:
        raise Refused(TABLE_VALUE, "the character set is none of HL7 table 0211 that is known here", "MSH^1^18")
    try:
        return "\r".join(line.decode(codec) for line in lines)
    except UnicodeDecodeError as error:
        raise Refused(DATA_TYPE, "the message is not in its character set", "MSH^1^18") from error


def _are_delimiters(found: bytes) -> bool:
    return len(set(found)) == len(found) and all(0x20 < byte < 0x7F and not chr(byte).isalnum() for byte in found)


def _unescaper(delimiters: str) -> Callable[[str], str]:
    """Return what resolves escapes (HL7 v2.5 2.7): of the marks of formatted text only line ends stay."""
    field, component, repetition, escape, subcomponent = tuple(delimiters)
    meant = {"F": field, "S": component, "R": repetition, "E": escape, "T": subcomponent}
    between = re.compile(re.escape(escape) + "([^" + re.escape(escape) + "]*)" + re.escape(escape))

    def resolve(found: re.Match[str]) -> str:
        code = found[1]
        if code in meant:
            return meant[code]
        if number := _HEX.fullmatch(code):
            return bytes.fromhex(number[1]).decode("latin-1")
        return "\n" if _BREAK.fullmatch(code) else ""

    return lambda text: between.sub(resolve, text) if escape in text else text
