"""Bearer tokens: 256 random bits, shown once, kept as SHA-256 (RFC 6750).

A line for each: `name:rights:created:expires:SHA256`, times in seconds since 1970, expires 0 for never.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from minipacs.errors import MinipacsError
from minipacs.net.identity import line_file
from minipacs.net.identity.line_file import LineFile
from minipacs.net.identity.rights import Right, check_name, check_rights

PREFIX = "minipacs_"
"""What every token begins with, so that scanners for leaked secrets know one."""

MAX_TOKEN_CHARS = 128
MAX_NAME_CHARS = 128
MAX_DAYS = 36500
_TOKEN_BYTES = 32
_DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token; times in seconds since 1970, `expires_at` 0 for never."""

    name: str
    rights: tuple[Right, ...]
    created_at: int
    expires_at: int
    digest: str


class Tokens:
    """The tokens of a file, which is read anew when it changes; safe to use from any thread."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = LineFile(path, parse)
        self._clock = clock

    def check(self, token: str) -> Token | None:
        """Return what a token stands for, None if it is unknown or has expired.

        It is looked up by its digest: how long that takes tells nothing of other tokens.
        """
        if not token.startswith(PREFIX) or len(token) > MAX_TOKEN_CHARS:
            return None
        found = self._file.entries().get(_digest(token))
        return found if found is not None and not _has_expired(found, self._clock()) else None


def create(path: Path, name: str, rights: Collection[str], days: int = 0) -> str:
    """Make a token and give it: it is not to be had again. Raises MinipacsError, OSError."""
    check_name(name, MAX_NAME_CHARS)
    if not 0 <= days <= MAX_DAYS:
        raise MinipacsError(f"a token is good for 1 to {MAX_DAYS} days, or 0: for ever")
    if name in {found.name for found in listed(path)}:
        raise MinipacsError(f"there is a token {name!r} already: revoke it first")
    token = PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    now = int(time.time())
    expires = now + days * _DAY_S if days else 0
    line_file.put(path, name, f"{name}:{','.join(check_rights(rights))}:{now}:{expires}:{_digest(token)}")
    return token


def revoke(path: Path, name: str) -> bool:
    """Let a token be good no more; false if there is none of that name. Raises OSError."""
    return line_file.remove(path, name)


def listed(path: Path) -> list[Token]:
    """List the tokens in the order of their making. Raises OSError, MinipacsError."""
    if not path.exists():
        return []
    return list(line_file.read(path, parse)[0].values())


def has_expired(token: Token) -> bool:
    """Tell whether a token is good no more."""
    return _has_expired(token, time.time())


def _has_expired(token: Token, now: float) -> bool:
    return 0 < token.expires_at <= now


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def parse(line: str) -> tuple[str, Token]:
    """Read a line of the file: the digest of the token, and what is known of it. Raises ValueError."""
    fields = line.split(":")
    if len(fields) != 5:
        raise ValueError("not of the form name:rights:created:expires:digest")
    name, rights, created, expires, digest = fields
    try:
        check_name(name, MAX_NAME_CHARS)
        checked = check_rights([right for right in rights.split(",") if right])
    except MinipacsError as error:
        raise ValueError(str(error)) from error
    if len(digest) != 64 or digest.strip("0123456789abcdef"):
        raise ValueError("the digest is no SHA-256")
    if not all(text.isascii() and text.isdecimal() and len(text) < 16 for text in (created, expires)):
        raise ValueError("a time is no number")
    return digest, Token(name, checked, int(created), int(expires), digest)
