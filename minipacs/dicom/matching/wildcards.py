"""Wild card matching of single values (PS3.4 C.2.2.2.4)."""

import re
from collections.abc import Sequence


class Patterns:
    """Patterns with `*` and `?`, any of which may match a whole value; compiled once, together."""

    __slots__ = ("_matches", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self._matches = re.compile("|".join(f"(?:{_source(text)})" for text in texts), re.DOTALL).fullmatch

    def match(self, value: str) -> bool:
        """Tell whether one of them matches a value; none of no patterns does."""
        return bool(self.texts) and self._matches(value) is not None


def _source(pattern: str) -> str:
    """Write a pattern as a regular expression.

    Each `*` takes the first fit of what follows it for good, so that no pattern backtracks.
    """
    first, *middle = (re.escape(part).replace(r"\?", ".") for part in re.sub(r"\*+", "*", pattern).split("*"))
    if not middle:
        return first
    *middle, last = middle
    return first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last
