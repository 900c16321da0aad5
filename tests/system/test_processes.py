"""The processes of the daemon: what becomes of associations when they die, reload and drain."""

import os
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import wire
from tests.support.objects import ct, encode
from tests.support.sender import Sender
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import CT, EXPLICIT, VERIFICATION, Wire

WORKERS = "workers = 2"
QUICK_TO_KILL = {
    "minipacs.daemon.processes.process.BEAT_INTERVAL_S": 0.1,
    "minipacs.daemon.processes.pulse.LATE_S": 0.5,
    "minipacs.daemon.processes.pulse.STALLED_S": 1.0,
    "minipacs.daemon.processes.pulse.LOOK_INTERVAL_S": 0.25,
    "minipacs.daemon.parent.LOOK_INTERVAL_S": 0.25,
}
"""A daemon that waits a second instead of half a minute for a main loop to come round."""


def echo(caller: Wire) -> int:
    caller.send(wire.message(1, wire.command(0x30, VERIFICATION)))
    return caller.response().status


def open_echo(port: int, calling: bytes = b"TEST") -> Wire:
    caller = Wire(port)
    caller.accepted(calling=calling)
    return caller


def rejection(port: int, calling: bytes = b"TEST") -> tuple[int, int, int]:
    with Wire(port) as caller:
        kind, body = caller.associate(calling=calling)
        assert kind == 3, (kind, body)
        return body[1], body[2], body[3]


def refused(port: int) -> bool:
    try:
        Wire(port).socket.close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # came while the listener was closed
        return False
    return False


def has_open(pid: int, path: Path) -> bool:
    return any(link.resolve() == path for link in Path(f"/proc/{pid}/fd").iterdir())


def half_sent(port: int) -> tuple[Wire, bytes]:
    """Begin to send an object; give the rest of it."""
    caller = Wire(port)
    caller.accepted(wire.context(1, CT, EXPLICIT))
    ds = ct()
    sent = wire.message(1, wire.store_rq(CT, ds.SOPInstanceUID), encode(ds))
    caller.send(sent[:-100])
    return caller, sent[-100:]


def test_there_are_as_many_workers_as_cores_by_default(server):
    assert len(server.children("worker")) == len(os.sched_getaffinity(0))
    assert len(server.children("jobs")) == 1
    assert len(os.listdir(f"/proc/{server.process.pid}/task")) == 1, "the parent starts no thread"
    maps = Path(f"/proc/{server.process.pid}/fd")
    assert not [fd for fd in maps.iterdir() if "index.db" in os.readlink(fd)], "the parent opens no database"


def test_a_worker_killed_during_a_transfer_is_replaced_and_what_it_staged_swept(start_server):
    server = start_server(ae=WORKERS)
    caller, _ = half_sent(server.port)
    until(lambda: bool(server.incoming()))
    staged = server.incoming()[0]
    [receiving] = [pid for pid in server.children("worker") if has_open(pid, staged)]
    killed_at = time.monotonic()
    os.kill(receiving, signal.SIGKILL)
    assert caller.closed()
    died = server.wait_for(lambda line: line["event"] == "process died")
    assert (died["role"], died["pid"], died["how"], died["files_swept"]) == ("worker", receiving, "signal 9", 1)
    until(lambda: len(server.children("worker")) == 2)
    assert time.monotonic() - killed_at < PATIENCE_S
    assert not server.incoming()
    for _ in range(8):
        with Sender(server.port) as sender:
            assert sender.store(ct()).status == 0
            sender.release()
    until(lambda: server.metric("minipacs_associations_active") == 0)
    assert server.metric("minipacs_process_deaths_total") == 1
    assert server.stop() == 0
    assert (server.data / "daemon.lock").read_bytes() != b"", "the next start looks for files without a row"


