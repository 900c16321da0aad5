"""A web process: serves HTTP until it is told to leave; beside the workers, so that neither holds up the other."""

import asyncio
import os
import time
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from minipacs import metrics
from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.daemon import composition
from minipacs.daemon.process import Control
from minipacs.daemon.shared import Shared
from minipacs.daemon.sockets import WEB
from minipacs.errors import MinipacsError
from minipacs.net.identity.tokens import Tokens
from minipacs.net.identity.users import Users

if TYPE_CHECKING:
    from minipacs.web.server import WebServer

LOOK_INTERVAL_S = 0.25
"""How often orders are looked for: the event loop comes round more often than that of itself."""

PACKAGES = ("starlette", "uvicorn", "httptools", "uvloop", "PIL")


def run(shared: Shared, control: Control) -> None:
    """Be a web process. Raises MinipacsError if it cannot begin."""
    if not all(map(find_spec, PACKAGES)):
        raise MinipacsError("web.port needs more packages: pip install 'minipacs[web]'")
    from minipacs.web.access import Places, WebAccess
    from minipacs.web.app import make_app
    from minipacs.web.environment import Environment
    from minipacs.web.metadata_cache import MetadataCache
    from minipacs.web.server import WebServer

    config = shared.config
    metrics.share(shared.metrics_folder, control.slot)
    counted = metrics.Metrics(p.title for p in config.peers)
    archive = composition.open_archive(config, counted.commit, recovers=True)
    anonymous = config.web.anonymous if config.web.is_loopback else ()
    folder = config.storage.path
    access = WebAccess(
        Users(config.users_path), Tokens(folder / "tokens"), folder / "sessions", anonymous, config.web.origins
    )
    environment = Environment(
        archive,
        config.ae.title,
        access,
        Places(config.web.url, config.web.behind_proxy),
        Audit(None, Source(config.ae.title)),
        MetadataCache(archive),
        config.web.max_results,
        config.query.match_unknown,
        partial(os.eventfd_write, shared.wake_fd, 1),
    )
    sockets = shared.sockets.of(WEB)
    own = sockets[shared.number % len(sockets)]
    for sock in sockets:
        if sock is not own:
            sock.close()  # nobody would take what the system gives to it here
    server = WebServer(make_app(environment, counted.http_request), [own], config.timeouts.drain)
    server.run_beside(lambda: _attend(server, control))
    archive.close()


async def _attend(server: "WebServer", control: Control) -> None:
    """Beat, and obey: requests under way may end within the time for it, unless the order is to end."""
    control.ready()
    while True:
        _, orders = control.events(time.monotonic())
        if orders:
            server.leave(at_once="end" in orders)
        await asyncio.sleep(LOOK_INTERVAL_S)
