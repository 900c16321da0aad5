"""The audit trail of the real process: what is told, to a file and to a collector over TLS (PS3.15 A.5 to A.7)."""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lxml import etree

from minipacs.net.identity import users
from tests.support import modality, wire
from tests.support.audit_messages import check
from tests.support.certificates import Authority
from tests.support.collector import Collector
from tests.support.finder import Finder
from tests.support.objects import ct, study
from tests.support.receiver import Receiver
from tests.support.retriever import STUDY_GET, Retriever, move
from tests.support.sender import Sender
from tests.support.server import Server, run
from tests.support.site import Site, TlsWire, tls_port
from tests.support.wire import CT, EXPLICIT, VERIFICATION, Wire, context
from tests.system import test_performed_step as steps

START, STOP = "110120", "110121"
BEGIN, TRANSFERRED, QUERY, ALERT, USER = "110102", "110104", "110112", "110113", "110114"


class Told:
    """A message, taken apart."""

    def __init__(self, line: bytes) -> None:
        self.root = check(line)
        event = self.root.find("EventIdentification")
        self.event = event.find("EventID").get("csd-code")
        self.type = next((t.get("csd-code") for t in event.findall("EventTypeCode")), "")
        self.action, self.outcome = event.get("EventActionCode"), event.get("EventOutcomeIndicator")
        self.description = event.findtext("EventOutcomeDescription") or ""
        self.who = [
            (p.get("UserID").partition("@")[0], p.get("UserIsRequestor") == "true", _role(p))
            for p in self.root.findall("ActiveParticipant")
        ]
        self.objects = [o.get("ParticipantObjectID") for o in self.root.findall("ParticipantObjectIdentification")]
        self.instances = sum(int(c.get("NumberOfInstances")) for c in self.root.iter("SOPClass"))


def _role(participant: etree._Element) -> str:
    found = participant.find("RoleIDCode")
    return "" if found is None else found.get("csd-code")


def told(path: Path, *events: str) -> list[Told]:
    """Read the trail in a file, or what it says of some events."""
    found = [Told(line) for line in path.read_bytes().splitlines()]
    return [one for one in found if not events or one.event in events]


FILE = '[audit]\nfile = "audit.log"\n'


@pytest.fixture
def start(start_server: Callable[..., Server]) -> Callable[..., tuple[Server, Path]]:
    def start_(more: str = "", **arguments: str) -> tuple[Server, Path]:
        server = start_server(more=FILE + more, **arguments)
        return server, server.folder / "audit.log"

    return start_


def test_a_day_of_a_modality_and_of_a_viewer(start: Callable[..., tuple[Server, Path]]):
    with Receiver() as receiver:
        server, path = start(receiver.peer())
        objects = study(instances=3, PatientID="P1", PatientName="Doe^Jane")
        uid = objects[0].StudyInstanceUID
        with Sender(server.port, (CT, EXPLICIT)) as sender:
            for ds in (*objects, objects[0]):
                assert sender.store(ds).status == 0
        with Finder(server.port) as finder:
            assert finder.find("STUDY", PatientID="P1", StudyInstanceUID="").status == 0
        assert move(server.port, "STUDY", study=uid).final.status == 0
        server.stop()
    trail = told(path)
    assert [(one.event, one.type) for one in (trail[0], trail[-1])] == [("110100", START), ("110100", STOP)]
    came = [one for one in trail if one.event == TRANSFERRED and ("MINIPACS", False, "110152") in one.who]
    assert [(one.action, one.instances, one.objects) for one in came] == [("C", 3, [uid, "P1"]), ("R", 1, [uid, "P1"])]
    [query] = [one for one in trail if one.event == QUERY]
    assert query.outcome == "0"
    begin, went = [one for one in trail if ("MINIPACS", False, "110153") in one.who]
    assert (begin.event, went.event, went.action, went.instances, went.objects) == (
        BEGIN,
        TRANSFERRED,
        "R",
        3,
        [uid, "P1"],
    )
    assert went.who[1:] == [("RECEIVER", False, "110152"), (went.who[2][0], True, "")]
    assert path.stat().st_mode & 0o777 == 0o640
    assert list((server.data / "audit").glob("*.segment")) == []
    assert "Jane" not in "".join(server.raw)


