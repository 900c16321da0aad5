"""The folder where processes share their counts: in memory, since a full disk must not kill who counts."""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from minipacs.errors import MinipacsError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the folder made there is checked to be ours


class MetricsFolder:
    """An empty folder at `path`, until `remove`: in systemd's RuntimeDirectory= if there is one, else in shared memory.

    It is locked as long as a process of the daemon lives, so that what killed daemons left can be told and removed.
    Raises MinipacsError.
    """

    def __init__(self, storage: Path) -> None:
        given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        base = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
        prefix = f"minipacs-{os.geteuid()}-"
        # The storage folder has one daemon.
        name = prefix + hashlib.sha256(os.fsencode(storage)).hexdigest()[:16]
        self.path = Path(given) / "metrics" if given else base / name
        try:
            self._fd = _locked(self.path)
            for left_over in self.path.iterdir():
                left_over.unlink()
        except OSError as error:
            raise MinipacsError(f"cannot use the folder {self.path} for metrics: {error.strerror}") from error
        if not given:
            _sweep(base, prefix)

    def remove(self) -> None:
        """Remove the folder at the end."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)


def _locked(path: Path) -> int:
    """Make a folder if it is missing and lock it; gives the descriptor that holds the lock. Raises OSError."""
    while True:
        path.mkdir(mode=0o700, exist_ok=True)
        if not _is_ours(path):
            raise MinipacsError(f"{path} is not a folder of our own: remove it")
        with suppress(FileNotFoundError):  # somebody who sweeps took it for left over
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)


def _sweep(base: Path, prefix: str) -> None:
    """Remove the folders of daemons that were killed, whatever storage folder they had."""
    for path in base.glob(f"{prefix}*"):
        with suppress(OSError):
            if not _is_ours(path):
                continue
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while it is in use
                shutil.rmtree(path)
            finally:
                os.close(fd)


def _is_ours(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
