"""TLS of the real process, with dcmtk, openssl and Python's own (PS3.15 B.12)."""

import hashlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from minipacs.dicom.data_set.part10 import FileMeta
from tests.support import wire
from tests.support.elements import element
from tests.support.objects import encode, study
from tests.support.receiver import Receiver
from tests.support.retriever import STUDY_GET, Retriever
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.site import Site, TlsWire, accounts, tls_port
from tests.support.waiting import until
from tests.support.wire import CT, EXPLICIT, VERIFICATION, Wire
from tests.system.test_retrieve_shipped import REFUSED, shipped

ECHO = wire.message(1, wire.command(0x30, VERIFICATION))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


PEERS = """
[access]
policy = "peers"
[[peer]]
title = "CT1"
certificate = "CN=CT1"
[[peer]]
title = "BY PRINT"
certificate = "{print}"
[[peer]]
title = "TLS ONLY"
tls = true
[[peer]]
title = "ANYHOW"
"""


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    der = ssl.PEM_cert_to_DER_cert(site.ct2.certificate.read_text())
    peers = PEERS.format(print="sha256:" + hashlib.sha256(der).hexdigest())
    running = Server(tmp_path_factory.mktemp("tls"), more=site.lines() + peers + "[timeouts]\nacse = 2")
    yield running
    running.end()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("title", "who"), [("CT1", "ct1"), ("BY PRINT", "ct2"), ("TLS ONLY", "ct2"), ("ANYHOW", "ct1")]
)
def test_a_peer_that_shows_what_it_is_known_by_is_served(server: Server, site: Site, title, who, version):
    context = site.context(getattr(site, who), minimum_version=version, maximum_version=version)
    with TlsWire(tls_port(server), context) as caller:
        caller.accepted(calling=title.encode())
        caller.send(ECHO)
        assert caller.response().status == 0
        caller.release()
    line = server.wait_for(lambda line: line["event"] == "association ended" and line["calling"] == title)
    assert str(line["tls"]).startswith("TLSv1.")
    assert "AES" in str(line["tls"])


@pytest.mark.parametrize(
    ("title", "who", "says"),
    [
        ("CT1", "ct2", "certificate is not that of the calling AE title: CN=CT2"),
        ("BY PRINT", "ct1", "certificate is not that of the calling AE title: CN=CT1"),
        ("CT1", None, "has to call with TLS"),
        ("TLS ONLY", None, "has to call with TLS"),
    ],
)
def test_another_certificate_or_none_is_rejected_with_the_reason(server: Server, site: Site, title, who, says):
    with Wire(server.port) if who is None else TlsWire(tls_port(server), site.context(getattr(site, who))) as caller:
        kind, body = caller.associate(calling=title.encode())
        assert (kind, *body[1:4]) == (3, 1, 1, 3)
    assert accounts(server, says, calling=title)


def test_who_need_not_may_call_either_way(server: Server):
    with Wire(server.port) as caller:
        caller.accepted(calling=b"ANYHOW")
        caller.release()


@pytest.mark.parametrize(
    ("who", "kind", "says"),
    [
        (None, "no_certificate", "TLS: the peer shows no certificate"),
        ("stranger", "untrusted", "certificate of the peer refused: unable to get (local )?issuer"),
        ("expired", "expired", "certificate of the peer refused: certificate has expired"),
        ("revoked", "revoked", "certificate of the peer refused: certificate revoked"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_that_is_no_good_is_refused_with_an_alert_and_a_reason(server, site, who, kind, says, version):
    context = site.context(
        None if who is None else getattr(site, who), minimum_version=version, maximum_version=version
    )
    before = server.metric("minipacs_tls_handshakes_total", outcome=kind)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"), TlsWire(tls_port(server), context) as caller:
        caller.associate(calling=b"ANYHOW")  # TLS 1.3: the client's handshake is over before it hears of it
    assert accounts(server, says)[0]["outcome"] == "rejected"
    until(lambda: server.metric("minipacs_tls_handshakes_total", outcome=kind) >= before + 1)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (wire.associate_rq(), "plain DICOM, or something else than TLS, on the TLS port"),
        (b"GET / HTTP/1.1\r\n\r\n", "plain DICOM, or something else than TLS, on the TLS port"),
        (b"\x16\x03\x01\xff\xff" + bytes(100), "TLS: "),
        (bytes(64), "TLS: "),
    ],
)
def test_what_is_no_tls_is_gone_at_once(server: Server, sent: bytes, says: str):
    began = time.monotonic()
    with Wire(tls_port(server)) as caller:
        caller.send(sent)
        assert caller.closed() or caller.socket.recv(1) == b""
    assert time.monotonic() - began < 8
    assert accounts(server, says)


def test_tls_on_the_plain_port_is_told(server: Server, site: Site):
    with pytest.raises((ssl.SSLError, ConnectionError)), TlsWire(server.port, site.context(site.ct1)):
        pass
    assert accounts(server, "TLS on the port of plain DICOM")


@pytest.mark.parametrize("options", [["-tls1_1"], ["-tls1_2", "-cipher", "AES256-SHA"]])
def test_old_versions_and_suites_are_refused(server: Server, site: Site, options: list[str]):
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{tls_port(server)}", *options]
    done = subprocess.run(command, capture_output=True, text=True, input="", timeout=30, check=False)
    assert done.returncode
    assert "alert" in done.stderr
    assert accounts(server, "no common")


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=["silent", "half a hello"])
def test_two_hundred_who_only_hold_on_are_gone_in_time_and_hold_up_nobody(server: Server, site: Site, said: bytes):
    where = "127.0.0.1", tls_port(server)
    held = [socket.create_connection(where, 30, source_address=(f"127.0.0.{2 + n % 5}", 0)) for n in range(200)]
    began = time.monotonic()
    for connection in held:
        connection.sendall(said)
    for _ in range(5):
        with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
            caller.accepted(calling=b"CT1")
    assert time.monotonic() - began < 2, "somebody else waited"
    for connection in held:
        assert connection.recv(1) in (b"", b"\x15")
        connection.close()
    assert time.monotonic() - began < 2 + 8
    assert accounts(server, "no handshake within 2 s")