def test_places_of_a_killed_worker_are_free_again(start_server):
    server = start_server(ae="workers = 2\nmax_associations = 4")
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(open_echo(server.port))
        assert rejection(server.port) == (2, 3, 2)
        for pid in server.children("worker"):
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(server.events("process died")) == 2)
    until(lambda: len(server.children("worker")) == 2)
    with ExitStack() as stack:
        for _ in range(4):
            assert echo(stack.enter_context(open_echo(server.port))) == 0
        assert rejection(server.port) == (2, 3, 2)


def test_a_jobs_process_that_dies_is_replaced_on_the_same_port(server):
    [jobs] = server.children("jobs")
    os.kill(jobs, signal.SIGKILL)
    server.wait_for(lambda line: line["event"] == "process died")
    until(lambda: server.children("jobs") not in ([], [jobs]))
    assert server.http("/healthz") == (200, "ok\n")
    until(lambda: server.http("/readyz")[0] == 200)


def test_a_worker_that_dies_again_and_again_is_held_back(start_server):
    server = start_server(ae="workers = 1")
    for n in range(1, 5):
        until(lambda: len(server.children("worker")) == 1)
        os.kill(server.children("worker")[0], signal.SIGKILL)
        until(lambda n=n: len(server.events("process died")) == n)
    ended_at = time.monotonic()
    until(lambda: len(server.children("worker")) == 1)
    assert time.monotonic() - ended_at > 1
    with open_echo(server.port) as caller:
        assert echo(caller) == 0


def test_a2_the_limit_of_associations_holds_over_all_workers(start_server):
    server = start_server(ae="workers = 2\nmax_associations = 5")
    with ExitStack() as stack:
        callers = [stack.enter_context(open_echo(server.port)) for _ in range(5)]
        assert [rejection(server.port) for _ in range(6)] == [(2, 3, 2)] * 6
        callers[0].release()
        until(lambda: server.metric("minipacs_associations_active") == 4)
        callers[0] = stack.enter_context(open_echo(server.port))
        assert {echo(caller) for caller in callers} == {0}


def test_a2_the_limit_of_a_peer_holds_over_all_workers_and_reloads(start_server):
    server = start_server(ae=WORKERS, more='[[peer]]\ntitle = "CT1"\nmax_associations = 3')
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(open_echo(server.port, b"CT1"))
        assert [rejection(server.port, b"CT1") for _ in range(4)] == [(2, 3, 2)] * 4
        stack.enter_context(open_echo(server.port, b"OTHER"))
        server.reload()
        assert [rejection(server.port, b"CT1") for _ in range(4)] == [(2, 3, 2)] * 4
        stack.enter_context(open_echo(server.port, b"OTHER"))


def test_metrics_are_whole_over_all_workers(start_server):
    server = start_server(ae=WORKERS, more='[[peer]]\ntitle = "CT1"')
    size = 0
    with ExitStack() as stack:
        senders = [stack.enter_context(Sender(server.port, calling=b"CT1")) for _ in range(12)]
        for sender in senders:
            ds = ct()
            size += len(encode(ds))
            assert sender.store(ds).status == 0
        assert server.metric("minipacs_associations_active") == 12
        workers = {str(line["association"]).split("-")[0] for line in server.events("C-STORE")}
        for sender in senders:
            sender.release()
    until(lambda: server.metric("minipacs_associations_active") == 0)
    assert len(workers) == 2, "both had something to do"
    assert server.metric("minipacs_associations_total", peer="CT1", outcome="released") == 12
    assert server.metric("minipacs_operations_total", service="C-STORE", peer="CT1", status="success") == 12
    assert server.metric("minipacs_operation_duration_seconds_count", service="C-STORE") == 12
    assert server.metric("minipacs_received_bytes_total", peer="CT1") == size
    assert server.metric("minipacs_index_commit_instances_sum") == 12
    assert server.metric("minipacs_instances") == 12
    assert server.metric("minipacs_build_info") == 1
    assert server.metric("minipacs_processes", role="worker") == 2
    for pid in server.children("worker"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(server.children("worker")) == 2 and len(server.events("process died")) == 2)
    server.reload()
    assert server.metric("minipacs_received_bytes_total", peer="CT1") == size, "counts outlive who counted"


