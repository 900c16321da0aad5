"""The users file: who may do what, and whether a passcode is right.

A line for each user: `name:rights:scrypt:LOG2N:R:P:SALT:HASH`, rights separated by commas, salt and hash in base64.
Empty lines and those that begin with `#` say nothing.
"""

import fcntl
import hashlib
import hmac
import logging
import os
import threading
import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from minipacs.errors import MinipacsError

logger = logging.getLogger(__name__)

RIGHTS = ("echo", "store", "find", "retrieve", "worklist", "mpps", "commit", "read", "delete", "admin", "deidentified")
"""All rights that there are: those of DIMSE, of which HTTP knows `store` too, then those of HTTP alone."""

MAX_NAME_CHARS = 64
MAX_PASSCODE_BYTES = 1024
MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_HASHES_AT_ONCE = 2
"""Each takes 32 MiB and 0.1 s of a core."""
REMEMBER_S = 600.0
MAX_REMEMBERED = 1024

_LOG2_N, _R, _P = 15, 8, 1
_SALT_BYTES = _HASH_BYTES = 16
_MAX_LOG2_N, _MAX_R, _MAX_P = 18, 16, 4
_MEMORY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class User:
    """A user as the file has it: its name and rights, and how its passcode is checked."""

    name: str
    rights: tuple[str, ...]
    log2_n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    def hashed(self, passcode: bytes) -> bytes:
        """Hash a passcode as this user's was; it takes 0.1 s."""
        return hashlib.scrypt(
            passcode, salt=self.salt, n=1 << self.log2_n, r=self.r, p=self.p, maxmem=_MEMORY_BYTES, dklen=len(self.hash)
        )

    def line(self) -> str:
        """Write the user as a line of the file."""
        how = f"scrypt:{self.log2_n}:{self.r}:{self.p}"
        return f"{self.name}:{','.join(self.rights)}:{how}:{_text(self.salt)}:{_text(self.hash)}"


_NOBODY = User("", (), _LOG2_N, _R, _P, bytes(_SALT_BYTES), bytes(_HASH_BYTES))
"""Whose passcode is compared when there is no such user, so that it takes as long."""


class CheckingIsBusy(Exception):
    """Too many passcodes are being checked: none of them may make the others wait for long."""


class Users:
    """The users of a file, which is read anew when it changes; safe to use from any thread.

    A pair that was right is remembered for ten minutes, by a keyed hash of this process alone: modalities open an
    association for each image.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._users: Mapping[str, User] = {}
        self._hashing = threading.BoundedSemaphore(MAX_HASHES_AT_ONCE)
        self._key = os.urandom(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()

    def get(self, name: str) -> User | None:
        """Look a user up."""
        with self._lock:
            self._refresh()
            return self._users.get(name)

    def check(self, name: str, passcode: bytes, timeout_s: float) -> User | None:
        """Return the user if the passcode is right, else None: as slowly for one who is not there.

        Raises CheckingIsBusy if it could not be begun within `timeout_s`.
        """
        user = self.get(name)
        if len(passcode) > MAX_PASSCODE_BYTES:
            return None
        proof = hmac.digest(self._key, (user or _NOBODY).line().encode() + b"\0" + passcode, "sha256")
        if user is not None and self._is_remembered(proof):
            return user
        if not self._hashing.acquire(timeout=timeout_s):
            raise CheckingIsBusy
        try:
            is_right = hmac.compare_digest((user or _NOBODY).hashed(passcode), (user or _NOBODY).hash)
        finally:
            self._hashing.release()
        if user is None or not is_right:
            return None
        self._remember(proof)
        return user

    def _is_remembered(self, proof: bytes) -> bool:
        with self._lock:
            until = self._remembered.get(proof, 0.0)
            return self._clock() < until

    def _remember(self, proof: bytes) -> None:
        with self._lock:
            self._remembered[proof] = self._clock() + REMEMBER_S
            self._remembered.move_to_end(proof)
            while len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
            if stamp == self._stamp:
                return
            users, faults = read(self._path)
        except (OSError, MinipacsError) as error:
            if self._stamp is not None or self._users:
                logger.error("users file", extra={"fields": {"error": getattr(error, "strerror", None) or str(error)}})
            self._users, self._stamp = {}, None
            return
        for fault in faults:
            logger.warning("users file", extra={"fields": {"fault": fault}})
        self._users, self._stamp = users, stamp


def read(path: Path) -> tuple[dict[str, User], list[str]]:
    """Read a users file; give the users, and what is wrong with lines that are none. Raises OSError, MinipacsError."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise MinipacsError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    users: dict[str, User] = {}
    faults: list[str] = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            user = _user(line)
            if user.name in users:
                raise ValueError("the name is there already")
        except ValueError as error:
            faults.append(f"line {number}: {error}")
        else:
            users[user.name] = user
    return users, faults


