"""The jobs process: what no peer waits for; and /metrics, /healthz and /readyz."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import itemgetter
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from minipacs import metrics
from minipacs.archive.archive import Archive, Figures
from minipacs.archive.care.leftovers import Leftovers
from minipacs.archive.care.sizes import SizeCheck
from minipacs.archive.care.start import prepare, tell_unfilled_keys
from minipacs.audit.audit import Audit
from minipacs.audit.courier import Courier
from minipacs.config import Config
from minipacs.daemon import certificates, composition
from minipacs.daemon.opening import open_archive, open_audit
from minipacs.daemon.processes.accounts import Keeper
from minipacs.daemon.processes.process import Control, Order
from minipacs.daemon.processes.pulse import LATE_S
from minipacs.daemon.processes.shared import Shared
from minipacs.daemon.sockets import METRICS
from minipacs.daemon.trail import audit_sinks
from minipacs.errors import Failure
from minipacs.jobs.background import Background, Job, once
from minipacs.jobs.commitment import CommitmentJobs
from minipacs.jobs.compression import Compression
from minipacs.jobs.fault_watch import FaultWatch
from minipacs.jobs.forgetting import Forgetting
from minipacs.jobs.retention import Retention
from minipacs.jobs.routing.router import Router
from minipacs.jobs.routing.sender import RouteSender
from minipacs.jobs.sending import SendJobs
from minipacs.jobs.study_watch import Follower, StudyWatch
from minipacs.jobs.unread import Unread
from minipacs.jobs.webhooks import ROUTE as WEBHOOK
from minipacs.jobs.webhooks import WebhookSender, WebhookWatch
from minipacs.jobs.worklist_folder import WatchedFolder, forget_folder
from minipacs.pixels.codecs import JPEG_2000_LOSSLESS
from minipacs.scu.http import label_of
from minipacs.services.dispatch import NAMES
from minipacs.services.offered import storage_classes

logger = logging.getLogger(__name__)

COMPRESSED_SYNTAXES = {"jpeg2000-lossless": JPEG_2000_LOSSLESS}
"""By the values of `storage.compress`."""

PREPARING = "the archive is being made ready"


class Jobs:
    """The main loop of the jobs process."""

    def __init__(self, shared: Shared, control: Control) -> None:
        self._control = control
        self._inbox = shared.inbox
        self._wake_fd = shared.wake_fd
        self._slots = shared.slots
        self._lock = shared.lock
        self._archive: Archive | None = None
        self._courier: Courier | None = None
        self._is_draining = False
        self._is_over = False
        metrics.share(shared.metrics_folder, control.slot)
        self._metrics = metrics.Metrics(p.title for p in shared.config.peers)
        self._metrics.begin(NAMES)
        self._metrics.begin_routes(_pairs(shared.config))
        self._config = shared.config
        self._is_connected = shared.places.is_connected
        http = next(iter(shared.sockets.of(METRICS)), None)
        self._http = None if http is None else metrics.MetricsServer(http, self._registry(shared), self._unready)

    def run(self) -> None:
        """Work until told to end; first get the archive ready for its daemon if that is due."""
        archive = open_archive(self._config, self._metrics.commit)
        audit = open_audit(self._config)
        if audit.is_on:
            self._courier = Courier(self._config.audit_folder, audit_sinks(self._config))
            self._courier.start()
        if self._lock is not None:
            self._control.busy(PREPARING)
            prepare(archive, self._lock, self._control.busy)
            tell_unfilled_keys(archive)
        self._archive = archive
        background = Background()
        jobs = _jobs(self._config, archive, background, self._metrics, audit, self._is_connected)
        background.start(jobs)
        keeper = Keeper(self._inbox, archive.index)
        self._control.watch(self._wake_fd)
        self._control.ready()
        while not self._is_over:
            ready, orders = self._control.events()
            for order in orders:
                self._obey(order)
            audit.tick()
            if self._wake_fd in ready:
                with suppress(BlockingIOError):  # the jobs process that retires was quicker
                    os.eventfd_read(self._wake_fd)
                background.wake()
        background.stop()
        keeper.close()
        audit.close()
        if self._courier is not None:
            self._courier.close()
        if self._http is not None:
            self._http.close()
        archive.close()

    def _obey(self, order: Order) -> None:
        """Drain as long as workers do: the page says so until the end."""
        self._is_draining = self._is_draining or order == "drain"
        self._is_over = self._is_over or order != "drain"

    def _registry(self, shared: Shared) -> CollectorRegistry:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(shared.metrics_folder))  # type: ignore[no-untyped-call]
        metrics.register_figures(registry, self._figures, self._processes)
        if shared.config.audit.is_on:
            metrics.register_spool(registry, lambda: self._courier.waiting() if self._courier else 0)
        metrics.register_routes(registry, self._waiting)
        metrics.register_expiries(registry, certificates.expiries(shared.config))
        return registry

    def _waiting(self) -> list[metrics.Waiting]:
        """Tell what waits of each route for each peer; none while the archive is not ready."""
        found: dict[tuple[str, str], tuple[int, float, int]] = {}
        if self._archive is not None:
            index = self._archive.index
            found = index.routed.waiting(route.name for route in self._config.routes)
            for url, waiting in index.webhooks.queue.waiting().items():
                found[WEBHOOK, label_of(url)] = waiting
        nothing = 0, 0.0, 0
        return [metrics.Waiting(route, to, *found.get((route, to), nothing)) for route, to in _pairs(self._config)]

    def _figures(self) -> Figures | None:
        return None if self._archive is None else self._archive.figures()

    def _processes(self) -> metrics.Processes:
        running = [("parent", os.getppid()), *((shown.role, shown.pid) for shown in self._slots.all())]
        return metrics.Processes(
            Counter(role for role, _ in running),
            self._slots.deaths,
            self._slots.failed_reloads,
            sum(_resident_bytes(pid) for _, pid in running),
            sum(_open_files(pid) for _, pid in running),
        )

    def _unready(self) -> str | None:
        """Say why associations would not be served well now."""
        if self._is_draining:
            return "shutting down"
        if self._archive is None:
            return PREPARING
        since_ns = time.monotonic_ns() - int(LATE_S * 1e9)
        if not any(shown.role == "worker" and shown.beat_ns > since_ns for shown in self._slots.all()):
            return "no worker is at work"
        try:
            self._archive.index.has_digest("")
        except Failure as error:
            return str(error)
        return self._archive.shortage()


def _pairs(config: Config) -> list[tuple[str, str]]:
    """List the routes, each with whom it sends to, as metrics name them."""
    hooks = [(WEBHOOK, label_of(hook.url)) for hook in config.webhooks]
    return list(dict.fromkeys([*((route.name, to) for route in config.routes for to in route.to), *hooks]))


def _resident_bytes(pid: int) -> int:
    fields = _read(pid, "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def _jobs(
    config: Config,
    archive: Archive,
    background: Background,
    counts: metrics.Metrics,
    audit: Audit,
    is_connected: Callable[[str], bool],
) -> list[Job]:
    """Gather all work that no association waits for: the one place where jobs are named."""
    commitments = CommitmentJobs(
        ae_title=config.ae.title,
        archive=archive,
        requestor=composition.requestor(config),
        destination=composition.peers(config).destination,
        sop_classes=storage_classes(config.storage.sop_classes),
        audit=audit,
        stopping=background.stopping,
        wake=background.wake,
    )
    sends = SendJobs(
        archive=archive,
        requestor=composition.requestor(config),
        destination=composition.peers(config).destination,
        audit=audit,
        stopping=background.stopping,
        wake=background.wake,
    )
    routes = composition.routes(config, archive.index.keys)
    hooks, retries = composition.webhooks(config), composition.retries(config)
    sender = RouteSender(
        archive=archive,
        routes=routes,
        destinations=composition.destinations(config, archive, counts.sent),
        retries=retries,
        audit=audit,
        count=counts.routed,
        stopping=background.stopping,
        wake=background.wake,
    )
    teller = WebhookSender(archive, hooks, retries, counts.routed, background.stopping, background.wake)
    followers: list[Follower] = [Router(archive, routes), WebhookWatch(archive, hooks)]
    watch = StudyWatch(archive, config.study.quiet_s, is_connected, followers, background.stopping, background.wake)
    jobs: list[Job] = [
        *commitments.jobs,
        sends.work,
        watch.work,
        sender.work,
        teller.work,
        once(partial(_remember, archive, counts)),
        Unread(archive, background.stopping).work,
        SizeCheck(archive, background.stopping).work,
        Leftovers(archive).work,
        FaultWatch(archive).work,
    ]
    index, stopping = archive.index, background.stopping
    jobs.append(Forgetting(index.hl7_messages.forget, config.hl7.keep_days, stopping).work)
    if config.feed.keep_days:
        jobs.append(Forgetting(index.forget_changes, config.feed.keep_days, stopping).work)
    jobs.append(Retention(archive, composition.retention(config, archive.index.keys), audit, stopping).work)
    if config.storage.compress != "none":
        syntax = COMPRESSED_SYNTAXES[config.storage.compress]
        jobs.append(Compression(archive, syntax, background.stopping, counts.compression).work)
    if config.worklist.folder:
        folder = WatchedFolder(Path(config.worklist.folder), archive.index)
        jobs.append(lambda: folder.scan(background.stopping))
    else:
        forget_folder(archive.index)
    return jobs


def _remember(archive: Archive, counts: metrics.Metrics) -> None:
    """Let the metrics know when each peer sent its last object before the start."""
    for ae_title, received_at in sorted(archive.index.last_received().items(), key=itemgetter(1)):
        counts.last_object(ae_title, received_at)


def run(shared: Shared, control: Control) -> None:
    """Be the jobs process. Raises MinipacsError if it cannot begin."""
    Jobs(shared, control).run()
