"""The audit trail at the collectors that hospitals have, over mutual TLS (PS3.15 A.6, RFC 5425)."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.day import KINDS, Day
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.syslog import FILE, Rsyslog, SyslogDaemon, SyslogNg, hold_all
from tests.system.test_web import free_port


@pytest.mark.parametrize("kind", [Rsyslog, SyslogNg])
def test_a_collector_that_is_killed_and_comes_back_has_everything_in_order(
    kind: type[SyslogDaemon], tmp_path: Path, start_server: Callable[..., Server]
):
    authority, web_port = Authority(tmp_path / "ca"), free_port()
    collector = kind(tmp_path / "collector", authority.issue("COLLECTOR"), authority.certificate)
    with Receiver() as receiver:
        server = start_server(more=collector.settings(authority.issue("ARCHIVE")) + Day.lines(receiver, web_port))
        day = Day(server, web_port)
        day.pass_by()
        collector.wait_for(10)
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
