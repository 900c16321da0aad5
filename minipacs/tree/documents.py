"""Documents beside objects: small, written once, never changed, always durable before their rows."""

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from minipacs.durable import sync_data, sync_folder
from minipacs.tree.layout import DOCUMENT_SUFFIX, document_path, is_digest
from minipacs.tree.staging import FILE_MODE, StagedFile

MAX_DOCUMENT_BYTES = 64 << 20
"""Of one document: that of a patient with some 200,000 studies."""


class Documents:
    """A folder of documents, by the SHA-256 of their bytes. `stage` opens a new file."""

    def __init__(self, folder: Path, stage: Callable[[], StagedFile]) -> None:
        self._folder = folder
        self._stage = stage

    def keep(self, document: bytes) -> str:
        """Write a document, and return its id when it is on the disk. Raises OSError."""
        if len(document) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"a document may have {MAX_DOCUMENT_BYTES} bytes")
        staged = self._stage()
        try:
            staged.write([document])
            os.fchmod(staged.fileno(), FILE_MODE)
            sync_data(staged.fileno())
            digest = staged.digest
            os.rename(staged.path, document_path(self._folder, digest))
        finally:
            staged.discard()
        sync_folder(self._folder)
        return digest

    def discard(self, document_id: str) -> None:
        """Remove a document whose row was refused; may be called again. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(document_path(self._folder, document_id))
        sync_folder(self._folder)

    def ids(self) -> set[str]:
        """List the ids of what is there; what is no document is passed over. Raises OSError."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:  # of an older release
            return set()
        ids = (name.removesuffix(DOCUMENT_SUFFIX) for name in names if name.endswith(DOCUMENT_SUFFIX))
        return {digest for digest in ids if is_digest(digest)}

    def read(self, document_id: str) -> bytes:
        """Read a document. Raises OSError, and ValueError if its bytes do not have its digest."""
        with open(document_path(self._folder, document_id), "rb") as file:
            document = file.read(MAX_DOCUMENT_BYTES + 1)
        if sha256(document).hexdigest() != document_id:
            raise ValueError("its bytes do not have its digest")
        return document
