"""What strangers do to the TLS port: records, certificates and clients that are no good (PS3.15 B.12)."""

import re
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from cryptography import x509

from tests.support import server as commands
from tests.support import wire
from tests.support.server import Server
from tests.support.site import Site, TlsWire, accounts, tls_port
from tests.support.wire import VERIFICATION

ECHO = wire.message(1, wire.command(0x30, VERIFICATION))
HANDSHAKE, ALERT, DATA = 22, 21, 23
MAX_GROWTH_KIB = 16 << 10
PEERS = """
[[peer]]
title = "BY NAME"
certificate = "CN=CT1"
[[peer]]
title = "BY URI"
certificate = "URI:dicom:CT1"
[timeouts]
acse = 3
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("tls"), more=site.lines() + PEERS)
    yield running
    running.end()


def record(kind: int, body: bytes, size: int | None = None) -> bytes:
    return struct.pack(">BHH", kind, 0x0303, len(body) if size is None else size) + body


def hello(site: Site) -> bytes:
    """Return what a client begins with."""
    sent, context = ssl.MemoryBIO(), site.context(site.ct1)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent).do_handshake()
    return sent.read()


BEGINNINGS = {
    "noise": lambda good: bytes(range(32, 256)) * 20,
    "an enormous record": lambda good: record(HANDSHAKE, bytes(20_000), 0xFFFF),
    "an enormous message": lambda good: record(HANDSHAKE, b"\x01\xff\xff\xff" + bytes(16_000)) + bytes(1 << 20),
    "many empty records": lambda good: record(HANDSHAKE, b"") * 5000,
    "data before the handshake": lambda good: record(DATA, bytes(100)),
    "two hellos": lambda good: good + good,
    "a hello whose length is wrong": lambda good: good[:8] + b"\0" + good[9:],
    "a hello in pieces of one byte": lambda good: b"".join(record(HANDSHAKE, good[n : n + 1]) for n in range(5, 40)),
    "an alert": lambda good: record(ALERT, b"\x02\x28"),
}


REASONS = {
    "noise": "plain DICOM, or something else than TLS",
    "an enormous record": "TLS: packet length too long",
    "an enormous message": "TLS: excessive message size",
    "many empty records": "TLS: record too small",
    "data before the handshake": "TLS: unexpected message",
    "two hellos": "TLS: bad record type",
    "a hello whose length is wrong": "TLS: length mismatch",
    "a hello in pieces of one byte": "TLS: closed by the peer during the handshake",
    "an alert": "TLS: unexpected message",
}


@pytest.mark.parametrize("what", BEGINNINGS)
def test_a_beginning_that_is_none_ends_with_a_reason(server: Server, site: Site, what: str):
    with Wire(server) as caller:
        address = f"127.0.0.{10 + list(BEGINNINGS).index(what)}"
        caller.come_from(address)
        caller.send(BEGINNINGS[what](hello(site)))
        caller.half_close()
        assert caller.closed()
    assert accounts(server, REASONS[what], address=address)
    served(server, site)


class Wire(wire.Wire):
    """A connection to the TLS port that speaks none by itself."""

    def __init__(self, server: Server) -> None:
        super().__init__(tls_port(server))

    def come_from(self, address: str) -> None:
        """Call anew, from another address of this machine, by which the account is known."""
        where = self.socket.getpeername()
        self.socket.close()
        self.socket = socket.create_connection(where, 15, source_address=(address, 0))

    def send(self, data: bytes) -> None:
        """Send as much as is taken."""
        with suppress(BrokenPipeError, ConnectionResetError):
            super().send(data)

    def half_close(self) -> None:
        """Send no more."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)


def served(server: Server, site: Site) -> None:
    """Assert that nobody else is hurt."""
    with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
        caller.accepted(calling=b"BY NAME")
        caller.send(ECHO)
        assert caller.response().status == 0
        caller.release()


@pytest.mark.parametrize("kept", [1, 5, 60, -1])
def test_a_client_that_stops_in_the_handshake_is_gone_in_time(server: Server, site: Site, kept: int):
    began = time.monotonic()
    address = f"127.0.1.{kept % 256}"
    with Wire(server) as caller:
        caller.come_from(address)
        caller.send(hello(site)[:kept])
        served(server, site)
        assert caller.closed()
    assert 2 < time.monotonic() - began < 10
    assert accounts(server, "no handshake within 3 s", address=address)


@pytest.mark.parametrize(
    ("title", "after"),
    [
        ("GARBAGE", b"no record at all"),
        ("FORGED", record(DATA, bytes(200))),
        ("ENORMOUS", record(DATA, bytes(20_000), 0xFFFF)),
        ("EMPTY", record(DATA, b"") * 10),
    ],
)
def test_a_record_that_is_no_good_ends_this_association_alone(server: Server, site: Site, title: str, after: bytes):
    with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
        caller.accepted(calling=title.encode())
        plain = socket.socket(fileno=socket.dup(caller.socket.fileno()))
        plain.sendall(after)
        with pytest.raises((OSError, EOFError)):
            caller.response()
        plain.close()
    assert accounts(server, "TLS: ", calling=title)
    served(server, site)


