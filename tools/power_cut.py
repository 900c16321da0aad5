"""Cuts the power of a running archive, again and again, and says what was lost. To be run by root: it mounts disks.

The archive stores on a file system of its own, in a file. While clients store, replace and delete objects, fill the
worklist, perform steps and ask for commitments, its processes are killed and the file is copied at once: what the
system had not written by then is not in the copy, as after a power loss. An archive that is started on the copy must
have all that was acknowledged; with sync = "batch" all but what came in the last seconds. Every second round of each
kind compresses, every third one ends with one object that is stored when all is quiet, and every third only stores.

    .venv/bin/python tools/power_cut.py [--rounds N] [--sync always|batch|both] [--controls]

--controls leaves out one sync after the other, on purpose: a loss must be found within the rounds, or this tool would
not find a missing one. The exit status is 1 if anything was lost or a control was not found.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.support.acknowledged import Acknowledged
from tests.support.server import Server

DISK_BYTES = 400 << 20
SENDERS = 3
RUN_S = (2.0, 6.0)
UNMOUNT_S = 20
JOIN_S = 20
"""For a client to notice that its archive is gone; pynetdicom at times never does."""
BATCH_EXCUSED_S = 3.0
"""What `sync = "batch"` may lose: the last second, and as long as it takes to bring that to the disk here."""

CONTROLS = {
    "a file's bytes": (
        "always",
        "import minipacs.tree.objects as o, minipacs.tree.staging as s\n"
        "o.sync_data = lambda fd: None\ns.StagedFile.begin_sync = lambda self: None",
    ),
    "a folder's names": (
        "always",
        "import os, types, minipacs.tree.objects as o\n"
        "o.os = types.SimpleNamespace(**{**vars(os), 'fsync': lambda fd: None})",
    ),
    "the index's log": (
        "always",
        "import minipacs.index.engine.database as d\n"
        "d.Database.set_synced = lambda self, connection, synced: connection.execute('PRAGMA synchronous = OFF')",
    ),
    "the whole file system": (
        "batch",
        "import minipacs.archive.background_sync as b\nb.BackgroundSync.wake = lambda self: None",
    ),
}
"""By what is not synced: the kind of archive, and what is changed in it."""
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

    `is_quiet` has everybody stop first, and one object stored: nobody else's sync takes that along. With
    `is_plain` there are senders only: to delete brings the whole file system to the disk.
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
            heard.send_one(server.port)
        cut_at = time.monotonic()
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


def one_round(seed: int, sync: str, change: str = "") -> list[str]:
    """Cut once; print a line, and give what was lost."""
    compress = 'compress = "jpeg2000-lossless"' if seed % 2 else ""
    storage = f'sync = "{sync}"\n{compress}'
    with tempfile.TemporaryDirectory(prefix="power-cut-") as root:
        disk, folder = Path(root, "disk.img"), Path(root, "mount")
        disk.touch()
        os.truncate(disk, DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
        heard, cut_at = work_and_cut(
            disk, folder, storage, random.Random(seed), change, is_quiet=seed % 3 == 1, is_plain=seed % 3 == 2
        )
        faults, made_again = lost(disk, folder, storage, heard, cut_at)
    versions = sum(map(len, heard.versions.values()))
    rows = ", ".join(f"{len(names)} {kind}" for kind, names in heard.rows.items())
    print(
        f"{seed} {sync}{', compressing' if compress else ''}: {versions} objects, {len(heard.deleted)} deleted, {rows} "
        f"acknowledged; {made_again} rows made again, {len(faults)} lost",
        flush=True,
    )
    return faults


def controls(rounds: int, seed: int) -> bool:
    """Leave out one sync after the other; tell whether the loss was found each time."""
    is_found_always = True
    for name, (sync, change) in CONTROLS.items():
        found = next((at for at in range(rounds) if one_round(seed + at, sync, change)), None)
        is_found_always = is_found_always and found is not None
        print(f"control, {name} not synced: {'NOT FOUND' if found is None else f'found in round {found + 1}'}")
    return is_found_always


def main() -> None:
    """Run the rounds, or the controls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sync", choices=("always", "batch", "both"), default="both")
    parser.add_argument("--controls", action="store_true", help="leave out each sync in turn: must be found")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if os.getuid():
        raise SystemExit("only root can mount disks")
    if options.controls:
        raise SystemExit(not controls(options.rounds, options.seed))
    kinds = ("always", "batch") if options.sync == "both" else (options.sync,)
    has_lost = False
    for number in range(options.rounds):
        faults = one_round(options.seed + number // len(kinds), kinds[number % len(kinds)])
        has_lost = has_lost or bool(faults)
        for fault in faults:
            print(f"    {fault}")
    raise SystemExit(has_lost)


if __name__ == "__main__":
    main()
