"""Times what an archive of many small files needs at a start and to be looked after; no network takes part.

Files are published without a sync, then their rows made as after a loss of the index: that is the first figure. What is
in the system's memory of them counts, as it does after a process has died.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

from minipacs.archive.archive import Archive
from minipacs.archive.care.checking import Pace, check
from minipacs.archive.care.recovery import Recovery, recover
from minipacs.archive.care.reindex import reindex
from minipacs.archive.care.sizes import SizeCheck, begin
from minipacs.archive.ingest import StoragePolicy
from minipacs.archive.ports import Receipt
from tools.bench.data import Load, encode
from tools.bench.report import machine

INSTANCES, SERIES = 25, 2


class WrongCount(Exception):
    """A work did not do what it is timed for."""


def publish(archive: Archive, load: Load) -> None:
    """Put the files of a load into the tree; their rows are left out."""
    tree = archive.tree
    numbers = product(range(load.studies), range(load.series), range(load.instances))
    for count, (study, series, instance) in enumerate(numbers):
        staged = tree.stage()
        staged.write([encode(load, study, series, instance)])
        with tree.holding(staged.digest) as held:
            tree.put(staged, staged.digest, Receipt(1.7e9 + count / 1000, "BENCH"), held)


def works(archive: Archive) -> Iterator[tuple[str, Callable[[], int]]]:
    """Give each work, with what tells how many files it has dealt with."""
    yield "recovery without an index: every row made again", lambda: recovered(archive).indexed
    yield "recovery, all rows there: what a start waits for", lambda: recovered(archive).indexed
    yield "sizes, looked at while others are served", lambda: sizes(archive)
    yield "`minipacs verify`: every file read", lambda: len(list(check(archive.tree, archive.index, Pace(0))))
    yield "`minipacs reindex`", lambda: reindex(archive, lambda files: None).indexed


def recovered(archive: Archive) -> Recovery:
    return recover(archive.tree, archive.index, archive.charset_of)


def sizes(archive: Archive) -> int:
    begin(archive.index)
    SizeCheck(archive).work()
    return archive.index.unavailable_count()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench/recovery", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="how many small files (100000)")
    arguments = parser.parse_args()
    load = Load("recovery", arguments.files // (SERIES * INSTANCES), SERIES, INSTANCES, rows=64, year=2017)
    expected = [load.objects, 0, 0, 0, load.objects]
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    with tempfile.TemporaryDirectory(prefix="minipacs-recovery-") as name:
        archive = Archive.open(Path(name), StoragePolicy(), sync="batch")
        try:
            publish(archive, load)
            print(f"{load.objects} files of {len(encode(load, 0, 0, 0))} bytes\n")
            print("| work | wall s | CPU s |\n|---|---|---|", flush=True)
            for (work, run), count in zip(works(archive), expected, strict=True):
                wall, cpu = time.perf_counter(), time.process_time()
                if (found := run()) != count:
                    raise WrongCount(f"{work}: {found} files instead of {count}")
                print(f"| {work} | {time.perf_counter() - wall:.1f} | {time.process_time() - cpu:.1f} |", flush=True)
        except WrongCount as error:
            print(f"recovery: {error}", file=sys.stderr)
            return 1
        finally:
            archive.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
