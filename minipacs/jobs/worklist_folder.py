"""Worklist files: reading dcmtk's `.wl` and JSON, and a folder of them that is served as it stands."""

import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from minipacs.archive.ports import Catalogue
from minipacs.dicom.data_set import json_values
from minipacs.dicom.data_set.decode import MAX_IDENTIFIER_BYTES, decode_data_set
from minipacs.dicom.data_set.part10 import parse_file_meta
from minipacs.dicom.data_set.values import Values, read
from minipacs.dicom.tables.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from minipacs.dicom.text.charset import terms
from minipacs.dicom.workflow.scheduling import steps_of
from minipacs.errors import Failure, MinipacsError
from minipacs.index.workflow.worklist import FolderState

logger = logging.getLogger(__name__)

WL_SUFFIX = ".wl"
MAX_FILE_BYTES = 16 << 20
MAX_FILES = 100_000
"""In the watched folder; more are not looked at, and it counts as unreadable."""
FILES_A_COMMIT = 200
SCAN_INTERVAL_S = 2.0

_DEFAULT_CHARSETS = terms("ISO_IR 192")
_Stamp = tuple[int, int, int]


class BadWorklistFile(MinipacsError):
    """A file that holds no worklist items; the message says why, without the file's name."""


def read_worklist_file(path: Path) -> list[Values]:
    """Read the steps of a `.wl` or JSON file, complete (`scheduling`). Raises BadWorklistFile."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadWorklistFile("is no regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadWorklistFile(f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise BadWorklistFile(f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        found = _json_requests(data) if data.lstrip()[:1] in (b"{", b"[") else [_wl_request(data)]
        return [step for request in found for step in steps_of(request)]
    except MinipacsError as error:
        raise BadWorklistFile(str(error)) from error


def _json_requests(data: bytes) -> list[Values]:
    try:
        document = json.loads(data.decode("utf-8-sig"))
        json.dumps(document, ensure_ascii=False).encode()  # JSON can spell half of a surrogate pair, which is no text
        return [json_values.parse(entry) for entry in (document if isinstance(document, list) else [document])]
    except (ValueError, RecursionError) as error:
        raise BadWorklistFile(f"is no JSON of worklist items: {error}"[:200]) from error


def _wl_request(data: bytes) -> Values:
    """Read a DICOM file, or a data set alone, which dcmtk takes as well."""
    transfer_syntax_uid = IMPLICIT_VR_LITTLE_ENDIAN
    if data[128:132] == b"DICM":
        meta = parse_file_meta(data)
        data, transfer_syntax_uid = data[meta.data_set_offset :], meta.transfer_syntax_uid
    elif data[4:6].isalpha() and data[4:6].isupper():
        transfer_syntax_uid = EXPLICIT_VR_LITTLE_ENDIAN
    known = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    if known is None or known.encapsulated or not data:
        raise BadWorklistFile("is no DICOM file of a worklist item")
    if len(data) > MAX_IDENTIFIER_BYTES:
        raise BadWorklistFile(f"holds more than {MAX_IDENTIFIER_BYTES} bytes")
    try:
        return read(decode_data_set(data, known, _DEFAULT_CHARSETS))[0]
    except Failure as error:
        raise BadWorklistFile(str(error)) from error


class WatchedFolder:
    """A folder whose `.wl` files, and those of the folders in it, are the worklist's: one thread calls `scan`.

    Until a folder was read for the first time, queries are refused. A file is read when it is new or has changed; while
    it is broken the steps it had before stay.
    """

    def __init__(self, path: Path, index: Catalogue) -> None:
        self._path = path
        self._index = index
        self._seen: dict[str, _Stamp] = {}
        self._broken: set[str] = set()
        self._state: FolderState | None = None
        if index.worklist.watched_folder() != str(path):
            index.worklist.set_folder_state(str(path), FolderState("folder not read yet", 0))

    def scan(self, stopping: Callable[[], bool] = lambda: False) -> float:
        """Bring the worklist up to date with the folder; if it cannot be read, queries are refused meanwhile.

        Returns the seconds until the next scan. Raises Failure if the index cannot be written.
        """
        try:
            found = dict(_files(self._path))
        except OSError as error:
            self._report(FolderState(error.strerror or "cannot be read", len(self._broken)))
            return SCAN_INTERVAL_S
        changed = [name for name, stamp in found.items() if self._seen.get(name) != stamp]
        for begin in range(0, len(changed), FILES_A_COMMIT):
            if stopping():
                return SCAN_INTERVAL_S
            self._take(changed[begin : begin + FILES_A_COMMIT])
        known = self._index.worklist.sources() if self._is_first else self._seen
        gone = [name for name in known if name not in found and _is_text(name)]
        if gone:
            self._index.worklist.put_files(dict.fromkeys(gone, ()))
        self._broken &= found.keys()
        self._seen = found
        self._report(FolderState("", len(self._broken)))
        return SCAN_INTERVAL_S

    @property
    def _is_first(self) -> bool:
        return self._state is None or bool(self._state.fault)

    def _take(self, names: list[str]) -> None:
        files: dict[str, list[Values]] = {}
        for name in names:
            try:
                if not _is_text(name):
                    raise BadWorklistFile("has a name that is no UTF-8")
                files[name] = read_worklist_file(Path(name))
                self._broken.discard(name)
            except BadWorklistFile as error:
                self._skip(name, str(error))
            except Exception as error:  # a fault of ours: it too harms no other file
                self._skip(name, type(error).__name__, is_ours=True)
        self._index.worklist.put_files(files)

    def _skip(self, name: str, reason: str, *, is_ours: bool = False) -> None:
        self._broken.add(name)
        logger.error("worklist file skipped", extra={"fields": {"file": name, "reason": reason}}, exc_info=is_ours)

    def _report(self, state: FolderState) -> None:
        if state == self._state:
            return
        self._index.worklist.set_folder_state(str(self._path), state)
        self._state = state
        fields = {"folder": str(self._path), "files": len(self._seen), "broken": state.broken_files or None}
        if state.fault:
            logger.error("worklist folder cannot be read", extra={"fields": {**fields, "reason": state.fault}})
        else:
            logger.info("worklist folder read", extra={"fields": fields})


def forget_folder(index: Catalogue) -> None:
    """Drop what came from a folder that is watched no longer."""
    if index.worklist.sources() or index.worklist.folder_state() != FolderState("", 0):
        index.worklist.put_files(dict.fromkeys(index.worklist.sources(), ()))
        index.worklist.set_folder_state("", FolderState("", 0))


def _files(folder: Path) -> Iterator[tuple[str, _Stamp]]:
    """Walk the `.wl` files of a folder and of those right below, with what tells that one has changed."""
    left = MAX_FILES
    for path in (folder, *map(Path, _folders(folder))):
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.endswith(WL_SUFFIX) or _is_folder(entry):
                    continue
                left -= 1
                if left < 0:
                    raise OSError(0, f"more than {MAX_FILES} files")
                try:
                    found = _status(entry)
                except FileNotFoundError:  # just removed
                    continue
                yield os.path.join(path, entry.name), (found.st_mtime_ns, found.st_size, found.st_ino)


def _folders(folder: Path) -> list[str]:
    """List the folders right below another, each once however many links lead to it."""
    here = folder.stat()
    known = {(here.st_dev, here.st_ino)}
    found = []
    with os.scandir(folder) as entries:
        for entry in sorted(filter(_is_folder, entries), key=lambda entry: (entry.is_symlink(), entry.name)):
            status = entry.stat()
            if (status.st_dev, status.st_ino) not in known:
                known.add((status.st_dev, status.st_ino))
                found.append(entry.path)
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """Give what tells that a file has changed: of the link itself, if that leads nowhere."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _is_text(name: str) -> bool:
    """Tell whether the index can keep a file's name: Linux allows any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