def test_who_is_kept_out_is_told_with_the_reason(start: Callable[..., tuple[Server, Path]]):
    server, path = start('[access]\npolicy = "peers"\n[[peer]]\ntitle = "CT1"\nallow = ["echo"]\n')
    with Wire(server.port) as stranger:
        stranger.associate(context(1, VERIFICATION, EXPLICIT), calling=b"NOBODY")
    with Wire(server.port) as known:
        known.associate(context(1, VERIFICATION, EXPLICIT), context(3, CT, EXPLICIT), calling=b"CT1")
    server.stop()
    refused, denied = told(path, ALERT)
    assert (refused.type, refused.outcome, refused.description) == ("110126", "4", "calling AE title not recognized")
    assert refused.who == [("MINIPACS", True, ""), ("NOBODY", False, "")]
    assert (denied.type, denied.outcome, denied.description) == ("110132", "4", "has no right to store")


def test_who_is_kept_out_by_tls_is_told_with_the_reason(start: Callable[..., tuple[Server, Path]], tmp_path: Path):
    site = Site(tmp_path / "site")
    server, path = start(site.lines() + '\n[[peer]]\ntitle = "CT1"\ncertificate = "CN=CT1"\n')
    for who in (site.stranger, site.expired, None):
        with suppress(OSError), TlsWire(tls_port(server), site.context(who)) as caller:
            caller.associate()
    with Wire(tls_port(server)) as plain:
        plain.send(wire.associate_rq())
        plain.closed()
    with TlsWire(tls_port(server), site.context(site.ct2)) as caller:
        caller.associate(calling=b"CT1")
    server.stop()
    refused = told(path, ALERT)
    assert {(one.type, one.outcome) for one in refused} == {("110126", "4")}
    assert sorted(one.description for one in refused) == [
        "TLS: certificate of the peer refused: certificate has expired",
        "TLS: certificate of the peer refused: unable to get local issuer certificate",
        "TLS: plain DICOM, or something else than TLS, on the TLS port",
        "TLS: the peer shows no certificate",
        "certificate is not that of the calling AE title: CN=CT2",
    ]
    assert refused[0].who == [("MINIPACS", True, ""), ("127.0.0.1", False, "")]


def test_who_signs_in_is_told_and_who_may_not(start: Callable[..., tuple[Server, Path]]):
    server, path = start('[access]\nidentity = "check"\n')
    users.add(server.data / "users", "anna", b"right", ["echo", "store"])

    def call(name: bytes, passcode: bytes) -> None:
        sizes = b"\0" + bytes([len(name)]) + name + b"\0" + bytes([len(passcode)]) + passcode
        item = wire.item(0x58, bytes((2 if passcode else 1, 0)) + sizes)
        with Wire(server.port) as caller:
            kind, _ = caller.associate(calling=b"CT1", user=wire.user_information(16384, item))
            if kind == 2:
                caller.release()

    call(b"anna", b"right")
    call(b"anna", b"wrong")
    call(b"anna", b"")
    call(b"bert", b"right")
    server.stop()
    seen = [(one.who[0][0], one.type, one.outcome, one.description) for one in told(path, USER)]
    wrong = "user identity refused: no such user, or a wrong passcode"
    assert sorted(seen) == sorted(
        [
            ("anna", "110122", "0", ""),
            ("anna", "110123", "0", ""),
            ("anna", "110122", "4", wrong),
            ("anna", "110122", "0", "by the name alone"),
            ("anna", "110123", "0", "by the name alone"),
            ("bert", "110122", "4", wrong),
        ]
    )
    assert b'UserID="anna@CT1"' in path.read_bytes()


def test_an_object_that_is_refused_is_told(start: Callable[..., tuple[Server, Path]]):
    server, path = start(storage='duplicates = "reject"')
    first, other = ct(), ct()
    other.SOPInstanceUID = first.SOPInstanceUID
    with Sender(server.port, (CT, EXPLICIT)) as sender:
        assert sender.store(first).status == 0
        assert sender.store(other).status != 0
    server.stop()
    came, refused = told(path, TRANSFERRED)
    assert (came.action, came.outcome, came.instances) == ("C", "0", 1)
    assert (refused.action, refused.outcome, refused.objects) == ("C", "4", ["2.25.0", "<none>"])


def test_a_retrieval_over_the_same_association_and_a_failed_one_are_told(start: Callable[..., tuple[Server, Path]]):
    server, path = start()
    ds = ct(PatientID="P2")
    with Sender(server.port, (CT, EXPLICIT)) as sender:
        sender.store(ds)
    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT)) as retriever:
        assert retriever.run("STUDY", study=ds.StudyInstanceUID).final.status == 0
    with Retriever(server.port, STUDY_GET) as retriever:  # without a context for the object
        assert retriever.run("STUDY", study=ds.StudyInstanceUID).final.status != 0
    server.stop()
    outcomes = [(one.action, one.outcome, one.instances) for one in told(path, TRANSFERRED)]
    assert sorted(outcomes) == [("C", "0", 1), ("R", "0", 1), ("R", "4", 1)]  # each when its association is over
    assert len(told(path, BEGIN)) == 2


