"""Storing without a network, and what lies in a storage folder."""

import fcntl
import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from pydicom.dataset import Dataset

from minipacs.archive.archive import Archive
from minipacs.index import Outcome
from tests.support.objects import encode
from tests.support.wire import EXPLICIT


def put(archive: Archive, ds: Dataset, transfer_syntax_uid: str = EXPLICIT, *, source: str = "SENDER") -> Outcome:
    """Store a synthetic object."""
    data = encode(ds, transfer_syntax_uid)
    return put_bytes(archive, data, ds.SOPClassUID, ds.SOPInstanceUID, transfer_syntax_uid, source=source)


def put_bytes(
    archive: Archive,
    data: bytes,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str = EXPLICIT,
    *,
    source: str = "SENDER",
    charset: str = "",
    piece_bytes: int = 1000,
) -> Outcome:
    """Store a data set in pieces."""
    with archive.receive(sop_class_uid, sop_instance_uid, transfer_syntax_uid, source, charset) as incoming:
        for begin in range(0, len(data), piece_bytes):
            incoming.write(memoryview(data)[begin : begin + piece_bytes])
        return incoming.commit().outcome


def published(folder: Path) -> list[Path]:
    """List the published files; each is named after its bytes."""
    found = sorted(folder.glob("objects/*/*"))
    for path in found:
        assert path.name == f"{hashlib.sha256(path.read_bytes()).hexdigest()}.dcm"
        assert path.parent.name == path.name[:2]
    return found


def quarantined(folder: Path) -> dict[str, str]:
    """Give the reason for each file in quarantine, by digest; each has its bytes still, and its note."""
    notes = {path.stem: json.loads(path.read_text()) for path in folder.glob("quarantine/*.json")}
    files = {path.stem: path for path in folder.glob("quarantine/*.dcm")}
    assert notes.keys() == files.keys()
    return {digest: note["reason"] for digest, note in notes.items() if note["digest"] == digest}


def incoming(folder: Path) -> list[Path]:
    """List what is staged, and what is left there that no process holds; not the empty files that one has ready."""
    return sorted(path for path in folder.glob("incoming/*") if not _is_spare(path))


def _is_spare(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size:
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:  # its process has just taken it away
        return True
    except BlockingIOError:
        return True
    return False


def rows(folder: Path) -> dict[str, str]:
    """Read the availability of each row from the index, by digest."""
    with closing(sqlite3.connect(f"file:{folder}/index.db?mode=ro", uri=True)) as index:
        return dict(index.execute("SELECT digest, availability FROM instance"))
