"""The composition root: from a configuration to a running archive, and to its ordered end."""

import gc
import logging
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from minipacs import __version__
from minipacs.archive.archive import Archive, start_daemon
from minipacs.archive.ingest import StoragePolicy
from minipacs.archive.worklist_files import WatchedFolder, forget_folder
from minipacs.config import Config
from minipacs.metrics import Figures, Metrics
from minipacs.metrics import serve as serve_metrics
from minipacs.net.acceptor import Acceptor
from minipacs.net.access import Access, Peer
from minipacs.net.association import Timeouts
from minipacs.net.listener import Listener, bind
from minipacs.net.requestor import Requestor
from minipacs.services.background import Background, Job
from minipacs.services.dispatch import Dispatcher
from minipacs.services.environment import Environment
from minipacs.services.offered import offered_classes

logger = logging.getLogger(__name__)


def open_archive(
    config: Config, on_commit: Callable[[int], None] = lambda instances: None, *, read_only: bool = False
) -> Archive:
    """Open the configured archive. Raises MinipacsError."""
    storage = config.storage
    policy = StoragePolicy(storage.duplicates, storage.min_free_bytes, storage.max_instance_bytes)
    return Archive.open(
        storage.path,
        policy,
        sync=storage.sync,
        index_path=config.index_path,
        on_commit=on_commit,
        read_only=read_only,
    )


def peers(config: Config) -> list[Peer]:
    """Return the configured peers as the network layer knows them."""
    return [Peer(p.title, p.host, p.port, p.allow, p.charset, p.max_associations) for p in config.peers]


def requestor(config: Config) -> Requestor:
    """Return what opens associations under our title."""
    limits = config.timeouts
    timeouts = Timeouts(limits.acse, limits.dimse, limits.idle, limits.connect)
    return Requestor(config.ae.title, timeouts, config.ae.max_pdu_bytes)


def serve(config: Config) -> None:
    """Run the archive until SIGTERM or SIGINT; call from the main thread. Raises MinipacsError if it cannot start.

    In order: sockets are bound, the folder is taken and recovered, associations are accepted, `ready` is logged. At
    the end running operations get their grace before the index is closed.
    """
    _raise_descriptor_limit()
    sockets = bind(config.ae.bind, config.ae.port)
    try:
        metrics = Metrics((p.title for p in config.peers), lambda: _figures(archive))
        archive = open_archive(config, metrics.commit)
        try:
            lock = start_daemon(archive)
            background = _background(config, archive)
            background.start()
            try:
                _serve(config, archive, metrics, _listener(config, archive, metrics, sockets))
            finally:
                background.stop()
        finally:
            archive.close()
        lock.release()
    finally:
        for sock in sockets:
            sock.close()
    logger.info("stopped")


def _serve(config: Config, archive: Archive, metrics: Metrics, listener: Listener) -> None:
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        stopping.set()
        listener.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)  # and stays so: a second signal must not cut the ordered end short
    http = serve_metrics(
        config.metrics.bind,
        config.metrics.port,
        metrics,
        lambda: "shutting down" if stopping.is_set() else archive.shortage(),
    )
    try:
        gc.collect()
        gc.freeze()
        fields: dict[str, object] = {
            "version": __version__,
            "ae_title": config.ae.title,
            "dicom": ",".join(listener.addresses),
            "storage": str(config.storage.path),
            "policy": config.policy,
        }
        if http is not None:
            fields["metrics"] = "{}:{}".format(*http.address)
        logger.info("ready", extra={"fields": fields})
        listener.run()
    finally:
        if http is not None:
            http.close()


def _background(config: Config, archive: Archive) -> Background:
    """Gather all work that no association waits for: the one place where jobs are named."""
    jobs: list[Job] = []
    if config.worklist.folder:
        folder = WatchedFolder(Path(config.worklist.folder), archive.index)
        jobs.append(lambda: folder.scan(lambda: background.stopping))
    else:
        forget_folder(archive.index)
    background = Background(jobs)
    return background


def _listener(config: Config, archive: Archive, metrics: Metrics, sockets: list) -> Listener:  # type: ignore[type-arg]
    access = Access(
        config.ae.title, config.policy, peers(config), config.ae.max_associations, config.ae.check_called_title
    )
    calls = requestor(config)
    environment = Environment(config.ae.title, archive, calls, access.destination, metrics)
    acceptor = Acceptor(
        offered_classes(config.storage.sop_classes),
        access,
        calls.timeouts,
        config.ae.max_pdu_bytes,
        Dispatcher(environment).serve,
        metrics,
    )
    return Listener(sockets, acceptor, config.ae.max_associations)


def _figures(archive: Archive) -> Figures:
    found = archive.figures()
    return Figures(
        patients=found.patients,
        studies=found.studies,
        series=found.series,
        instances=found.instances,
        stored_bytes=found.stored_bytes,
        storage_free_bytes=found.free_bytes,
        quarantined_files=found.quarantined_files,
        worklist_broken_files=found.worklist_broken_files,
    )


def _raise_descriptor_limit() -> None:
    """Every association takes a few descriptors, and the usual soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
