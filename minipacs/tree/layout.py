"""Where everything lies below the storage folder: the only place that joins paths.

    objects/ab/<digest>.dcm   published, write-once; `ab` are the digest's first two digits
    incoming/<name>.part      being received; locked by its writer, so what is not locked is left over
    quarantine/<digest>.dcm   gave way, damaged or without use for the index; <digest>.json says why and since when
    expired/<digest>.dcm      outlived its retention rule: as in quarantine/, until its time of grace is over
    amendments/<digest>.json  what is read otherwise than it was stored, write-once, as `objects/` are
    holds/<digest>.json       which studies are not to be removed, and why, write-once as well
    archive.id                who the archive is; its index knows it too
    index.db, daemon.lock     the index; the lock of the one daemon, not empty while it runs

Paths are made of digests and of names given here, nothing else.
"""

import re
from pathlib import Path

PREFIXES = tuple(f"{i:02x}" for i in range(256))
OBJECT_SUFFIX = ".dcm"
REASON_SUFFIX = ".json"
DOCUMENT_SUFFIX = ".json"
STAGED_SUFFIX = ".part"

_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Tell whether `text` is a SHA-256 in lower-case hexadecimal."""
    return _DIGEST.fullmatch(text) is not None


def document_path(folder: Path, digest: str) -> str:
    """Return the path of a document in a folder of them."""
    if not is_digest(digest):
        raise ValueError(f"no digest: {digest!r}")
    return f"{folder}/{digest}{DOCUMENT_SUFFIX}"


def shelved(folder: Path, digest: str, suffix: str = OBJECT_SUFFIX) -> str:
    """Return the path of a file that was set aside, or with `REASON_SUFFIX` of the note beside it."""
    if not is_digest(digest):
        raise ValueError(f"no digest: {digest!r}")
    return f"{folder}/{digest}{suffix}"


class Layout:
    """The paths below `root`. Digests are checked: anything else is a ValueError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"
        self.incoming = root / "incoming"
        self.quarantine = root / "quarantine"
        self.expired = root / "expired"
        self.amendments = root / "amendments"
        self.holds = root / "holds"
        self.index = root / "index.db"
        self.daemon_lock = root / "daemon.lock"
        self.identity = root / "archive.id"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return the folders that an archive is made of."""
        return self.objects, self.incoming, self.quarantine, self.expired, self.amendments, self.holds

    def folder(self, digest: str) -> str:
        """Return the folder of a published file."""
        if not is_digest(digest):
            raise ValueError(f"no digest: {digest!r}")
        return f"{self.objects}/{digest[:2]}"

    def published(self, digest: str) -> str:
        """Return the path of a published file."""
        return f"{self.folder(digest)}/{digest}{OBJECT_SUFFIX}"

    def staged(self, name: str) -> str:
        """Return the path of a file being received; `name` is the tree's own."""
        return f"{self.incoming}/{name}{STAGED_SUFFIX}"