def add(path: Path, name: str, passcode: bytes, rights: Sequence[str]) -> bool:
    """Add a user or give it another passcode and rights; tell whether it is new. Raises MinipacsError, OSError."""
    check_name(name)
    if not 0 < len(passcode) <= MAX_PASSCODE_BYTES:
        raise MinipacsError(f"a passcode has 1 to {MAX_PASSCODE_BYTES} bytes")
    user = User(name, check_rights(rights), _LOG2_N, _R, _P, os.urandom(_SALT_BYTES), bytes(_HASH_BYTES))
    hashed = User(name, user.rights, user.log2_n, user.r, user.p, user.salt, user.hashed(passcode))
    with _changing(path) as lines:
        others = [line for line in lines if line.partition(":")[0] != name]
        is_new = len(others) == len(lines)
        lines[:] = [*others, hashed.line()]
    return is_new


def remove(path: Path, name: str) -> bool:
    """Remove a user; false if there is none of that name. Raises OSError."""
    with _changing(path) as lines:
        others = [line for line in lines if line.partition(":")[0] != name]
        was_there = len(others) != len(lines)
        lines[:] = others
    return was_there


def check_name(name: str) -> None:
    """Raise MinipacsError unless `name` can be that of a user."""
    if not 0 < len(name) <= MAX_NAME_CHARS or ":" in name or name.startswith("#") or not name.isprintable():
        raise MinipacsError(f"a name has 1 to {MAX_NAME_CHARS} printable characters, no colon, and no # at its start")


def check_rights(rights: Collection[str]) -> tuple[str, ...]:
    """Give rights in the order of the table. Raises MinipacsError for what is none."""
    unknown = [right for right in rights if right not in RIGHTS]
    if unknown:
        raise MinipacsError(f"{unknown[0]!r} is not a right; there are: {' '.join(RIGHTS)}")
    return tuple(right for right in RIGHTS if right in rights)


def _user(line: str) -> User:
    fields = line.rstrip("\r").split(":")
    if len(fields) != 8 or fields[2] != "scrypt":
        raise ValueError("not of the form name:rights:scrypt:...")
    name, rights, _, log2_n, r, p, salt, hash_ = fields
    try:
        check_name(name)
        checked = check_rights([right for right in rights.split(",") if right])
    except MinipacsError as error:
        raise ValueError(str(error)) from error
    user = User(
        name,
        checked,
        _whole(log2_n, _MAX_LOG2_N),
        _whole(r, _MAX_R),
        _whole(p, _MAX_P),
        b64decode(salt, validate=True),
        b64decode(hash_, validate=True),
    )
    if not 8 <= len(user.salt) <= 64 or not 16 <= len(user.hash) <= 64:
        raise ValueError("salt or hash of an impossible length")
    return user


def _whole(text: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= most:
        raise ValueError(f"{text!r} is not a number from 1 to {most}")
    return int(text)


@contextmanager
def _changing(path: Path) -> Iterator[list[str]]:
    """Give the lines to change; afterwards a new file with them takes the old one's place, durably."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old = path.read_text("utf-8", "surrogateescape") if path.exists() else ""
        lines = old.removesuffix("\n").split("\n") if old else []
        yield lines
        new = path.with_name(path.name + ".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            with suppress(OSError):
                found = path.stat()
                os.fchown(fd, found.st_uid, found.st_gid)
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(fd)
        new.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _text(value: bytes) -> str:
    return b64encode(value).decode("ascii")
