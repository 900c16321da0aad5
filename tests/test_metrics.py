import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from minipacs import __version__
from minipacs.archive.archive import Figures
from minipacs.metrics import Metrics, MetricsServer, Processes, figures, register_figures
from minipacs.metrics import server as http_server
from minipacs.net.ending import Ending
from minipacs.net.listener import bind

FIGURES = Figures(1, 2, 3, 4, 5_000_000_000, {"CT": 4}, 6, 7, 8, 14, 11, 9, 10, 12, 13, 1.5e9, 2)


@pytest.fixture
def counted():
    return page(lambda: FIGURES)


def page(ask):
    found = Metrics(["CT1", "WS"])
    register_figures(found.registry, ask)
    return found


@pytest.fixture
def serve():
    servers: list[MetricsServer] = []

    def serve(counted, address="127.0.0.1", ready=lambda: None):
        [sock] = bind([address], 0)
        servers.append(MetricsServer(sock, counted.registry, ready))
        sock.close()
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def samples(counted):
    text = generate_latest(counted.registry).decode()
    families = text_string_to_metric_families(text)
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def ask(server, path, method="GET"):
    connection = http.client.HTTPConnection(*server.address, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, answer.headers


def test_what_happens_is_counted(counted):
    counted.association_opened()
    counted.association_opened()
    counted.association_ended("CT1", "released")
    counted.association_rejected("CT1")
    counted.operation("store", "CT1", "success", 0.003)
    counted.operation("store", "CT1", "success", 400)
    counted.operation("find", "WS", "cancel", 0.003)
    counted.received("CT1", 500)
    counted.received("CT1", 24)
    counted.sent("WS", 9)
    counted.commit(5)
    found = samples(counted)
    expected = {
        ("minipacs_associations_active",): 1,
        ("minipacs_associations_total", ("outcome", "released"), ("peer", "CT1")): 1,
        ("minipacs_associations_total", ("outcome", "rejected"), ("peer", "CT1")): 1,
        ("minipacs_operations_total", ("peer", "CT1"), ("service", "store"), ("status", "success")): 2,
        ("minipacs_operations_total", ("peer", "WS"), ("service", "find"), ("status", "cancel")): 1,
        ("minipacs_operation_duration_seconds_count", ("service", "store")): 2,
        ("minipacs_operation_duration_seconds_bucket", ("le", "0.005"), ("service", "store")): 1,
        ("minipacs_operation_duration_seconds_bucket", ("le", "+Inf"), ("service", "store")): 2,
        ("minipacs_received_bytes_total", ("peer", "CT1")): 524,
        ("minipacs_sent_bytes_total", ("peer", "WS")): 9,
        ("minipacs_index_commit_instances_sum",): 5,
        ("minipacs_index_commit_instances_bucket", ("le", "4.0")): 0,
        ("minipacs_index_commit_instances_bucket", ("le", "8.0")): 1,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_every_series_begins_at_0():
    """Of one that is born with its first event, `increase()` does not see that event."""
    counted = Metrics(["CT1"])
    counted.begin(["C-ECHO", "C-STORE"])
    found = samples(counted)
    for peer in ("CT1", "other"):
        assert found["minipacs_received_bytes_total", ("peer", peer)] == 0
        assert found["minipacs_associations_total", ("outcome", "rejected"), ("peer", peer)] == 0
        for service in ("C-ECHO", "C-STORE"):
            for status in ("success", "warning", "failure", "cancel"):
                labels = ("peer", peer), ("service", service), ("status", status)
                assert found["minipacs_operations_total", *labels] == 0
    before = set(found)
    counted.association_opened()
    for outcome in set(get_args(Ending)) - {"rejected"}:
        counted.association_ended("CT1", outcome)
    counted.association_rejected("X")
    counted.operation("C-STORE", "CT1", "failure", 0.1)
    counted.compression("left", 0)
    counted.sent("CT1", 1)
    counted.received("CT1", 1)
    assert set(samples(counted)) == before
    counted.begin_http(["/studies"])
    for status in ("200", "500", "507"):
        assert samples(counted)["minipacs_http_requests_total", ("route", "/studies"), ("status", status)] == 0


def test_what_a_sender_takes_is_no_time_of_the_archive(counted):
    counted.operation("C-STORE", "CT1", "success", 200)
    counted.stored("CT1", 0.002)
    found = samples(counted)
    assert found["minipacs_store_answer_seconds_bucket", ("le", "0.0025")] == 1
    assert found["minipacs_last_object_timestamp_seconds", ("peer", "CT1")] > 1.7e9


def test_a_peer_that_is_not_configured_is_other(counted):
    for stranger in ('EVIL"} 1', "a\nb", "", "WS "):
        counted.received(stranger, 1)
        counted.sent(stranger, 1)
        counted.operation("echo", stranger, "success", 0)
        counted.association_opened()
        counted.association_ended(stranger, "aborted")
        counted.association_rejected(stranger)
    peers = {value for _, *labels in samples(counted) for name, value in labels if name == "peer"}
    assert peers == {"other"}


def test_figures_of_the_archive_are_gauges(counted):
    found = samples(counted)
    assert found["minipacs_stored_bytes",] == 5_000_000_000
    assert [found[f"minipacs_{name}",] for name in ("patients", "studies", "series", "instances")] == [1, 2, 3, 4]
    assert found["minipacs_storage_free_bytes",] == 6
    assert found["minipacs_index_free_bytes",] == 7
    assert found["minipacs_quarantined_files",] == 8
    assert found["minipacs_conflicts",] == 10
    assert found["minipacs_unavailable_instances",] == 11
    assert not [name for name, *_ in found if "modality" in name], "what comes from outside is no label"


def test_build_info_is_a_gauge_of_value_one(counted):
    [(labels, value)] = [(dict(key[1:]), value) for key, value in samples(counted).items() if "build_info" in key[0]]
    assert labels["version"] == __version__
    assert value == 1


def test_the_archive_is_asked_once_for_several_readings():
    asked = []
    counted = page(lambda: asked.append(1) or FIGURES)
    assert asked == []
    for _ in range(3):
        assert samples(counted)["minipacs_patients",] == 1
    assert asked == [1]


def test_the_archive_is_asked_again_after_a_while(monkeypatch):
    answers = iter([FIGURES, replace(FIGURES, patients=9)])
    counted = page(lambda: next(answers))
    assert samples(counted)["minipacs_patients",] == 1
    now = figures.time.monotonic()
    monkeypatch.setattr(figures.time, "monotonic", lambda: now + figures.FIGURES_AGE_S)
    assert samples(counted)["minipacs_patients",] == 9


def test_an_archive_that_cannot_tell_leaves_its_gauges_out(caplog):
    def fail():
        raise OSError("disk on fire")

    counted = page(fail)
    found = samples(counted)
    assert ("minipacs_patients",) not in found
    assert ("minipacs_associations_active",) in found
    assert "archive figures are not available" in caplog.text


def test_pages(counted, serve):
    server = serve(counted)
    status, body, headers = ask(server, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert "\nminipacs_patients 1.0\n" in body
    assert ask(server, "/metrics?name=x")[0] == 200
    assert ask(server, "/healthz")[:2] == (200, "ok\n")
    assert ask(server, "/readyz")[:2] == (200, "ready\n")
    status, body, headers = ask(server, "/elsewhere")
    assert (status, body) == (404, "404 Not Found\n")
    assert "Python" not in headers["Server"]


def test_readyz_tells_why_not(counted, serve):
    assert ask(serve(counted, ready=lambda: "storage is full"), "/readyz")[:2] == (503, "storage is full\n")


def test_head_gives_headers_only_and_other_methods_nothing(counted, serve):
    server = serve(counted)
    status, body, headers = ask(server, "/healthz", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, "", "3")
    for method in ("POST", "PUT", "DELETE", "CONNECT"):
        assert ask(server, "/healthz", method)[0] == 501


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.0\r\n\r\n", b"414"),
        (b"GET /healthz HTTP/1.0\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /healthz HTTP/1.0\r\n" + b"A: x\r\n" * 200 + b"\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_requests_out_of_bounds_are_refused(counted, serve, request_bytes, status):
    server = serve(counted)
    with socket.create_connection(server.address, timeout=30) as connection:
        connection.sendall(request_bytes)
        assert status in connection.recv(100)
    assert ask(server, "/healthz")[0] == 200


def test_a_silent_client_is_given_up(counted, serve, monkeypatch):
    monkeypatch.setattr(http_server._Handler, "timeout", 0.05)
    with socket.create_connection(serve(counted).address, timeout=30) as connection:
        assert connection.recv(1) == b""


def test_a_client_that_sends_a_byte_now_and_then_has_a_time_for_all_of_it(counted, serve, monkeypatch):
    monkeypatch.setattr(http_server, "TOTAL_TIMEOUT_S", 0.5)
    server = serve(counted)
    began = time.monotonic()
    with (
        socket.create_connection(server.address, timeout=0.05) as client,
        contextlib.suppress(ConnectionError),
    ):
        while time.monotonic() - began < 30:
            client.sendall(b"G")
            with contextlib.suppress(TimeoutError):
                if not client.recv(1):
                    break
    assert time.monotonic() - began < 20


def test_silent_connections_keep_nobody_from_an_answer(counted, serve):
    server = serve(counted)
    with contextlib.ExitStack() as stack:
        for number in range(3 * http_server.MAX_CONNECTIONS):
            silent = stack.enter_context(socket.create_connection(server.address, timeout=30))
            if number % 2:
                silent.sendall(b"GET /metr")
        assert ask(server, "/healthz")[0] == 200


def test_too_many_connections_are_closed_at_once(counted, serve):
    release, asked = threading.Event(), threading.Semaphore(0)

    def ready() -> str | None:
        asked.release()
        return None if release.wait(30) else "late"

    server = serve(counted, ready=ready)
    waiting = []
    for _ in range(http_server.MAX_CONNECTIONS):
        connection = socket.create_connection(server.address, timeout=30)
        connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        waiting.append(connection)
        assert asked.acquire(timeout=30)
    with socket.create_connection(server.address, timeout=30) as beyond:
        assert beyond.recv(1) == b""
    release.set()
    for connection in waiting:
        assert b" 200 " in connection.recv(100)
        while connection.recv(1000):
            pass
        connection.close()
    assert ask(server, "/readyz")[0] == 200


def test_a_bug_in_a_page_is_logged_and_the_next_page_answered(counted, serve, caplog):
    def fail():
        raise LookupError("bug")

    server = serve(counted, ready=fail)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, "/readyz")
    assert ask(server, "/healthz")[0] == 200
    assert "metrics request failed" in caplog.text


def test_ipv6(counted, serve):
    server = serve(counted, address="::1")
    assert server.address[0] == "::1"
    assert ask(server, "/healthz")[0] == 200


def test_a_closed_server_answers_no_more_and_leaves_the_socket_to_others(counted):
    [sock] = bind(["127.0.0.1"], 0)
    first = MetricsServer(sock, counted.registry, lambda: "first")
    assert ask(first, "/readyz")[1] == "first\n"
    first.close()
    second = MetricsServer(sock, counted.registry, lambda: "second")
    assert ask(second, "/readyz")[1] == "second\n"
    second.close()
    sock.close()
    assert not first._thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(second.address, timeout=30)


def test_processes_are_gauges():
    found = Metrics([])
    register_figures(found.registry, lambda: None, lambda: Processes({"worker": 2, "jobs": 1}, 3, 1, 4096, 50))
    values = samples(found)
    assert values["minipacs_processes", ("role", "worker")] == 2
    assert values["minipacs_process_deaths_total",] == 3
    assert values["minipacs_reload_failures_total",] == 1
    assert values["minipacs_resident_memory_bytes",] == 4096
    assert values["minipacs_open_files",] == 50
    assert ("minipacs_patients",) not in values


WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from minipacs import metrics
metrics.share(Path(sys.argv[1]), 1)
counted = metrics.Metrics(["CT1"])
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
for _ in range(2):
    counted.stored("CT1", 0.1)
    counted.association_ended("CT1", "released")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
counted.last_object("CT1", 5.0)
"""


def test_what_cannot_be_counted_fails_nothing_that_is_done(tmp_path):
    """The files that processes share are made when they are first needed, which may be on a full disk."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_ROOM, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be counted") == 1
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    assert registry.get_sample_value("minipacs_last_object_timestamp_seconds", {"peer": "CT1"}) == 5.0
    assert registry.get_sample_value("minipacs_associations_total", {"peer": "CT1", "outcome": "released"}) == 2


ON_A_FULL_DISK = """
import errno, os, sys
from pathlib import Path
from minipacs import metrics
allocate, full = os.posix_fallocate, "at the start" in sys.argv
def refusing(fd, offset, length):
    if full and str(sys.argv[1]) in os.readlink(f"/proc/self/fd/{fd}"):
        raise OSError(errno.ENOSPC, "No space left on device")
    allocate(fd, offset, length)
os.posix_fallocate = refusing
metrics.share(Path(sys.argv[1]), 1)
counted = metrics.Metrics(["CT1"])
full = True
for number in range(2000):
    counted.http_request(f"/{number}", 200, 0.1, 1, 1)
full = False
counted.http_request("/last", 200, 0.1, 1, 1)
"""


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_full_disk_ends_nobody_who_counts(tmp_path, when):
    """A page of a sparse file that finds no room ends the process that writes to it, without a word."""
    command = [sys.executable, "-c", ON_A_FULL_DISK, tmp_path, when]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = [path.stat() for path in tmp_path.iterdir()]
    assert all(found.st_blocks * 512 >= found.st_size for found in files)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    labels = {"route": "/last", "status": "200"}
    if when == "at the start":
        assert "counts are not seen" in done.stderr
        assert not files
    else:
        assert done.stderr.count("cannot be counted") >= 1
        assert registry.get_sample_value("minipacs_http_requests_total", labels) == 1
