"""Keeps a daemon at work for a while, with clients that store, find, retrieve, hang up and vanish, and watches it.

Every --every seconds a line tells of what was done, and of memory, descriptors and threads of the workers. After the
first quarter of the time (caches and pools are full then) none of these may go on growing, and at the end nothing may
have failed, no traceback may be in the log, and `minipacs verify` must find every object.

    .venv/bin/python tools/soak.py [--seconds S] [--every S] [--clients N]
The exit status is 1 if something of that is not so.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.support.finder import Finder
from tests.support.objects import ct
from tests.support.retriever import get
from tests.support.sender import Sender
from tests.support.server import Server, run
from tests.support.wire import CT, EXPLICIT, IMPLICIT, Wire

MAX_STORED = 20_000
GROWTH_KIB, GROWTH_COUNT = 32 << 10, 40
"""How much more there may be at the end than after the first quarter: memory of all workers; descriptors, threads."""


class Client:
    """Does one thing after another until it is over; counts what it did and what went wrong."""

    def __init__(self, port: int, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._port, self._chance = port, random.Random(seed)
        self._patient = f"P{seed}"
        self._works = (self.store, self.store, self.find, self.retrieve, self.transcode, self.vanish)

    def run(self, is_over: threading.Event) -> None:
        """Work."""
        while not is_over.is_set():
            work = self._chance.choice(self._works)
            try:
                work()
                self.done[work.__name__] += 1
            except (OSError, EOFError, AssertionError) as error:
                self.failed[f"{work.__name__}: {error!r:.80}"] += 1

    def store(self) -> None:
        """Store a few objects over one association."""
        if self.done["store"] * 5 > MAX_STORED:
            return
        with Sender(self._port) as sender:
            for _ in range(5):
                assert sender.store(ct(self._chance.choice((4, 64)), PatientID=self._patient)).status == 0
            sender.release()

    def find(self) -> None:
        """Ask for the studies of a patient."""
        with Finder(self._port) as finder:
            assert finder.find("STUDY", PatientID=self._patient, StudyInstanceUID="").status == 0
            finder.release()

    def _study(self) -> str | None:
        with Finder(self._port) as finder:
            found = finder.find("STUDY", PatientID=self._patient, StudyInstanceUID="")
            finder.release()
        return str(self._chance.choice(found.answers).StudyInstanceUID) if found.answers else None

    def retrieve(self) -> None:
        """Get a study."""
        study = self._study()
        if study is not None:
            assert get(self._port, (CT, EXPLICIT), level="STUDY", study=study).final.status == 0

    def transcode(self) -> None:
        """Get a study by a codec process."""
        study = self._study()
        if study is not None:
            assert get(self._port, (CT, IMPLICIT), level="STUDY", study=study).final.status == 0

    def vanish(self) -> None:
        """Connect, say nothing or half of something, and go."""
        with Wire(self._port) as wire:
            wire.send(b"\1\0\0\0\4\0"[: self._chance.randrange(7)])


def figures(server: Server) -> tuple[int, int, int]:
    """Give memory in KiB, descriptors and threads of the workers."""
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in server.children("worker")]
    memory = sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("VmRSS"))
    return memory, server.open_files(), server.threads()


def soak(seconds: float, every: float, clients: int) -> list[str]:
    """Work and watch; give what is wrong."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        server = Server(Path(folder), more='[access]\npolicy="open"', ae="workers = 2")
        everybody = [Client(server.port, seed) for seed in range(clients)]
        is_over = threading.Event()
        threads = [threading.Thread(target=client.run, args=(is_over,)) for client in everybody]
        begun, seen = time.monotonic(), []
        for thread in threads:
            thread.start()
        while time.monotonic() < begun + seconds:
            is_over.wait(min(every, max(begun + seconds - time.monotonic(), 0.01)))
            seen.append(figures(server))
            done = sum((client.done for client in everybody), Counter())
            counts = ", ".join(f"{count} {name}" for name, count in sorted(done.items()))
            memory, files, count = seen[-1]
            print(f"{time.monotonic() - begun:6.0f} s: {counts}; {memory >> 10} MiB, {files} files, {count} threads")
        is_over.set()
        for thread in threads:
            thread.join()
        faults = [f"{count} times {what}" for client in everybody for what, count in client.failed.items()]
        faults += [f"in the log: {line.strip()}" for line in server.raw if "Traceback" in line]
        verified = run("verify", config=server.config, check=False)
        faults += [f"verify: {verified.stdout[-300:]}"] if verified.returncode else []
        server.stop()
    return faults + grown(seen)


def grown(seen: list[tuple[int, int, int]]) -> list[str]:
    """Say what grew since the first quarter of the time."""
    early, late = seen[len(seen) // 4], seen[-1]
    limits = {"KiB of memory": GROWTH_KIB, "descriptors": GROWTH_COUNT, "threads": GROWTH_COUNT}
    return [
        f"{name} grew from {a} to {b}"
        for (name, limit), a, b in zip(limits.items(), early, late, strict=True)
        if b - a > limit
    ]


def main() -> None:
    """Soak and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--every", type=float, default=15)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    faults = soak(options.seconds, options.every, options.clients)
    print(f"{len(faults)} faults")
    for fault in faults:
        print(f"    {fault}")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
