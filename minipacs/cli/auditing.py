"""What commands tell the audit trail: who called, also behind sudo, and what was done to whose data."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from minipacs import daemon
from minipacs.archive import auditing
from minipacs.audit import codes, events
from minipacs.audit.audit import Audit, person
from minipacs.audit.message import Action, EventOutcome, Participant, QueryObject, ResourceObject
from minipacs.cli.common import caller
from minipacs.config import Config
from minipacs.dicom.data_set.values import Values
from minipacs.errors import system_user

MAX_RESOURCES = 32
"""Things that one alert names; it tells how many there are in all."""


@contextmanager
def trail(config: Config) -> Iterator[Audit]:
    """Open the audit trail for a command. Raises MinipacsError: what cannot be told is not done."""
    audit = daemon.open_audit(config)
    try:
        yield audit
    finally:
        audit.close()


def who() -> Participant:
    """Name whoever called this command, and the user that it runs as if that is another one."""
    name, called_by = system_user(), caller()
    known = person(name, socket.gethostname(), sudo_user="" if called_by == name else called_by)
    return Participant(known.user_id, is_requestor=True, user_name=known.user_name)


def tell_looked(config: Config, *words: object) -> None:
    """Tell that whoever called this command looks at patient data, with which of its `words`."""
    with trail(config) as audit:
        tell_asked(audit, *words)


def tell_asked(audit: Audit, *words: object) -> None:
    """Tell it in a trail that is open."""
    if audit.tells_queries:
        command = click.get_current_context().command_path.partition(" ")[2]
        asked = " ".join(map(str, (command, *words)))
        audit.tell(events.query(who(), audit.node, QueryObject(asked.encode(), url=f"minipacs:{asked}")))


def tell_users_changed(config: Config, description: str) -> None:
    """Tell that a user or a token came, changed or went."""
    with trail(config) as audit:
        kind = codes.USER_SECURITY_ATTRIBUTES_CHANGED
        audit.tell(events.security_alert(kind, audit.process, performers=[who()], description=description))


def tell_damage(config: Config, faults: Sequence[tuple[str, str]]) -> None:
    """Tell of files that are not what was stored: pairs of digest and fault."""
    if not faults:
        return
    resources = [ResourceObject(f"sha256:{digest}", fault, is_uri=True) for digest, fault in faults[:MAX_RESOURCES]]
    description = f"{len(faults)} stored objects are missing or damaged"
    kind = codes.OBJECT_SECURITY_ATTRIBUTES_CHANGED
    with trail(config) as audit:
        alert = events.security_alert(
            kind,
            audit.process,
            performers=[who()],
            resources=resources,
            outcome=EventOutcome.MAJOR_FAILURE,
            description=description,
        )
        audit.tell(alert)


def tell_scheduled(config: Config, steps: Sequence[Values], action: Action) -> None:
    """Tell that worklist items came, changed or went."""
    with trail(config) as audit:
        auditing.tell_scheduled(audit, who(), steps, action)


def address(path: os.PathLike[str] | str) -> str:
    """Name a place on this machine."""
    return f"file://{socket.gethostname()}{os.path.abspath(path)}"
