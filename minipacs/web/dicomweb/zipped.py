"""A study, series or instance as one zip archive of DICOM files, for people and scripts; with a DICOMDIR if asked."""

import asyncio
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from starlette.responses import Response

from minipacs.archive.media.dicomdir import Directory
from minipacs.archive.media.exporting import KEYWORDS, Copy, copies
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.index import Query, StoredInstance
from minipacs.web.answers import Refusal
from minipacs.web.environment import PATH_KEYS, Ask
from minipacs.web.representations.accept import Offer
from minipacs.web.streaming import streamed

ZIP = Offer("application/zip")
COMPRESSION_LEVEL = 1
PIECE_BYTES = 1 << 18
NOT_INCLUDED = "NOT-INCLUDED.txt"
"""Tells what is stored and cannot be read; it is there only if something is."""

_SYSTEM_UNIX, _REGULAR_FILE = 3, 0o100644 << 16


async def zipped(ask: Ask, instances: Sequence[StoredInstance]) -> Response:
    """Answer with an archive. Raises Refusal 404 if nothing can be read."""
    directory = Directory() if ask.switch("dicomdir") else None
    reader = ask.environment.archive.reader
    values = await asyncio.to_thread(_values, ask)
    pairs = ((i, values[i.sop_instance_uid]) for i in instances if i.sop_instance_uid in values)
    found = copies(reader, pairs, directory)
    first, faults = await asyncio.to_thread(_first, found)
    level, uid = next((name, ask.path[name]) for name in reversed(PATH_KEYS) if name in ask.path)
    headers = {
        "Content-Disposition": f'attachment; filename="{level}-{uid}.zip"',  # a UID has digits and dots alone
        "Cache-Control": "no-store",
    }
    pieces = _pieces(chain([first], found), faults)
    return await streamed(pieces, media_type=ZIP.media_type, headers=headers)


def _values(ask: Ask) -> dict[str, Mapping[str, str]]:
    """Find what names are made of, by SOP Instance UID."""
    keys = [(BY_KEYWORD[PATH_KEYS[name]], uid) for name, uid in ask.path.items() if name in PATH_KEYS]
    returns = [BY_KEYWORD[keyword] for keyword in KEYWORDS]
    rows = ask.environment.archive.index.find(Query("IMAGE", keys, returns))
    found = (dict(zip(KEYWORDS, row, strict=True)) for row in rows)
    return {row["SOPInstanceUID"]: row for row in found}


def _first(found: Iterator[Copy]) -> tuple[Copy, list[Copy]]:
    """Give the first copy that there is, and those before it that there are not."""
    faults: list[Copy] = []
    for copy in found:
        if not copy.fault and copy.sop_instance_uid:
            return copy, faults
        faults.append(copy)
    raise Refusal(404, "what is stored here cannot be read")


class _Pipe(io.RawIOBase):
    """Takes what an archive writes, until it is fetched: it has no place to go back to."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._pieces.append(piece)
        self.size_bytes += len(piece)
        return len(piece)

    def fetch(self) -> bytes:
        found = b"".join(self._pieces)
        self._pieces.clear()
        self.size_bytes = 0
        return found


def _pieces(found: Iterator[Copy], faults: list[Copy]) -> Iterator[bytes]:
    """Write the archive: memory for one piece at a time, and a line for each file until its end."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as archive:
        for copy in found:
            if copy.fault:
                faults.append(copy)
                continue
            with archive.open(_entry(copy.name), "w", force_zip64=True) as file:
                for piece in copy.pieces:
                    file.write(piece)
                    if pipe.size_bytes >= PIECE_BYTES:
                        yield pipe.fetch()
        if faults:
            archive.writestr(_entry(NOT_INCLUDED), "".join(f"{c.sop_instance_uid}: {c.fault}\n" for c in faults))
    yield pipe.fetch()


def _entry(name: str) -> zipfile.ZipInfo:
    """Make an entry that is the same whenever it is made."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system, entry.external_attr = _SYSTEM_UNIX, _REGULAR_FILE
    return entry