@pytest.fixture
def over_tls(server: Server, site: Site, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let every client of this test speak TLS; returns the port."""
    connect, context = socket.create_connection, site.context(site.ct2)

    def create(address: tuple[str, int], *given: object, **options: object) -> socket.socket:
        sock = connect(address, *given, **options)  # type: ignore[arg-type]
        return context.wrap_socket(sock) if address[1] == tls_port(server) else sock

    monkeypatch.setattr(wire.socket, "create_connection", create)
    return tls_port(server)


SOUND = [case for case in shipped() if case.values[0].name not in REFUSED]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("path", "meta"), SOUND)
def test_every_shipped_object_comes_back_as_it_was_sent(over_tls: int, path: Path, meta: FileMeta):
    data = path.read_bytes()[meta.data_set_offset :]
    pair = meta.sop_class_uid, meta.transfer_syntax_uid
    found = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    with Sender(over_tls, pair, calling=b"ANYHOW") as sender:
        assert sender.store_bytes(data, pair[0], found.SOPInstanceUID, pair[1]).status == 0
        sender.release()
    keys = {"study": found.StudyInstanceUID, "series": found.SeriesInstanceUID, "image": found.SOPInstanceUID}
    with Retriever(over_tls, STUDY_GET, pair, calling=b"ANYHOW") as caller:
        fetched = caller.run("IMAGE", **keys)
    assert [item.data == data + b"\0" * (len(data) % 2) for item in fetched.received] == [True]


def test_a_large_object_goes_both_ways(server: Server, over_tls: int):
    (ds,) = study(rows=2048)
    with Sender(over_tls, calling=b"TLS ONLY") as sender:
        assert sender.store(ds).status == 0
    with Retriever(over_tls, STUDY_GET, (CT, EXPLICIT), calling=b"TLS ONLY") as caller:
        result = caller.run("STUDY", study=ds.StudyInstanceUID)
    assert [r.data for r in result.received] == [encode(ds)]


def test_a_cancel_that_comes_with_its_request_is_heard_through_tls(
    server: Server, over_tls: int, site: Site, start_server
):
    """Both are decrypted at once: no descriptor tells of the second."""
    with Receiver() as receiver:
        asked = start_server(more=site.lines() + receiver.peer())
        instances = study(instances=5)
        with Sender(asked.port) as sender:
            assert {sender.store(ds).status for ds in instances} == {0}
        with TlsWire(tls_port(asked), site.context(site.ct1)) as caller:
            caller.accepted(wire.context(1, wire.STUDY_MOVE, EXPLICIT))
            keys = element(0x00080052, "CS", b"STUDY") + element(
                0x0020000D, "UI", instances[0].StudyInstanceUID.encode()
            )
            request = wire.command(0x21, wire.STUDY_MOVE, data=True, more=wire.element(0x600, b"RECEIVER"))
            caller.send(wire.message(1, request, keys) + wire.message(1, wire.cancel(1)))
            statuses = []
            while not statuses or statuses[-1] == 0xFF00:
                statuses.append(caller.response().status)
        assert statuses[-1] == 0xFE00


def test_the_expiry_is_a_gauge(server: Server):
    at = server.metric("minipacs_tls_certificate_expires_timestamp_seconds", of="tls.certificate")
    assert 360 < (at - time.time()) / 86400 < 366
    assert server.metric("minipacs_tls_certificate_expires_timestamp_seconds", of="tls.crl") > time.time()
