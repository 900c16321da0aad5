"""C-MOVE and C-GET SCUs on raw bytes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.receiver import Received, store_rsp
from tests.support.wire import (
    STUDY_GET,
    STUDY_MOVE,
    Response,
    Wire,
    command,
    context,
    context_results,
    element,
    message,
    role,
    user_information,
)

PATIENT_MOVE, PATIENT_GET = "1.2.840.10008.5.1.4.1.2.1.2", "1.2.840.10008.5.1.4.1.2.1.3"
PATIENT_STUDY_MOVE, PATIENT_STUDY_GET = "1.2.840.10008.5.1.4.1.2.3.2", "1.2.840.10008.5.1.4.1.2.3.3"
TAGS = {"patient": 0x00100020, "study": 0x0020000D, "series": 0x0020000E, "image": 0x00080018}
MOVE_RQ, GET_RQ = 0x21, 0x10
REMAINING, COMPLETED, FAILED, WARNING = 0x1020, 0x1021, 0x1022, 0x1023
PENDING, CANCEL = 0xFF00, 0xFE00


def identifier(level: str, more: bytes = b"", **keys: str) -> bytes:
    """Make an identifier: keys are patient, study, series, image."""
    found = {0x00080052: level, **{TAGS[name]: value for name, value in keys.items()}}
    parts = [(tag, element(tag, value.encode())) for tag, value in found.items()]
    return b"".join(raw for _, raw in sorted(parts)) + more


@dataclass
class Result:
    """All that came of a C-MOVE or C-GET: its responses, the final one last, and what C-GET brought."""

    responses: list[Response] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    @property
    def final(self) -> Response:
        return self.responses[-1]

    @property
    def pending(self) -> list[Response]:
        return self.responses[:-1]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Completed, failed, warning of the final response."""
        return tuple(self.final.us(tag) for tag in (COMPLETED, FAILED, WARNING))  # type: ignore[return-value]

    @property
    def failed_uids(self) -> list[str]:
        """Read the Failed SOP Instance UID List, the one element that the data set may hold."""
        raw = self.final.data
        if not raw:
            return []
        assert raw[:4] == b"\x08\0\x58\0"
        assert int.from_bytes(raw[4:8], "little") == len(raw) - 8
        return raw[8:].decode().rstrip("\0").split("\\")


class Retriever(Wire):
    """An association for one Query/Retrieve class, and for C-GET with storage contexts in the SCP role.

    `pairs` are SOP classes with their transfer syntaxes, one context each; `answer` gets this connection, each object
    and its number, and returns its status.
    """

    def __init__(
        self,
        port: int,
        sop_class: str = STUDY_MOVE,
        *pairs: tuple[str, ...],
        roles: bool = True,
        answer: Callable[["Retriever", Received, int], int] = lambda wire, received, number: 0,
        max_pdu: int = 16384,
        items: tuple[bytes, ...] = (),
        calling: bytes = b"TEST",
    ):
        super().__init__(port)
        self.sop_class, self.answer = sop_class, answer
        self.pairs = {2 * i + 3: pair for i, pair in enumerate(pairs)}
        proposed = [context(1, sop_class), *(context(i, *pair) for i, pair in self.pairs.items())]
        asked = {pair[0]: role(pair[0], 0, 1) for pair in pairs} if roles else {}
        user = user_information(max_pdu, *asked.values(), *items)
        self.answered = self.accepted(*proposed, user=user, calling=calling)
        self.results = context_results(self.answered)
        assert self.results[1][0] == 0

    def start(self, keys: bytes, destination: str = "RECEIVER", message_id: int = 1, *, priority: int = 0) -> None:
        is_move = self.sop_class in (STUDY_MOVE, PATIENT_MOVE, PATIENT_STUDY_MOVE)
        more = element(0x600, destination.encode()) if is_move else b""
        rq = command(MOVE_RQ if is_move else GET_RQ, self.sop_class, message_id, data=True, more=more)
        rq = rq.replace(b"\0\0\0\x07\x02\0\0\0\0\0", b"\0\0\0\x07\x02\0\0\0" + priority.to_bytes(2, "little"))
        self.send(message(1, rq, keys))

    def finish(self, result: Result | None = None) -> Result:
        """Take objects and responses until the final one."""
        result = result or Result()
        while not result.responses or result.final.status == PENDING:
            self.step(result)
        return result

    def step(self, result: Result) -> None:
        """Take one message."""
        found = self.next_message()
        if isinstance(found, int):
            raise EOFError(f"PDU of type {found}")
        if found.us(0x100) != 1:
            result.responses.append(found)
            return
        received = Received(found, self.results[found.context_id][1])
        result.received.append(received)
        self.send(store_rsp(found, self.answer(self, received, len(result.received) - 1)))

    def run(self, level: str, destination: str = "RECEIVER", **keys: str) -> Result:
        """Run one operation to its end."""
        self.start(identifier(level, **keys), destination)
        return self.finish()


def move(port: int, level: str, destination: str = "RECEIVER", **keys: str) -> Result:
    """Run one C-MOVE of the Study Root model, over an association of its own."""
    with Retriever(port) as wire:
        result = wire.run(level, destination, **keys)
        wire.release()
        return result


def get(port: int, *pairs: tuple[str, ...], level: str, **keys: str) -> Result:
    """Run one C-GET of the Study Root model, over an association of its own."""
    with Retriever(port, STUDY_GET, *pairs) as wire:
        result = wire.run(level, **keys)
        wire.release()
        return result
