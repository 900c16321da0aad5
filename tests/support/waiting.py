"""Waits for what nothing tells of."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 60.0
"""No test is about how long something takes, and a machine may be busy: only what never comes about fails by it."""
POLL_S = 0.01

_Found = TypeVar("_Found")


def until(look: Callable[[], _Found], fault: Callable[[], object] = lambda: "does not come about") -> _Found:
    """Look again and again until there is something that is true, and return it; else fail with what `fault` says."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, fault()
        time.sleep(POLL_S)
    return found
