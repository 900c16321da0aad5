"""The folder where processes share their counts: in memory, since a full disk must not kill who counts."""

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from minipacs.errors import MinipacsError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the folder made there is checked to be ours


def metrics_folder(storage: Path) -> Path:
    """Make the folder, empty, or empty what an unclean end has left. Raises MinipacsError.

    In systemd's RuntimeDirectory= if there is one; else in shared memory, its name from that of the storage folder,
    which has one daemon.
    """
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    name = hashlib.sha256(os.fsencode(storage)).hexdigest()[:16]
    base = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    folder = Path(given) / "metrics" if given else base / f"minipacs-{os.geteuid()}-{name}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise MinipacsError(f"{folder} is not a folder of our own: remove it")
        for left_over in folder.iterdir():
            left_over.unlink()
    except OSError as error:
        raise MinipacsError(f"cannot use the folder {folder} for metrics: {error.strerror}") from error
    return folder


def remove(folder: Path) -> None:
    """Remove the folder at the end."""
    shutil.rmtree(folder, ignore_errors=True)
