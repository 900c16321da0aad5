"""Reading back what a published file says of itself, for recovery and for parents that lost their first instance."""

import hashlib
from collections.abc import Callable, Mapping

from minipacs.dicom.charset import terms
from minipacs.dicom.header import Header, HeaderScanner
from minipacs.dicom.keys import KeyTable
from minipacs.dicom.part10 import FileMeta, parse_file_meta
from minipacs.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.errors import DataSetError
from minipacs.tree.files import FileTree

READ_BYTES = 1 << 20
SKIM_BYTES = 64 << 10


CharsetOf = Callable[[str], str]
"""Gives the character set that is assumed of objects from an AE title, if they name none."""


def values_of(tree: FileTree, digest: str, keys: KeyTable, charset: str) -> Mapping[str, str]:
    """Return the indexed attributes of a published file. Raises OSError, DataSetError."""
    _, header = scan(tree, digest, keys)
    header.charsets = header.charsets or terms(charset)
    return header.values(keys)


def skim(tree: FileTree, digest: str, keys: KeyTable) -> tuple[FileMeta, Header]:
    """Read a published file up to its Pixel Data, whatever follows. Raises OSError, DataSetError."""
    with tree.open(digest) as file:
        piece = file.read(SKIM_BYTES)
        meta, scanner = _begin(piece, keys)
        while piece and not scanner.has_pixel_data:
            piece = file.read(SKIM_BYTES)
            scanner.feed(piece)
    return meta, scanner.header() if scanner.has_pixel_data else scanner.finish()


def _begin(piece: bytes, keys: KeyTable) -> tuple[FileMeta, HeaderScanner]:
    meta = parse_file_meta(piece)
    if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise DataSetError(f"unknown transfer syntax {meta.transfer_syntax_uid}")
    scanner = HeaderScanner(TRANSFER_SYNTAXES[meta.transfer_syntax_uid], keys.tags)
    scanner.feed(piece[meta.data_set_offset :])
    return meta, scanner


def scan(tree: FileTree, digest: str, keys: KeyTable) -> tuple[FileMeta, Header]:
    """Read a published file whole and check that its bytes have its digest.

    Raises OSError, and DataSetError if it is damaged or no DICOM file that can be stored.
    """
    sha256 = hashlib.sha256()
    with tree.open(digest) as file:
        piece = file.read(READ_BYTES)
        meta, scanner = _begin(piece, keys)
        while piece:
            sha256.update(piece)
            piece = file.read(READ_BYTES)
            scanner.feed(piece)
    if sha256.hexdigest() != digest:
        raise DataSetError("the file's bytes do not have its digest")
    return meta, scanner.finish()
