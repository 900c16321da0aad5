"""Files, folders and zip archives into the archive, through the same way in as C-STORE."""

import errno
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NoReturn

from minipacs.archive.archive import Archive
from minipacs.archive.part10 import MediaDirectory, store
from minipacs.errors import Failure, system_words
from minipacs.index import InstanceRecord, Outcome


@dataclass(frozen=True, slots=True)
class Source:
    """Something to import: a file, or a member of a zip archive. `path` is the file on disk that it comes from."""

    name: str
    path: Path
    open: Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a source: an outcome, or why there is none; what is skipped need not be stored."""

    source: Source
    outcome: Outcome | None
    reason: str = ""
    is_skipped: bool = False
    record: InstanceRecord | None = None


def sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Walk `paths` in order: folders recursively, without following links out of them, zip archives member by member.

    What cannot be read yields a source whose `open` raises OSError.
    """
    for path in paths:
        if not os.path.isdir(path):
            yield from _file(path)
            continue
        inside = os.path.realpath(path)
        for file, fault in _walk(path):
            if fault is None and file.is_symlink() and file.exists() and not _is_within(inside, os.path.realpath(file)):
                fault = OSError(errno.ELOOP, "a link out of the folder", str(file))
            yield from _file(file) if fault is None else [Source(str(file), file, partial(_fail, fault))]


def count(paths: Sequence[Path]) -> int:
    """Count what `sources` will give, without looking into files but those that are called .zip."""
    files = (file for path in paths for file, _ in (_walk(path) if os.path.isdir(path) else [(path, None)]))
    return sum(_members_of(file) if file.suffix.lower() == ".zip" else 1 for file in files)


def import_source(archive: Archive, source: Source, sop_classes: Set[str], *, lenient: bool = False) -> Imported:
    """Store one source; classes outside `sop_classes` are refused, as the network side does.

    So is what lies in the storage folder: it is the archive's own. A DICOMDIR is skipped. `lenient` takes files whose
    data set is sound whatever stands before it.
    """
    if archive.tree.contains(source.path):
        return Imported(source, None, "lies in the storage folder")
    try:
        with source.open() as stream:
            stored = store(archive, stream, sop_classes, lenient=lenient)
            return Imported(source, stored.outcome, record=stored.record)
    except MediaDirectory as error:
        return Imported(source, None, str(error), is_skipped=True)
    except Failure as error:
        return Imported(source, None, str(error))
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        return Imported(source, None, system_words(error))
    except (zlib.error, lzma.LZMAError) as error:
        return Imported(source, None, f"damaged: {error}")
    except RuntimeError as error:  # what zipfile says of a member that is encrypted, or compressed in an unknown way
        return Imported(source, None, str(error))


def _walk(path: Path) -> Iterator[tuple[Path, OSError | None]]:
    """Give the files of a folder and of those in it, in order, then the folders that cannot be read."""
    faults: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=faults.append):
        folders.sort()
        for name in sorted(names):
            yield Path(folder) / name, None
    for fault in faults:
        yield Path(fault.filename), fault


def _is_within(folder: str, path: str) -> bool:
    return os.path.commonpath([folder, path]) == folder


def _members_of(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(not info.is_dir() for info in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return 1


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
