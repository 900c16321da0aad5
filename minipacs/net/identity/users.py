"""The users file: who may do what, and whether a passcode is right.

A line for each user: `name:rights:scrypt:LOG2N:R:P:SALT:HASH`, rights separated by commas, salt and hash in base64.
"""

import hashlib
import hmac
import os
import threading
import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from minipacs.errors import MinipacsError
from minipacs.net.identity import line_file
from minipacs.net.identity.line_file import LineFile
from minipacs.net.identity.rights import Right, check_name, check_rights

MAX_PASSCODE_BYTES = 1024
MAX_HASHES_AT_ONCE = 2
"""Each takes 32 MiB and 0.1 s of a core."""
NICENESS = 10
"""Beside associations those who guess passcodes get a small share of the processors."""
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
    rights: tuple[Right, ...]
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
        from concurrent.futures import ThreadPoolExecutor  # which nobody needs who only writes the file

        self._file = LineFile(path, parse)
        self._clock = clock
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(MAX_HASHES_AT_ONCE)
        self._hashing = ThreadPoolExecutor(MAX_HASHES_AT_ONCE, "passcode", _step_back)
        self._key = os.urandom(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()

    @property
    def are_known(self) -> bool:
        """Tell whether there are any."""
        return bool(self._file.entries())

    def get(self, name: str) -> User | None:
        """Look a user up."""
        return self._file.entries().get(name)

    def check(self, name: str, passcode: bytes, timeout_s: float) -> User | None:
        """Return the user if the passcode is right, else None: as slowly for one who is not there.

        Raises CheckingIsBusy if it could not be begun within `timeout_s`; 0 is too little for all but remembered pairs.
        """
        user = self.get(name)
        if len(passcode) > MAX_PASSCODE_BYTES:
            return None
        proof = hmac.digest(self._key, (user or _NOBODY).line().encode() + b"\0" + passcode, "sha256")
        if user is not None and self._is_remembered(proof):
            return user
        if timeout_s <= 0 or not self._turns.acquire(timeout=timeout_s):
            raise CheckingIsBusy
        try:
            hashed = self._hashing.submit((user or _NOBODY).hashed, passcode).result()
        finally:
            self._turns.release()
        is_right = hmac.compare_digest(hashed, (user or _NOBODY).hash)
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


def _step_back() -> None:
    """Let a thread give way to others; it cannot undo that."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # Linux: of this thread alone


def add(path: Path, name: str, passcode: bytes, rights: Collection[str]) -> bool:
    """Add a user or give it another passcode and rights; tell whether it is new. Raises MinipacsError, OSError."""
    check_name(name)
    if not 0 < len(passcode) <= MAX_PASSCODE_BYTES:
        raise MinipacsError(f"a passcode has 1 to {MAX_PASSCODE_BYTES} bytes")
    user = User(name, check_rights(rights), _LOG2_N, _R, _P, os.urandom(_SALT_BYTES), bytes(_HASH_BYTES))
    return line_file.put(path, name, replace(user, hash=user.hashed(passcode)).line())


def remove(path: Path, name: str) -> bool:
    """Remove a user; false if there is none of that name. Raises OSError."""
    return line_file.remove(path, name)


def parse(line: str) -> tuple[str, User]:
    """Read a line of the file. Raises ValueError with what is wrong."""
    fields = line.split(":")
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
    return name, user


def _whole(text: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= most:
        raise ValueError(f"{text!r} is not a number from 1 to {most}")
    return int(text)


def _text(value: bytes) -> str:
    return b64encode(value).decode("ascii")
