"""What lies in quarantine: found by its digest, put back, or removed for good; the only ways out."""

import hashlib
from collections.abc import Set

from minipacs.archive.archive import Archive
from minipacs.archive.part10 import store
from minipacs.archive.ports import Quarantine, QuarantinedFile, Storage
from minipacs.errors import MinipacsError
from minipacs.index import Outcome

MIN_PREFIX = 6
"""Digits of a digest that are enough to name a file, if no other one begins with them."""


def named(tree: Storage, prefix: str) -> QuarantinedFile:
    """Return the file whose digest begins with `prefix`. Raises MinipacsError if there is none, or more than one."""
    if len(prefix) < MIN_PREFIX:
        raise MinipacsError(f"{prefix!r} is too short: at least {MIN_PREFIX} digits of a digest are needed")
    found = [file for file in tree.quarantine.files() if file.digest.startswith(prefix.lower())]
    if len(found) != 1:
        raise MinipacsError(f"{len(found) or 'no'} files in quarantine begin with {prefix!r}")
    return found[0]


def is_whole(shelf: Quarantine, digest: str) -> bool:
    """Tell whether a file that was set aside has the bytes of its name. Raises OSError."""
    with shelf.open(digest) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def study_of(shelf: Quarantine, digest: str) -> str:
    """Read the Study Instance UID of a file that was set aside, "" if it cannot be read. Raises OSError."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    with shelf.open(digest) as file:
        try:
            found = dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
            return str(found.get("StudyInstanceUID", ""))
        except (InvalidDicomError, ValueError, AttributeError, KeyError):
            return ""


def release(archive: Archive, shelf: Quarantine, digest: str, sop_classes: Set[str]) -> Outcome:
    """Store a file again that was set aside, by the rules for any other; it leaves its shelf if it is current then.

    Raises OSError, and MinipacsError, Failure among them, if it is damaged or refused.
    """
    if not is_whole(shelf, digest):
        raise MinipacsError("is damaged: its bytes do not have its digest")
    with shelf.open(digest) as file:
        outcome = store(archive, file, sop_classes).outcome
    if outcome is not Outcome.KEPT:
        shelf.purge(digest)
    return outcome
