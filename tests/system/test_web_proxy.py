"""Behind nginx, with TLS and below a prefix: the addresses in answers are those that the client asks at."""

import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicomweb_client import DICOMwebClient
from requests import Session

from minipacs.net.identity import users
from minipacs.web.access import Places
from minipacs.web.site.page import built
from tests.support.built import page_built
from tests.support.certificates import Authority
from tests.support.objects import study
from tests.support.waiting import until
from tests.support.web import Web
from tests.support.wire import free_port

CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
{location}
    }}
}}
"""
"""Around the location of docs/web.md."""


def location(port: int) -> str:
    """Take the example out of the manual, with our port in it."""
    text = (Path(__file__).parent.parent.parent / "docs/web.md").read_text()
    found = text.partition("```nginx\n")[2].partition("```")[0]
    assert "127.0.0.1:8042" in found
    return found.replace("127.0.0.1:8042", f"127.0.0.1:{port}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Web, str, Path]]:
    """Serve an archive behind nginx; give it, its address there, and who signed the certificate."""
    page_built()
    web = Web(tmp_path / "archive", places=Places("", ["127.0.0.1"]), page=built())
    authority = Authority(tmp_path / "ca")
    pair, port = authority.issue("proxy"), free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(
        CONFIG.format(
            folder=tmp_path, port=port, certificate=pair.certificate, key=pair.key, location=location(web.port)
        )
    )
    program = shutil.which(
        "nginx", path=f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
    )
    assert program, "nginx is needed: tools/test takes it out of its package"
    process = subprocess.Popen([program, "-p", str(tmp_path), "-c", str(config), "-e", str(tmp_path / "error.log")])
    root = f"https://localhost:{port}/pacs/dicom-web"
    until(
        lambda: process.poll() is not None or answers(root, authority.certificate), (tmp_path / "error.log").read_text
    )
    assert process.poll() is None
    yield web, root, authority.certificate
    process.terminate()
    process.wait(20)
    web.close()


def answers(root: str, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=str(authority))
    try:
        return bool(urllib.request.urlopen(f"{root}/studies", context=context, timeout=10).status == 200)
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False


def test_a_client_behind_nginx(site: tuple[Web, str, Path]):
    web, root, authority = site
    datasets = study(instances=2)
    web.store(*datasets)
    session = Session()
    session.trust_env = False  # else a variable names other authorities
    session.verify = str(authority)
    client = DICOMwebClient(root, session=session)
    client.set_http_retry_params(False)
    (row,) = client.search_for_studies()
    url = row["00081190"]["Value"][0]
    assert url == f"{root}/studies/{datasets[0].StudyInstanceUID}"
    assert session.get(url, headers={"Accept": "*/*"}).status_code == 200
    metadata = client.retrieve_study_metadata(datasets[0].StudyInstanceUID)
    uri = metadata[0]["7FE00010"]["BulkDataURI"]
    assert uri.startswith(f"{root}/studies/")
    assert client.retrieve_bulkdata(uri)[0] == datasets[0].PixelData
    assert client.retrieve_study(datasets[0].StudyInstanceUID)[0].PixelData == datasets[0].PixelData


def test_the_page_behind_nginx(site: tuple[Web, str, Path]):
    web, root, authority = site
    users.add(web.folder / "users", "anna", b"passcode", ["read"])
    session = Session()
    session.trust_env = False
    session.verify = str(authority)
    below = root.removesuffix("dicom-web")
    page = session.get(below)
    assert page.status_code == 200
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert parts
    for part in parts:
        assert part.startswith("./assets/")
        assert session.get(below + part).status_code == 200
    signed = session.post(f"{below}api/v1/session", json={"name": "anna", "passcode": "passcode"})
    assert signed.json()["name"] == "anna"
    assert "Path=/pacs/; " in signed.headers["Set-Cookie"]
    assert "Secure" in signed.headers["Set-Cookie"]
    assert session.get(f"{below}api/v1/session").json()["name"] == "anna"
    assert session.delete(f"{below}api/v1/session").json()["name"] == ""
    assert session.get(f"{below}api/v1/session").json()["name"] == ""
