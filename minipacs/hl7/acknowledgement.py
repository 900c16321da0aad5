"""The answer to a message: MSH, MSA, and ERR for one that is not accepted (HL7 v2.5 2.9.2, 2.15.5)."""

import secrets
import time
from dataclasses import dataclass

from minipacs.hl7.faults import ACCEPTED, CONDITIONS, acknowledgement_code

MAX_WORDS_LENGTH = 80
"""Of MSA-3, which versions before 2.5 have in place of ERR."""
_ECHOED = {"application": 3, "facility": 4, "our_application": 5, "our_facility": 6, "event": 9, "control_id": 10}
_PROCESSING, _VERSION, _WANTED, _CHARSET = 11, 12, 16, 18
_NEVER = "NE"


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of an MSH as they came, for a message that may not be readable otherwise."""

    fields: tuple[str, ...]
    separator: str = "|"
    encoding: str = "^~\\&"

    @classmethod
    def of(cls, message: bytes) -> "Header":
        """Read the first segment as it stands; bytes that are no ASCII are kept by number."""
        line = message.splitlines()[0].decode("latin-1") if message else ""
        if not line.startswith("MSH") or len(line) < 8:
            return cls(())
        return cls(tuple(line.split(line[3])), line[3], line[4:8])

    def field(self, number: int) -> str:
        """Return a field by its number in MSH, whose first is the separator."""
        return self.fields[number - 1] if 2 < number <= len(self.fields) else ""

    @property
    def wants_answer(self) -> bool:
        """Tell whether the sender reads an answer (MSH-16)."""
        return self.field(_WANTED).upper() != _NEVER


def acknowledge(header: Header, condition: int, words: str = "", location: str = "") -> bytes:
    """Write an answer, in the delimiters of the message; what it repeats of that are the same bytes."""
    code = acknowledgement_code(condition)
    told = "" if condition == ACCEPTED else (words or CONDITIONS[condition])
    event = header.field(_ECHOED["event"]).split(header.encoding[0])
    kind = "^".join(("ACK", *event[1:2], "ACK")) if len(event) > 1 else "ACK"
    segments = [
        [
            *("MSH", header.encoding),
            *(header.field(_ECHOED[name]) for name in ("our_application", "our_facility", "application", "facility")),
            *(time.strftime("%Y%m%d%H%M%S%z"), "", kind.replace("^", header.encoding[0]), secrets.token_hex(10)),
            *(header.field(_PROCESSING) or "P", header.field(_VERSION) or "2.3.1"),
            *("", "", "", "", "", header.field(_CHARSET)),
        ],
        ["MSA", code, header.field(_ECHOED["control_id"]), _escaped(told, header)[:MAX_WORDS_LENGTH]],
    ]
    if condition != ACCEPTED:
        error = header.encoding[0].join((str(condition), CONDITIONS[condition], "HL70357"))
        place = location.replace("^", header.encoding[0])
        segments.append(["ERR", "", place, error, "E", "", "", "", _escaped(told, header)])
    lines = (header.separator.join(fields).rstrip(header.separator) for fields in segments)
    return "".join(f"{line}\r" for line in lines).encode("latin-1", "replace")


def _escaped(text: str, header: Header) -> str:
    """Escape our own words: what is a delimiter here, and the escape character itself."""
    component, repetition, escape, subcomponent = tuple(header.encoding)
    meant = {header.separator: "F", component: "S", repetition: "R", escape: "E", subcomponent: "T"}
    return "".join(f"{escape}{meant[char]}{escape}" if char in meant else char for char in text)
