"""What can go wrong, as types that say it to a program and to a person, and nothing of any protocol's numbers."""

import errno
import os
import pwd
from collections.abc import Sequence
from enum import Enum, auto

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says of a disk that is full."""
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM})


class MinipacsError(Exception):
    """A fault with a message meant for a person: one line, what was wrong, where, what is allowed."""


class ConfigError(MinipacsError):
    """One or more faults in the configuration, each a line that names its key."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Kind(Enum):
    """How an operation failed. Each protocol has one table from these to its own answers."""

    UNREADABLE = auto()
    """Bytes that are no data set, or none where one must be."""
    UNKNOWN_CHARSET = auto()
    """A character set that is not known, where text has to be understood."""
    WRONG_ENCODING = auto()
    """Pixel Data in another encoding than the transfer syntax asks for."""
    MISSING = auto()
    """An attribute that must be there is not."""
    EMPTY = auto()
    """An attribute that must have a value has none."""
    INVALID = auto()
    """A value that is not allowed, or cannot be understood."""
    MALFORMED_UID = auto()
    """What has to be the UID of an object is no UID."""
    WRONG_IDENTITY = auto()
    """An object is not the one that it was announced as."""
    NOT_SETTABLE = auto()
    """An attribute that may not be changed."""
    FINAL = auto()
    """A thing that may no longer be changed."""
    EXISTS = auto()
    """What was to be made exists."""
    OTHER_PARENT = auto()
    """The UID is that of an object in another series."""
    OTHER_CONTENT = auto()
    """The UID is that of an object with other content."""
    OTHER_CLASS = auto()
    """The UID is that of an object of another class."""
    NOT_FOUND = auto()
    """What was named does not exist."""
    UNSUPPORTED = auto()
    """What was asked for is not done here."""
    TOO_LARGE = auto()
    """One thing larger than a limit."""
    TOO_MANY = auto()
    """More things than a limit."""
    HELD = auto()
    """What is not to be removed, for a reason that somebody gave."""
    BUSY = auto()
    """It cannot be done now; trying again may help."""
    FULL = auto()
    """There is no room; trying again may help, once there is."""
    BROKEN = auto()
    """Something of the archive's own failed, and trying again does not help."""


TEMPORARY = frozenset({Kind.BUSY, Kind.FULL})
"""Kinds where the same request may succeed later."""


class Failure(MinipacsError):
    """An operation that failed; `tags` are the attributes at fault, which the words need not repeat."""

    def __init__(self, kind: Kind, words: str, tags: Sequence[int] = ()) -> None:
        super().__init__(words)
        self.kind = kind
        self.tags = tuple(tags)

    @property
    def temporary(self) -> bool:
        """Tell whether the same request may succeed later."""
        return self.kind in TEMPORARY


class OutcomeUnknown(Failure):
    """A change that failed while it was made durable: after a crash it may turn out to have been made.

    Until it is made again, or the archive was recovered, nothing may be removed that either outcome needs.
    """

    def __init__(self, words: str) -> None:
        super().__init__(Kind.BUSY, words)


class DataSetError(Failure):
    """A data set that cannot be understood, with the tag where reading stopped, if known."""

    def __init__(self, words: str, tag: int | None = None, kind: Kind = Kind.UNREADABLE) -> None:
        super().__init__(kind, words, () if tag is None else (tag,))


def system_words(error: BaseException) -> str:
    """Say what the system refuses; of what is not allowed, to whom: what root calls may run as another user."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{words} (as the user {system_user()})" if getattr(error, "errno", None) in _NOT_ALLOWED else words


def system_user() -> str:
    """Return the name of the user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
