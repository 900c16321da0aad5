"""Figures for Prometheus, and the HTTP server that answers /metrics, /healthz and /readyz.

Labels come from closed sets: peers that are not configured are counted as one.
"""

import logging
import platform
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from minipacs import __version__
from minipacs.errors import MinipacsError

OTHER_PEER = "other"
FIGURES_AGE_S = 5.0
"""For so long the archive is not asked again, however often the page is read."""

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
COMMIT_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

MAX_CONNECTIONS = 32
REQUEST_TIMEOUT_S = 5
ACCEPT_RETRY_S = 1.0

logger = logging.getLogger(__name__)
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, that nobody reads

M = TypeVar("M", bound=MetricWrapperBase)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the archive holds, asked for when the page is read; each field is a gauge of that name."""

    patients: int
    studies: int
    series: int
    instances: int
    stored_bytes: int
    storage_free_bytes: int
    quarantined_files: int
    worklist_broken_files: int


class Metrics:
    """What happened since the start. Every method may be called from any thread and takes about a microsecond.

    `peers` are the configured AE titles; `figures` is asked at most every FIGURES_AGE_S.
    """

    def __init__(self, peers: Iterable[str], figures: Callable[[], Figures]) -> None:
        self.registry = registry = CollectorRegistry()
        self._peers = frozenset(peers)
        self._active = Gauge("minipacs_associations_active", "Associations open now.", registry=registry)
        self._associations = _Children(
            Counter(
                "minipacs_associations",
                "Associations that ended or were rejected.",
                ["peer", "outcome"],
                registry=registry,
            )
        )
        self._operations = _Children(
            Counter("minipacs_operations", "DIMSE operations done.", ["service", "peer", "status"], registry=registry)
        )
        self._durations = _Children(
            Histogram(
                "minipacs_operation_duration_seconds",
                "From the request to the last response.",
                ["service"],
                buckets=DURATION_BUCKETS_S,
                registry=registry,
            )
        )
        self._received = _Children(
            Counter("minipacs_received_bytes", "Data set bytes received.", ["peer"], registry=registry)
        )
        self._sent = _Children(Counter("minipacs_sent_bytes", "Data set bytes sent.", ["peer"], registry=registry))
        self._commits = Histogram(
            "minipacs_index_commit_instances",
            "Instances that one commit of the index made durable.",
            buckets=COMMIT_BUCKETS,
            registry=registry,
        )
        build = Gauge("minipacs_build_info", "What runs.", ["version", "python"], registry=registry)
        build.labels(__version__, platform.python_version()).set(1)
        registry.register(_FiguresCollector(figures))

    def association_opened(self) -> None:
        """Count an association as open."""
        self._active.inc()

    def association_ended(self, peer: str, outcome: str) -> None:
        """Count an open association as ended: "released" or "aborted"."""
        self._active.dec()
        self._associations[self._label(peer), outcome].inc()

    def association_rejected(self, peer: str) -> None:
        """Count an association that never opened."""
        self._associations[self._label(peer), "rejected"].inc()

    def operation(self, service: str, peer: str, status: str, duration_s: float) -> None:
        """Count a finished operation; `status` is a category of dicom.statuses."""
        self._operations[service, self._label(peer), status].inc()
        self._durations[service,].observe(duration_s)

    def received(self, peer: str, size_bytes: int) -> None:
        """Count bytes of data sets received."""
        self._received[self._label(peer),].inc(size_bytes)

    def sent(self, peer: str, size_bytes: int) -> None:
        """Count bytes of data sets sent."""
        self._sent[self._label(peer),].inc(size_bytes)

    def commit(self, instances: int) -> None:
        """Count a commit of the index."""
        self._commits.observe(instances)

    def _label(self, peer: str) -> str:
        return peer if peer in self._peers else OTHER_PEER


class _Children(dict[tuple[str, ...], M], Generic[M]):
    """The children of a metric by label values: the library's own look-up costs more than counting does."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: tuple[str, ...]) -> M:
        child = self[values] = self._metric.labels(*values)
        return child


class _FiguresCollector(Collector):
    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._ask = figures
        self._lock = threading.Lock()
        self._asked_at = -FIGURES_AGE_S
        self._figures: Figures | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the gauges; none while the archive cannot tell."""
        figures = self._recent()
        for field in fields(Figures) if figures else ():
            help = f"{field.name.replace('_', ' ').capitalize()} of the archive."
            yield GaugeMetricFamily(f"minipacs_{field.name}", help, getattr(figures, field.name))

    def _recent(self) -> Figures | None:
        with self._lock:
            now = time.monotonic()
            if now - self._asked_at >= FIGURES_AGE_S:
                self._asked_at = now
                try:
                    self._figures = self._ask()
                except Exception:
                    logger.exception("archive figures are not available")
                    self._figures = None
            return self._figures


class MetricsServer(ThreadingTCPServer):
    """Answers HTTP from a thread of its own until `close`; `address` is where it really listens.

    `ready` gives the reason why associations are not accepted, None while they are.
    Raises MinipacsError when it cannot listen at `bind` and `port`; port 0 takes any free one.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, bind: str, port: int, metrics: Metrics, ready: Callable[[], str | None]) -> None:
        self.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self.metrics = metrics
        self.ready = ready
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._closing = threading.Event()
        try:
            super().__init__((bind, port), _Handler)
        except OSError as error:
            raise MinipacsError(f"metrics: cannot listen on {bind} port {port}: {error.strerror}") from None
        self.address: tuple[str, int] = self.socket.getsockname()[:2]
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing.is_set():
            self.handle_request()

    def close(self) -> None:
        """Stop listening; answers that are under way end with the process at the latest."""
        self._closing.set()
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which then finds that it is over
        self._thread.join()
        self.server_close()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; while there are no descriptors for one, do not spin."""
        try:
            return super().get_request()
        except OSError:
            self._closing.wait(ACCEPT_RETRY_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread while there are not too many; other connections are closed at once."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then free the place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a bug; a client that went away or never spoke is not news."""
        if not isinstance(sys.exception(), OSError):
            logger.exception("metrics request failed")


def serve(bind: str, port: int, metrics: Metrics, ready: Callable[[], str | None]) -> MetricsServer | None:
    """Start the server, unless `bind` is empty."""
    return MetricsServer(bind, port, metrics, ready) if bind else None


class _Handler(BaseHTTPRequestHandler):
    """One request of one connection (HTTP/1.0); the base class bounds the request line and the headers."""

    server: MetricsServer
    timeout = REQUEST_TIMEOUT_S
    server_version = "minipacs"
    sys_version = ""
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def do_GET(self) -> None:
        """Answer one of the three pages."""
        page = _PAGES.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        status, content_type, body = page(self.server)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Log no request: there is one every few seconds."""


Page = tuple[HTTPStatus, str, bytes]
TEXT = "text/plain; charset=utf-8"


def _metrics_page(server: MetricsServer) -> Page:
    return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(server.metrics.registry)


def _health_page(server: MetricsServer) -> Page:
    return HTTPStatus.OK, TEXT, b"ok\n"


def _ready_page(server: MetricsServer) -> Page:
    reason = server.ready()
    return (HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK), TEXT, f"{reason or 'ready'}\n".encode()


_PAGES: Mapping[str, Callable[[MetricsServer], Page]] = {
    "/metrics": _metrics_page,
    "/healthz": _health_page,
    "/readyz": _ready_page,
}
