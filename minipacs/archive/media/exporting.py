"""Copies of stored objects as DICOM files, in folders or in a zip archive, on disk or on the wire (PS3.10 7)."""

import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from minipacs.archive.media.dicomdir import Directory, NoDirectoryRecord
from minipacs.archive.reader import BUFFER_BYTES, ObjectReader, ObjectUnreadable
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.durable import sync_file, sync_file_system, sync_folder
from minipacs.index import StoredInstance

DICOMDIR = "DICOMDIR"
MAX_NAME_LENGTH = 120
KEYWORDS = (
    "PatientID",
    "StudyDate",
    "StudyInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesInstanceUID",
    "InstanceNumber",
    "SOPInstanceUID",
)
"""What names are made of."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+|^[.-]+")


class Exported(NamedTuple):
    """One instance: where its copy is, below the target, or why there is none."""

    sop_instance_uid: str
    name: str = ""
    fault: str = ""


class Target(Protocol):
    """Where copies go."""

    def write(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write one file whole. Raises OSError."""


class FolderTarget:
    """Writes files below a folder: to another name first, so that none is there by halves.

    A context manager; when it ends well all of them are on the disk, which may be one that is pulled out then.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def write(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write one file, making its folders. Raises OSError."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.part")
        try:
            with partial.open("wb") as file:
                file.writelines(pieces)
            partial.rename(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                sync_file_system(self._fd)
        finally:
            os.close(self._fd)


class ZipTarget:
    """Writes files into a new zip archive, which gets its name when it is complete and on the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._zip = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_DEFLATED)

    def write(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write one file. Raises OSError."""
        with self._zip.open(name, "w", force_zip64=True) as file:
            for piece in pieces:
                file.write(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._zip.close()
            if kind is None:
                sync_file(self._partial)
                os.rename(self._partial, self._path)
                sync_folder(self._path.parent)
        finally:
            self._partial.unlink(missing_ok=True)


class Copy(NamedTuple):
    """A file to be written: its name, and its pieces, good until the next copy is asked for; or why there is none."""

    sop_instance_uid: str
    name: str = ""
    pieces: Iterator[bytes | memoryview] = iter(())
    fault: str = ""


def copies(
    reader: ObjectReader,
    instances: Iterable[tuple[StoredInstance, Mapping[str, str]]],
    directory: Directory | None = None,
) -> Iterator[Copy]:
    """Give a copy of each instance, as it is stored, then that of the directory, if there is one.

    The second of each pair are values of `KEYWORDS`, from which names are made, harmless ones. With a `directory` names
    are File IDs. A file that is missing or damaged is not copied.
    """
    buffer = memoryview(bytearray(BUFFER_BYTES))
    for instance, values in instances:
        try:
            instance, data_set = reader.open_stored(instance, buffer)
        except ObjectUnreadable as error:
            yield Copy(instance.sop_instance_uid, fault=str(error))
            continue
        with data_set:
            try:
                name = "/".join(_names(values) if directory is None else _file_id(reader, instance, directory))
            except (ObjectUnreadable, NoDirectoryRecord) as error:
                yield Copy(instance.sop_instance_uid, fault=str(error))
            else:
                yield Copy(instance.sop_instance_uid, name, _file(instance, data_set.pieces()))
    if directory is not None:
        yield Copy("", DICOMDIR, iter([directory.encode()]))


def export(
    reader: ObjectReader,
    instances: Iterable[tuple[StoredInstance, Mapping[str, str]]],
    target: Target,
    directory: Directory | None = None,
) -> Iterator[Exported]:
    """Write `copies` to `target` one after the other, and tell of each. Raises OSError if it cannot be written."""
    for copy in copies(reader, instances, directory):
        if not copy.fault:
            target.write(copy.name, copy.pieces)
        if copy.sop_instance_uid:
            yield Exported(copy.sop_instance_uid, copy.name, copy.fault)


def _file(instance: StoredInstance, pieces: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    yield file_meta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
    yield from pieces


def _file_id(reader: ObjectReader, instance: StoredInstance, directory: Directory) -> Sequence[str]:
    return directory.add(reader.header(instance), instance.transfer_syntax_uid)


def _names(values: Mapping[str, str]) -> Sequence[str]:
    """Name folders and file after what people look for, each unique by its UID."""
    return (
        _component(values["PatientID"] or "no-patient-id"),
        _component(values["StudyDate"] or "no-date", values["StudyInstanceUID"]),
        _component(values["Modality"] or "OT", values["SeriesNumber"] or "0", values["SeriesInstanceUID"]),
        _component(values["InstanceNumber"].zfill(4), values["SOPInstanceUID"]) + ".dcm",
    )


def _component(*parts: str) -> str:
    """Join parts to a name that no file system minds; one that lost something gets a digest, to stay unique."""
    whole = "_".join(parts)
    name = _UNSAFE.sub("-", whole)[:MAX_NAME_LENGTH].lstrip(".-") or "-"
    return name if name == whole else f"{name}_{sha256(whole.encode('utf-8', 'replace')).hexdigest()[:8]}"
