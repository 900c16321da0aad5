"""The HL7 process: takes messages over MLLP, each connection in a thread, until it is told to leave."""

import time

from minipacs import metrics
from minipacs.config import Config
from minipacs.daemon import composition, extras
from minipacs.daemon.opening import open_archive, open_audit
from minipacs.daemon.processes.process import Control
from minipacs.daemon.processes.shared import Shared
from minipacs.daemon.sockets import HL7
from minipacs.errors import MinipacsError
from minipacs.net.listener import Listener
from minipacs.net.wire.addresses import read_network


def run(shared: Shared, control: Control) -> None:
    """Be the HL7 process. Raises MinipacsError if it cannot begin."""
    if not extras.has_hl7():
        raise MinipacsError(extras.NEEDS_HL7)
    from minipacs.hl7.auditing import Trail
    from minipacs.hl7.connections import MAX_CONNECTIONS, Connections
    from minipacs.hl7.receiver import KINDS, Receiver

    config = shared.config
    metrics.share(shared.metrics_folder, control.slot)
    counted = metrics.Metrics(p.title for p in config.peers)
    counted.begin_hl7(KINDS)
    archive = open_archive(config, counted.commit, recovers=True)
    audit = open_audit(config)
    receiver = Receiver(archive, composition.hl7_policy(config), Trail(audit))
    connections = Connections(
        receiver.take,
        [network for host in config.hl7.hosts if (network := read_network(host)) is not None],
        counted,
        handshake_s=config.timeouts.acse,
        message_s=config.timeouts.dimse,
    )
    sockets = shared.sockets.of(HL7)
    encrypted = {}
    if config.hl7.tls:
        required = config.tls.require_client_certificate
        encrypted = dict.fromkeys(sockets, composition.tls_files(config).server(require_certificate=required))
        sockets = []
    listener = Listener(sockets, connections, MAX_CONNECTIONS, encrypted)
    _attend(listener, control, config)
    audit.close()
    archive.close()


def _attend(listener: Listener, control: Control, config: Config) -> None:
    """Accept connections until told to leave; then each ends with the message that it is at."""
    for fd in listener.sockets:
        control.watch(fd)
    control.ready()
    leaving_at = None
    while leaving_at is None:
        ready, orders = control.events()
        for fd in ready:
            if fd in listener.sockets:
                listener.accept(fd)
        listener.tell()
        if orders:
            leaving_at = time.monotonic()
    for fd in listener.sockets:
        control.forget(fd)
    listener.end()
