"""Wild card matching of single values in Python (PS3.4 C.2.2.2.4)."""

import re
from functools import lru_cache

MAX_COMPILED = 256
"""Patterns that are remembered."""


@lru_cache(MAX_COMPILED)
def regex(pattern: str) -> re.Pattern[str]:
    """Compile a pattern with `*` and `?`, for a whole value.

    Each `*` takes the first fit of what follows it for good, so that no pattern backtracks.
    """
    first, *middle = (re.escape(part).replace(r"\?", ".") for part in re.sub(r"\*+", "*", pattern).split("*"))
    if not middle:
        return re.compile(first, re.DOTALL)
    *middle, last = middle
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last, re.DOTALL)
