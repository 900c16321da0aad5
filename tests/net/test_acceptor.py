"""What an acceptor asks of whom it has rejected often enough."""

import os
import select
import socket
import ssl
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.metrics import Metrics
from minipacs.net import rejections
from minipacs.net.acceptor import Acceptor
from minipacs.net.access import Access, Peer, PeerTable
from minipacs.net.alerts import Alerts
from minipacs.net.association import Timeouts
from minipacs.net.ending import AssociationEnded
from minipacs.net.explanation import Explanation
from minipacs.net.identity import users
from minipacs.net.identity.user_identity import UserCheck
from minipacs.net.identity.users import User, Users
from minipacs.net.listener import bind
from minipacs.net.rejections import BURST
from minipacs.net.wire.tls import TlsFiles
from minipacs.net.wire.transport import Transport
from tests.support import wire
from tests.support.certificates import Authority
from tests.support.wire import Wire

WAIT_S = 10


def identity(passcode: bytes) -> bytes:
    return wire.item(0x58, b"\2\0\0\4anna" + struct.pack(">H", len(passcode)) + passcode)


def _shake_hands(address: tuple[str, int]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError), socket.create_connection(address, WAIT_S) as sock, context.wrap_socket(sock) as secured:
        secured.recv(1)


class Accepting:
    """An acceptor that is called in this thread; `told` are the accounts."""

    def __init__(self, folder: Path) -> None:
        access = Access(
            "MINIPACS",
            "peers",
            PeerTable([Peer("CT1"), Peer("CT2")]),
            10,
            users=UserCheck("check", Users(folder)),
        )
        self.told: list[Explanation] = []
        ended = AssociationEnded("released")
        timeouts = Timeouts(WAIT_S, WAIT_S, WAIT_S, WAIT_S)
        alerts = Alerts(Audit(None, Source("MINIPACS")))
        self.acceptor = Acceptor({}, access, timeouts, 16384, lambda *_: ended, Metrics([]), alerts, self.told.append)
        [self.sock] = bind(["127.0.0.1"], 0)
        self.stop_fd, self.never_fd = os.eventfd(1), os.eventfd(0)

    def close(self) -> None:
        self.sock.close()
        os.close(self.stop_fd)
        os.close(self.never_fd)

    def call_without_certificate(self, context: ssl.SSLContext) -> str:
        """Call with TLS, and show nothing; returns what the account says."""
        address = self.sock.getsockname()
        calling = threading.Thread(target=_shake_hands, args=(address,))
        calling.start()
        select.select([self.sock], [], [], WAIT_S)
        transport = Transport(self.sock.accept()[0], self.never_fd)
        transport.secure(context)
        self.acceptor.run(transport, "127.0.0.1")
        calling.join()
        return self.told[-1].reason

    def call(self, passcode: bytes, title: bytes = b"CT1") -> str:
        """Call with a passcode; returns what the account says."""
        with Wire(self.sock.getsockname()[1]) as caller:
            caller.send(wire.associate_rq(calling=title, user=wire.user_information(16384, identity(passcode))))
            select.select([self.sock], [], [], WAIT_S)
            ours = self.sock.accept()[0]
            select.select([ours], [], [], WAIT_S)
            self.acceptor.run(Transport(ours, self.stop_fd), "127.0.0.1")
        return self.told[-1].reason or self.told[-1].outcome


def test_who_guesses_too_often_is_not_checked_any_more_right_or_wrong_and_hurts_no_other(tmp_path, monkeypatch):
    hashed, hashes = User.hashed, []

    def count(user: User, passcode: bytes) -> bytes:
        hashes.append(passcode)
        return hashed(user, passcode)

    monkeypatch.setattr(users, "_LOG2_N", 4)
    monkeypatch.setattr(users, "_NOBODY", User("", (), 4, 8, 1, bytes(16), bytes(16)))
    monkeypatch.setattr(rejections, "INTERVAL_S", 1000)
    users.add(tmp_path / "users", "anna", b"right", ["echo"])
    monkeypatch.setattr(User, "hashed", count)
    accepting = Accepting(tmp_path / "users")
    for number in range(BURST):
        assert "no such user, or a wrong passcode" in accepting.call(b"%d" % number)
    assert len(hashes) == BURST
    assert "too many were wrong" in accepting.call(b"another")
    assert "too many were wrong" in accepting.call(b"right")
    assert len(hashes) == BURST
    assert accepting.call(b"right", b"CT2") == "released"
    assert accepting.call(b"right") == "released", "remembered: nothing is told by it"
    assert len(hashes) == BURST + 1
    accepting.close()


@pytest.mark.parametrize("title", [b"NOBODY", b"CT3"])
def test_who_is_rejected_for_the_title_costs_no_hash(tmp_path, monkeypatch, title):
    monkeypatch.setattr(User, "hashed", lambda *_: pytest.fail("hashed"))
    accepting = Accepting(tmp_path / "users")
    assert "calling AE title not recognized" in accepting.call(b"right", title)
    accepting.close()


def test_handshakes_refused_in_a_loop_are_not_waited_for_and_keep_no_title_of_that_address_out(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(rejections, "BURST", 3)
    monkeypatch.setattr(rejections, "INTERVAL_S", 1000)
    waited = []
    linger = Transport.linger
    monkeypatch.setattr(Transport, "linger", lambda *given: waited.append(linger(*given)))
    ca = Authority(tmp_path / "ca")
    us = ca.issue("US")
    context = TlsFiles(str(us.certificate), str(us.key), str(ca.certificate)).server(require_certificate=True)
    accepting = Accepting(tmp_path / "users")
    for _ in range(5):
        assert "the peer shows no certificate" in accepting.call_without_certificate(context)
    assert len(waited) == 3
    assert [r.message for r in caplog.records].count("rejection not answered") == 2
    assert "wrong passcode" in accepting.call(b"wrong"), "answered"
    accepting.close()
