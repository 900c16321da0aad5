"""Associations of the real process: who gets in, how many, and how they end."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation, SOPClassExtendedNegotiation

from minipacs import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from minipacs.dicom.data_set.part10 import parse_file_meta
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from tests.support import dcmtk, server, wire
from tests.support.objects import ct, save, save_all, study
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.waiting import until
from tests.support.wire import CT, EXPLICIT, IMPLICIT, STUDY_FIND, VERIFICATION, Wire

ECHO = wire.message(1, wire.command(0x30, VERIFICATION))
LIMITED = "max_associations = 2"
PEERS = """
[access]
policy = "peers"
[[peer]]
title = "FRIEND"
host = "127.0.0.1"
max_associations = 1
[[peer]]
title = "ELSEWHERE"
host = "192.0.2.7"
[[peer]]
title = "ECHO ONLY"
allow = ["echo"]
"""


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run an archive that knows its callers."""
    found = Server(tmp_path_factory.mktemp("strict"), more=PEERS, ae="check_called_title = true")
    yield found
    found.end()


def rejected(port: int, **arguments: object) -> tuple[int, int, int]:
    """Call and be rejected; returns result, source and reason."""
    with Wire(port) as caller:
        kind, body = caller.associate(**arguments)
        assert kind == 3, kind
        return body[1], body[2], body[3]


def accepted(port: int, **arguments: object) -> Wire:
    caller = Wire(port)
    caller.accepted(**arguments)
    return caller


def echo(caller: Wire) -> int:
    caller.send(ECHO)
    return caller.response().status


def log_of(server: Server, calling: str, event: str) -> dict[str, object]:
    return server.wait_for(lambda line: line.get("event") == event and line.get("calling") == calling)


@pytest.mark.parametrize(
    ("called", "calling", "expected", "says"),
    [
        ("WRONG", "FRIEND", "Called AE Title Not Recognized", "called AE title not recognized"),
        ("minipacs", "ECHO ONLY", "Called AE Title Not Recognized", "called AE title not recognized"),
        ("MINIPACS", "STRANGER", "Calling AE Title Not Recognized", "calling AE title not recognized"),
        ("MINIPACS", "echo only", "Calling AE Title Not Recognized", "calling AE title not recognized"),
        ("MINIPACS", "ELSEWHERE", "Calling AE Title Not Recognized", "that of a peer at another address"),
    ],
)
def test_a1_unknown_titles_and_addresses_are_rejected(strict_server, called, calling, expected, says):
    done = dcmtk.client("echoscu", strict_server.port, "-aet", calling, called=called, check=False)
    assert done.returncode != 0
    assert expected in done.stdout
    line = strict_server.wait_for(
        lambda line: line["event"] == "association rejected" and (line["called"], line["calling"]) == (called, calling)
    )
    assert says in str(line["reason"])
    assert line["address"] == "127.0.0.1"


def test_a1_another_application_context_or_protocol_version_is_rejected(shared_server):
    assert rejected(shared_server.port, application="1.2.3.4") == (1, 1, 2)
    assert rejected(shared_server.port, version=2) == (1, 2, 2)


def test_a2_beyond_the_limit_callers_are_told_to_come_later(start_server):
    server = start_server(ae=LIMITED)
    with ExitStack() as stack:
        first, second = (stack.enter_context(accepted(server.port)) for _ in range(2))
        assert rejected(server.port) == (2, 3, 2)
        assert echo(first) == echo(second) == 0
        first.release()
        assert echo(stack.enter_context(accepted(server.port))) == 0, "free as soon as the release is answered"
    assert server.metric("minipacs_associations_total", outcome="rejected") == 1


def test_a2_a_peer_has_its_own_limit(strict_server):
    for _ in range(3):
        with accepted(strict_server.port, calling=b"FRIEND") as caller:
            assert rejected(strict_server.port, calling=b"FRIEND") == (2, 3, 2)
            assert echo(caller) == 0
            caller.release()


def test_a3_titles_are_compared_without_their_padding(strict_server):
    with accepted(strict_server.port, calling=b"  ECHO ONLY", called=b" MINIPACS ") as caller:
        assert echo(caller) == 0
        caller.release()
    assert rejected(strict_server.port, calling=b" ") == (1, 1, 3)
    assert rejected(strict_server.port, called=b" ", calling=b"ECHO ONLY") == (1, 1, 7)


