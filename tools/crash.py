"""Kills the archive, at each system call of its write path and at random moments, and says what was lost.

First a process stores, replaces, stores again, deletes and (with --compress) compresses on a copy of a prepared
archive, and is killed at one system call; another recovers what is left. This is done for each call that changes
something, at most --most of each name, evenly taken. Then a whole daemon with senders is killed at random, all of its
processes or one worker, --rounds times over; what was acknowledged must be there with the same bytes.

    .venv/bin/python tools/crash.py [--most N] [--compress] [--rounds N]
Needs strace and the right to trace. The exit status is 1 if anything is lost, comes back or is left half-done.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.support.acknowledged import Acknowledged
from tests.support.attack import ACTS, COMPRESSION, Attack, sample
from tests.support.server import Server
from tests.support.storing import published, rows

CHANGING = (
    *("openat", "write", "pwrite64", "writev", "fsync", "fdatasync", "sync_file_range", "ftruncate", "fallocate"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "fsetxattr", "fchmod"),
)
SENDERS = 3
RUN_S = (0.3, 2.0)


def at_each_call(acts: dict, most: int) -> tuple[int, list[str]]:
    """Kill at each call; give how many kills there were, and what is wrong."""
    kills, faults = 0, []
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        attack = Attack(Path(folder), acts)
        for name, count in attack.calls().items():
            for number in sample(count, most) if name in CHANGING else ():
                outcome = attack.run_injected(name, number, "signal=SIGKILL")
                kills += outcome.was_killed
                faults += [f"killed at {name} {number} of {count}: {fault}" for fault in outcome.faults]
    return kills, faults


def at_random(rounds: int, seed: int) -> tuple[int, list[str]]:
    """Kill a daemon under load; give how many objects were acknowledged, and what is wrong."""
    chance, heard, faults = random.Random(seed), [], []
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        server = Server(Path(folder), more='[access]\npolicy="open"', ae="workers = 2")
        for number in range(rounds):
            everybody = chance.random() < 0.5
            now = [Acknowledged() for _ in range(SENDERS)]
            threads = [
                threading.Thread(target=one.send, args=(server.port, f"SCU{i}", seed + number * 100 + i))
                for i, one in enumerate(now)
            ]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(*RUN_S))
            if not everybody:
                os.kill(chance.choice(server.children("worker")), signal.SIGKILL)
                time.sleep(chance.uniform(*RUN_S))
            server.kill()
            for thread in threads:
                thread.join()
            heard += now
            server.start()
            faults += [f"round {number}: {fault}" for fault in lost(server, heard)]
        server.stop()
    return sum(len(versions) for one in heard for versions in one.versions.values()), faults


def lost(server: Server, heard: list[Acknowledged]) -> list[str]:
    """Give what was acknowledged and is not there, and files and rows without one another."""
    files = {path.stem for path in published(server.data)}
    online = {digest for digest, availability in rows(server.data).items() if availability == "ONLINE"}
    alone = [f"{len(online ^ files)} files or rows are alone"] if online ^ files else []
    return alone + [fault for one in heard for fault in one.missing(server.data)]


def main() -> None:
    """Run both parts and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=25, help="calls of one name at which to kill")
    parser.add_argument("--compress", action="store_true", help="kill a compression, too")
    parser.add_argument("--rounds", type=int, default=5, help="kills of a daemon at random")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    everything = []
    for acts in (ACTS, COMPRESSION) if options.compress else (ACTS,):
        kills, faults = at_each_call(acts, options.most)
        print(f"{', '.join(acts)}: {kills} kills at system calls, {len(faults)} faults", flush=True)
        everything += faults
    if options.rounds:
        stored, faults = at_random(options.rounds, options.seed)
        print(f"{options.rounds} kills at random: {stored} objects acknowledged, {len(faults)} faults", flush=True)
        everything += faults
    for fault in everything:
        print(f"    {fault}")
    raise SystemExit(bool(everything))


if __name__ == "__main__":
    main()
