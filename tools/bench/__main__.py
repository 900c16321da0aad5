"""Runs the benchmark: `./tools/bench/run`."""

import argparse
import sys

from tools.bench.runner import run
from tools.bench.systems import SYSTEMS
from tools.bench.works import WORKS

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tools/bench/run", description="Measure the archive with real clients.")
    sys.exit(run(parser, WORKS, SYSTEMS))