def test_a4_what_is_refused_is_refused_context_by_context_and_logged(shared_server):
    contexts = [
        wire.context(1, CT, IMPLICIT, EXPLICIT),
        wire.context(3, STUDY_FIND, IMPLICIT, EXPLICIT),
        wire.context(5, "1.2.3.4"),
        wire.context(255, CT, "1.2.3.5"),
    ]
    with Wire(shared_server.port) as caller:
        found = wire.context_results(caller.accepted(*contexts, calling=b"A4"))
        assert found[1] == found[3] == (0, EXPLICIT)
        assert (found[5][0], found[255][0]) == (3, 4)
        caller.release()
    line = log_of(shared_server, "A4", "association ended")
    assert line["contexts"] == "2/4"
    assert line["refused"] == f"1 of an unknown SOP class: 1.2.3.4; 1 without a known transfer syntax: {CT}"


def test_a4_a_peer_without_the_right_gets_no_context_and_the_log_says_why(strict_server):
    with Wire(strict_server.port) as caller:
        body = caller.accepted(wire.context(1, CT), calling=b"ECHO ONLY")
        assert wire.context_results(body)[1][0] == 1
        caller.release()
    line = strict_server.wait_for(lambda line: line.get("contexts") == "0/1")
    assert line["refused"] == f"1 not allowed: {CT}"


def syntaxes_of(server: Server, datasets: list[Dataset]) -> list[str]:
    """Return the transfer syntaxes that objects are stored in."""
    metas = [parse_file_meta(path.read_bytes()) for path in server.objects()]
    found = {meta.sop_instance_uid: meta.transfer_syntax_uid for meta in metas}
    return [found[ds.SOPInstanceUID] for ds in datasets]


def test_a5_an_object_is_kept_in_the_syntax_of_its_context(shared_server):
    objects = [ct(), ct()]
    pairs = [(CT, uid) for uid in TRANSFER_SYNTAXES]
    with Sender(shared_server.port, *pairs) as sender:
        assert [sender.results[2 * i + 1] for i in range(len(pairs))] == [(0, uid) for _, uid in pairs]
        assert [sender.store(ds, uid).status for ds, uid in zip(objects, (IMPLICIT, EXPLICIT), strict=True)] == [0, 0]
        sender.release()
    assert syntaxes_of(shared_server, objects) == [IMPLICIT, EXPLICIT]


def test_a5_128_contexts_are_all_answered(shared_server):
    contexts = [wire.context(2 * i + 1, CT, EXPLICIT) for i in range(128)]
    with Wire(shared_server.port) as caller:
        found = wire.context_results(caller.accepted(*contexts))
        assert found == {2 * i + 1: (0, EXPLICIT) for i in range(128)}
        caller.release()


@pytest.mark.parametrize(
    ("convert", "propose", "syntax"),
    [
        ("+ti", "-xi", IMPLICIT),
        ("+te", "-xe", EXPLICIT),
        ("+tb", "-xb", "1.2.840.10008.1.2.2"),
        ("+td", "-xd", "1.2.840.10008.1.2.1.99"),
    ],
)
def test_a6_every_uncompressed_syntax_is_taken_as_sent(shared_server, tmp_path, convert, propose, syntax):
    ds, converted = ct(), tmp_path / "converted.dcm"
    dcmtk.run("dcmconv", convert, save(ds, tmp_path / "a.dcm"), converted)
    dcmtk.client("storescu", shared_server.port, propose, converted)
    assert syntaxes_of(shared_server, [ds]) == [syntax]


@pytest.mark.parametrize("options", [("-pdu", 4096, "--max-send-pdu", 4096), ("-pdu", 131072)])
def test_a8_dcmtk_with_small_and_large_pdus(shared_server, tmp_path, options):
    objects = study(instances=3, rows=128, PatientID=f"A8 {options[1]}")
    dcmtk.client("storescu", shared_server.port, *options, *save_all(objects, tmp_path))
    assert len(syntaxes_of(shared_server, objects)) == 3
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"PatientID=A8 {options[1]}", "-k", "NumberOfStudyRelatedInstances")
    shown = dcmtk.client("findscu", shared_server.port, "-S", *options[:2], *keys).stdout
    assert "IS [3 ]" in shown


def test_nagle_on_at_the_sender(shared_server, tmp_path, monkeypatch):
    """dcmtk as Debian builds it, without TCP_NODELAY=1 in its environment, many small objects in a row."""
    monkeypatch.setattr(dcmtk, "ENVIRONMENT", {k: v for k, v in dcmtk.ENVIRONMENT.items() if k != "TCP_NODELAY"})
    objects = study(series=2, instances=10)
    for tool in ("storescu", "dcmsend"):
        dcmtk.client(tool, shared_server.port, *save_all(objects, tmp_path))
        assert len(syntaxes_of(shared_server, objects)) == 20


