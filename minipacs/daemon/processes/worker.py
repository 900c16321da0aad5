"""A worker: accepts associations and serves them, each in a thread, until it is told to leave."""

import logging
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from functools import partial

from minipacs import metrics
from minipacs.config import Config
from minipacs.daemon import composition
from minipacs.daemon.opening import open_archive, open_audit
from minipacs.daemon.processes import accounts
from minipacs.daemon.processes.process import Control, Order
from minipacs.daemon.processes.shared import Shared
from minipacs.daemon.sockets import DICOM, DICOM_TLS
from minipacs.jobs.commitment import answer_bell
from minipacs.net.acceptor import Acceptor
from minipacs.net.alerts import Alerts
from minipacs.net.listener import Listener
from minipacs.net.places import Places
from minipacs.services.dispatch import Dispatcher
from minipacs.services.environment import Environment, QueryPolicy
from minipacs.services.offered import offered_classes

logger = logging.getLogger(__name__)


class Worker:
    """The main loop of a worker process."""

    def __init__(self, shared: Shared, control: Control) -> None:
        config = shared.config
        self._control = control
        self._drain_s = config.timeouts.drain
        self._ends_at: float | None = None
        metrics.share(shared.metrics_folder, control.slot)
        counted = metrics.Metrics(p.title for p in config.peers)
        self._archive = open_archive(config, counted.commit, recovers=True)
        self._audit = open_audit(config)
        sockets = shared.sockets.of(DICOM) if config.ae.plain else []
        encrypted = shared.sockets.of(DICOM_TLS)
        addresses = [str(sock.getsockname()[0]) for sock in (*sockets, *encrypted)]
        self._access = composition.access(config, addresses, Places(shared.places, control.slot))
        calls = composition.requestor(config)
        wake_jobs = partial(os.eventfd_write, shared.wake_fd, 1)
        environment = Environment(
            ae_title=config.ae.title,
            archive=self._archive,
            requestor=calls,
            destination=composition.peers(config).destination,
            observer=counted,
            audit=self._audit,
            query=_query_policy(config),
            wake_jobs=wake_jobs,
        )
        dispatcher = Dispatcher(environment, partial(answer_bell, self._archive, wake_jobs))
        acceptor = Acceptor(
            offered=offered_classes(config.storage.sop_classes),
            access=self._access,
            timeouts=calls.timeouts,
            max_pdu_bytes=config.ae.max_pdu_bytes,
            serve=dispatcher.serve,
            observer=counted,
            alerts=Alerts(self._audit),
            explain=partial(accounts.send, shared.accounts),
        )
        self._listener = Listener(sockets, acceptor, config.ae.max_associations, _with_context(config, encrypted))

    def run(self) -> None:
        """Accept until told otherwise, then until the last association has ended or the time for it is over."""
        control, listener = self._control, self._listener
        for fd in (*listener.sockets, listener.ended_fd):
            control.watch(fd)
        control.ready()
        is_over = False
        while not is_over:
            ready, orders = control.events(self._ends_at)
            for order in orders:
                self._obey(order)
            for fd in ready:
                if fd in listener.sockets:
                    listener.accept(fd)
                elif fd == listener.ended_fd:
                    os.eventfd_read(fd)
            listener.tell()
            self._audit.tick()
            is_over = self._is_over()
        for fd in listener.sockets:
            control.forget(fd)
        listener.end()
        self._audit.close()
        self._archive.close()

    def _obey(self, order: Order) -> None:
        if order == "retire":
            for fd in self._listener.sockets:
                self._control.forget(fd)
            self._listener.close()
        else:
            self._access.close()
            self._listener.watch()
            ends_at = time.monotonic() + (self._drain_s if order == "drain" else 0)
            self._ends_at = min(ends_at, self._ends_at or ends_at)

    def _is_over(self) -> bool:
        if self._ends_at is not None:
            return not self._access.active or time.monotonic() >= self._ends_at
        return not self._listener.sockets and not self._listener.connections


def _with_context(config: Config, sockets: Sequence[socket.socket]) -> Mapping[socket.socket, ssl.SSLContext]:
    """Give each socket what TLS is done with. Raises MinipacsError for files that are no good."""
    if not sockets:
        return {}
    required = config.tls.require_client_certificate
    return dict.fromkeys(sockets, composition.tls_files(config).server(require_certificate=required))


def run(shared: Shared, control: Control) -> None:
    """Be a worker. Raises MinipacsError if it cannot begin."""
    Worker(shared, control).run()


def _query_policy(config: Config) -> QueryPolicy:
    """Return what C-FIND may do."""
    query = config.query
    return QueryPolicy(
        max_matches=query.max_matches,
        relational=query.relational == "always",
        match_unknown=query.match_unknown,
    )
