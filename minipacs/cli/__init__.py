"""The command line. What a command needs is imported when it is called, and no sooner."""

import importlib
from collections.abc import Mapping

import click

from minipacs import __version__
from minipacs.cli.faults import tell_faults

COMMANDS: Mapping[str, str] = {
    "amendments": "amendments:amendments",
    "associations": "associations:associations",
    "audit": "audit:audit",
    "backup": "care:backup",
    "changes": "changes:changes",
    "check": "service:check",
    "conflicts": "conflicts:conflicts",
    "commitments": "workflow.commitments:commitments",
    "conformance": "conformance:conformance",
    "correct": "amendments:correct",
    "delete": "care:delete",
    "echo": "network:echo",
    "export": "transfer:export_",
    "find": "query:find",
    "hl7": "workflow.hl7:hl7",
    "hold": "lifecycle.holds:hold",
    "import": "objects:import_",
    "merge": "lifecycle.merge:merge",
    "passwd": "identity:passwd",
    "probe": "network:probe",
    "procedure-steps": "workflow.performed_steps:performed_steps",
    "quarantine": "quarantine:quarantine",
    "queue": "workflow.routes:queue",
    "reindex": "care:reindex",
    "retention": "lifecycle.retention:retention",
    "routes": "workflow.routes:routes",
    "send": "transfer:send",
    "serve": "service:serve",
    "stats": "query:stats",
    "token": "identity:token",
    "unhold": "lifecycle.holds:unhold",
    "verify": "care:verify",
    "viewer": "viewer:viewer",
    "worklist": "workflow.worklist:worklist",
}
"""THE table of commands: the file in `commands` and the name in it."""


class Group(click.Group):
    """Commands that are imported when they are called; their faults are lines on standard error."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        found = getattr(importlib.import_module(f"minipacs.cli.commands.{module}"), name)
        assert isinstance(found, click.Command)  # noqa: S101
        return found

    def invoke(self, ctx: click.Context) -> object:
        """Run a command: exit status 1 for what failed, 2 for a configuration that is wrong."""
        with tell_faults():
            return super().invoke(ctx)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="minipacs")
def main() -> None:
    """Run and look after minipacs, a DICOM archive."""