def test_a_performed_step_and_a_worklist_query_are_told(start: Callable[..., tuple[Server, Path]]):
    server, path = start()
    modality.ask(server.port, modality.key("Modality", "CT"))
    performing = steps.associate(server)
    uid = steps.create(performing)
    steps.change(performing, uid, steps.ended())
    performing.release()
    server.stop()
    [query] = told(path, QUERY)
    assert query.objects == ["1.2.840.10008.5.1.4.31"]
    created, changed = told(path, "110111")
    assert (created.action, changed.action) == ("C", "U")
    assert created.root.find(".//MPPS").get("UID") == uid


def test_a_reload_tells_what_changed_and_one_that_fails_why(start: Callable[..., tuple[Server, Path]]):
    server, path = start()
    text = server.config.read_text()
    server.config.write_text(text + "[query]\nmax_matches = 7\n")
    server.reload()
    server.config.write_text(text + "[query]\nmax_matches = -1\n")
    server.reload()
    server.stop()
    changed, failed = told(path, ALERT)
    assert (changed.type, changed.outcome, changed.description) == (
        "110131",
        "0",
        "configuration read again; changed: query",
    )
    assert failed.outcome == "4"
    assert "query.max_matches" in failed.description
    assert [one.type for one in told(path, "110100")] == [START, STOP]


def test_after_a_kill_the_next_start_says_so_and_little_is_missing(start: Callable[..., tuple[Server, Path]]):
    server, path = start()
    with Sender(server.port, (CT, EXPLICIT)) as sender:
        sender.store(ct())
        server.kill()
    server.start()
    server.stop()
    assert [(one.type, one.outcome) for one in told(path, "110100")] == [(START, "0"), (START, "4"), (STOP, "0")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def collector(authority: Authority) -> Iterator[Collector]:
    found = Collector(authority.issue("COLLECTOR"), authority.certificate)
    yield found
    found.go()


def test_a_collector_over_tls_misses_nothing_while_it_is_away(
    start_server: Callable[..., Server], authority: Authority, collector: Collector
):
    us = authority.issue("ARCHIVE")
    files = f'certificate = "{us.certificate}"\nkey = "{us.key}"\nca = "{authority.certificate}"'
    server = start_server(more=f'[audit]\nsyslog = "tls://localhost:{collector.port}"\n[tls]\nport = 0\n{files}')
    collector.wait_for(1)
    asked = 0

    def ask(count: int) -> None:
        nonlocal asked
        with Finder(server.port) as finder:
            for _ in range(count):
                finder.find("STUDY", PatientID=f"ASK{asked}", StudyInstanceUID="")
                asked += 1

    ask(20)
    collector.wait_for(21)
    collector.go()
    ask(50)
    server.wait_for(lambda line: line.get("event") == "audit messages wait")
    assert server.metric("minipacs_audit_spooled_messages") > 0
    ask(30)
    collector.come()
    collector.wait_for(101)
    server.stop()
    collector.wait_for_goodbye()
    messages = [Told(line) for line in collector.messages]
    queries = [m.root.findtext(".//ParticipantObjectQuery") for m in messages if m.event == QUERY]
    seen = list(dict.fromkeys(queries))
    assert len(seen) == 100
    assert _numbers(seen) == list(range(100))
    assert messages[-1].type == STOP


def _numbers(queries: list[str]) -> list[int]:
    """Give the numbers that the queries ask for."""
    return [int(re.search(rb"ASK(\d+)", b64decode(query))[1]) for query in queries]


def test_check_tells_what_is_wrong_with_the_ways_of_the_trail(tmp_path: Path):
    config = tmp_path / "minipacs.toml"
    config.write_text(
        '[storage]\nmin_free_bytes = 0\n[audit]\nfile = "none/audit.log"\nsyslog = "udp://no.such.host.invalid"\n'
    )
    done = run("check", config=config, check=False)
    assert done.returncode == 1
    assert f"there is no folder {tmp_path}/none" in done.stdout
    assert "warn   audit.syslog udp://no.such.host.invalid: the name has no address" in done.stdout
