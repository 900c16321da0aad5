"""`minipacs echo`."""

from collections.abc import Callable

import click

from minipacs import daemon, log
from minipacs.cli.common import config_option
from minipacs.config import Config
from minipacs.errors import MinipacsError
from minipacs.services.verification import verify


@click.command()
@config_option
@click.argument("peer")
def echo(load: Callable[..., Config], peer: str) -> None:
    """Send a C-ECHO to a configured peer."""
    config = load()
    log.setup("error", config.log.format)
    known = {p.title: p for p in daemon.peers(config)}
    if peer not in known:
        raise MinipacsError(f"no [[peer]] is called {peer!r}; configured: {', '.join(known) or 'none'}")
    if not known[peer].is_destination:
        raise MinipacsError(f"[[peer]] {peer} has no host to call")
    duration_s = verify(daemon.requestor(config), known[peer])
    click.echo(f"{peer} at {known[peer].host} port {known[peer].port} answered in {duration_s * 1000:.0f} ms")
