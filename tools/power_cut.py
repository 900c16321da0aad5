"""Cuts the power of a running archive, again and again, and says what was lost. To be run by root: it mounts disks.

The archive stores on a file system of its own, in a file. While clients store, replace and delete objects, fill the
worklist, perform steps and ask for commitments, the file system is shut down, where it can be, its processes are
killed, and the file is copied: what the system had not written by then is not in the copy, as after a power loss. An
archive that is started on the copy must have all that was acknowledged; with sync = "batch" all but what came in the
last seconds. Every second round of each kind compresses, every third one ends with one step that is performed and one
object that is stored when all is quiet, and every third only stores.

    .venv/bin/python tools/power_cut.py [--rounds N] [--sync always|batch|both] [--on ext4|xfs|btrfs] [--controls]

--controls leaves out one sync after the other, on purpose: a loss must be found within the rounds, or this tool would
not find a missing one. The exit status is 1 if anything was lost or a control was not found.
"""

import argparse
import fcntl
import itertools
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.support.acknowledged import Acknowledged
from tests.support.server import Server

DISK_BYTES = 600 << 20
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
"""How to make each file system."""
SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)
"""An ioctl of ext4 and XFS, and how: nothing is written from now on, not even the file system's own log."""
SENDERS = 3
RUN_S = (2.0, 6.0)
UNMOUNT_S = 20
JOIN_S = 20
"""For a client to notice that its archive is gone; pynetdicom at times never does."""
BATCH_EXCUSED_S = 3.0
"""What `sync = "batch"` may lose: the last second, and as long as it takes to bring that to the disk here."""


class Control(NamedTuple):
    """What does not come to the disk, how that is done, and in which mode of the archive."""

    name: str
    change: str
    sync: str = "always"


CONTROLS = (
    Control(
        "a file's bytes",
        "import minipacs.tree.objects as o, minipacs.tree.staging as s\n"
        "o.sync_data = lambda fd: None\ns.StagedFile.begin_sync = lambda self: None",
    ),
    Control(
        "a folder's names",
        "import os, types, minipacs.tree.objects as o\n"
        "o.os = types.SimpleNamespace(**{**vars(os), 'fsync': lambda fd: None})",
    ),
    Control(
        "the index's log",
        "import minipacs.index.engine.database as d\n"
        "d.Database.set_synced = lambda self, connection, synced: connection.execute('PRAGMA synchronous = OFF')",
    ),
    Control(
        # its sync alone is never missed: with the next one of anything its length is known, which is all that counts
        "the daemon's lock",
        "import os, types, minipacs.tree.locks as l\n"
        "none = lambda *arguments: None\n"
        "l.os = types.SimpleNamespace(**{**vars(os), 'pwrite': none, 'ftruncate': none, 'fsync': none})",
    ),
    Control(
        "the whole file system",
        "import minipacs.archive.background_sync as b\nb.BackgroundSync.wake = lambda self: None",
        sync="batch",
    ),
)
_PROGRAM = """import runpy, sys
{change}
sys.argv = sys.argv[3:]
runpy.run_module("minipacs", run_name="__main__", alter_sys=True)
"""

OPEN = '[access]\npolicy="open"'


def work_and_cut(
    disk: Path, folder: Path, storage: str, chance: random.Random, change: str, *, is_quiet: bool, is_plain: bool
) -> tuple[Acknowledged, float]:
    """Work for a while, then copy the disk as it is; give what was acknowledged, and until when that counts.

    `is_quiet` has everybody stop first, then one step performed and one object stored: nobody else's sync takes these
    along, and that of a file not what the log of the index was written over with. With `is_plain` there are senders
    only: to delete brings the whole file system to the disk.
    """
    with mounted(disk, folder):
        wrapper = [sys.executable, "-c", _PROGRAM.format(change=change)] if change else None
        server = Server(folder / "archive", more=OPEN, storage=storage, wrapper=wrapper)
        heard, is_over = Acknowledged(), threading.Event()
        over = is_over.is_set
        works = [(heard.send, server.port, f"SCU{i}", chance.randrange(1 << 30), over) for i in range(SENDERS)]
        if not is_plain:
            works += [(heard.remove, server.port, server.config, over), (heard.schedule, server.config, over)]
            works += [(heard.perform, server.port, over)]
        threads = [threading.Thread(target=work, args=arguments, daemon=True) for work, *arguments in works]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(*RUN_S))
        if is_quiet:
            is_over.set()
            for thread in threads:
                thread.join(JOIN_S)
            heard.perform_one(server.port)
            heard.send_one(server.port)
        cut_at = time.monotonic()
        shut_down(folder)
        server.kill()
        is_over.set()
        subprocess.run(["cp", "--sparse=always", disk, disk.with_suffix(".cut")], check=True)
        for thread in threads:
            thread.join(JOIN_S)
    return heard, cut_at


