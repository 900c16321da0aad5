"""Sends images of every kind through every encoder at hand, and says what becomes of them here.

Each image is compared with the known pixels, and what is not as it was with what dcmtk and gdcm decode. Outcomes:
    exact      every pixel, and every overlay that was encoded
    near       within what the code may have lost
    as others  the encoder has changed the pixels: dcmtk or gdcm decode the same as we do
    refused    nobody is sure of it, or the code is damaged: no picture is shown
    missed     refused here, but exact in another decoder
    wrong      another picture than was encoded

    .venv/bin/python tools/pixel_matrix.py [--encoder NAME]... [--list]
Needs dcmtk, libgdcm-tools and libopenjp2-tools of Debian, and Pillow. The exit status is 1 if anything is missed or
wrong.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.support.pixel_matrix import ENCODERS, Judgement, judge, kinds

BAD = ("missed", "wrong")


def main() -> None:
    """Go through the matrix and print a line for each encoder, and one for each fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", choices=ENCODERS, help="only this one; may be repeated")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="pixels-") as folder:
        for name in options.encoder or ENCODERS:
            found = {kind: judge(kind, name, Path(folder)) for kind in kinds()}
            counts = Counter(each.outcome for each in found.values() if each)
            total += counts
            print(f"{name:24} {told(counts)}", flush=True)
            for kind, each in found.items():
                if isinstance(each, Judgement) and each.outcome in BAD:
                    print(f"    {kind}: {each.outcome}, {each.reason}")
    print(f"{'all':24} {told(total)}")
    raise SystemExit(any(total[outcome] for outcome in BAD))


def told(counts: Counter[str]) -> str:
    """Write counts in one line."""
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "cannot encode any"


if __name__ == "__main__":
    main()
