"""Cuts the power of a running archive, again and again, and says what was lost. To be run by root: it mounts disks.

The archive stores on a file system of its own, in a file. While senders store and replace objects, its processes are
killed and the file is copied at once: what the system had not written by then is not in the copy, as after a power
loss. An archive that is started on the copy must have all that was acknowledged, and know when it came and from whom.

    .venv/bin/python tools/power_cut.py [--rounds N] [--sync always|batch]
"""

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.support.objects import ct, encode
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.storing import published

DISK_BYTES = 400 << 20
SENDERS = 3
SHARE_REPLACED = 0.15
RUN_S = (0.5, 4.0)
UNMOUNT_S = 10

Row = tuple[str, str, float, str]
"""Digest, availability, time of receipt, sender."""


class Acknowledged:
    """What a sender was answered: by SOP Instance UID the data set that is stored, and the one on its way."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.under_way: dict[str, bytes] = {}

    def send(self, port: int, title: str, seed: int) -> None:
        """Store and replace objects until the connection breaks."""
        chance = random.Random(seed)
        known = []
        try:
            with Sender(port, calling=title.encode()) as sender:
                while True:
                    if known and chance.random() < SHARE_REPLACED:
                        ds = chance.choice(known)
                        ds.PatientName = f"Again^{chance.random()}"
                    else:
                        ds = ct(rows=chance.choice((16, 64, 256)), PatientID=f"P{chance.randrange(9)}")
                        known.append(ds)
                    self.under_way = {ds.SOPInstanceUID: encode(ds)}
                    status = sender.store(ds).status
                    if status:
                        raise SystemExit(f"refused with {status:04X}")
                    self.stored |= self.under_way
                    self.under_way = {}
        except (OSError, EOFError):
            pass


def store_and_cut(disk: Path, folder: Path, storage: str, chance: random.Random) -> tuple[Acknowledged, dict[str, Row]]:
    """Store for a while, then copy the disk as it is; give what was acknowledged, and the rows there were."""
    with mounted(disk, folder):
        server = Server(folder / "archive", more='[access]\npolicy="open"', storage=storage)
        heard = [Acknowledged() for _ in range(SENDERS)]
        seeds = [chance.random() for _ in heard]
        threads = [
            threading.Thread(target=one.send, args=(server.port, f"SCU{i}", int(seeds[i] * 1e9)))
            for i, one in enumerate(heard)
        ]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(*RUN_S))
        server.kill()
        subprocess.run(["cp", "--sparse=always", disk, disk.with_suffix(".cut")], check=True)
        for thread in threads:
            thread.join()
        rows = read_rows(server)
    everything = Acknowledged()
    for one in heard:
        everything.stored |= one.stored
        everything.under_way |= one.under_way
    return everything, rows


def lost(disk: Path, folder: Path, storage: str, heard: Acknowledged, before: dict[str, Row]) -> tuple[list[str], int]:
    """Start on the copied disk; give what is wrong with what was acknowledged, and how many rows were made again."""
    with mounted(disk.with_suffix(".cut"), folder):
        server = Server(folder / "archive", more='[access]\npolicy="open"', storage=storage)
        (line,) = server.events("recovered after an unclean end") or [{"files_indexed": 0}]
        rows = read_rows(server)
        files = {path.stem: path.read_bytes() for path in published(server.data)}
        server.stop()
    faults = []
    for uid, data in heard.stored.items():
        digest, availability, *receipt = rows.get(uid, ("", "no row", 0.0, ""))
        raw = files.get(digest, b"")
        if availability != "ONLINE":
            faults.append(f"{uid}: {availability}")
        elif not raw.endswith((data, heard.under_way.get(uid, data))):
            faults.append(f"{uid}: not the last one acknowledged")
        elif uid not in heard.under_way and tuple(receipt) != before[uid][2:]:
            faults.append(f"{uid}: came {receipt}, not {before[uid][2:]}")
    return faults, int(str(line["files_indexed"]))


def read_rows(server: Server) -> dict[str, Row]:
    """Read the row of each instance by its SOP Instance UID."""
    with closing(sqlite3.connect(f"file:{server.data}/index.db?mode=ro", uri=True)) as index:
        columns = "sop_instance_uid, digest, availability, received_at, source_ae_title"
        return {uid: tuple(row) for uid, *row in index.execute(f"SELECT {columns} FROM instance")}


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


def main() -> None:
    """Run the rounds; the exit status is 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sync", choices=("always", "batch"), default="always", help="batch may lose a second")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if os.getuid():
        raise SystemExit("only root can mount disks")
    storage = f'sync = "{options.sync}"'
    has_lost = False
    for seed in range(options.seed, options.seed + options.rounds):
        with tempfile.TemporaryDirectory(prefix="power-cut-") as root:
            disk, folder = Path(root, "disk.img"), Path(root, "mount")
            disk.touch()
            os.truncate(disk, DISK_BYTES)
            subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
            heard, rows = store_and_cut(disk, folder, storage, random.Random(seed))
            faults, made_again = lost(disk, folder, storage, heard, rows)
        has_lost = has_lost or bool(faults)
        print(f"{seed}: {len(heard.stored)} acknowledged, {made_again} rows made again, {len(faults)} lost", flush=True)
        for fault in faults:
            print(f"    {fault}")
    raise SystemExit(has_lost)


if __name__ == "__main__":
    main()
