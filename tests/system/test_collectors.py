"""The audit trail at the collectors that hospitals have, over mutual TLS (PS3.15 A.6, RFC 5425)."""

import re
import signal
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lxml import etree

from minipacs.audit.courier import MAX_PAUSE_S
from tests.support.certificates import Authority
from tests.support.collector import Collector
from tests.support.day import KINDS, Day
from tests.support.finder import Finder
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.syslog import FILE, Rsyslog, SyslogDaemon, SyslogNg, hold_all
from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import free_port


@pytest.mark.parametrize("kind", [Rsyslog, SyslogNg])
def test_a_collector_that_is_killed_and_comes_back_has_everything_in_order(
    kind: type[SyslogDaemon], authority: Authority, tmp_path: Path, start_server: Callable[..., Server]
):
    web_port, hl7_port = free_port(), free_port()
    collector = kind(tmp_path / "collector", authority.issue("COLLECTOR"), authority.certificate)
    with Receiver() as receiver:
        server = start_server(
            more=collector.settings(authority.issue("ARCHIVE")) + Day.lines(receiver, web_port, hl7_port)
        )
        day = Day(server, web_port, hl7_port)
        day.pass_by()
        collector.wait_for(10)
        wait_until_told(server, collector)
        collector.stop(signal.SIGKILL)
        before = len(collector.lines())
        day.pass_by()
        server.wait_for(lambda line: line.get("event") == "audit messages wait")
        collector.start()
        collector.wait_for(before + 1)
        server.stop()
    trail = (server.folder / FILE).read_bytes().splitlines()
    hold_all(collector.wait_for(len(trail)), trail, KINDS)
    collector.stop()


def wait_until_told(server: Server, collector: SyslogDaemon) -> None:
    """Wait until nothing is on its way: a collector takes along what it has not written (RFC 5425 has no answer)."""
    trail = server.folder / FILE
    until(
        lambda: (
            not server.metric("minipacs_audit_spooled_messages")
            and len(collector.lines()) >= trail.read_bytes().count(b"\n")
        )
    )


LONG = "X" * 60 + "\\"
"""Many of these make an identifier of 16 KiB, which is as much of one as the trail keeps."""


def ask(server: Server, numbers: range) -> None:
    """Send queries with long identifiers, over one association."""
    with Finder(server.port) as finder:
        for number in numbers:
            assert finder.find("STUDY", PatientID=f"ASK{number}", StudyInstanceUID="", PatientComments=LONG * 260)


def asked(messages: list[bytes]) -> list[int]:
    """Return the numbers of the queries that are told."""
    found = []
    for message in messages:
        query = etree.fromstring(message).findtext(".//ParticipantObjectQuery")
        if query is not None:
            found.append(int(re.search(rb"ASK(\d+)", b64decode(query))[1]))
    return found


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def collector(authority: Authority) -> Iterator[Collector]:
    found = Collector(authority.issue("COLLECTOR"), authority.certificate)
    yield found
    found.go()


def lines(authority: Authority, collector: Collector, more: str) -> str:
    """Return the configuration of an archive that sends to a collector."""
    us = authority.issue("ARCHIVE")
    return f'''[audit]
syslog = "tls://localhost:{collector.port}"
{more}
[tls]
port = 0
certificate = "{us.certificate}"
key = "{us.key}"
ca = "{authority.certificate}"
'''


def test_a_full_spool_keeps_the_oldest_and_tells_how_many_are_missing(
    authority: Authority, collector: Collector, start_server: Callable[..., Server]
):
    collector.go()
    server = start_server(more=lines(authority, collector, "spool_bytes = 1048576"))
    ask(server, range(200))
    assert sum(path.stat().st_size for path in (server.data / "audit").glob("*.segment")) < 1.2e6
    collector.come()
    told = collector.wait_for_text(b"messages were lost")
    ask(server, range(200, 210))
    collector.wait_for_text(b"110134")
    server.stop()
    collector.wait_for_goodbye()
    numbers = asked(collector.messages)
    kept = numbers.index(200)
    assert numbers == [*range(kept), *range(200, 210)]
    assert 30 < kept < 100
    assert int(re.search(rb"(\d+) messages were lost", told)[1]) == 200 - kept


def test_a_collector_that_never_reads_holds_up_nobody(
    authority: Authority, collector: Collector, start_server: Callable[..., Server]
):
    collector.is_deaf = True
    server = start_server(more=lines(authority, collector, 'file = "audit.log"'))
    began = time.monotonic()
    ask(server, range(600))
    assert time.monotonic() - began < PATIENCE_S
    trail = server.folder / "audit.log"
    until(lambda: trail.exists() and len(asked(trail.read_bytes().split(b"\n")[:-1])) >= 600)
    assert list((server.data / "audit").glob("*.segment")), "nothing waits"
    collector.go()
    collector.is_deaf = False
    collector.come()
    collector.wait_for(1, MAX_PAUSE_S + 15)
    server.stop()
    collector.wait_for_goodbye()
    numbers = asked(collector.messages)
    assert numbers == list(range(numbers[0], 600)), "in order, without a gap; what its system had taken before is gone"
    assert numbers[0] < 500
