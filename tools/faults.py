"""Lets one system call of the write path fail, each in turn, and says what was lost or untold.

A process stores, replaces, stores again and deletes on a copy of a prepared archive; one call is answered with an error
of the table below. What the process then says was done must be so after the next start, and what failed must have left
nothing half-done. At most --most calls of each name, evenly taken.

    .venv/bin/python tools/faults.py [--most N] [--error NAME]...
Needs strace and the right to trace. The exit status is 1 if anything is wrong.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.support.attack import Attack, sample

WRITES = ("write", "pwrite64", "writev", "ftruncate", "fallocate")
NAMES = ("rename", "link", "linkat", "unlink", "mkdir", "fsetxattr")
FAULTS: dict[str, tuple[str, ...]] = {
    "EIO": (
        "openat",
        "read",
        "pread64",
        *WRITES,
        *NAMES,
        "fsync",
        "fdatasync",
        "sync_file_range",
        "newfstatat",
        "fstat",
    ),
    "ENOSPC": ("openat", *WRITES, "rename", "link", "linkat", "mkdir", "fsetxattr"),
    "EDQUOT": ("openat", "writev", "pwrite64"),
    "EROFS": ("openat", *NAMES),
    "EINTR": ("openat", "read", *WRITES, "fsync", "flock", "fcntl"),
    "EMFILE": ("openat",),
    "EOPNOTSUPP": ("fsetxattr",),
    "ENOLCK": ("flock", "fcntl"),
    "ENOMEM": ("mmap", "openat"),
}
"""By error: the calls that may be answered with it."""


def attacked(most: int, errors: list[str]) -> tuple[int, int, list[str]]:
    """Inject each fault; give how many there were, how many of these failed an act, and what is wrong."""
    runs, failing, faults = 0, 0, []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        attack = Attack(Path(folder))
        calls = attack.calls()
        for error in errors:
            for name in FAULTS[error]:
                for number in sample(calls.get(name, 0), most):
                    outcome = attack.run_injected(name, number, f"error={error}")
                    runs += 1
                    failing += bool(outcome.failed)
                    where = f"{error} at {name} {number} of {calls[name]}"
                    faults += [f"{where}: {fault}; failed: {outcome.failed}" for fault in outcome.faults]
    return runs, failing, faults


def main() -> None:
    """Inject and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10, help="calls of one name that are let fail")
    parser.add_argument("--error", action="append", choices=FAULTS, help="only this one; may be repeated")
    options = parser.parse_args()
    runs, failing, faults = attacked(options.most, options.error or list(FAULTS))
    print(f"{runs} faults injected, {failing} made something fail and be told so, {len(faults)} faults found")
    for fault in faults:
        print(f"    {fault}")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
