"""Unique identifiers: what can be one, and making new ones (PS3.5 9)."""

import re
import uuid

MAX_UID_LENGTH = 64

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_AS_TOLD = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")


def is_uid(text: str, *, strict: bool = False) -> bool:
    """Tell whether text can be a UID; components with leading zeros are tolerated: senders make them.

    `strict` tolerates nothing: for UIDs that people write.
    """
    form = _UID_AS_TOLD if strict else _UID
    return len(text) <= MAX_UID_LENGTH and form.fullmatch(text) is not None


def new_uid() -> str:
    """Make a UID that nobody has (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"
