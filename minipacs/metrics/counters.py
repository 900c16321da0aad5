"""What happens, counted by each process for itself; in the end the figures of all are one.

Labels come from closed sets: peers that are not configured are counted as one.
"""

import logging
import os
import time
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Generic, TypeVar, cast, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values
from prometheus_client.metrics import MetricWrapperBase

from minipacs.metrics.shared_file import SharedFile
from minipacs.net.ending import Ending

logger = logging.getLogger(__name__)

OTHER_PEER = "other"

ASSOCIATION_OUTCOMES = get_args(Ending)
OPERATION_STATUSES = ("success", "warning", "failure", "cancel")
HTTP_STATUSES = ("200", "500", "507")
ACKNOWLEDGEMENTS = ("AA", "AE", "AR")
COMPRESSION_OUTCOMES = ("compressed", "left")

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
COMMIT_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, that nobody reads

M = TypeVar("M", bound=MetricWrapperBase)


def share(folder: Path, process: int) -> None:
    """Let what this process counts from now on be seen by others, in files in `folder`.

    `process` numbers those that run at the same time; who has the number of one that ended goes on with its counts, so
    that there are never more files than processes. Call before the first Metrics is made.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.MmapedDict = SharedFile  # type: ignore[attr-defined, assignment]
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]


class Metrics:
    """What happened since the start. Every method may be called from any thread and takes about a microsecond.

    None raises: what there is no room to count is not counted. `peers` are the configured AE titles.
    """

    def __init__(self, peers: Iterable[str]) -> None:
        self.registry = registry = CollectorRegistry()
        self._peers = frozenset(peers)
        self._active = Gauge(
            "minipacs_associations_active", "Associations open now.", registry=registry, multiprocess_mode="livesum"
        )
        self._associations = _Children(
            Counter(
                "minipacs_associations",
                "Associations that ended or were rejected.",
                ["peer", "outcome"],
                registry=registry,
            )
        )
        self._handshakes = _Children(
            Counter("minipacs_tls_handshakes", "TLS handshakes of callers.", ["outcome"], registry=registry)
        )
        self._operations = _Children(
            Counter("minipacs_operations", "DIMSE operations done.", ["service", "peer", "status"], registry=registry)
        )
        self._durations = _Children(
            Histogram(
                "minipacs_operation_duration_seconds",
                "From the request to the last response, the time that the peer takes included.",
                ["service"],
                buckets=DURATION_BUCKETS_S,
                registry=registry,
            )
        )
        self._answers = Histogram(
            "minipacs_store_answer_seconds",
            "From the last byte of an object to the answer: what the archive takes to store it.",
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._last_objects = _Children(
            Gauge(
                "minipacs_last_object_timestamp_seconds",
                "When the last object of a peer was stored, in seconds since 1970.",
                ["peer"],
                registry=registry,
                multiprocess_mode="max",
            )
        )
        self._received = _Children(
            Counter("minipacs_received_bytes", "Data set bytes received.", ["peer"], registry=registry)
        )
        self._sent = _Children(Counter("minipacs_sent_bytes", "Data set bytes sent.", ["peer"], registry=registry))
        self._compressions = _Children(
            Counter(
                "minipacs_compressions",
                "Stored objects compressed, or left as they are.",
                ["outcome"],
                registry=registry,
            )
        )
        self._saved = Counter("minipacs_compression_saved_bytes", "Bytes that compression saved.", registry=registry)
        self._http_requests = _Children(
            Counter("minipacs_http_requests", "Requests over HTTP.", ["route", "status"], registry=registry)
        )
        self._http_durations = _Children(
            Histogram(
                "minipacs_http_request_duration_seconds",
                "From a request over HTTP to the end of its answer.",
                ["route"],
                buckets=DURATION_BUCKETS_S,
                registry=registry,
            )
        )
        self._http_received = Counter("minipacs_http_received_bytes", "Bytes of bodies received.", registry=registry)
        self._http_sent = Counter("minipacs_http_sent_bytes", "Bytes of bodies sent.", registry=registry)
        self._hl7_messages = _Children(
            Counter("minipacs_hl7_messages", "Messages of HL7 that were answered.", ["type", "ack"], registry=registry)
        )
        self._routed = _Children(
            Counter(
                "minipacs_route_sent", "Instances that a route took to a peer.", ["route", "peer"], registry=registry
            )
        )
        self._not_routed = _Children(
            Counter(
                "minipacs_route_failed",
                "Instances that a peer did not take from a route, each time.",
                ["route", "peer"],
                registry=registry,
            )
        )
        self._commits = Histogram(
            "minipacs_index_commit_instances",
            "Instances that one commit of the index wrote.",
            buckets=COMMIT_BUCKETS,
            registry=registry,
        )
        self._received[OTHER_PEER,]  # a first counter, so that the file shared by all is opened while it can be

    def begin(self, services: Sequence[str]) -> None:
        """Let every series that there can be begin at 0, for the operations of these names; in one process.

        Of a series that is born with its first event, `increase()` in Prometheus does not see that event.
        """
        for outcome in COMPRESSION_OUTCOMES:
            self._compressions[outcome,]
        for service in services:
            self._durations[service,]
        for peer in (*self._peers, OTHER_PEER):
            self._received[peer,]
            self._sent[peer,]
            for outcome in ASSOCIATION_OUTCOMES:
                self._associations[peer, outcome]
            for service, status in product(services, OPERATION_STATUSES):
                self._operations[service, peer, status]

    def begin_http(self, routes: Iterable[str]) -> None:
        """Let the series that alerts ask for begin at 0 as well, for requests over HTTP by these templates."""
        for route, status in product(routes, HTTP_STATUSES):
            self._http_requests[route, status]

    def begin_hl7(self, kinds: Iterable[str]) -> None:
        """Let those of messages of HL7 begin at 0."""
        for kind, ack in product(kinds, ACKNOWLEDGEMENTS):
            self._hl7_messages[kind, ack]

    def begin_routes(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Let those of routes, each with a peer that it sends to, begin at 0."""
        for pair in pairs:
            self._routed[pair]
            self._not_routed[pair]

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

    def handshake(self, outcome: str) -> None:
        """Count a TLS handshake that ended; `outcome` is from a closed set."""
        self._handshakes[outcome,].inc()

    def operation(self, service: str, peer: str, status: str, duration_s: float) -> None:
        """Count a finished operation; `status` is a category of dicom.statuses."""
        self._operations[service, self._label(peer), status].inc()
        self._durations[service,].observe(duration_s)

    def stored(self, peer: str, answer_s: float) -> None:
        """Count an object as stored, `answer_s` after its last byte came."""
        self._answers.observe(answer_s)
        self.last_object(peer, time.time())

    def last_object(self, peer: str, at: float) -> None:
        """Note when an object of a peer was stored, in seconds since 1970."""
        self._last_objects[self._label(peer),].set(at)

    def received(self, peer: str, size_bytes: int) -> None:
        """Count bytes of data sets received."""
        self._received[self._label(peer),].inc(size_bytes)

    def sent(self, peer: str, size_bytes: int) -> None:
        """Count bytes of data sets sent."""
        self._sent[self._label(peer),].inc(size_bytes)

    def compression(self, outcome: str, saved_bytes: int) -> None:
        """Count a stored object: "compressed", or "left" if it cannot be."""
        self._compressions[outcome,].inc()
        self._saved.inc(saved_bytes)

    def routed(self, route: str, peer: str, is_sent: bool, count: int = 1) -> None:  # noqa: FBT001  a callback
        """Count instances that a route took to a peer or could not, or events that a webhook was told."""
        (self._routed if is_sent else self._not_routed)[route, peer].inc(count)

    def hl7_message(self, kind: str, ack: str) -> None:
        """Count a message of HL7, by its type and how it was acknowledged; both are from closed sets."""
        self._hl7_messages[kind, ack].inc()

    def http_request(self, route: str, status: int, duration_s: float, received_bytes: int, sent_bytes: int) -> None:
        """Count a request over HTTP; `route` is the template of its path."""
        self._http_requests[route, str(status)].inc()
        self._http_durations[route,].observe(duration_s)
        self._http_received.inc(received_bytes)
        self._http_sent.inc(sent_bytes)

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
        self._is_told = False

    def __missing__(self, values: tuple[str, ...]) -> M:
        try:
            child = self[values] = self._metric.labels(*values)
        except (OSError, IndexError) as error:  # no room for the file shared by all, now or before: tried again
            if not self._is_told:
                self._is_told = True
                fields = {"metric": self._metric._name, "reason": str(error)}
                logger.warning("cannot be counted", extra={"fields": fields})
            return cast(M, _UNCOUNTED)
        return child


class _Uncounted:
    """Takes the place of a series that there is no room for: whatever is counted goes on."""

    def inc(self, amount: float = 1) -> None:
        """Count nothing."""

    set = observe = inc


_UNCOUNTED = _Uncounted()
