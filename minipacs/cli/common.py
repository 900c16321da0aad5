"""What commands share: the option for the configuration, the way to the archive, the reading of keys."""

import functools
import os
import pwd
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from minipacs import daemon, log
from minipacs.archive.archive import Archive
from minipacs.config import Config, load, resolve
from minipacs.dicom.matching.words import keys_of
from minipacs.errors import system_user

F = TypeVar("F", bound=Callable[..., Any])
Load = Callable[..., Config]
"""Reads the configuration, with overrides by key path. Raises ConfigError."""
_STARTED_BY = system_user()
"""Whoever this process ran as before `become_owner`."""


def config_option(command: F) -> F:
    """Add `--config` and hand the command a function that loads it, with overrides."""

    @click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration file; else $MINIPACS_CONFIG, else /etc/minipacs/minipacs.toml if it exists.",
    )
    @functools.wraps(command)
    def wrapped(path: Path | None, **arguments: Any) -> Any:
        return command(functools.partial(load, resolve(path)), **arguments)

    return wrapped  # type: ignore[return-value]


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def prepare(config: Config, level: str = "warning") -> None:
    """Get ready to touch the archive: log to standard error, and if run as root, become the folder's owner."""
    log.setup(level, config.log.format)
    become_owner(config.storage.path)


def become_owner(path: Path) -> None:
    """Change from root to the owner of `path`, so that no file of the archive ends up as root's."""
    if os.geteuid() != 0 or not path.exists():
        return
    found = path.stat()
    if found.st_uid == 0:
        return
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
        os.initgroups(name, found.st_gid)
    except KeyError:
        os.setgroups([found.st_gid])
    os.setgid(found.st_gid)
    os.setuid(found.st_uid)


def caller() -> str:
    """Return who calls this command: the user that logged in, also behind sudo, else the one that it was started by."""
    try:
        return os.environ.get("SUDO_USER") or os.getlogin()
    except OSError:
        return _STARTED_BY


def parse_keys(words: Sequence[str]) -> dict[str, str]:
    """Read `KEY=VALUE` words. Raises a usage error for what is none."""
    try:
        return keys_of(words)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def parse_choice(words: Sequence[str], purpose: str) -> dict[str, str]:
    """Read `KEY=VALUE` words that choose something of all there is. Raises a usage error for those that do not."""
    given = parse_keys(words)
    if not any(value.strip("* ") for value in given.values()):
        raise click.UsageError(f"keys that match everything are not taken: name what is {purpose}")
    return given


@contextmanager
def opened(load: Load, *, read_only: bool = False) -> Iterator[Archive]:
    """Open the configured archive, beside a daemon that may run; as its owner, where root calls."""
    config = load()
    prepare(config)
    archive = daemon.open_archive(config, read_only=read_only)
    try:
        yield archive
    finally:
        archive.close()
