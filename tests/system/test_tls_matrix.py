"""Who understands whom over TLS, and who is refused: dcmtk and openssl against certificates of every kind."""

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support import dcmtk
from tests.support import server as commands
from tests.support.certificates import Pair
from tests.support.objects import ct, data_set_of, save, study
from tests.support.retriever import move
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.site import Site, accounts, peer_lines, tls_port
from tests.support.waiting import until
from tests.support.wire import free_port

PEERS = '[[peer]]\ntitle = "CT1"\ncertificate = "CN=CT1"\n'
BAD = {
    "stranger": ("unable to get (local )?issuer", "unknown ca"),
    "expired": ("certificate has expired", "certificate expired"),
    "revoked": ("certificate revoked", "certificate revoked"),
    None: ("the peer shows no certificate", "(certificate required|handshake failure)"),
}
"""By what is shown: what the archive says of it, and what openssl makes of the alert."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module", params=["rsa", "ec"])
def server(request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    us = site.us if request.param == "rsa" else site.ca.issue("ARCHIVE EC")
    running = Server(tmp_path_factory.mktemp("matrix"), more=site.lines(us=us) + "\n" + PEERS)
    yield running
    running.end()


def shown(site: Site, who: str | None) -> Pair | None:
    return None if who is None else getattr(site, who)


def options(site: Site, pair: Pair | None, title: str = "ANYHOW") -> list[object]:
    own = ["+tls", pair.key, pair.certificate] if pair is not None else ["+tla"]
    return ["-aet", title, *own, "+cf", site.ca.certificate]


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
@pytest.mark.parametrize("who", ["ct1", "ct2"])
def test_dcmtk_does_all_it_can(server: Server, site: Site, tmp_path: Path, who: str, profile: str):
    """B.10, B.9 and B.11, each with a certificate of P-256 and of RSA."""
    given = [*options(site, shown(site, who)), profile]
    where = "127.0.0.1", tls_port(server)
    path = save(ct(rows=512), tmp_path / "a.dcm")
    dcmtk.run("echoscu", *given, *where)
    dcmtk.run("storescu", *given, *where, path)
    assert data_set_of(path) in [data_set_of(kept) for kept in server.objects()]
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P1", "-k", "StudyInstanceUID"]
    assert "StudyInstanceUID" in dcmtk.run("findscu", *given, *keys, *where).stdout


@pytest.mark.parametrize("profile", ["+pa", "+pn"])
def test_dcmtk_with_the_old_profiles_is_refused(server: Server, site: Site, profile: str):
    done = dcmtk.run("echoscu", *options(site, site.ct1), profile, "127.0.0.1", tls_port(server), check=False)
    assert done.returncode
    assert accounts(server, "no common")


@pytest.mark.parametrize("who", BAD)
def test_dcmtk_with_a_certificate_that_is_no_good_stores_nothing(server, site: Site, tmp_path: Path, who: str | None):
    before = server.objects()
    path = save(ct(), tmp_path / "a.dcm")
    given = options(site, shown(site, who))
    assert dcmtk.run("storescu", *given, "127.0.0.1", tls_port(server), path, check=False).returncode
    assert accounts(server, BAD[who][0])
    assert server.objects() == before


def test_dcmtk_with_the_certificate_of_another_peer_is_rejected(server: Server, site: Site):
    where = "127.0.0.1", tls_port(server)
    done = dcmtk.run("echoscu", *options(site, site.ct2, title="CT1"), *where, check=False)
    assert "Calling AE Title Not Recognized" in done.stdout
    assert accounts(server, "certificate is not that of the calling AE title: CN=CT2")
    dcmtk.run("echoscu", *options(site, site.ct1, title="CT1"), *where)


def test_a_client_needs_no_name_of_a_host(server: Server, site: Site):
    nameless = site.ca.issue("NAMELESS", san=())
    dcmtk.run("echoscu", *options(site, nameless), "127.0.0.1", tls_port(server))


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("who", BAD)
def test_openssl_is_told_by_an_alert_what_is_wrong(server: Server, site: Site, who: str | None, version: str):
    pair = shown(site, who)
    own = [] if pair is None else ["-cert", pair.certificate, "-key", pair.key]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{tls_port(server)}", version, *map(str, own)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        told = client.stdout.read().decode()  # its input stays open: with TLS 1.3 the alert follows the handshake
    assert re.search(f"alert {BAD[who][1]}", told), told
    assert accounts(server, BAD[who][0])


def test_openssl_sees_the_suites_of_the_standard_alone(server: Server, site: Site):
    """PS3.15 B.12: for TLS 1.2 the four of RFC 9325 4.2, of which ours with this kind of certificate."""
    listed = subprocess.run(["openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
                            capture_output=True, text=True, check=True).stdout.strip().split(":")  # fmt: skip
    taken = set()
    for suite in listed:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{tls_port(server)}", "-tls1_2", "-cipher", suite]
        done = subprocess.run([*command, "-cert", site.ct1.certificate, "-key", site.ct1.key], capture_output=True,
                              text=True, input="", check=False)  # fmt: skip
        if not done.returncode:
            taken.add(suite)
    kind = "ECDSA" if "ARCHIVE EC" in server.config.read_text() else "RSA"
    assert taken == {f"ECDHE-{kind}-AES128-GCM-SHA256", f"ECDHE-{kind}-AES256-GCM-SHA384"}


def listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


@contextmanager
def storescp(site: Site, pair: Pair, port: int, folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    given = ["-od", folder, "+tls", pair.key, pair.certificate, "+cf", site.ca.certificate, "-aet", "STORESCP"]
    command = [dcmtk.tool("storescp"), *map(str, given), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: listens(port))
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "kind", "more", "says"),
    [
        ("ct1", None, "", ""),
        ("ct2", None, "", ""),
        ("stranger", None, "", "unable to get (local )?issuer"),
        ("expired", None, "", "certificate has expired"),
        ("revoked", None, "", "certificate revoked"),
        ("NAMELESS", (), "", "(IP address|Hostname) mismatch"),
        ("ELSEWHERE", ("other.hospital",), "", "IP address mismatch"),
        ("ct2", None, 'certificate = "CN=CT1"', "the certificate is not CN=CT1: CN=CT2"),
    ],
)
def test_a_destination_gets_images_only_if_its_certificate_is_good(
    site: Site, tmp_path: Path, start_server: Callable[..., Server], name: str, kind, more: str, says: str
):
    pair = site.ca.issue(name, san=kind) if kind is not None else getattr(site, name)
    port = free_port()
    server = start_server(more=site.lines() + "\n" + peer_lines("STORESCP", port, more))
    instances = study(instances=2, rows=512)
    with Sender(server.port) as sender:
        assert {sender.store(ds).status for ds in instances} == {0}
    with storescp(site, pair, port, tmp_path / "received"):
        result = move(server.port, "STUDY", "STORESCP", study=instances[0].StudyInstanceUID)
        echoed = commands.run("echo", "STORESCP", config=server.config, check=False)
    received = sorted(map(data_set_of, (tmp_path / "received").iterdir()))
    if says:
        assert (result.final.status, received) == (0xA702, [])
        assert re.search(says, echoed.stderr), echoed.stderr
    else:
        assert (result.final.status, result.counts) == (0, (2, 0, 0))
        assert received == sorted(map(data_set_of, server.objects()))
        assert "answered" in echoed.stdout
