"""Reading the trail back: the file, those of earlier days, and what still waits in the spool."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from minipacs.audit.sinks import FileSink, rotated
from minipacs.audit.spool import SpoolReader

FOLLOW_INTERVAL_S = 1.0
MAX_WAITING = 1_000_000
"""Messages of the spool that are read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as people read it; `at` is in the form of EventDateTime."""

    at: str
    event: str
    type: str
    action: str
    outcome: int
    who: str
    addresses: str
    objects: str
    description: str

    def row(self) -> dict[str, object]:
        """Give the fields by name."""
        return asdict(self)


def read(line: bytes) -> Entry | None:
    """Take a message apart; None for a line that is none."""
    try:
        root = ET.fromstring(line)  # noqa: S314  our own file, which no entity gets into
        event = root.find("EventIdentification")
        if event is None:
            return None
        participants = root.findall("ActiveParticipant")
        objects = root.findall("ParticipantObjectIdentification")
        types = (_meaning(event, "EventTypeCode"),)
        return Entry(
            event.get("EventDateTime", ""),
            _meaning(event, "EventID"),
            *types,
            event.get("EventActionCode", ""),
            int(event.get("EventOutcomeIndicator", "0")),
            " ".join(p.get("UserID", "") for p in participants),
            " ".join(dict.fromkeys(filter(None, (p.get("NetworkAccessPointID", "") for p in participants)))),
            " ".join(o.get("ParticipantObjectID", "") for o in objects),
            event.findtext("EventOutcomeDescription") or "",
        )
    except (ET.ParseError, ValueError):
        return None


def entries(file: Path | None, spool: Path, since: datetime | None = None) -> Iterator[Entry]:
    """Give all messages from `since` on, which has a zone: those of the file, then those on their way to it.

    Raises OSError.
    """
    waiting = _waiting(spool)  # before the file: what is delivered meanwhile is in both
    known = set(waiting)
    for path in [*rotated(file), file] if file is not None else []:
        if since is not None and path.exists() and path.stat().st_mtime < since.timestamp():
            continue
        for line in _lines(path):
            known.discard(line)
            yield from _chosen(line, since)
    for line in waiting:
        if line in known:
            yield from _chosen(line, since)


def follow(file: Path) -> Iterator[Entry]:
    """Give what is appended to the file from now on, for ever; also when another one takes its place."""
    position = file.stat().st_size if file.exists() else 0
    inode = file.stat().st_ino if file.exists() else 0
    rest = b""
    while True:
        if file.exists():
            state = file.stat()
            if state.st_ino != inode or state.st_size < position:
                inode, position, rest = state.st_ino, 0, b""
            with file.open("rb") as stream:
                stream.seek(position)
                *lines, rest = (rest + stream.read()).split(b"\n")
                position = stream.tell()
            for line in lines:
                yield from _chosen(line, None)
        time.sleep(FOLLOW_INTERVAL_S)


def _chosen(line: bytes, since: datetime | None) -> Iterator[Entry]:
    entry = read(line)
    if entry is not None and (since is None or datetime.fromisoformat(entry.at) >= since):
        yield entry


def _waiting(spool: Path) -> list[bytes]:
    if not spool.exists():
        return []
    return [record.payload for record in SpoolReader(spool, FileSink.name).read(MAX_WAITING)]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            yield line.rstrip(b"\n")


def _meaning(event: ET.Element, tag: str) -> str:
    found = event.find(tag)
    return "" if found is None else found.get("originalText", "")
