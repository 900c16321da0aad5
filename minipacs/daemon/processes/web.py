"""A web process: serves HTTP until it is told to leave; beside the workers, so that neither holds up the other."""

import asyncio
import ipaddress
import os
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from minipacs import metrics
from minipacs.config import Config
from minipacs.daemon import composition, extras
from minipacs.daemon.checking import findings
from minipacs.daemon.opening import open_archive, open_audit
from minipacs.daemon.processes.process import Control, share_one_heap
from minipacs.daemon.processes.shared import Shared
from minipacs.daemon.sockets import WEB
from minipacs.errors import MinipacsError
from minipacs.net.identity.tokens import Tokens
from minipacs.net.identity.users import Users
from minipacs.services.offered import storage_classes

if TYPE_CHECKING:
    from minipacs.web.auditing import Trail
    from minipacs.web.server import WebServer

LOOK_INTERVAL_S = 0.25
"""How often orders are looked for: the event loop comes round more often than that of itself."""
CHECK_INTERVAL_S = 30.0
"""For so long the same is told of what `minipacs check` finds."""


def run(shared: Shared, control: Control) -> None:
    """Be a web process. Raises MinipacsError if it cannot begin."""
    if not extras.has_web():
        raise MinipacsError(extras.NEEDS_WEB)
    from minipacs.web.access import Places, WebAccess
    from minipacs.web.app import make_app
    from minipacs.web.auditing import Trail
    from minipacs.web.environment import Environment
    from minipacs.web.representations.metadata_cache import MetadataCache
    from minipacs.web.routes import ROUTES
    from minipacs.web.server import WebServer
    from minipacs.web.site import ohif, page

    share_one_heap()
    config, sockets = shared.config, shared.sockets.of(WEB)
    is_guarded = not config.web.tls and not all(map(_is_loopback, sockets))
    if is_guarded and not config.web.behind_proxy:
        raise MinipacsError("a socket for others than this machine was passed: needs web.tls or web.behind_proxy")
    context = composition.tls_files(config).web_server() if config.web.tls else None
    metrics.share(shared.metrics_folder, control.slot)
    counted = metrics.Metrics(p.title for p in config.peers)
    counted.begin_http({route.path for route in ROUTES})
    archive = open_archive(config, counted.commit, recovers=True)
    audit = open_audit(config)
    trail = Trail(audit, archive.index)
    anonymous = config.web.anonymous if all(map(_is_loopback, sockets)) else ()
    folder = config.storage.path
    access = WebAccess(
        Users(config.users_path), Tokens(folder / "tokens"), folder / "sessions", anonymous, config.web.origins
    )
    environment = Environment(
        archive=archive,
        ae_title=config.ae.title,
        access=access,
        places=Places(config.web.url, config.web.behind_proxy, is_guarded=is_guarded),
        trail=trail,
        metadata=MetadataCache(archive),
        max_results=config.web.max_results,
        match_unknown=config.query.match_unknown,
        wake_jobs=partial(os.eventfd_write, shared.wake_fd, 1),
        storage_classes=storage_classes(config.storage.sop_classes),
        page=page.built() if config.web.page else None,
        ohif=ohif.installed(folder),
        destinations=[peer.title for peer in config.peers if peer.destination],
        checks=_Checks(config),
    )
    own = sockets[shared.number % len(sockets)]
    for sock in sockets:
        if sock is not own:
            sock.close()  # nobody would take what the system gives to it here
    server = WebServer(make_app(environment, counted.http_request), [own], config.timeouts.drain, context)
    server.run_beside(lambda: _attend(server, control, trail))
    audit.close()
    archive.close()


class _Checks:
    """What `minipacs check` finds, looked at now and then: whoever watches our health asks often."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._found: list[tuple[str, str, str]] = []

    def __call__(self) -> list[tuple[str, str, str]]:
        """Give severity, subject and detail of each."""
        with self._lock:
            if time.monotonic() - self._looked_at > CHECK_INTERVAL_S:
                self._found = [(found.severity, found.what, found.detail) for found in findings(self._config)]
                self._looked_at = time.monotonic()
            return self._found


def _is_loopback(sock: socket.socket) -> bool:
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


async def _attend(server: "WebServer", control: Control, trail: "Trail") -> None:
    """Beat, and obey: requests under way may end within the time for it, unless the order is to end."""
    control.ready()
    while True:
        _, orders = control.events(time.monotonic())
        if orders:
            server.leave(at_once="end" in orders)
        trail.tick()
        await asyncio.sleep(LOOK_INTERVAL_S)
