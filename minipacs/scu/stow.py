"""Getting instances to a server of DICOMweb: STOW-RS as a client (PS3.18 10.5).

Instances go in batches, each a request whose body is read from files while it is sent. What the server says of each
counts; a batch that it does not take as a whole is halved until the one instance is found that is at fault.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from minipacs.archive.data_set_file import DataSetFile
from minipacs.archive.reader import MAX_REPLACEMENTS, PEEK_BYTES, ObjectReader, ObjectReplaced, ObjectUnreadable
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, NOT_OVER_HTTP
from minipacs.errors import MinipacsError
from minipacs.index import StoredInstance
from minipacs.scu.delivery import AWAY, BROKE_OFF
from minipacs.scu.http import SUCCESS, Answer, HttpFailed, Site
from minipacs.scu.pace import paced
from minipacs.scu.principal import Principal, Stopped
from minipacs.scu.tally import Tally

BATCH_INSTANCES, BATCH_BYTES = 32, 32 << 20
"""What one request has at most: more than one instance only within these."""
MAX_TOKEN_BYTES = 16384
_REFUSES_BODY = frozenset({400, 413, 415, 422})
"""Answers to a batch that say that something in it is at fault."""
_ACCEPTED, _CONFLICT = 202, 409
"""Some instances were not stored; none was (PS3.18 Table 10.5.3-1)."""
_STORED, _FAILED = "00081199", "00081198"
_UID, _WARNING, _REASON = "00081155", "00081196", "00081197"
_UNTOLD = statuses.OUT_OF_RESOURCES
"""Stands for an instance that the answer does not name: it may be stored, and is tried again."""


class _Unreadable(Exception):
    """A file of ours that cannot be read while it is sent."""

    def __init__(self, instance: StoredInstance, reason: str) -> None:
        super().__init__(reason)
        self.instance, self.reason = instance, reason


@dataclass(frozen=True, slots=True)
class _Part:
    instance: StoredInstance
    head: bytes
    data_set: DataSetFile

    @property
    def size_bytes(self) -> int:
        return len(self.head) + self.data_set.size_bytes


@dataclass(frozen=True, slots=True)
class StowDelivery:
    """Delivers to `site`, the base of its services; `token_file` has a bearer token, "" for none.

    `sent` hears of the bytes of each data set. `rate` is in bytes a second, 0 for no limit.
    """

    reader: ObjectReader
    site: Site
    token_file: str
    sent: Callable[[str, int], None] = lambda label, size_bytes: None
    rate: int = 0

    def send(self, instances: Sequence[StoredInstance], tally: Tally, principal: Principal) -> str:
        """Send until all are answered for or counted as failed in `tally`, or `principal` calls it off.

        Returns why the server could not be had to the end, "" if it could.
        """
        batches = _batches(instances)
        while batches and not principal.stopped:
            batch = batches.pop(0)
            try:
                fault, is_in_batch = self._send_batch(batch, tally, principal)
            except Stopped:
                return ""
            except _Unreadable as error:
                tally.fail([error.instance], error.reason)
                rest = [instance for instance in batch if instance != error.instance]
                batches[:0] = [rest] if rest else []
                continue
            if fault and is_in_batch and len(batch) > 1:
                batches[:0] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
            elif fault:
                tally.fail(list(chain(batch, *batches)) if fault.startswith(AWAY) else batch, fault)
                if fault.startswith(AWAY):
                    return fault
        return ""

    def _send_batch(self, batch: Sequence[StoredInstance], tally: Tally, principal: Principal) -> tuple[str, bool]:
        """Send one request; returns why it was not taken, "" if it was, and whether an instance may be at fault."""
        boundary = secrets.token_hex(16)
        with ExitStack() as opened:
            parts: list[_Part] = []
            for instance in batch:
                try:
                    parts.append(self._part(instance, boundary))
                except ObjectUnreadable as error:
                    tally.fail([instance], str(error))
                else:
                    opened.callback(parts[-1].data_set.close)
            if not parts:
                return "", False
            end = f"--{boundary}--\r\n".encode()
            size_bytes = sum(part.size_bytes + 2 for part in parts) + len(end)
            headers = {
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Content-Length": str(size_bytes),
                "Accept": "application/dicom+json",
            }
            try:
                headers |= self._authorization()
                body = paced(self.rate)(_body(parts, end, principal))
                answer = self.site.post(headers, body, "/studies")
            except HttpFailed as error:
                return (f"{BROKE_OFF}ended: {error}", True) if error.was_connected else (f"{AWAY}{error}", False)
            except MinipacsError as error:
                return f"{AWAY}{error}", False
        for part in parts:
            self.sent(self.site.label, part.data_set.size_bytes)
        return self._settle([part.instance for part in parts], answer, tally)

    def _part(self, instance: StoredInstance, boundary: str) -> _Part:
        """Open an instance, or the one that has replaced it. Raises ObjectUnreadable."""
        now = instance
        for _ in range(MAX_REPLACEMENTS):
            syntax = now.transfer_syntax_uid
            syntax = EXPLICIT_VR_LITTLE_ENDIAN if syntax in NOT_OVER_HTTP else syntax
            try:
                data_set = self.reader.open(now, syntax, memoryview(bytearray(PEEK_BYTES)))
            except ObjectReplaced as error:
                now = error.now
                continue
            head = f"--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={syntax}\r\n\r\n".encode()
            return _Part(instance, head + file_meta(now.sop_class_uid, now.sop_instance_uid, syntax), data_set)
        raise ObjectUnreadable("replaced again and again")

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {token_of(self.token_file)}"} if self.token_file else {}

    def _settle(self, instances: Sequence[StoredInstance], answer: Answer, tally: Tally) -> tuple[str, bool]:
        """Count each instance by what is said of it."""
        if answer.status not in SUCCESS and answer.status != _CONFLICT:
            is_in_batch = answer.status in _REFUSES_BODY
            words = f"answered with {answer.status}"
            return (words, True) if is_in_batch else (f"{AWAY}{self.site.label}: {words}", False)
        told = _statuses(answer.body)
        if answer.status == _CONFLICT and not told:
            return f"answered with {answer.status}", True
        unnamed = _UNTOLD if answer.status in (_ACCEPTED, _CONFLICT) else statuses.SUCCESS
        for instance in instances:
            tally.answered(instance, told.get(instance.sop_instance_uid, unnamed))
        return "", False


def token_of(path: str) -> str:
    """Read a bearer token: one line of printable ASCII characters. Raises MinipacsError."""
    try:
        with Path(path).open("rb") as file:
            found = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise MinipacsError(f"token_file {path}: cannot be read: {error.strerror}") from error
    token = found.decode("ascii", "replace").strip()
    if not token or len(found) > MAX_TOKEN_BYTES or not token.isascii() or not token.isprintable() or " " in token:
        raise MinipacsError(f"token_file {path}: must have one line of at most {MAX_TOKEN_BYTES} ASCII characters")
    return token


def _batches(instances: Sequence[StoredInstance]) -> list[list[StoredInstance]]:
    batches: list[list[StoredInstance]] = []
    size_bytes = 0
    for instance in instances:
        size_bytes += instance.size_bytes
        if not batches or len(batches[-1]) == BATCH_INSTANCES or size_bytes > BATCH_BYTES:
            batches.append([])
            size_bytes = instance.size_bytes
        batches[-1].append(instance)
    return batches


def _body(parts: Sequence[_Part], end: bytes, principal: Principal) -> Iterator[memoryview]:
    for part in parts:
        yield memoryview(part.head)
        try:
            for piece in part.data_set.pieces():
                principal.attend()
                if principal.stopped:
                    raise Stopped
                yield piece
        except OSError as error:
            raise _Unreadable(part.instance, f"file cannot be read: {error.strerror or error}") from error
        yield memoryview(b"\r\n")
    yield memoryview(end)


def _statuses(body: bytes) -> dict[str, int]:
    """Read what became of instances: 0, a warning, or a Failure Reason (PS3.18 10.5.3); nothing of what is no JSON."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    found = found[0] if isinstance(found, list) and found else found
    told: dict[str, int] = {}
    for tag, number, usual, is_meant in (
        (_STORED, _WARNING, statuses.SUCCESS, statuses.is_warning),
        (_FAILED, _REASON, _UNTOLD, lambda code: 0 < code <= 0xFFFF),
    ):
        for item in _values(found, tag):
            uid = next(iter(_values(item, _UID)), None)
            code = next(iter(_values(item, number)), usual)
            if isinstance(uid, str):
                told[uid] = code if isinstance(code, int) and is_meant(code) else usual
    return told


def _values(item: object, tag: str) -> list[object]:
    element = item.get(tag) if isinstance(item, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values if isinstance(values, list) else []