def lost(disk: Path, folder: Path, storage: str, heard: Acknowledged, cut_at: float) -> tuple[list[str], int]:
    """Start on the copied disk; give what is wrong with what was acknowledged, and how many rows were made again."""
    excused_s = BATCH_EXCUSED_S if "batch" in storage else 0
    with mounted(disk.with_suffix(".cut"), folder):
        try:
            server = Server(folder / "archive", more=OPEN, storage=storage.partition("\n")[0])
        except AssertionError as error:
            return [f"it does not start: {str(error)[-300:]}"], 0
        recovered = server.events("recovered after an unclean end")
        server.stop()
        faults = list(heard.missing(server.data, cut_at, excused_s))
    return faults, int(str(recovered[0]["files_indexed"])) if recovered else 0


def shut_down(folder: Path) -> None:
    """Have a file system write nothing any more; btrfs cannot, and goes on until its processes are killed."""
    fd = os.open(folder, os.O_RDONLY)
    with suppress(OSError):
        fcntl.ioctl(fd, SHUTDOWN, NO_LOG_FLUSH)
    os.close(fd)


@contextmanager
def mounted(disk: Path, folder: Path) -> Iterator[None]:
    """Mount a disk, and take it away again when nobody uses it any more."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", disk, folder], check=True)
    try:
        yield
    finally:
        deadline = time.monotonic() + UNMOUNT_S
        while subprocess.run(["umount", folder], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"{folder} is still in use")
            time.sleep(0.05)  # killed processes are on their way out


def one_round(seed: int, sync: str, on: str, change: str = "") -> list[str]:
    """Cut once; print a line, and give what was lost."""
    compress = 'compress = "jpeg2000-lossless"' if seed % 2 else ""
    storage = f'sync = "{sync}"\n{compress}'
    with tempfile.TemporaryDirectory(prefix="power-cut-") as root:
        disk, folder = Path(root, "disk.img"), Path(root, "mount")
        disk.touch()
        os.truncate(disk, DISK_BYTES)
        subprocess.run([*MAKE[on], disk], check=True, capture_output=True)
        heard, cut_at = work_and_cut(
            disk, folder, storage, random.Random(seed), change, is_quiet=seed % 3 == 1, is_plain=seed % 3 == 2
        )
        faults, made_again = lost(disk, folder, storage, heard, cut_at)
    versions = sum(map(len, heard.versions.values()))
    rows = ", ".join(f"{len(names)} {kind}" for kind, names in heard.rows.items())
    print(
        f"{seed} {on} {sync}{', compressing' if compress else ''}: {versions} objects, {len(heard.deleted)} deleted, "
        f"{rows} acknowledged; {made_again} rows made again, {len(faults)} lost",
        flush=True,
    )
    return faults


def controls(rounds: int, seed: int, on: str) -> bool:
    """Leave out one sync after the other; tell whether the loss was found each time."""
    is_found_always = True
    for control in CONTROLS:
        found = next((at for at in range(rounds) if one_round(seed + at, control.sync, on, control.change)), None)
        is_found_always = is_found_always and found is not None
        told = "NOT FOUND" if found is None else f"found in round {found + 1}"
        print(f"control, {control.name} not synced: {told}", flush=True)
    return is_found_always


def main() -> None:
    """Run the rounds, or the controls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--sync", choices=("always", "batch", "both"), default="both")
    parser.add_argument("--on", choices=MAKE, help="a file system; else one after the other")
    parser.add_argument("--controls", action="store_true", help="leave out each sync in turn: must be found")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if os.getuid():
        raise SystemExit("only root can mount disks")
    if options.controls:
        raise SystemExit(not controls(options.rounds, options.seed, options.on or "ext4"))
    modes = ("always", "batch") if options.sync == "both" else (options.sync,)
    kinds = list(itertools.product([options.on] if options.on else MAKE, modes))
    has_lost = False
    for number in range(options.rounds):
        on, sync = kinds[number % len(kinds)]
        faults = one_round(options.seed + number // len(kinds), sync, on)
        has_lost = has_lost or bool(faults)
        for fault in faults:
            print(f"    {fault}")
    raise SystemExit(has_lost)


if __name__ == "__main__":
    main()
