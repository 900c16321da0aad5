"""Files, folders and zip archives into the archive, through the same way in as C-STORE."""

import errno
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NoReturn

from minipacs.archive.archive import Archive
from minipacs.archive.part10 import store
from minipacs.errors import Failure
from minipacs.index import Outcome


@dataclass(frozen=True, slots=True)
class Source:
    """Something to import: a file, or a member of a zip archive. `path` is the file on disk that it comes from."""

    name: str
    path: Path
    open: Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a source: an outcome, or why it was refused."""

    source: Source
    outcome: Outcome | None
    reason: str = ""


def sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Walk `paths` in order: folders recursively, without following links out of them, zip archives member by member.

    What cannot be read yields a source whose `open` raises OSError.
    """
    for path in paths:
        if path.is_dir():
            faults: list[OSError] = []
            for folder, folders, names in os.walk(path, onerror=faults.append):
                folders.sort()
                for name in sorted(names):
                    yield from _file(Path(folder) / name)
            for fault in faults:
                yield Source(fault.filename, Path(fault.filename), partial(_fail, fault))
        else:
            yield from _file(path)


def import_source(archive: Archive, source: Source, sop_classes: Set[str]) -> Imported:
    """Store one source; classes outside `sop_classes` are refused, as the network side does.

    So is what lies in the storage folder: it is the archive's own.
    """
    if archive.tree.contains(source.path):
        return Imported(source, None, "lies in the storage folder")
    try:
        with source.open() as stream:
            return Imported(source, store(archive, stream, sop_classes))
    except Failure as error:
        return Imported(source, None, str(error))
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        return Imported(source, None, getattr(error, "strerror", None) or str(error))
    except RuntimeError as error:  # what zipfile says of a member that is encrypted, or compressed in an unknown way
        return Imported(source, None, str(error))


def _file(path: Path) -> Iterator[Source]:
    try:
        if stat.S_ISREG(path.stat().st_mode) and zipfile.is_zipfile(path) and not _is_dicom(path):
            yield from _members(path)
            return
    except (OSError, zipfile.BadZipFile):
        pass  # opening it again says what is wrong, for the summary
    yield Source(str(path), path, partial(_open, path))


def _open(path: Path) -> IO[bytes]:
    """Open a regular file; from another one, such as a named pipe, reading might wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb")


def _fail(fault: OSError) -> NoReturn:
    raise fault


def _members(path: Path) -> Iterator[Source]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield Source(f"{path}:{info.filename}", path, partial(archive.open, info))


def _is_dicom(path: Path) -> bool:
    """Tell a DICOM file from an archive: both may end in a zip directory."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