def test_a9_the_implementation_is_named(shared_server):
    shown = dcmtk.client("echoscu", shared_server.port, "-d").stdout
    assert f"Their Implementation Class UID:    {IMPLEMENTATION_CLASS_UID}" in shown
    assert f"Their Implementation Version Name: {IMPLEMENTATION_VERSION_NAME}" in shown


def test_a10_a11_a12_negotiations_as_a_client_sees_them(shared_server):
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 5
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = STUDY_FIND, b"\1\1\1"
    ae = AE()
    ae.requested_contexts = [build_context(CT), build_context(STUDY_FIND), build_context(VERIFICATION)]
    items = [window, extended, build_role(CT, scp_role=True)]
    association = ae.associate("127.0.0.1", shared_server.port, ext_neg=items)
    assert association.acceptor.asynchronous_operations == (1, 1)
    assert association.acceptor.sop_class_extended == {STUDY_FIND: b"\1\1\1"}
    roles = {c.abstract_syntax: (c.as_scu, c.as_scp) for c in association.accepted_contexts}
    assert roles == {CT: (False, True), STUDY_FIND: (True, False), VERIFICATION: (True, False)}
    association.release()


def test_a16_probes_that_open_and_close_leave_no_trace(start_server):
    server = start_server(ae="workers = 1")
    with accepted(server.port) as caller:
        assert echo(caller) == echo(caller) == 0
        threads, files = server.threads(), server.open_files()
        for _ in range(200):
            socket.create_connection(("127.0.0.1", server.port)).close()
        assert echo(caller) == 0
        until(lambda: (server.threads(), server.open_files()) == (threads, files))
        assert not [line for line in server.lines if "address" in line]


def test_threads_and_descriptors_are_given_back(start_server):
    server = start_server(ae="workers = 1")
    with accepted(server.port) as caller:
        assert echo(caller) == echo(caller) == 0
        threads, files = server.threads(), server.open_files()
        for n in range(60):
            with accepted(server.port) as other:
                assert echo(other) == 0
                if n % 3 == 0:
                    other.release()
                elif n % 3 == 1:
                    other.send(b"\x07\0\0\0\0\4\0\0\0\0")
        until(lambda: (server.threads(), server.open_files()) == (threads, files))
    until(lambda: server.metric("minipacs_associations_active") == 0)


def wake_ups(pid: int) -> dict[str, int]:
    """Return how often each thread of a process has waited, by thread."""
    found = {}
    for path in Path(f"/proc/{pid}/task").iterdir():
        status = dict(line.split(":\t") for line in (path / "status").read_text().splitlines())
        found[path.name] = int(status["voluntary_ctxt_switches"])
    return found


def test_more_than_1024_associations_which_cost_nothing_while_they_are_idle(start_server):
    count = 1100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 2 * count, "the hard limit of open files is too low for this test"
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 2 * count), hard), hard))
    server = start_server(ae=f"max_associations = {count}\nworkers = 1")
    [worker] = server.children("worker")
    with ExitStack() as stack:
        callers = [stack.enter_context(accepted(server.port)) for _ in range(count)]
        assert server.open_files() > count
        assert max(int(p.name) for p in Path(f"/proc/{worker}/fd").iterdir()) > 1023
        assert {echo(caller) for caller in callers} == {0}
        assert rejected(server.port) == (2, 3, 2)
        for _ in range(100):
            echo(callers[0])
        before = wake_ups(worker)
        for _ in range(300):
            echo(callers[0])
        after = wake_ups(worker)
        awake = [thread for thread in after if after[thread] != before.get(thread)]
        assert len(after) > count
        assert len(awake) < 10, "only the one that was talked to"
    assert server.stop() == 0


def test_a_second_daemon_on_the_same_folder_is_refused(shared_server):
    done = server.run("serve", config=shared_server.config, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"minipacs: {shared_server.data} is in use by another minipacs daemon (pid {shared_server.process.pid})"
    ]


def test_a_port_in_use_is_said_in_one_line(shared_server, tmp_path):
    done = server.run(
        "serve", "--data", tmp_path, "--port", shared_server.port, config=shared_server.config, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"minipacs: cannot listen on 127.0.0.1 port {shared_server.port}: Address already in use"
    ]
    assert not list(tmp_path.iterdir())


def test_out_of_descriptors_connections_are_closed_and_the_process_lives(start_server):
    server = start_server(ae="workers = 1", wrapper=["prlimit", "--nofile=64:64"])
    with ExitStack() as stack:
        callers = [stack.enter_context(Wire(server.port)) for _ in range(64)]
        server.wait_for(lambda line: line["event"] == "out of file descriptors: connection closed")
        callers[0].accepted()
        assert echo(callers[0]) == 0
    until(lambda: server.open_files() < 40)
    with accepted(server.port) as caller:
        assert echo(caller) == 0
