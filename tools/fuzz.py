"""Feeds every decoder that meets bytes from outside with what coverage-guided fuzzing makes up (atheris, libFuzzer).

A decoder may refuse, by the errors that it says it raises, and nothing else: no other exception, no input that takes it
more than --slow seconds, no more memory than --memory MiB. Each is given --seconds of its own process.

    .venv/bin/python tools/fuzz.py [--seconds S] [--decoder NAME]...
Needs the package atheris. Inputs that break something are left in --keep. The exit status is 1 if there are any.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))


def fuzz(name: str, corpus: str, options: argparse.Namespace) -> None:
    """Be the process that fuzzes one decoder; does not return."""
    import atheris

    with atheris.instrument_imports(include=["minipacs"]):
        from tests.support.decoders import DECODERS, MAX_INPUT_BYTES
    decoder = DECODERS[name]
    for number, seed in enumerate(decoder.seeds):
        Path(corpus, f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        with suppress(*decoder.raises):
            decoder.decode(data)

    limits = [f"-max_total_time={options.seconds}", f"-timeout={options.slow}", f"-rss_limit_mb={options.memory}"]
    more = [
        f"-max_len={MAX_INPUT_BYTES}",
        "-print_final_stats=1",
        f"-artifact_prefix={options.keep}/",
        f"-seed={options.seed}",
    ]
    atheris.Setup([sys.argv[0], *limits, *more, corpus], one)
    atheris.Fuzz()


def run(name: str, options: argparse.Namespace) -> tuple[int, str]:
    """Fuzz one decoder in a process of its own; give how many inputs it took, and what broke ("" for nothing)."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as corpus:
        command = [sys.executable, __file__, "--be", name, corpus, "--seconds", options.seconds, "--slow", options.slow]
        command += ["--memory", options.memory, "--keep", options.keep, "--seed", options.seed]
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, errors="replace", check=False
        )
    count = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    broken = re.search(r"=== Uncaught Python exception: ===\n(.*?)\n(?:==|\n)", done.stderr, re.DOTALL)
    if done.returncode == 0 and count is not None:
        return int(count[1]), ""
    return int(count[1]) if count else 0, broken[1].strip() if broken else done.stderr[-800:]


def main() -> None:
    """Fuzz all decoders, one after the other, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each decoder")
    parser.add_argument("--slow", type=int, default=5, help="seconds after which an input is too slow")
    parser.add_argument("--memory", type=int, default=1024, help="MiB that a process may take")
    parser.add_argument("--decoder", action="append", help="only this one; may be repeated")
    parser.add_argument("--keep", default=tempfile.gettempdir(), help="folder for inputs that break something")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--be", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        fuzz(*options.be, options)
    from tests.support.decoders import DECODERS

    has_broken = False
    for name in options.decoder or DECODERS:
        count, broken = run(name, options)
        has_broken = has_broken or bool(broken)
        print(f"{name:28} {count:9} inputs, {'broken' if broken else 'unbroken'}", flush=True)
        if broken:
            print("    " + broken.replace("\n", "\n    "))
    raise SystemExit(has_broken)


if __name__ == "__main__":
    main()
