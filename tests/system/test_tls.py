"""TLS of the real process, with dcmtk, openssl and Python's own (PS3.15 B.12)."""

import hashlib
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest

from minipacs.dicom.data_set.part10 import FileMeta
from tests.support import dcmtk, wire
from tests.support import server as commands
from tests.support.certificates import Authority, Pair
from tests.support.objects import ct, encode, save, study
from tests.support.receiver import Receiver
from tests.support.retriever import STUDY_GET, Retriever, move
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, VERIFICATION, Wire
from tests.system.test_retrieve_shipped import REFUSED, shipped

STORING = 10
ECHO = wire.message(1, wire.command(0x30, VERIFICATION))


class Site:
    """A CA, what it has signed, and what it has not."""

    def __init__(self, folder: Path) -> None:
        self.ca = Authority(folder / "ca")
        self.other_ca = Authority(folder / "other", "Somebody's CA")
        self.us = self.ca.issue("ARCHIVE", kind="rsa")
        self.ct1, self.ct2 = self.ca.issue("CT1"), self.ca.issue("CT2", kind="rsa")
        self.expired, self.revoked = self.ca.issue("LATE", days=-1), self.ca.issue("GONE")
        self.stranger = self.other_ca.issue("STRANGER")
        self.crl = self.ca.revoke(self.revoked)

    def lines(self, more: str = "") -> str:
        """Return the section of a configuration."""
        paths = {"certificate": self.us.certificate, "key": self.us.key, "ca": self.ca.certificate, "crl": self.crl}
        lines = [f'{key} = "{path}"' for key, path in paths.items()]
        return "\n".join(["[tls]", "port = 0", *lines, more])

    def context(self, pair: Pair | None = None, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        """Return what a client needs that trusts the CA and shows a certificate."""
        made = ssl.create_default_context(cafile=str(self.ca.certificate))
        made.check_hostname = False
        if pair is not None:
            made.load_cert_chain(pair.certificate, pair.key)
        for name, version in versions.items():
            setattr(made, name, version)
        return made


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
    running.stop()
    running.no_traceback()


def tls_port(server: Server) -> int:
    return int(str(server.events("ready")[0]["dicom_tls"]).rsplit(":", 1)[1])


class TlsWire(Wire):
    """A connection through TLS."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port)
        self.socket = context.wrap_socket(self.socket)


def accounts(server: Server, reason: str, **fields: object) -> list[dict[str, object]]:
    """Wait for accounts with a reason and these fields, and return them."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        listed = json.loads(commands.run("associations", "--json", config=server.config).stdout)
        told = [account for account in listed if re.search(reason, str(account.get("reason")))]
        found = [account for account in told if fields.items() <= account.items()]
        if found:
            return found
    raise AssertionError(f"no account of {reason}: {listed}")


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
    deadline = time.monotonic() + 10
    while server.metric("minipacs_tls_handshakes_total", outcome=kind) < before + 1:
        assert time.monotonic() < deadline


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


def test_silent_connections_and_half_handshakes_hold_up_nobody_and_are_gone_in_time(server: Server, site: Site):
    silent = [socket.create_connection(("127.0.0.1", tls_port(server)), 30) for _ in range(60)]
    for half in silent[::2]:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
    began = time.monotonic()
    with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
        caller.accepted(calling=b"CT1")
    assert time.monotonic() - began < 2
    for connection in silent:
        assert connection.recv(1) in (b"", b"\x15")
        connection.close()
    assert accounts(server, "no handshake within 2 s")


@pytest.mark.parametrize("who", ["ct1", "ct2"])
def test_dcmtk_stores_and_finds(server: Server, site: Site, tmp_path: Path, who: str):
    pair = getattr(site, who)
    path = save(ct(), tmp_path / "a.dcm")
    options = ["-aet", "ANYHOW", "+tls", pair.key, pair.certificate, "+cf", site.ca.certificate]
    where = "127.0.0.1", tls_port(server)
    dcmtk.run("storescu", *options, *where, path)
    found = dcmtk.run("findscu", *options, "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID", *where)
    assert "P1" in found.stdout
    dcmtk.run("echoscu", *options, *where)


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


def peer_lines(title: str, port: int, more: str = "") -> str:
    return f'[[peer]]\ntitle = "{title}"\nhost = "127.0.0.1"\nport = {port}\ntls = true\n{more}\n'


def test_another_archive_is_called_with_tls_and_looked_in_the_face(site: Site, server: Server, start_server):
    """A C-MOVE, `echo` and `send` to an archive with TLS, and to one whose certificate is not the one expected."""
    ours = (
        site.lines()
        + peer_lines("MINIPACS", tls_port(server))
        + peer_lines("IMPOSTOR", tls_port(server), 'certificate = "CN=SOMEBODY"')
    )
    calling = start_server(more=ours, ae='title = "ANYHOW"')
    assert "answered" in commands.run("echo", "MINIPACS", config=calling.config).stdout
    refused = commands.run("echo", "IMPOSTOR", config=calling.config, check=False)
    assert refused.returncode == 1
    assert "the certificate is not CN=SOMEBODY: CN=ARCHIVE" in refused.stderr
    (ds,) = study()
    with Sender(calling.port) as sender:
        sender.store(ds)
    result = move(calling.port, "STUDY", "MINIPACS", study=ds.StudyInstanceUID)
    assert (result.final.status, result.counts) == (0, (1, 0, 0))
    result = move(calling.port, "STUDY", "IMPOSTOR", study=ds.StudyInstanceUID)
    assert result.final.status == 0xA702
    assert "certificate" in result.final.comment


def test_a_destination_that_speaks_no_tls_is_not_sent_to_in_the_clear(site: Site, start_server):
    with Receiver() as receiver:
        server = start_server(more=site.lines() + receiver.peer(more="tls = true"))
        (ds,) = study()
        with Sender(server.port) as sender:
            sender.store(ds)
        assert move(server.port, "STUDY", study=ds.StudyInstanceUID).final.status == 0xA702
        assert receiver.received == []
        receiver.faults.clear()


def test_a_reload_brings_a_new_certificate_and_open_associations_go_on(site: Site, tmp_path: Path, start_server):
    old, new = site.ca.issue("OLD", kind="rsa"), site.ca.issue("NEW")
    pair = Pair(tmp_path / "us.pem", tmp_path / "us.key")

    def put(found: Pair) -> None:
        pair.certificate.write_bytes(found.certificate.read_bytes())
        pair.key.write_bytes(found.key.read_bytes())

    put(old)
    lines = f'[tls]\nport = 0\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\nca = "{site.ca.certificate}"\n'
    server = start_server(more=lines)

    def shown() -> str:
        with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
            return str(caller.socket.getpeercert()["subject"][0][0][1])

    assert shown() == "OLD"
    with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
        caller.accepted()
        put(new)
        server.reload()
        assert shown() == "NEW"
        pair.key.write_text("no key")
        server.reload()
        assert "tls.key" in str(server.events("not reloaded: the old configuration stays")[-1]["reason"])
        assert shown() == "NEW"
        caller.send(ECHO)
        assert caller.response().status == 0
        caller.release()
    done = commands.run("check", config=server.config, check=False)
    assert done.returncode == 1
    assert "fault  TLS: tls.certificate" in done.stdout


def test_a_reload_in_the_middle_of_many_stores_fails_none(site: Site, tmp_path: Path, start_server, monkeypatch):
    certificate, key = tmp_path / "us.pem", tmp_path / "us.key"
    certificate.write_bytes(site.us.certificate.read_bytes())
    key.write_bytes(site.us.key.read_bytes())
    files = f'certificate = "{certificate}"\nkey = "{key}"\nca = "{site.ca.certificate}"\n'
    server = start_server(more=f"[tls]\nport = 0\n{files}")
    port, connect, context = tls_port(server), socket.create_connection, site.context(site.ct1)
    begun = threading.Barrier(STORING + 1)

    def create(address: tuple[str, int], *given: object, **options: object) -> socket.socket:
        sock = connect(address, *given, **options)  # type: ignore[arg-type]
        return context.wrap_socket(sock) if address[1] == port else sock

    def store(number: int) -> list[int]:
        with Sender(port) as sender:
            found = [sender.store(ct()).status]
            begun.wait(20)
            found += [sender.store(ct()).status for _ in range(10)]
            sender.release()
        return found

    monkeypatch.setattr(wire.socket, "create_connection", create)
    with ThreadPoolExecutor(STORING) as pool:
        storing = [pool.submit(store, number) for number in range(STORING)]
        begun.wait(20)
        new = site.ca.issue("RENEWED")
        certificate.write_bytes(new.certificate.read_bytes())
        key.write_bytes(new.key.read_bytes())
        server.reload()
        assert [future.result() for future in storing] == [[0] * 11] * STORING


def test_storescp_is_a_destination_with_tls(site: Site, tmp_path: Path, start_server):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path / "received"
    folder.mkdir()
    server = start_server(more=site.lines() + peer_lines("STORESCP", port, 'certificate = "CN=CT2"'))
    options = ["-od", folder, "+tls", site.ct2.key, site.ct2.certificate, "+cf", site.ca.certificate]
    instances = study(instances=2, rows=512)
    with Sender(server.port) as sender:
        assert [sender.store(ds).status for ds in instances] == [0, 0]
    command = [dcmtk.tool("storescp"), "-aet", "STORESCP", *map(str, options), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while commands.run("echo", "STORESCP", config=server.config, check=False).returncode:
                assert time.monotonic() < deadline
            result = move(server.port, "STUDY", "STORESCP", study=instances[0].StudyInstanceUID)
        finally:
            process.kill()
    assert (result.final.status, result.counts) == (0, (2, 0, 0))
    assert len(list(folder.iterdir())) == 2


def test_check_says_what_is_wrong_and_what_will_be(site: Site, tmp_path: Path):
    soon = site.ca.issue("SOON", days=10, san=())
    soon.key.chmod(0o644)
    other = site.other_ca.certificate
    both = tmp_path / "cas.pem"
    both.write_bytes(site.ca.certificate.read_bytes() + other.read_bytes())
    config = tmp_path / "minipacs.toml"
    config.write_text(
        f'[storage]\npath = "data"\n[ae]\nport = 0\n[metrics]\nport = 0\n[tls]\ncertificate = "{soon.certificate}"\n'
        f'key = "{soon.key}"\nca = "{both}"\ncrl = "{site.crl}"\nport = 0\n'
    )
    done = commands.run("check", config=config, check=False)
    assert "CN=SOON: expires on" in done.stdout
    assert "everybody on this machine may use it" in done.stdout
    assert "has no Subject Alternative Name" in done.stdout
    assert "holds no list of CN=Somebody's CA" in done.stdout
    assert done.returncode == 1


def test_without_a_plain_listener_only_tls_is_there(site: Site, start_server: Callable[..., Server]):
    server = start_server(ae="plain = false", more=site.lines())
    assert "dicom" not in server.events("ready")[0]
    with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
        caller.accepted()
        caller.release()


def test_the_expiry_is_a_gauge(server: Server):
    at = server.metric("minipacs_tls_certificate_expires_timestamp_seconds", of="tls.certificate")
    assert 360 < (at - time.time()) / 86400 < 366
    assert server.metric("minipacs_tls_certificate_expires_timestamp_seconds", of="tls.crl") > time.time()
