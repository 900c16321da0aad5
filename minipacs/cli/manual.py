"""The manual page, from the commands themselves."""

import re
from collections.abc import Iterator

import click

from minipacs import __version__
from minipacs.cli import main


def manual() -> str:
    """Write minipacs(1) for man."""
    lines = [
        f'.TH MINIPACS 1 "" "minipacs {__version__}" "User Commands"',
        ".SH NAME",
        "minipacs \\- a DICOM archive",
        ".SH SYNOPSIS",
        "\\fBminipacs\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...",
        ".SH DESCRIPTION",
        _text(main.help or ""),
        "Listing commands print a table for people and, with \\fB\\-\\-json\\fR, one JSON document.",
        ".SH COMMANDS",
        *_commands(main, "minipacs"),
        ".SH EXIT STATUS",
        *_term("0", "Done."),
        *_term("1", "The operation failed, or found something wrong."),
        *_term("2", "The usage or the configuration is wrong: one line for each fault."),
        ".SH ENVIRONMENT",
        *_term("\\fBMINIPACS_CONFIG\\fR", "The configuration file, unless \\-\\-config names one."),
        ".SH FILES",
        *_term("\\fI/etc/minipacs/minipacs.toml\\fR", "The configuration file, if no other one is named."),
        ".SH SIGNALS",
        "Of \\fBminipacs serve\\fR:",
        *_term("SIGTERM, SIGINT", "End; open associations have the time of timeouts.drain. A second one ends at once."),
        *_term("SIGHUP", "Read the configuration again. Associations go on under the one they began with."),
    ]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        assert command is not None  # noqa: S101  it is listed
        yield from _command(command, f"{path} {name}")
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")


def _command(command: click.Command, path: str) -> Iterator[str]:
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    shown = " ".join(f"\\fI{_escaped(_metavar(a))}\\fR" for a in arguments)
    yield f".SS \\fB{_escaped(path)}\\fR {shown}".rstrip()
    yield _text(command.help or "")
    for option in command.params:
        if isinstance(option, click.Option):
            yield from _option(option)


def _metavar(parameter: click.Parameter) -> str:
    of_type = parameter.type.name if isinstance(parameter, click.Option) else parameter.human_readable_name
    return parameter.metavar or of_type.upper()


def _option(option: click.Option) -> Iterator[str]:
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in option.opts)
    value = "" if option.is_flag else f" \\fI{_escaped(_metavar(option))}\\fR"
    yield from _term(names + value, _text(option.help or ""))


def _term(term: str, text: str) -> list[str]:
    return [".TP", term, text]


def _text(text: str) -> str:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return "\n.PP\n".join(map(_escaped, paragraphs))


def _escaped(text: str) -> str:
    """Escape what roff takes for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)