def test_keys_are_not_negotiated_again(server: Server, site: Site):
    command = ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{tls_port(server)}"]
    command += ["-cert", str(site.ct1.certificate), "-key", str(site.ct1.key)]
    done = subprocess.run(command, capture_output=True, text=True, input="R\n", timeout=30, check=False)
    assert "no renegotiation" in done.stderr


def test_new_keys_are_taken_amid_an_association(server: Server, site: Site):
    """TLS 1.3: a KeyUpdate that asks for one back; an association goes on."""
    command = ["openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{tls_port(server)}"]
    command += ["-cert", str(site.ct1.certificate), "-key", str(site.ct1.key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        told = b""

        def until(what: bytes) -> None:
            nonlocal told
            while what not in told:
                piece = client.stdout.read1()
                assert piece, told
                told += piece

        def say(what: bytes) -> None:
            client.stdin.write(what)
            client.stdin.flush()

        until(b"---\n")
        for _ in range(3):
            told = b""
            say(b"K\n")
            until(b"KEYUPDATE\n")
        say(wire.associate_rq(calling=b"BY NAME"))
        until(b"\x02\x00\x00\x00")
        say(ECHO)
        until(b"\x04\x00\x00\x00")
        client.kill()


def named(site: Site, common_name: str, *names: str, file: str) -> ssl.SSLContext:
    """Return the context of a client with a certificate of our CA that says so."""
    uris = [x509.UniformResourceIdentifier(name) for name in names]
    return site.context(site.ca.issue(common_name, names=uris, file=file))


def test_names_with_a_nul_or_a_line_break_are_nobody_elses(server: Server, site: Site):
    for number, (title, common_name, uri) in enumerate(
        [
            (b"BY NAME", "CT1\0", "dicom:X"),
            (b"BY NAME", "CT1\0.evil", "dicom:X"),
            (b"BY NAME", "CT1\nCN=CT1", "dicom:X"),
            (b"BY URI", "X", "dicom:CT1\0.evil"),
            (b"BY URI", "X", "dicom:CT1\n"),
            (b"BY URI", "X", "dicom:X, URI:dicom:CT1"),
        ]
    ):
        context = named(site, common_name, uri, file=f"odd{number}")
        with TlsWire(tls_port(server), context) as caller:
            kind, body = caller.associate(calling=title)
        assert (kind, *body[1:4]) == (3, 1, 1, 3), (common_name, uri)
    with TlsWire(tls_port(server), named(site, "Z", "dicom:CT1", file="right")) as caller:
        caller.accepted(calling=b"BY URI")
        caller.release()


def test_names_are_shown_harmlessly(server: Server, site: Site):
    with TlsWire(tls_port(server), named(site, "A\nB\0\x1b[31m", file="odd")) as caller:
        caller.accepted(calling=b"ANYHOW")
        caller.release()
    for shape in ((), ("--json",), ("--csv",)):
        shown = commands.run("associations", "--columns", "security", *shape, config=server.config).stdout
        assert not re.search(r"[\x00\x1b]", shown)
        assert not [line for line in shown.splitlines() if line.startswith("B")]
    assert not [line for line in server.raw if re.search(r"[\x00\x1b]", line)]


def test_a_certificate_with_many_names_is_bounded(server: Server, site: Site):
    many = site.ca.issue("MANY", san=tuple(f"host{n}.hospital.example" for n in range(1500)))
    with TlsWire(tls_port(server), site.context(many)) as caller:
        caller.accepted(calling=b"ANYHOW")
        caller.release()
    huge = site.ca.issue("HUGE", san=tuple(f"host{n}.hospital.example" for n in range(10_000)))
    with pytest.raises((OSError, EOFError)), TlsWire(tls_port(server), site.context(huge)) as caller:
        caller.accepted(calling=b"ANYHOW")
    assert accounts(server, "TLS: excessive message size")
    served(server, site)


def memory_kib(server: Server) -> int:
    found = 0
    for pid in server.children("worker"):
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found


def test_garbage_leaves_no_memory_behind(server: Server, site: Site):
    def attack() -> None:
        for make in BEGINNINGS.values():
            with Wire(server) as caller:
                caller.send(make(hello(site)))
                caller.half_close()
                caller.closed()

    for _ in range(3):
        attack()
    before = memory_kib(server)
    for _ in range(20):
        attack()
    assert memory_kib(server) - before < MAX_GROWTH_KIB