def test_metrics_agree_with_the_log_after_a_mixed_load(start_server):
    server = start_server(ae=WORKERS)
    contexts = [wire.context(1, VERIFICATION), wire.context(3, CT, EXPLICIT)]
    with ExitStack() as stack:
        callers = [stack.enter_context(Wire(server.port)) for _ in range(10)]
        for n, caller in enumerate(callers):
            caller.accepted(*contexts)
            assert echo(caller) == 0
            ds = ct()
            data = encode(ds)[: -50 if n % 2 else None]
            caller.send(wire.message(3, wire.store_rq(CT, ds.SOPInstanceUID), data))
            assert caller.response().status == (0xC000 if n % 2 else 0)
        for caller in callers[:6]:
            caller.release()
    until(lambda: server.metric("minipacs_associations_active") == 0)
    until(lambda: len(server.events("association ended")) == 10)
    logged = Counter((line["event"], line["status"] == "0000") for line in server.lines if "status" in line)
    assert logged == {("C-ECHO", True): 10, ("C-STORE", True): 5, ("C-STORE", False): 5}
    for (service, is_done), count in logged.items():
        status = "success" if is_done else "failure"
        assert server.metric("minipacs_operations_total", service=service, status=status) == count
    outcomes = Counter(str(line["outcome"]) for line in server.events("association ended"))
    assert outcomes["released"] == 6
    assert server.metric("minipacs_associations_total", outcome="released") == 6
    assert server.metric("minipacs_associations_total") == 10
    assert server.metric("minipacs_instances") == 5


def test_sighup_during_a_transfer_loses_nothing(start_server):
    server = start_server(ae=WORKERS)
    old = server.children("worker")
    caller, rest = half_sent(server.port)
    idle = [open_echo(server.port) for _ in range(4)]
    text = server.config.read_text()
    server.config.write_text(text.replace("[ae]", '[ae]\ntitle = "NEW"\ncheck_called_title = true'))
    server.reload()
    assert server.events("reloaded")[0]["ae_title"] == "NEW"
    with Wire(server.port) as stranger:
        assert stranger.associate()[0] == 3, "the new configuration holds for new associations"
    with Wire(server.port) as friend:
        friend.accepted(called=b"NEW")
    caller.send(rest)
    assert caller.response().status == 0
    assert {echo(one) for one in idle} == {0}
    for one in (caller, *idle):
        one.release()
    until(lambda: not set(old) & set(server.children("worker")))
    assert len(server.children("worker")) == 2
    until(lambda: len(server.children("jobs")) == 1)
    assert len(server.objects()) == 1
    assert not server.events("process died")
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[ae]", "[ae]\nmax_associations = 0", "ae.max_associations = 0: must be a whole number from 1 to 10000"),
        ('path = "data"', 'path = "elsewhere"', "storage.path = .*: cannot change from .* without a restart"),
        ("[ae]", "[ae", ".*: must be TOML: .*"),
    ],
)
def test_a_faulty_configuration_keeps_the_old_one(server, old, new, reason):
    before = server.processes()
    server.config.write_text(server.config.read_text().replace(old, new))
    server.reload()
    [line] = server.events("not reloaded: the old configuration stays")
    assert re.fullmatch(reason, line["reason"])
    assert server.processes() == before
    with open_echo(server.port) as caller:
        assert echo(caller) == 0


def test_a_reload_moves_to_another_port(server):
    first = server.port
    with open_echo(first) as caller:
        text = server.config.read_text()
        server.config.write_text(text.replace("port = 0", 'bind = "127.0.0.2"\nport = 0', 1))
        server.reload()
        address, port = str(server.events("reloaded")[0]["dicom"]).split(":")
        assert address == "127.0.0.2"
        with Wire(int(port), "127.0.0.2") as moved:
            moved.accepted()
        until(lambda: refused(first))
        assert echo(caller) == 0


