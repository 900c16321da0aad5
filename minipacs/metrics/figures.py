"""What is, as gauges: the archive, its processes, this release. Asked when the page is read."""

import logging
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from minipacs import __version__
from minipacs.archive.archive import Figures

FIGURES_AGE_S = 5.0
"""For so long the archive is not asked again, however often the page is read."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of the daemon. `by_role` counts those that run, `deaths` those that ended of themselves."""

    by_role: Mapping[str, int]
    deaths: int
    failed_reloads: int
    resident_bytes: int
    open_files: int


def gauges() -> list[str]:
    """Give the names of the figures that are numbers."""
    return [field.name for field in fields(Figures) if field.type in (int, float, "int", "float")]


def register_expiries(registry: CollectorRegistry, expiries: Mapping[str, float]) -> None:
    """Add the gauge of when certificates end to be good, by the setting of their file."""
    if expiries:
        registry.register(_ExpiriesCollector(expiries))


def register_spool(registry: CollectorRegistry, waiting: Callable[[], int]) -> None:
    """Add the gauge of audit messages that wait to be delivered."""
    registry.register(_SpoolCollector(waiting))


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits of a route for a peer, since when, and what was given up."""

    route: str
    peer: str
    waiting: int
    oldest_s: float
    dead: int


def register_routes(registry: CollectorRegistry, waiting: Callable[[], list[Waiting]]) -> None:
    """Add the gauges of what routes have to send; `waiting` is asked at most every FIGURES_AGE_S."""
    registry.register(_RoutesCollector(waiting))


class _Recent(Generic[T]):
    """What was told last, for FIGURES_AGE_S; `nothing` if it cannot be told, which the log says."""

    def __init__(self, ask: Callable[[], T], nothing: T, fault: str) -> None:
        self._ask = ask
        self._nothing = nothing
        self._fault = fault
        self._lock = threading.Lock()
        self._asked_at = -FIGURES_AGE_S
        self._told = nothing

    def get(self) -> T:
        with self._lock:
            now = time.monotonic()
            if now - self._asked_at >= FIGURES_AGE_S:
                self._asked_at = now
                try:
                    self._told = self._ask()
                except Exception:
                    logger.exception(self._fault)
                    self._told = self._nothing
            return self._told


class _RoutesCollector(Collector):
    def __init__(self, waiting: Callable[[], list[Waiting]]) -> None:
        self._recent: _Recent[list[Waiting]] = _Recent(waiting, [], "the queue of routes is not available")

    def collect(self) -> Iterator[Metric]:
        """Give the gauges."""
        found = self._recent.get()
        rows: tuple[tuple[str, str, Callable[[Waiting], float]], ...] = (
            (
                "waiting",
                "Items of a route that wait for a peer, those that are held included.",
                lambda one: one.waiting,
            ),
            ("oldest_seconds", "How long the oldest of them has waited.", lambda one: one.oldest_s),
            ("dead", "Items of a route that were given up.", lambda one: one.dead),
        )
        for name, help, value in rows:
            gauge = GaugeMetricFamily(f"minipacs_route_{name}", help, labels=["route", "peer"])
            for one in found:
                gauge.add_metric([one.route, one.peer], value(one))
            yield gauge


class _SpoolCollector(Collector):
    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """Give the gauge."""
        help = "Audit messages that the slowest of file and collector does not have yet."
        yield GaugeMetricFamily("minipacs_audit_spooled_messages", help, self._waiting())


class _ExpiriesCollector(Collector):
    def __init__(self, expiries: Mapping[str, float]) -> None:
        self._expiries = expiries

    def collect(self) -> Iterator[Metric]:
        """Give the gauge."""
        help = "When the first certificate of a file, or the first list of revoked ones, ends to be good."
        found = GaugeMetricFamily("minipacs_tls_certificate_expires_timestamp_seconds", help, labels=["of"])
        for of, at in self._expiries.items():
            found.add_metric([of], at)
        yield found


def register_figures(
    registry: CollectorRegistry, figures: Callable[[], Figures | None], processes: Callable[[], Processes] | None = None
) -> None:
    """Add the gauges to a page; `figures` is asked at most every FIGURES_AGE_S and may not know yet."""
    registry.register(_FiguresCollector(figures))
    registry.register(_DaemonCollector(processes))


class _DaemonCollector(Collector):
    def __init__(self, processes: Callable[[], Processes] | None) -> None:
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        """Give what is known of the release and of the processes."""
        build = GaugeMetricFamily("minipacs_build_info", "What runs.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        if self._processes is None:
            return
        found = self._processes()
        running = GaugeMetricFamily("minipacs_processes", "Processes that run.", labels=["role"])
        for role, count in found.by_role.items():
            running.add_metric([role], count)
        yield running
        deaths = "Processes that ended of themselves and were replaced."
        yield CounterMetricFamily("minipacs_process_deaths", deaths, value=found.deaths)
        reloads = "Reloads that failed: the old configuration stayed."
        yield CounterMetricFamily("minipacs_reload_failures", reloads, value=found.failed_reloads)
        memory = "Resident memory of all processes; what they share counts for each."
        yield GaugeMetricFamily("minipacs_resident_memory_bytes", memory, found.resident_bytes)
        yield GaugeMetricFamily("minipacs_open_files", "File descriptors of all processes.", found.open_files)


class _FiguresCollector(Collector):
    def __init__(self, figures: Callable[[], Figures | None]) -> None:
        self._recent = _Recent(figures, None, "archive figures are not available")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the gauges; none while the archive cannot tell."""
        figures = self._recent.get()
        for name in gauges() if figures else ():
            help = f"{name.replace('_', ' ').capitalize()} of the archive."
            yield GaugeMetricFamily(f"minipacs_{name}", help, getattr(figures, name))
