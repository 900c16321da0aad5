"""`minipacs echo`."""

import click

from minipacs import log
from minipacs.cli.common import Load, config_option
from minipacs.config import Config
from minipacs.daemon import composition
from minipacs.errors import MinipacsError
from minipacs.net.access import Peer
from minipacs.scu.verification import verify


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
