"""A C-FIND SCU on raw bytes: what is asked is known to the byte, what is answered is read by pydicom."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from tests.support.wire import (
    IMPLICIT,
    STUDY_FIND,
    Response,
    Wire,
    cancel,
    command,
    context,
    element,
    item,
    message,
    user_information,
)

PATIENT_FIND, PATIENT_STUDY_FIND = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.3.1"
FIND_RQ = 0x20
PENDING, UNSUPPORTED, CANCEL = 0xFF00, 0xFF01, 0xFE00

Keys = Mapping[str, "str | bytes | Sequence[Keys]"]
"""Keys by keyword, or by eight hexadecimal digits: a value, or the items of a sequence."""


def identifier(keys: Keys, charset: str = "latin-1") -> bytes:
    """Encode keys in Implicit VR Little Endian, in the order of tags."""
    parts = {tag_for_keyword(name) or int(name, 16): value for name, value in keys.items()}
    return b"".join(_element(tag, value, charset) for tag, value in sorted(parts.items()))


def _element(tag: int, value: "str | bytes | Sequence[Keys]", charset: str) -> bytes:
    if isinstance(value, str):
        value = value.encode(charset)
    if isinstance(value, bytes):
        return element(tag, value)
    return element(tag, b"".join(element(0xFFFEE000, identifier(inner, charset)) for inner in value))


@dataclass
class Found:
    """The answers to one request; `pending` are their statuses."""

    final: Response
    pending: list[int] = field(default_factory=list)
    answers: list[Dataset] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.final.status

    def all(self, keyword: str) -> list[str]:
        """Return the values of an attribute in all answers, sorted; those of one answer joined by backslashes."""
        return sorted(text(answer, keyword) for answer in self.answers)


def text(answer: Dataset, keyword: str) -> str:
    """Return a value as text, several joined by backslashes; "" for one of zero length."""
    value = answer[keyword].value
    if value is None:
        return ""
    return str(value) if isinstance(value, str) or not isinstance(value, Sequence) else "\\".join(map(str, value))


class Finder(Wire):
    """An association with one presentation context, of ID 1."""

    def __init__(
        self,
        port: int,
        sop_class: str = STUDY_FIND,
        *,
        extended: bytes = b"",
        calling: bytes = b"TEST",
        max_pdu: int = 0,
    ):
        super().__init__(port)
        self.sop_class = sop_class
        sub_item = item(0x56, len(sop_class).to_bytes(2, "big") + sop_class.encode() + extended) if extended else b""
        user = user_information(max_pdu, sub_item)
        self.answer = self.accepted(context(1, sop_class, IMPLICIT), user=user, calling=calling)
        self.message_id = 0

    def request(self, data: bytes) -> None:
        self.message_id += 1
        self.send(message(1, command(FIND_RQ, self.sop_class, self.message_id, data=True), data))

    def cancel(self) -> None:
        self.send(message(1, cancel(self.message_id)))

    def find(self, level: str, charset: str = "latin-1", **keys: "str | bytes | Sequence[Keys]") -> Found:
        """Ask for what matches keys by keyword; a level of "" leaves it out."""
        return self.find_bytes(identifier({**keys, **({"QueryRetrieveLevel": level} if level else {})}, charset))

    def find_bytes(self, data: bytes) -> Found:
        self.request(data)
        return self.collect()

    def collect(self) -> Found:
        """Read the answers to the last request."""
        pending, answers, raw = [], [], []
        while True:
            response = self.response()
            if response.status not in (PENDING, UNSUPPORTED):
                return Found(response, pending, answers, raw)
            pending.append(response.status)
            raw.append(response.data)
            answers.append(read_dataset(io.BytesIO(response.data), is_implicit_VR=True, is_little_endian=True))
