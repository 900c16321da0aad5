"""TLS towards peers, and what the files of [tls] are looked through and read again for (PS3.15 B.12)."""

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import dcmtk, wire
from tests.support import server as commands
from tests.support.certificates import Authority, Pair
from tests.support.objects import ct, study
from tests.support.receiver import Receiver
from tests.support.retriever import move
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.site import Site, TlsWire, accounts, peer_lines, shake_hands, tls_port
from tests.support.waiting import until
from tests.support.wire import VERIFICATION, free_port

STORING, EACH = 50, 5
ECHO = wire.message(1, wire.command(0x30, VERIFICATION))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("tls"), more=site.lines())
    yield running
    running.end()


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
        server = start_server(more=site.lines() + receiver.peer(more="tls = true") + "[timeouts]\nacse = 1")
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
            found += [sender.store(ct()).status for _ in range(EACH)]
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
        assert [future.result() for future in storing] == [[0] * (EACH + 1)] * STORING


def test_storescp_is_a_destination_with_tls(site: Site, tmp_path: Path, start_server):
    port = free_port()
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
            until(lambda: commands.run("echo", "STORESCP", config=server.config, check=False).returncode == 0)
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


def findings(config: Path) -> str:
    return commands.run("check", config=config, check=False).stdout


def test_check_names_what_has_passed_and_whose_ca_is_not_ours(site: Site, tmp_path: Path):
    ca = Authority(tmp_path / "ca", "Ours")
    ours, late = ca.issue("US"), ca.issue("LATE", days=-1)
    overdue = ca.revoke(days=-1)
    config = tmp_path / "minipacs.toml"

    def told(pair: Pair, **files: Path) -> str:
        lines = [
            f'{key} = "{path}"' for key, path in {**files, "certificate": pair.certificate, "key": pair.key}.items()
        ]
        config.write_text("\n".join(['[storage]\npath = "data"\n[tls]', *lines]))
        return findings(config)

    assert re.search(r"fault  tls.certificate .*CN=LATE: expired since", told(late, ca=ca.certificate))
    assert re.search(r"fault  tls.crl .*list of CN=Ours: overdue since", told(ours, ca=ca.certificate, crl=overdue))
    assert "is signed by CN=Ours, which is not in tls.ca" in told(ours, ca=site.ca.certificate)
    assert "the key is not that of the certificate" in told(Pair(ours.certificate, late.key), ca=ca.certificate)


def test_a_ca_below_another_signs_stations_and_has_the_list_of_them(site: Site, tmp_path: Path, start_server):
    root = Authority(tmp_path / "root", "Root")
    below = Authority(tmp_path / "below", "Stations", above=root)
    good, gone = below.issue("GOOD"), below.issue("GONE")
    trusted, crl = tmp_path / "cas.pem", below.revoke(gone)
    trusted.write_bytes(root.certificate.read_bytes() + below.certificate.read_bytes())
    files = f'certificate = "{site.us.certificate}"\nkey = "{site.us.key}"\nca = "{trusted}"\ncrl = "{crl}"\n'
    server = start_server(more=f"[tls]\nport = 0\n{files}")
    with TlsWire(tls_port(server), site.context(good)) as caller:
        caller.accepted()
        caller.release()
    with pytest.raises(ssl.SSLError), TlsWire(tls_port(server), site.context(gone)) as caller:
        caller.associate()
    assert accounts(server, "certificate revoked")
    done = commands.run("check", config=server.config)
    assert re.search(r"warn   tls.crl .*: holds no list of CN=Root: everybody whom that has signed", done.stdout)


def test_the_lowest_version_can_be_raised(site: Site, start_server):
    server = start_server(more=site.lines('minimum = "1.3"'))
    old = site.context(site.ct1, maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"), TlsWire(tls_port(server), old):
        pass
    assert accounts(server, "no common TLS version")
    with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
        caller.accepted()
        caller.release()


def test_a_peer_whose_certificate_is_for_another_host_or_of_another_ca_is_not_spoken_to(site: Site, start_server):
    elsewhere = site.ca.issue("ELSEWHERE", san=("elsewhere.hospital",))
    for pair, says in (
        (elsewhere, "certificate of the peer refused: IP address mismatch"),
        (site.stranger, "certificate of the peer refused: unable to get local issuer"),
        (site.expired, "certificate of the peer refused: certificate has expired"),
        (site.revoked, "certificate of the peer refused: certificate revoked"),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = site.folder / "calling.toml"
            config.write_text(site.lines() + peer_lines("PEER", listening.getsockname()[1]))
            answering = threading.Thread(target=shake_hands, args=(listening, context))
            answering.start()
            done = commands.run("echo", "PEER", config=config, check=False)
            answering.join()
        assert done.returncode == 1
        assert says in done.stderr


def test_without_a_plain_listener_only_tls_is_there(site: Site, start_server: Callable[..., Server]):
    server = start_server(ae="plain = false", more=site.lines())
    assert "dicom" not in server.events("ready")[0]
    with TlsWire(tls_port(server), site.context(site.ct1)) as caller:
        caller.accepted()
        caller.release()
