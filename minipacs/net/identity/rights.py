"""The rights that there are, for every protocol."""

from collections.abc import Collection
from typing import Literal, get_args

from minipacs.errors import MinipacsError

Right = Literal[
    "echo", "store", "find", "retrieve", "worklist", "mpps", "commit", "read", "delete", "admin", "deidentified"
]
"""Those of DIMSE, of which HTTP knows `store` too, then those of HTTP alone."""

RIGHTS: tuple[Right, ...] = get_args(Right)

MAX_NAME_CHARS = 64


def check_rights(rights: Collection[str]) -> tuple[Right, ...]:
    """Give rights in the order of the table. Raises MinipacsError for what is none."""
    unknown = [right for right in rights if right not in RIGHTS]
    if unknown:
        raise MinipacsError(f"{unknown[0]!r} is not a right; there are: {' '.join(RIGHTS)}")
    return tuple(right for right in RIGHTS if right in rights)


def check_name(name: str, most_chars: int = MAX_NAME_CHARS) -> None:
    """Raise MinipacsError unless `name` can be that of a user or a token."""
    if not 0 < len(name) <= most_chars or ":" in name or name.startswith("#") or not name.isprintable():
        raise MinipacsError(f"a name has 1 to {most_chars} printable characters, no colon, and no # at its start")
