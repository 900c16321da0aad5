"""Stored objects as amendments let them be read: THE place where these are applied, on every way out."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from io import BufferedReader, BufferedWriter, FileIO
from typing import BinaryIO

from minipacs.archive.data_set_file import AmendedDataSet, DataSetFile
from minipacs.archive.ports import Storage
from minipacs.dicom.data_set.amending import CharsetMisfit, amend
from minipacs.dicom.data_set.amendments import Amendment
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES, TransferSyntax
from minipacs.errors import Failure, Kind
from minipacs.index import StoredInstance

MAX_KEPT = 1000
"""Amendments that a process keeps at hand; each never changes."""

BUFFER_BYTES = 1 << 16
_PIECE_BYTES = 1 << 18


class Amending:
    """Amends data sets. Safe to use from any thread.

    `find` gives an amendment by its id, `charset_of` the character set that is assumed of an instance, by its UID, that
    names none. Copies that it has to make leave `min_free_bytes` of the disk.
    """

    def __init__(
        self,
        tree: Storage,
        find: Callable[[str], Amendment | None],
        charset_of: Callable[[str], str],
        min_free_bytes: int = 0,
    ) -> None:
        self._tree = tree
        self._find = lru_cache(MAX_KEPT)(find)
        self._charset_of = charset_of
        self._min_free_bytes = min_free_bytes

    def amended(self, data_set: DataSetFile, instance: StoredInstance, syntax: TransferSyntax) -> DataSetFile:
        """Give an open data set in this transfer syntax as it is to be read; the result closes the one given.

        Most are put together of what is stored and what is new. A copy is made of one that is deflated, and, with all
        its text in ISO_IR 192, of one whose character set has no code for a new value. Raises Failure, OSError.
        """
        amendments = [self._amendment(amendment_id) for amendment_id in instance.amendments.split(",")]
        if syntax.deflated:
            inflated = self._copy(lambda target: _inflate(data_set, target))
            data_set.close()
            amended = self._spliced(inflated, instance, TRANSFER_SYNTAXES[EXPLICIT_VR_LITTLE_ENDIAN], amendments)
            with amended:
                return self._copy(lambda target: _deflate(amended, target))
        return self._spliced(data_set, instance, syntax, amendments)

    def _spliced(
        self, data_set: DataSetFile, instance: StoredInstance, syntax: TransferSyntax, amendments: list[Amendment]
    ) -> DataSetFile:
        try:
            return AmendedDataSet(data_set, amend(data_set.read_at, data_set.size_bytes, syntax, amendments))
        except CharsetMisfit:
            pass
        from minipacs.pixels.to_utf_8 import to_utf_8  # seldom needed

        with data_set, BufferedReader(data_set.stream()) as source:
            assumed = self._charset_of(instance.sop_instance_uid)
            copy = self._copy(lambda target: to_utf_8(source, target, syntax, assumed))
        with ExitStack() as failing:
            failing.callback(copy.close)
            amended = AmendedDataSet(copy, amend(copy.read_at, copy.size_bytes, syntax, amendments))
            failing.pop_all()
            return amended

    def _copy(self, write: Callable[[BinaryIO], None]) -> DataSetFile:
        """Have a data set written to a nameless file, and open that."""
        if self._tree.free_bytes() < self._min_free_bytes:
            raise Failure(Kind.FULL, "no space for a copy: storage.min_free_bytes would not be left")
        with ExitStack() as failing:
            scratch: FileIO = failing.enter_context(self._tree.scratch())
            target = BufferedWriter(scratch, _PIECE_BYTES)
            write(target)
            target.flush()
            target.detach()
            failing.pop_all()
            return DataSetFile(scratch, 0, scratch.seek(0, 2), memoryview(bytearray(BUFFER_BYTES)))

    def _amendment(self, amendment_id: str) -> Amendment:
        found = self._find(amendment_id)
        if found is None:
            raise Failure(Kind.BROKEN, f"the amendment {amendment_id} is not there")
        return found


def _inflate(data_set: DataSetFile, target: BinaryIO) -> None:
    from minipacs.pixels.elements import Inflated

    inflated = Inflated(BufferedReader(data_set.stream()))
    for piece in _pieces(BufferedReader(inflated, _PIECE_BYTES)):
        target.write(piece)


def _deflate(data_set: DataSetFile, target: BinaryIO) -> None:
    from minipacs.pixels.element_writer import Deflated  # seldom needed

    deflated = Deflated(target)
    for piece in data_set.pieces():
        deflated.write(bytes(piece))
    deflated.close()


def _pieces(file: BufferedReader) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece
