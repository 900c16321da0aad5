"""Reading back what a published file says of itself, for recovery and for parents that lost their first instance."""

import hashlib
from collections.abc import Mapping

from minipacs.dicom.header import Header, HeaderScanner
from minipacs.dicom.keys import KeyTable
from minipacs.dicom.part10 import FileMeta, parse_file_meta
from minipacs.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.errors import DataSetError
from minipacs.tree.files import FileTree

READ_BYTES = 1 << 20


def values_of(tree: FileTree, digest: str, keys: KeyTable) -> Mapping[str, str]:
    """Return the indexed attributes of a published file. Raises OSError, DataSetError."""
    return scan(tree, digest, keys)[1].values(keys)


def scan(tree: FileTree, digest: str, keys: KeyTable) -> tuple[FileMeta, Header]:
    """Read a published file whole and check that its bytes have its digest.

    Raises OSError, and DataSetError if it is damaged or no DICOM file that can be stored.
    """
    sha256 = hashlib.sha256()
    with tree.open(digest) as file:
        piece = file.read(READ_BYTES)
        meta = parse_file_meta(piece)
        if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise DataSetError(f"unknown transfer syntax {meta.transfer_syntax_uid}")
        scanner = HeaderScanner(TRANSFER_SYNTAXES[meta.transfer_syntax_uid], keys.tags)
        scanner.feed(piece[meta.data_set_offset :])
        while piece:
            sha256.update(piece)
            piece = file.read(READ_BYTES)
            scanner.feed(piece)
    if sha256.hexdigest() != digest:
        raise DataSetError("the file's bytes do not have its digest")
    return meta, scanner.finish()
