"""Reading stored objects back: the data set as it was received, or decoded for a peer that cannot take it so."""

from dataclasses import dataclass
from io import FileIO
from types import TracebackType
from typing import Self

from minipacs.archive.transcode import can_transcode, transcode
from minipacs.dicom.part10 import file_meta
from minipacs.errors import MinipacsError
from minipacs.index import StoredInstance
from minipacs.tree.files import FileTree


class ObjectUnreadable(MinipacsError):
    """A stored object that cannot be read as asked; the message says why."""


@dataclass(slots=True)
class DataSetFile:
    """An open file positioned at a data set of `size_bytes`; close it, or use it as a context manager."""

    file: FileIO
    size_bytes: int

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


class ObjectReader:
    """Opens stored objects."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def can_give(self, instance: StoredInstance, transfer_syntax_uid: str) -> bool:
        """Tell whether `open` could give the object in that transfer syntax."""
        stored = instance.transfer_syntax_uid
        return stored == transfer_syntax_uid or can_transcode(stored, transfer_syntax_uid)

    def open(self, instance: StoredInstance, transfer_syntax_uid: str) -> DataSetFile:
        """Open the data set: the stored bytes, or a decoded copy in another syntax. Raises ObjectUnreadable.

        A file whose size is not the index's is never given out.
        """
        try:
            file = self._tree.open(instance.digest)
        except OSError as error:
            raise ObjectUnreadable(f"file cannot be opened: {error.strerror}") from error
        try:
            size = file.seek(0, 2)
            if size != instance.size_bytes:
                raise ObjectUnreadable(f"file has {size} bytes, not {instance.size_bytes}")
            if instance.transfer_syntax_uid != transfer_syntax_uid:
                return self._decoded(file, transfer_syntax_uid)
            offset = len(file_meta(instance.sop_class_uid, instance.sop_instance_uid, transfer_syntax_uid))
            file.seek(offset)
            return DataSetFile(file, size - offset)
        except OSError as error:
            file.close()
            raise ObjectUnreadable(f"file cannot be read: {error.strerror}") from error
        except BaseException:
            file.close()
            raise

    def _decoded(self, file: FileIO, transfer_syntax_uid: str) -> DataSetFile:
        scratch = self._tree.scratch()
        try:
            file.seek(0)
            with file:
                transcode(file, scratch, transfer_syntax_uid)
            size = scratch.tell()
            scratch.seek(0)
        except MinipacsError as error:
            scratch.close()
            raise ObjectUnreadable(str(error)) from error
        except BaseException:
            scratch.close()
            raise
        return DataSetFile(scratch, size)
