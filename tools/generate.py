"""Writes the files that are generated from the code: to be run, by .venv/bin/python, after a change of settings."""

from pathlib import Path

from minipacs import config

ROOT = Path(__file__).parent.parent
START, END = "<!-- settings: generated -->\n", "<!-- end of settings -->\n"


def generated() -> dict[Path, str]:
    """Give the text of each generated file."""
    manual = ROOT / "docs/configuration.md"
    before, rest = manual.read_text().split(START)
    _, after = rest.split(END)
    return {
        ROOT / "etc/minipacs.toml": config.sample(),
        manual: before + START + config.table() + END + after,
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
