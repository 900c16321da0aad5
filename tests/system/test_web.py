"""HTTP from the daemon: with TLS and a certificate that changes, on sockets that were passed, refused where unsafe."""

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.objects import ct, save
from tests.support.server import Server, run
from tests.support.waiting import until
from tests.support.web import ask
from tests.support.wire import free_port

TLS = """[web]
port = {web}
tls = true
[tls]
port = 0
certificate = "our.pem"
key = "our.key"
require_client_certificate = false
"""


def shown_serial(port: int) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    from cryptography import x509

    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def get(port: int, path: str, context: ssl.SSLContext) -> Any:
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, body
    return json.loads(body)


def test_https_and_a_new_certificate_at_a_reload(tmp_path: Path):
    authority = Authority(tmp_path / "ca")
    site = tmp_path / "site"
    site.mkdir()

    def install() -> None:
        pair = authority.issue("pacs")
        (site / "our.pem").write_bytes(pair.certificate.read_bytes())
        (site / "our.key").write_bytes(pair.key.read_bytes())

    install()
    port = free_port()
    server = Server(site, more=TLS.format(web=port))
    try:
        run("import", save(ct(PatientID="P1"), tmp_path / "a.dcm"), config=server.config)
        context = ssl.create_default_context(cafile=str(authority.certificate))
        (row,) = get(port, "/dicom-web/studies", context)
        assert row["00100020"]["Value"] == ["P1"]
        assert row["00081190"]["Value"][0].startswith(f"https://localhost:{port}/dicom-web/studies/")
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP/1.1 2")
        first = shown_serial(port)
        install()
        server.reload()
        until(lambda: shown_serial(port) != first)  # the process of before may not have heard yet that it is to retire
        get(port, "/dicom-web/studies", context)
    finally:
        server.stop()
    server.no_traceback()


def test_health_tells_what_check_and_verify_find(tmp_path: Path):
    port = free_port()
    peer = '[[peer]]\ntitle = "GONE"\nhost = "no-such-host.invalid"\n'
    server = Server(tmp_path / "site", more=f'[web]\nport = {port}\nworkers = 1\nanonymous = ["admin"]\n{peer}')
    try:
        found = ask(port, "GET", "/api/v1/health").json
        assert (found["status"], found["verify"]) == ("ok", None)
        checks = {check["what"]: check for check in found["checks"]}
        assert checks["peer GONE at no-such-host.invalid"]["severity"] == "warn"
        assert any(what.startswith("index ") for what in checks)
        run("verify", config=server.config)
        assert ask(port, "GET", "/api/v1/health").json["verify"]["findings"] == 0
    finally:
        server.stop()
    server.no_traceback()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('bind = "0.0.0.0"', "web.bind"),
        ("tls = true", "tls.certificate"),
        ("port = 11113", "metrics.port"),
        ("port = 11112", "ae.port"),
    ],
)
def test_what_would_be_unsafe_is_refused_and_said(tmp_path: Path, lines: str, said: str):
    port = "" if "port" in lines else "port = 8042\n"
    config = tmp_path / "minipacs.toml"
    config.write_text(f'[ae]\nbind = ["127.0.0.1"]\n[web]\n{port}{lines}\n')
    done = run("serve", config=config, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_check_tells_of_packages_and_of_who_may_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = tmp_path / "minipacs.toml"
    config.write_text(
        '[storage]\npath = "data"\nmin_free_bytes = 0\n'
        '[web]\nport = 8042\nbind = "0.0.0.0"\nbehind_proxy = ["10.0.0.1"]\n'
    )
    found = run("check", config=config).stdout
    assert "ok     packages for HTTP" in found
    assert "warn   who may ask over HTTP: nobody may: minipacs passwd" in found
    config.write_text(config.read_text().replace('"0.0.0.0"', '"127.0.0.1"'))
    assert "ok     who may ask over HTTP" in run("check", config=config).stdout
    monkeypatch.setattr("minipacs.daemon.extras._WEB_PACKAGES", ("starlette", "no_such_package"))
    done = run("check", config=config, check=False)
    assert done.returncode == 1
    assert "fault  packages for HTTP: web.port needs more packages: pip install 'minipacs[web]'" in done.stdout


def test_a_request_to_a_new_connection_is_answered_by_a_process_that_leaves(tmp_path: Path):
    port = free_port()
    server = Server(tmp_path / "site", more=f"[web]\nport = {port}\nworkers = 1\n")
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as early:
            ask(port, "GET", "/dicom-web/studies")  # the connection before was accepted by then
            server.reload()
            early.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while piece := early.recv(4096):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"[]")
    finally:
        server.stop()
    server.no_traceback()
