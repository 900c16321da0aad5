"""Who holds a lease: a process of this machine, named so that others can tell whether it still runs."""

import os
from functools import cache
from pathlib import Path

PROC = Path("/proc")


def this_process() -> str:
    """Name this process: boot of the machine, namespace of its number, number, start."""
    return f"{_boot()}:{_namespace()}:{os.getpid()}:{_started('self')}"


def boot_of(owner: str) -> str:
    """Return the boot of the machine that an owner lives, or lived, in."""
    return owner.partition(":")[0]


def is_gone(owner: str) -> bool:
    """Tell whether an owner is known to run no more; of one whose number means something elsewhere nobody knows."""
    boot, namespace, pid, started = owner.split(":")
    if boot != _boot():
        return True
    return namespace == _namespace() and _started(pid) != started


@cache
def _boot() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


@cache
def _namespace() -> str:
    return os.readlink(PROC / "self/ns/pid").strip("pid:[]")


def _started(pid: str) -> str:
    """Return when a process was started, in ticks since the boot; "" if there is none."""
    try:
        return (PROC / pid / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
