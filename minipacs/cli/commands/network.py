"""`minipacs echo` and `minipacs probe`: whether a peer answers, and what of the archive could not reach it."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from minipacs import log
from minipacs.archive.archive import Archive
from minipacs.cli.commands.query import asked_keys
from minipacs.cli.common import Load, config_option, opened, parse_keys
from minipacs.cli.tables import Output, listing
from minipacs.config import Config
from minipacs.daemon import composition
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.tables.dictionary import UIDS
from minipacs.dicom.tables.sop_classes import STORAGE
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from minipacs.errors import MinipacsError
from minipacs.index import Query
from minipacs.net.access import Peer
from minipacs.scu.verification import verify

if TYPE_CHECKING:
    from minipacs.scu.probe import Found, Kind

_COLUMNS = ("class", "stored_in", "objects", "goes")
_MORE_COLUMNS = ("sop_class_uid", "transfer_syntax_uid", "sent_in", "accepted", "as_scu", "as_scp")
_UIDS_AT_ONCE = 500
AS_STORED, TRANSCODED, ACCEPTED, REFUSED = "as stored", "transcoded", "accepted", "no"


@click.command()
@config_option
@click.argument("title", metavar="PEER")
def echo(load: Load, title: str) -> None:
    """Send a C-ECHO to a configured peer."""
    config = load()
    log.setup("error", config.log.format)
    peer = known_peer(config, title)
    where = f"{title} at {peer.host} port {peer.port}"
    try:
        duration_s = verify(composition.requestor(config), peer)
    except MinipacsError as error:
        raise MinipacsError(f"{where}: {error}") from error
    click.echo(f"{where} answered in {duration_s * 1000:.0f} ms")


def known_peer(config: Config, title: str) -> Peer:
    """Look up a peer that can be called. Raises MinipacsError."""
    known = composition.peers(config)
    if title not in known.by_title:
        raise MinipacsError(f"no [[peer]] is called {title!r}; configured: {', '.join(known.by_title) or 'none'}")
    peer = known.destination(title)
    if peer is None:
        raise MinipacsError(f"[[peer]] {title} has no host to call")
    return peer


@click.command()
@config_option
@click.option(
    "--all", "every", is_flag=True, help="Ask for every storage SOP class, also those of which none is stored."
)
@click.argument("title", metavar="PEER")
@click.argument("keys", nargs=-1, metavar="KEY=VALUE...")
@listing
def probe(load: Load, title: str, keys: Sequence[str], *, every: bool, output: Output) -> None:
    """Ask a configured peer what it would accept: of all that is stored, or of what matches. Nothing is sent.

    Each class is told in each transfer syntax that it is stored in: whether objects would go as stored, transcoded, or
    not at all; then services, with the roles that the peer would let us have. Exit status 1 if something could not go.
    """
    from minipacs.scu.probe import SERVICES, kinds_to_send
    from minipacs.scu.probe import probe as ask

    config = load()
    peer = known_peer(config, title)
    asked = parse_keys(keys)
    with opened(lambda: config, read_only=True) as archive:
        held = _matching(archive, asked, keys) if asked else archive.index.kinds()
    kinds = dict.fromkeys([*held, *((uid, EXPLICIT_VR_LITTLE_ENDIAN) for uid in STORAGE if every)])
    try:
        found = ask(composition.requestor(config), peer, kinds_to_send(kinds, peer.transfer_syntaxes))
    except MinipacsError as error:
        raise MinipacsError(f"{title} at {peer.host} port {peer.port}: {error}") from error
    rows = [_row(found, kind, held.get(kind, 0), peer.transfer_syntaxes) for kind in sorted(kinds)]
    services = [_service(found, uid) for uid in SERVICES]
    limits = _limits(found)
    document = {"peer": title, **limits, "objects": rows, "services": services}
    output.print([*rows, *services], _COLUMNS, _MORE_COLUMNS, document)
    if output.form == "table":
        click.echo("\n" + "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in limits.items()))
    lost = sum(held.get(kind, 0) for kind, row in zip(sorted(kinds), rows, strict=True) if row["goes"] == REFUSED)
    if lost:
        click.echo(f"{lost} of {sum(held.values())} objects could not reach {title}", err=True)
        sys.exit(1)


def _matching(archive: Archive, asked: Mapping[str, str], keys: Sequence[str]) -> "Mapping[Kind, int]":
    """Count what matches by class and transfer syntax."""
    query = Query("IMAGE", asked_keys(asked, archive.index.keys, "IMAGE"), [BY_KEYWORD["SOPInstanceUID"]])
    uids = [uid for (uid,) in archive.index.find(query)]
    if not uids:
        raise MinipacsError(f"nothing matches {' '.join(keys)}")
    counts: Counter[Kind] = Counter()
    for begin in range(0, len(uids), _UIDS_AT_ONCE):
        for instance in archive.index.instances({"SOPInstanceUID": uids[begin : begin + _UIDS_AT_ONCE]}):
            counts[instance.sop_class_uid, instance.transfer_syntax_uid] += 1
    return counts


def _row(found: "Found", kind: "Kind", count: int, preferred: Sequence[str]) -> dict[str, object]:
    sop_class, stored = kind
    way = found.way(sop_class, stored, preferred)
    return {
        **_named(found, sop_class),
        "stored_in": _name(stored),
        "transfer_syntax_uid": stored,
        "objects": count,
        "goes": REFUSED if way is None else AS_STORED if way == stored else TRANSCODED,
        "sent_in": None if way is None else _name(way),
    }


def _service(found: "Found", uid: str) -> dict[str, object]:
    return {**_named(found, uid), "goes": ACCEPTED if found.syntaxes(uid) else REFUSED}


def _named(found: "Found", uid: str) -> dict[str, object]:
    as_scu, as_scp = found.roles.get(uid, (bool(found.syntaxes(uid)), False))
    return {
        "class": STORAGE.get(uid) or UIDS.get(uid, (uid,))[0],
        "sop_class_uid": uid,
        "stored_in": None,
        "objects": None,
        "accepted": [_name(syntax) for syntax in found.syntaxes(uid)],
        "as_scu": as_scu,
        "as_scp": as_scp,
    }


def _name(syntax: str) -> str:
    known = TRANSFER_SYNTAXES.get(syntax)
    return syntax if known is None else known.name


def _limits(found: "Found") -> dict[str, object]:
    uid, version = found.implementation
    return {
        "implementation_class_uid": uid or None,
        "implementation_version_name": version or None,
        "max_pdu_bytes": found.max_pdu_bytes or "no limit",
        "associations": found.associations,
    }
