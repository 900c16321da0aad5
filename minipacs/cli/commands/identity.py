"""`minipacs passwd` and `minipacs token`: who may come in over the network."""

import getpass
import sys
from pathlib import Path

import click

from minipacs.cli.auditing import tell_users_changed
from minipacs.cli.common import Load, config_option, prepare
from minipacs.cli.tables import Output, listing, shown_time
from minipacs.errors import MinipacsError
from minipacs.net.identity import tokens, users
from minipacs.net.identity.rights import RIGHTS, check_name, check_rights

TOKENS_FILE_NAME = "tokens"
_COLUMNS = ("name", "rights", "created", "expires", "state")
_USUAL_RIGHTS = tuple(right for right in RIGHTS if right not in ("delete", "admin", "deidentified"))


@click.command()
@config_option
@click.argument("name")
@click.option("--allow", default="", metavar="RIGHT,...", help=f"What the user may do; of: {' '.join(RIGHTS)}.")
@click.option("--delete", is_flag=True, help="Remove the user.")
def passwd(load: Load, name: str, allow: str, *, delete: bool) -> None:
    """Add a user, or give it another passcode and rights.

    Asks twice for the passcode; without a terminal, two lines of standard input. Without --allow a new user may do
    everything but delete and administer, and one who is there keeps the rights.
    """
    config = load()
    prepare(config)
    path = config.users_path
    if delete:
        if not users.remove(path, name):
            raise MinipacsError(f"there is no user {name!r}")
        tell_users_changed(config, f"user {name} removed")
        click.echo(f"removed {name}")
        return
    check_name(name)
    known = users.Users(path).get(name)
    rights = check_rights(_words(allow)) if allow else known.rights if known else _USUAL_RIGHTS
    is_new = users.add(_with_folder(path), name, _asked_twice(), rights)
    tell_users_changed(config, f"user {name} {'added' if is_new else 'changed'}: {' '.join(rights)}")
    click.echo(f"{'added' if is_new else 'changed'} {name}, who may: {' '.join(rights)}")


@click.group()
def token() -> None:
    """Bearer tokens for HTTP."""


@token.command()
@config_option
@click.argument("name")
@click.option("--allow", default="read", metavar="RIGHT,...", help="What its bearer may do; read unless given.")
@click.option("--days", default=0, metavar="N", help="How long it is good; 0, the usual, for ever.")
def create(load: Load, name: str, allow: str, days: int) -> None:
    """Make a token and print it: it is not to be had again."""
    path = _with_folder(_tokens_path(load))
    made = tokens.create(path, name, check_rights(_words(allow)), days)
    tell_users_changed(load(), f"token {name} created: {allow}")
    click.echo(made)


@token.command("list")
@config_option
@listing
def list_(load: Load, output: Output) -> None:
    """List the tokens."""
    output.print([_row(found) for found in tokens.listed(_tokens_path(load))], _COLUMNS)


@token.command()
@config_option
@click.argument("name")
def revoke(load: Load, name: str) -> None:
    """Let a token be good no more."""
    if not tokens.revoke(_tokens_path(load), name):
        raise MinipacsError(f"there is no token {name!r}")
    tell_users_changed(load(), f"token {name} revoked")
    click.echo(f"revoked {name}")


def _row(found: tokens.Token) -> dict[str, object]:
    return {
        "name": found.name,
        "rights": " ".join(found.rights),
        "created": shown_time(found.created_at),
        "expires": shown_time(found.expires_at) if found.expires_at else "never",
        "state": "expired" if tokens.has_expired(found) else "good",
    }


def _tokens_path(load: Load) -> Path:
    config = load()
    prepare(config)
    return config.storage.path / TOKENS_FILE_NAME


def _with_folder(path: Path) -> Path:
    if not path.parent.is_dir():
        raise MinipacsError(f"the folder {path.parent} is not there yet: start the archive once")
    return path


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _asked_twice() -> bytes:
    if sys.stdin.isatty():
        given = [getpass.getpass("Passcode: "), getpass.getpass("Again: ")]
    else:
        given = [sys.stdin.readline().rstrip("\n"), sys.stdin.readline().rstrip("\n")]
    if given[0] != given[1]:
        raise MinipacsError("the passcodes differ")
    return given[0].encode("utf-8", "surrogateescape")
