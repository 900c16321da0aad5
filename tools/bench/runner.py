"""Runs works on systems, several times, and reports: what the benchmarks have in common."""

import argparse
import json
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tools.bench.report import Results, machine
from tools.bench.systems import BenchError, Minipacs, System
from tools.bench.wire import WireError
from tools.bench.works import NotMeasured, Work, Workshop


def run(parser: argparse.ArgumentParser, all_works: Sequence[Work], all_systems: Sequence[type[System]]) -> int:
    """Do what the command line asks for, and print a table; ours are measured in any case."""
    arguments = _arguments(parser, all_works)
    works = [work for work in all_works if work.name in arguments.work]
    systems = [one for one in all_systems if issubclass(one, Minipacs) or (arguments.peers and one.is_installed())]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results = Results(works, systems)
    if arguments.peers:
        absent = [system.name for system in all_systems if system not in systems]
        results.notes.update(dict.fromkeys(absent, "not installed"))
    try:
        with tempfile.TemporaryDirectory(prefix="minipacs-bench-", dir=arguments.folder) as name, ExitStack() as stack:
            shop = Workshop(Path(name))
            stack.callback(shop.close)
            for rep in range(arguments.reps):
                _repeat(rep, Path(name), shop, works, systems, results)
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    print("{cores} cores, {processor}, Python {python}, Linux {kernel}".format(**machine()))
    print(f"Medians of {arguments.reps} repetitions; less is better.\n\n{results.table()}")
    for what, note in results.notes.items():
        print(f"{what}: {note}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results.document(arguments.reps), indent=2) + "\n")
    return 0


def _repeat(
    rep: int, folder: Path, shop: Workshop, works: list[Work], systems: list[type[System]], results: Results
) -> None:
    """Do every work once on fresh stores: a work on all systems before the next, another system first each time."""
    with ExitStack() as stack:
        running = []
        for kind in systems[rep % len(systems) :] + systems[: rep % len(systems)]:
            try:
                system = kind(folder / f"{kind.name}-{rep}", shop.sink_port)
            except BenchError as error:
                results.notes[kind.name] = str(error)
                continue
            stack.callback(system.stop)
            running.append(system)
        for work in works:
            for system in running:
                _progress(f"repetition {rep + 1}: {work.name} on {system.name}")
                try:
                    results.add(work, system, work.run(shop, system))
                except (BenchError, NotMeasured, WireError, OSError) as error:
                    results.notes[f"{work.name} on {system.name}"] = str(error) or type(error).__name__
    _progress("")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _arguments(parser: argparse.ArgumentParser, works: Sequence[Work]) -> argparse.Namespace:
    names = [work.name for work in works]
    told = (f"{work.name}: {', '.join(figure.what for figure in work.figures)}" for work in works)
    parser.description = f"{parser.description} Works: {'; '.join(told)}"
    parser.add_argument("--peers", action="store_true", help="measure other archives too, if they are installed")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write every value to a file")
    parser.add_argument("--work", type=_names(names), default=names, metavar="NAME,...", help="only these works")
    parser.add_argument("--reps", type=_count, default=3, metavar="N", help="repetitions (3)")
    parser.add_argument("--folder", type=Path, help="where data and stores go meanwhile: a disk like the real one's")
    return parser.parse_args()


def _names(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        wrong = [name for name in text.split(",") if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(wrong)}; known are {', '.join(known)}")
        return text.split(",")

    return parse


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)