def test_at_sigterm_new_associations_are_rejected_and_open_ones_finish(start_server):
    server = start_server(ae=WORKERS)
    caller, rest = half_sent(server.port)
    idle = open_echo(server.port)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for(lambda line: line["event"] == "stopping")
    until(lambda: server.http("/readyz") == (503, "shutting down\n"))
    assert server.http("/healthz")[0] == 200
    assert rejection(server.port) == (2, 3, 1)
    caller.send(rest)
    assert caller.response().status == 0
    assert echo(idle) == 0
    caller.release()
    idle.release()
    assert server.process.wait(20) == 0
    assert server.events("stopped")
    assert len(server.objects()) == 1
    assert (server.data / "daemon.lock").read_bytes() == b""


def test_at_sigterm_open_associations_are_aborted_when_their_time_is_over(start_server):
    server = start_server(more="[timeouts]\ndrain = 0.5")
    callers = [open_echo(server.port) for _ in range(10)]
    server.process.send_signal(signal.SIGTERM)
    for caller in callers:
        assert caller.pdu() == (7, bytes(4))
        assert caller.closed()
    assert server.process.wait(20) == 0
    ended = server.events("association ended")
    assert [line["outcome"] for line in ended] == ["shutdown"] * 10
    assert {line["level"] for line in ended} == {"info"}


def test_at_a_second_sigterm_an_object_under_way_is_still_stored(server):
    caller, rest = half_sent(server.port)
    until(lambda: bool(server.incoming()))
    server.process.send_signal(signal.SIGTERM)
    server.wait_for(lambda line: line["event"] == "stopping")
    server.process.send_signal(signal.SIGTERM)
    caller.send(rest)
    assert caller.response().status == 0
    assert caller.pdu()[0] == 7
    assert server.process.wait(20) == 0
    assert len(server.objects()) == 1


def test_who_kills_the_parent_kills_the_daemon(server):
    pids = server.processes()
    caller = open_echo(server.port)
    server.kill()
    assert caller.closed()
    until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids))
    server.start()
    with open_echo(server.port) as again:
        assert echo(again) == 0


def test_a_reload_can_follow_another(server):
    for _ in range(3):
        server.reload()
    assert len(server.events("reloaded")) == 3
    assert server.metric("minipacs_processes", role="jobs") >= 1


def test_a_reload_asked_for_during_a_reload_is_not_forgotten(start_server):
    server = start_server(ae=WORKERS)
    text = server.config.read_text()
    before = set(server.processes())
    server.config.write_text(text.replace("[ae]", '[ae]\ntitle = "FIRST"'))
    server.process.send_signal(signal.SIGHUP)
    until(lambda: bool(set(server.processes()) - before))
    server.config.write_text(text.replace("[ae]", '[ae]\ntitle = "SECOND"'))
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(lambda line: line["event"] == "reloaded" and line["ae_title"] == "SECOND")


@pytest.fixture
def quick_to_kill(start_server):
    return start_server(ae=WORKERS, limits=QUICK_TO_KILL)


def test_a_worker_that_hangs_is_killed_and_that_is_said_once(quick_to_kill):
    server = quick_to_kill
    hanging = server.children("worker")[0]
    os.kill(hanging, signal.SIGSTOP)
    died = server.wait_for(lambda line: line["event"] == "process died")
    assert (died["pid"], died["how"]) == (hanging, "signal 9")
    until(lambda: len(server.children("worker")) == 2)
    assert [line["pid"] for line in server.events("process stalled: killed")] == [hanging]


def test_a_pause_of_the_machine_kills_nobody(quick_to_kill):
    """All processes are stopped for longer than a main loop may hang, then go on, the parent first."""
    server = quick_to_kill
    processes = server.processes()
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(AssertionError, match="no such log line"):
        server.wait_for(lambda line: False, timeout_s=2)
    after = len(server.lines)
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
    with open_echo(server.port) as caller:
        assert echo(caller) == 0
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(lambda line: line["event"] == "reloaded", after=after)
    assert not server.events("process died")
    assert not server.events("process stalled: killed")
