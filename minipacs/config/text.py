"""Writes the configuration: the effective one, the sample file and the manual's table, from the schema."""

import json
import textwrap
from collections.abc import Iterator

from minipacs.config.effective import Config
from minipacs.config.schema import REPEATED, SECTIONS
from minipacs.config.settings import field_of, settings_of

MAX_SHOWN_CHARS = 80
SAMPLE_WIDTH = 110


def toml(value: object) -> str:
    """Render a value in TOML: numbers, booleans, text and lists; anything else as JSON does."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def shown(value: object) -> str:
    """Render text of unknown content on one line of bounded length."""
    text = str(value)
    line = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:MAX_SHOWN_CHARS])
    return line + "..." if len(text) > MAX_SHOWN_CHARS else line


def show(config: Config) -> str:
    """Write the effective configuration as TOML, the access policy in force included."""
    source = toml(str(config.source)) if config.source else "built-in defaults"
    blocks = [f"# The effective configuration, from {source}."]
    for name in SECTIONS:
        parts = getattr(config, REPEATED[name]) if name in REPEATED else [getattr(config, name)]
        blocks += ["\n".join(_section_lines(config, name, part)) for part in parts]
    return "\n\n".join(blocks) + "\n"


def _section_lines(config: Config, name: str, part: object) -> Iterator[str]:
    yield _header(name)
    for key in settings_of(type(part)):
        value = config.policy() if (name, key) == ("access", "policy") else getattr(part, field_of(key))
        yield f"{key} = {toml(value)}"


def sample() -> str:
    """Write the sample file: every setting explained, all but where the files go commented out."""
    lines = ["# Settings of minipacs. Each is optional; a line that begins with #key shows the default or an example."]
    for name, section in SECTIONS.items():
        is_repeated = name in REPEATED
        lines += ["", "", f"# {section.__doc__}", "#" * is_repeated + _header(name)]
        for key, row in settings_of(section).items():
            is_set = row.sample != row.default and not is_repeated
            lines += ["", *_comment(row.help), *_comment(f"Must be {row.kind.allowed}.")]
            lines.append("#" * (not is_set) + f"{key} = {toml(row.sample)}")
    return "\n".join(lines) + "\n"


def table() -> str:
    """Write the settings as a Markdown table."""
    lines = ["| key | default | must be | what it does |", "|---|---|---|---|"]
    for name, section in SECTIONS.items():
        for key, row in settings_of(section).items():
            default = "required" if row.default is None else f"`{toml(row.default)}`"
            lines.append(f"| `{name}.{key}` | {default} | {row.kind.allowed} | {row.help} |")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, SAMPLE_WIDTH, initial_indent="# ", subsequent_indent="# ")


def _header(name: str) -> str:
    return f"[[{name}]]" if name in REPEATED else f"[{name}]"
