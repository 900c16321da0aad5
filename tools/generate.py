"""Writes the files that come from the code: to be run, by .venv/bin/python, when that changes."""

import os
from pathlib import Path

from minipacs import config
from minipacs.cli.commands.conformance import statement
from minipacs.cli.manual import manual as manual_page

ROOT = Path(__file__).parent.parent
START, END = "<!-- settings: generated -->\n", "<!-- end of settings -->\n"


def generated() -> dict[Path, str]:
    """Give the text of each generated file."""
    manual = ROOT / "docs/configuration.md"
    before, rest = manual.read_text().split(START)
    _, after = rest.split(END)
    return {
        ROOT / "etc/minipacs.toml": config.sample(),
        ROOT / "docs/minipacs.1": manual_page(),
        ROOT / "docs/conformance.md": statement(config.load(Path(os.devnull))),
        manual: before + START + config.table() + END + after,
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
