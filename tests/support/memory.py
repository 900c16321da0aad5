"""Folders of tests in memory, where a sync costs nothing: most of a run would be spent waiting for the disk.

What is lost is nothing that these tests can see. That files are synced, in the right order, is counted in system calls;
what outlives a kill is in the page cache of either; and what a power loss leaves, `tools/power_cut.py` plays on a disk
of its own.
"""

import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

MEMORY = Path("/dev/shm")
MIN_FREE_BYTES = 4 << 30


def use_for_folders(environment: MutableMapping[str, str]) -> None:
    """Let pytest make its folders in memory, unless a place is given, or there is too little or one unlike a disk."""
    if "PYTEST_DEBUG_TEMPROOT" not in environment and _is_usable():
        environment["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


def _is_usable() -> bool:
    try:
        with tempfile.TemporaryFile(dir=MEMORY) as file:
            os.setxattr(file.fileno(), "user.minipacs", b"")  # Linux 6.6 and newer
        return shutil.disk_usage(MEMORY).free >= MIN_FREE_BYTES
    except OSError:
        return False
